//! Arguments that several commands have in common.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use kennel::{Cache, LargePages, LockStrategy, NamespaceOptions, Options};

use crate::hex;
use crate::message::of_cache;
use crate::output::warn;
use crate::time::parse_duration;

/// The cache file of a command that requires one.
#[derive(Args)]
pub struct FileArgs {
    /// The cache file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

impl FileArgs {
    pub fn options(&self) -> Options {
        self.trust.options()
    }

    /// Opens the file for reading values.
    pub fn open_to_read(&self) -> kennel::Result<Cache> {
        open_to_read(&self.options(), &self.file)
    }
}

/// Opens a file for reading values: read-only, unless it is a copy, or from before a restart of the machine. No process
/// can read such a file until a process opens it for writing.
pub fn open_to_read(options: &Options, path: &Path) -> kennel::Result<Cache> {
    let cache = options.open_read_only(path)?;
    if !cache.awaits_writer() {
        return Ok(cache);
    }
    options.open(path).or_else(|error| {
        let what = format!(
            "{}: no value can be read until a process opens the file for writing, because it is {OF_BEFORE}",
            path.display()
        );
        warn(&format!("{what}; this process cannot: {}", of_cache(&error)));
        Ok(cache)
    })
}

/// Describes a file that must be opened for writing before it can be read.
pub const OF_BEFORE: &str = "from before a restart of the machine, or a copy";

/// The cache file of a command that has a default file, because the command cannot damage a wrong file.
#[derive(Args)]
pub struct OptionalFileArgs {
    /// The cache file. The default is the first that exists of kennel.cache in the user's runtime directory and
    /// kennel-UID.cache in /dev/shm and in the temporary directory.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
}

impl OptionalFileArgs {
    pub fn options(&self) -> Options {
        self.trust.options()
    }

    /// The file that the user named, else the first default file that exists.
    pub fn path(&self) -> PathBuf {
        let default = || {
            let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
            kennel::default_paths().find(is_there).unwrap_or_else(kennel::default_path)
        };
        self.file.clone().unwrap_or_else(default)
    }

    pub fn open_read_only(&self) -> kennel::Result<Cache> {
        self.options().open_read_only(self.path())
    }

    /// Opens the file for reading values.
    pub fn open_to_read(&self) -> kennel::Result<Cache> {
        open_to_read(&self.options(), &self.path())
    }
}

/// Whether files are accepted that others can write.
#[derive(Args)]
pub struct TrustArgs {
    /// Accept a file that belongs to another user or that other users can write. By default such a file is refused,
    /// because anyone who can write it decides what you read from it.
    #[arg(long)]
    trust: bool,
}

impl TrustArgs {
    pub fn options(&self) -> Options {
        Options::new().trust(self.trust)
    }
}

/// How long a writing command waits for its lock.
#[derive(Args)]
pub struct LockWaitArgs {
    /// How long to wait for a stripe that another process has locked before the command fails, with a unit: 250ms, 5s
    /// or 1m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    lock_wait: Duration,
}

/// The cache file of a command that writes to it.
#[derive(Args)]
pub struct WriteArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    wait: LockWaitArgs,
}

impl WriteArgs {
    pub fn open(&self) -> kennel::Result<Cache> {
        self.wait.open(self.file.options(), &self.file.file)
    }
}

impl LockWaitArgs {
    pub fn open(&self, options: Options, path: impl AsRef<Path>) -> kennel::Result<Cache> {
        options.lock_wait(self.lock_wait).open(path)
    }

    pub fn create(&self, options: Options, path: impl AsRef<Path>) -> kennel::Result<Cache> {
        options.lock_wait(self.lock_wait).create(path)
    }
}

/// The notation of keys on the command line.
#[derive(Args)]
pub struct KeyHexArgs {
    /// Read keys as hexadecimal, two digits for each byte: 00ff is a key of two bytes. By default a key is the bytes of
    /// the argument.
    #[arg(long)]
    key_hex: bool,
}

impl KeyHexArgs {
    pub fn bytes(&self, key: OsString) -> Result<Vec<u8>, String> {
        let bytes = key.into_encoded_bytes();
        if !self.key_hex {
            return Ok(bytes);
        }
        hex::decode(&String::from_utf8_lossy(&bytes))
    }
}

/// The namespace that a command works in.
#[derive(Args)]
pub struct NamespaceArgs {
    /// The namespace that keys belong to, a named part of the file: "kennel stat" lists them. Without this a key belongs to
    /// no namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

impl NamespaceArgs {
    /// The handle to work with. `None`: the file has no such namespace, which this has reported. Opening a namespace
    /// would add it, and a typing error must not add one.
    pub fn find(&self, cache: Cache) -> kennel::Result<Option<Cache>> {
        match &self.namespace {
            Some(name) => find_namespace(&cache, name),
            None => Ok(Some(cache)),
        }
    }

    /// The handle to work with, of a namespace that is added if the file does not have it.
    pub fn find_or_add(&self, cache: Cache) -> kennel::Result<Cache> {
        match &self.namespace {
            Some(name) => cache.namespace(name, &NamespaceOptions::new()),
            None => Ok(cache),
        }
    }
}

/// The handle of a namespace. `None`: the file has none of that name, which this has reported.
pub fn find_namespace(cache: &Cache, name: &str) -> kennel::Result<Option<Cache>> {
    let names = cache.namespaces();
    if names.iter().any(|known| known == name) {
        return cache.namespace(name, &NamespaceOptions::new()).map(Some);
    }
    let there_are = if names.is_empty() { "it has none".to_owned() } else { names.join(", ") };
    warn(&format!("no namespace {name:?}: expected one of the file's: {there_are}"));
    Ok(None)
}

/// One key.
#[derive(Args)]
pub struct KeyArgs {
    /// The key, of at most 65,535 bytes.
    key: OsString,
    #[command(flatten)]
    spelling: KeyHexArgs,
    #[command(flatten)]
    pub namespace: NamespaceArgs,
}

impl KeyArgs {
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        self.spelling.bytes(self.key.clone())
    }
}

/// The lock strategies that can be named on a command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Locks {
    /// A file lock for each lock region, which the system releases when its holder dies
    File,
    /// A word for each lock region in the cache file, and a lease that shows whether its holder is alive; faster
    /// writes, but refused on overlay file systems
    Lease,
    /// Locks inside one process, the only one that may open the file for writing
    Process,
    /// No locks: you promise that only one thread of one process writes
    None,
    /// One file lock for the whole cache, which readers take as well; for comparison
    RwFile,
}

impl From<Locks> for LockStrategy {
    fn from(locks: Locks) -> Self {
        match locks {
            Locks::File => Self::File,
            Locks::Lease => Self::Lease,
            Locks::Process => Self::Process,
            Locks::None => Self::None,
            Locks::RwFile => Self::RwFile,
        }
    }
}

/// The choices of large pages that can be named on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Large {
    /// In memory (tmpfs), where the file system gives large pages by itself: one that is mounted with huge=advise
    Auto,
    /// In memory everywhere, at the cost of a copy of each page; on a disk, too, where the smallest change of the file
    /// then writes 2 MiB
    Always,
    /// Small pages, whatever the file system gives
    Never,
}

impl From<Large> for LargePages {
    fn from(large: Large) -> Self {
        match large {
            Large::Auto => Self::Auto,
            Large::Always => Self::Always,
            Large::Never => Self::Never,
        }
    }
}
