//! Compressed traces, recognized by their first bytes and not by their names.

use std::fmt;
use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

/// The most memory that an xz stream may need, in KiB. The highest preset of xz needs 65 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// A supported compression. Concatenated streams are read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// The compression of a stream that begins with `head`.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let (&[a, b, c, d], _) = head.split_first_chunk()?;
        match [a, b, c, d] {
            [0x1F, 0x8B, ..] => Some(Self::Gzip),
            [0xFD, b'7', b'z', b'X'] => Some(Self::Xz),
            [0x28, 0xB5, 0x2F, 0xFD] => Some(Self::Zstd),
            // A skippable frame, with which some parallel compressors begin.
            [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The content of a compressed stream.
    pub(super) fn inflate<'a>(self, reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let reader = BufReader::new(reader);
        let inner: Box<dyn Read + 'a> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Self::Xz => Box::new(XzReader::new_mem_limit(reader, true, XZ_MEMORY)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(reader).map_err(|error| self.fault(&error))?),
        };
        Ok(Box::new(Inflated { inner, compression: self }))
    }

    fn fault(self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("the {self} data cannot be decompressed: {error}"))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// A decompressor that names the compression in its errors.
struct Inflated<'a> {
    inner: Box<dyn Read + 'a>,
    compression: Compression,
}

impl Read for Inflated<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.compression.fault(&error),
        })
    }
}

/// The kind of a file that begins with `head`, if it may contain a trace but is not supported.
pub(super) fn foreign(head: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 9] = [
        (b"BZh", "bzip2 data, which has to be decompressed first: bzcat FILE | kennel replay -"),
        (b"\x04\x22\x4D\x18", "lz4 data, which has to be decompressed first: lz4cat FILE | kennel replay -"),
        (b"PK\x03\x04", "a zip archive, which has to be unpacked first: unzip -p FILE | kennel replay -"),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive, which has to be unpacked first"),
        (b"PAR1", "a Parquet file, which has to be converted to csv first"),
        (b"\x1F\x8B", "gzip data within compressed data, which has to be decompressed first"),
        (b"\xFD7zXZ", "xz data within compressed data, which has to be decompressed first"),
        (b"\x28\xB5\x2F\xFD", "zstd data within compressed data, which has to be decompressed first"),
        (b"\xFF\xFE", "UTF-16 text, which has to be converted first: iconv -f UTF-16 -t UTF-8 FILE | kennel replay -"),
    ];
    let tar =
        head.get(257..262).filter(|mark| *mark == b"ustar").map(|_| "a tar archive, which has to be unpacked first");
    tar.or_else(|| kinds.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| *kind))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    pub(crate) const ALL: [Compression; 3] = [Compression::Gzip, Compression::Xz, Compression::Zstd];

    pub(crate) fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
        let compressed = match compression {
            Compression::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(content).and_then(|()| writer.finish())
            }
            Compression::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(0);
                let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("valid options");
                writer.write_all(content).and_then(|()| writer.finish())
            }
            Compression::Zstd => zstd::encode_all(content, 1),
        };
        compressed.expect("compressing memory")
    }

    fn inflated(compressed: &[u8]) -> io::Result<Vec<u8>> {
        let compression = Compression::of(compressed).expect("compressed");
        let mut content = Vec::new();
        compression.inflate(compressed)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_is_compressed_is_inflated() {
        let content = b"key 1\n".repeat(100_000);
        for compression in ALL {
            let once = compress(compression, &content);
            assert_eq!(Compression::of(&once), Some(compression));
            assert_eq!(inflated(&once).expect("whole"), content, "{compression}");
            let twice = once.repeat(2);
            assert_eq!(inflated(&twice).expect("whole").len(), 2 * content.len(), "two {compression} streams");
        }
    }

    #[test]
    fn a_cut_off_or_damaged_stream_is_an_error() {
        let content: Vec<u8> =
            (0..20_000_u32).flat_map(|key| format!("key{} {key}\n", key % 77).into_bytes()).collect();
        for compression in ALL {
            let whole = compress(compression, &content);
            for len in [5, 12, 30, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
                let error = inflated(&whole[..len]).expect_err("cut off").to_string();
                let expected = format!("the {compression} data cannot be decompressed: ");
                assert!(error.starts_with(&expected), "{compression}, {len} bytes: {error}");
            }
        }
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_other_content(
            damage in proptest::collection::vec((4..1000_usize, 1..=255_u8), 1..4),
            len in 4..1000_usize,
        ) {
            let content: Vec<u8> = (0..300_u32).flat_map(|key| format!("{key}\n").into_bytes()).collect();
            for compression in ALL {
                let mut stream = compress(compression, &content);
                let end = stream.len();
                for &(place, bits) in &damage {
                    // The first bytes stay, or it would be no compressed stream.
                    stream[4 + place % (end - 4)] ^= bits;
                }
                // No panic, and no end of the program for lack of memory.
                let _ = inflated(&stream);
                let _ = inflated(&stream[..len.min(end)]);
            }
        }
    }

    #[test]
    fn other_bytes_are_not_compressed() {
        for head in [&b""[..], b"\x1F\x8B", b"key 1\n", b"\x28\xB5\x2F\x00", &[0; 300]] {
            assert_eq!(Compression::of(head), None);
        }
        assert_eq!(foreign(b"key 1\n"), None);
    }
}
