//! The header, which is written once and read at every open. Parsing yields a [`FileParams`] only if every field is
//! valid.

use crate::error::{Error, Result};
use crate::names::names;
use crate::platform::{self, Identity};
use crate::shm::layout::{CHECKED, FINGERPRINT, FORMAT, HEADER_LEN, Header, MAGIC, Shape, unused_fields};
use crate::shm::{Geometry, Memory};
use crate::store::{HeaderWords, IdentityWords};
use bytemuck::Zeroable;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// What a stripe holds after the host went down without a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AfterCrash {
    /// Nothing: the cache starts empty. Name `discard`.
    #[default]
    Discard,
    /// All records whose checksum is valid. Such a record may have any value that was ever set for its key, even one
    /// that was deleted. Name `verify`.
    Verify,
}

names!(AfterCrash, "answer to a crash", "discard or verify", Discard = "discard", Verify = "verify");

/// The properties of a file that never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileParams {
    pub geometry: Geometry,
    pub after_crash: AfterCrash,
    pub seed: u64,
    pub strategy_id: u64,
    pub strategy_name: String,
    pub created_ms: u64,
}

/// The identity of a cache file, as its header records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    pub id: [u64; 2],
    pub data: Identity,
    pub lock_directory: u64,
    /// The lineage and a stamp together name a value. A copy that is adopted gets another lineage.
    pub lineage: u64,
}

impl FileParams {
    /// The first page of a new file.
    pub(crate) fn page(&self, own: FileIdentity, boot_id: [u64; 2]) -> Header {
        let mut header = Header::zeroed();
        header.magic = MAGIC;
        header.format = FORMAT;
        header.header_len = HEADER_LEN as u32;
        header.fingerprint = FINGERPRINT;
        header.file_len = self.geometry.file_len;
        self.geometry.shape.copy_to(&mut header);
        header.after_crash = u32::from(self.after_crash == AfterCrash::Verify);
        header.buckets = self.geometry.buckets;
        header.small_len = self.geometry.small.bytes();
        header.main_len = self.geometry.main.bytes();
        header.hash_seed = self.seed;
        header.strategy_id = self.strategy_id;
        header.strategy_name[..self.strategy_name.len()].copy_from_slice(self.strategy_name.as_bytes());
        header.created_ms = self.created_ms;
        header.check = xxh3_64(&bytemuck::bytes_of(&header)[CHECKED]);
        header.file_id = own.id;
        header.data_inode = own.data.inode;
        header.data_device = own.data.device;
        header.lock_dir_inode = own.lock_directory;
        header.lineage = own.lineage;
        header.boot_id = boot_id;
        header
    }

    /// Reads and validates the first page of a file.
    pub(crate) fn read(data: &File, real: &Path) -> Result<Self> {
        Ok(Self::read_with_id(data, real)?.0)
    }

    /// [`read`](Self::read), with the file's id, which changes when a copy is adopted.
    pub(crate) fn read_with_id(data: &File, real: &Path) -> Result<(Self, [u64; 2])> {
        Self::read_all(data, data.metadata().map_err(Error::io("examine", real))?.len(), real)
    }

    /// [`read`](Self::read) for a file that has just been found to have this length.
    pub(crate) fn read_of_length(data: &File, len: u64, real: &Path) -> Result<Self> {
        Ok(Self::read_all(data, len, real)?.0)
    }

    fn read_all(data: &File, len: u64, real: &Path) -> Result<(Self, [u64; 2])> {
        let page = first_page(data, real)?;
        if page.len() as u64 == HEADER_LEN && is_zero(&page) && holds_nothing(data, real)? {
            let (expected, found) = ("a header".into(), "nothing but zeros".into());
            return Err(Error::BadFile { path: real.into(), field: "content", expected, found });
        }
        let fixed = Self::parse(&page, len, real)?;
        Ok((fixed, bytemuck::pod_read_unaligned::<Header>(&page).file_id))
    }

    /// Validates the first page of an existing file, or returns an error that says what is wrong with it.
    pub(crate) fn parse(page: &[u8], file_len: u64, path: &Path) -> Result<Self> {
        let bad = |field, expected: String, found: String| Error::BadFile { path: path.into(), field, expected, found };
        let Ok(header) = bytemuck::try_pod_read_unaligned::<Header>(page) else {
            return Err(bad("length", format!("at least {HEADER_LEN} bytes"), format!("{} bytes", page.len())));
        };
        let must_be = |field, expected: String, found: String| {
            if expected == found { Ok(()) } else { Err(bad(field, expected, found)) }
        };
        must_be("magic", format!("{MAGIC:#018x}"), format!("{:#018x}", header.magic))?;
        must_be("format version", FORMAT.to_string(), header.format.to_string())?;
        must_be("layout fingerprint", format!("{FINGERPRINT:#x}"), format!("{:#x}", header.fingerprint))?;
        let geometry = Geometry::new(Shape::of(&header)).map_err(|b| bad(b.option, b.expected, b.given.to_string()))?;
        let sizes: [(&'static str, u64, u64); 5] = [
            ("header length", HEADER_LEN, header.header_len.into()),
            ("buckets", geometry.buckets, header.buckets),
            ("small ring length", geometry.small.bytes(), header.small_len),
            ("main ring length", geometry.main.bytes(), header.main_len),
            ("file length in the header", geometry.file_len, header.file_len),
        ];
        for (field, expected, found) in sizes {
            must_be(field, expected.to_string(), found.to_string())?;
        }
        must_be("header checksum", format!("{:#x}", xxh3_64(&page[CHECKED])), format!("{:#x}", header.check))?;
        for (field, at, size) in unused_fields("Header").filter(|(_, at, _)| CHECKED.contains(at)) {
            if !is_zero(&page[at..at + size]) {
                return Err(bad(field, "zero".into(), format!("{:#x?}", &page[at..at + size.min(8)])));
            }
        }
        if file_len < geometry.file_len {
            return Err(bad("file length", geometry.file_len.to_string(), format!("{file_len}: it was cut off")));
        }
        let name = header.strategy_name.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(Self {
            geometry,
            after_crash: if header.after_crash == 0 { AfterCrash::Discard } else { AfterCrash::Verify },
            seed: header.hash_seed,
            strategy_id: header.strategy_id,
            strategy_name: String::from_utf8_lossy(name).into_owned(),
            created_ms: header.created_ms,
        })
    }
}

impl FileIdentity {
    pub(crate) fn load(mem: &impl Memory) -> Self {
        let words = HeaderWords(mem).identity();
        let IdentityWords { file_id, data_inode, data_device, lock_directory_inode, lineage } = words;
        let data = Identity { inode: data_inode, device: data_device };
        Self { id: file_id, data, lock_directory: lock_directory_inode, lineage }
    }

    /// Whether the file with this header, found as `found`, is a copy: then its inode or device differs. Device numbers
    /// are only comparable until the host restarts.
    pub(crate) fn is_copied_to(self, found: Identity, same_boot: bool) -> bool {
        self.data.inode != found.inode || (same_boot && self.data.device != found.device)
    }

    pub(crate) fn store(self, mem: &impl Memory) {
        HeaderWords(mem).set_identity(IdentityWords {
            file_id: self.id,
            data_inode: self.data.inode,
            data_device: self.data.device,
            lock_directory_inode: self.lock_directory,
            lineage: self.lineage,
        });
    }
}

/// The first page, or less if the file is shorter.
fn first_page(file: &File, real: &Path) -> Result<Vec<u8>> {
    let mut page = vec![0; HEADER_LEN as usize];
    let mut len = 0;
    while len < page.len() {
        let read = platform::read_at(file, &mut page[len..], len as u64);
        match read.map_err(Error::io("read", real))? {
            0 => break,
            read => len += read,
        }
    }
    page.truncate(len);
    Ok(page)
}

/// Whether a file contains only zeros. Skips holes where the file system reports them.
fn holds_nothing(mut file: &File, real: &Path) -> Result<bool> {
    let failed = || Error::io("read", real);
    let (mut at, mut chunk) = (0, vec![0; 64 << 10]);
    while let Some(data_at) = platform::next_data(file, at).map_err(failed())? {
        file.seek(SeekFrom::Start(data_at)).map_err(failed())?;
        let read = file.read(&mut chunk).map_err(failed())?;
        if read == 0 {
            break;
        }
        if !is_zero(&chunk[..read]) {
            return Ok(false);
        }
        at = data_at + read as u64;
    }
    Ok(true)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
