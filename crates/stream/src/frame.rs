//! The head of a stream, and the heads of its frames.

use xxhash_rust::xxh3::xxh3_64;

/// The most bytes of a frame's content.
pub const BLOCK: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"KENNELdp";
const VERSION: u32 = 1;
pub(crate) const HEAD_LEN: usize = 48;
pub(crate) const FRAME_HEAD_LEN: usize = 32;

/// The head of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// When the dump began, in milliseconds since 1970.
    pub written_ms: u64,
    /// The id of the file that was dumped.
    pub file_id: u128,
}

/// Why the first bytes are not the head of a stream that this program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// They are not a stream's.
    NoStream,
    /// They are a cache file's.
    CacheFile,
    /// The stream has another version.
    Version(u32),
    Damaged,
}

impl Head {
    /// The bytes with which a stream begins.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.written_ms.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.file_id.to_le_bytes());
        let check = xxh3_64(&bytes[..40]);
        bytes[40..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8; HEAD_LEN]) -> Result<Self, BadHead> {
        if bytes.starts_with(b"KENNELca") {
            return Err(BadHead::CacheFile);
        }
        if !bytes.starts_with(&MAGIC) {
            return Err(BadHead::NoStream);
        }
        // A later version may have another head behind its number.
        match word(bytes, 8) {
            VERSION if long(bytes, 40) != xxh3_64(&bytes[..40]) => Err(BadHead::Damaged),
            VERSION => {
                let file_id = u128::from(long(bytes, 32)) << 64 | u128::from(long(bytes, 24));
                Ok(Self { written_ms: long(bytes, 16), file_id })
            }
            version => Err(BadHead::Version(version)),
        }
    }
}

/// What a frame contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Namespaces, whose numbers continue those of the previous frame of this kind.
    Namespaces = 1,
    /// Whole items.
    Items = 2,
    /// The first piece of an item that is larger than a frame.
    FirstPiece = 3,
    /// A piece that is neither the first nor the last.
    NextPiece = 4,
    LastPiece = 5,
    /// The number of items in the stream; nothing follows.
    End = 6,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Namespaces, Self::Items, Self::FirstPiece, Self::NextPiece, Self::LastPiece, Self::End];
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Frames are numbered from 0.
    pub number: u64,
    pub kind: Kind,
    /// Whether the content is compressed by zstd.
    pub is_coded: bool,
    /// The length of the content.
    pub raw_len: usize,
    /// The length of what follows the head: the content, or its compressed form, which is shorter.
    pub stored_len: usize,
    /// The checksum of what follows the head.
    pub check: u64,
}

impl FrameHead {
    pub fn bytes(&self) -> [u8; FRAME_HEAD_LEN] {
        let mut bytes = [0; FRAME_HEAD_LEN];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8] = self.kind as u8;
        bytes[9] = self.is_coded.into();
        // Neither is longer than a block.
        bytes[12..16].copy_from_slice(&(self.raw_len as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.stored_len as u32).to_le_bytes());
        bytes[20..28].copy_from_slice(&self.check.to_le_bytes());
        let check = xxh3_64(&bytes[..28]) as u32;
        bytes[28..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// `None` if the head is damaged. The lengths of a head are within their limits.
    pub fn parse(bytes: &[u8; FRAME_HEAD_LEN]) -> Option<Self> {
        let head = Self {
            number: long(bytes, 0),
            kind: Kind::ALL.into_iter().find(|kind| *kind as u8 == bytes[8])?,
            is_coded: bytes[9] == 1,
            raw_len: word(bytes, 12) as usize,
            stored_len: word(bytes, 16) as usize,
            check: long(bytes, 20),
        };
        let is_within = head.raw_len <= BLOCK
            && if head.is_coded { head.stored_len < head.raw_len } else { head.stored_len == head.raw_len };
        // The bytes that the head does not use are zero.
        (is_within && head.bytes() == *bytes).then_some(head)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at + 4)) << 32 | u64::from(word(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_of_a_head_is_found() {
        let head = Head { written_ms: 1_700_000_000_000, file_id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677 };
        let bytes = head.bytes();
        assert_eq!(Head::parse(&bytes), Ok(head));
        let frame = FrameHead { number: 7, kind: Kind::Items, is_coded: true, raw_len: 900, stored_len: 100, check: 5 };
        let frame_bytes = frame.bytes();
        assert_eq!(FrameHead::parse(&frame_bytes), Some(frame));
        for bit in 0..HEAD_LEN * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::parse(&bytes).is_err(), "bit {bit} of the stream's head");
        }
        for bit in 0..FRAME_HEAD_LEN * 8 {
            let mut bytes = frame_bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHead::parse(&bytes), None, "bit {bit} of a frame's head");
        }
    }

    #[test]
    fn no_head_promises_more_than_a_block() {
        let frame =
            FrameHead { number: 0, kind: Kind::Items, is_coded: false, raw_len: BLOCK, stored_len: BLOCK, check: 0 };
        assert_eq!(FrameHead::parse(&frame.bytes()), Some(frame));
        let wrong = [
            FrameHead { raw_len: BLOCK + 1, stored_len: BLOCK + 1, ..frame },
            FrameHead { stored_len: BLOCK - 1, ..frame },
            FrameHead { is_coded: true, ..frame },
        ];
        wrong.iter().for_each(|wrong| assert_eq!(FrameHead::parse(&wrong.bytes()), None, "{wrong:?}"));
    }
}
