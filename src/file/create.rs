//! Creating a cache file. The new file begins without a name, or in its lock directory; its locks are made first, and
//! the finished file is moved into place. So no process maps a half-made file, two creators yield one file, and a
//! killed creator leaves at most a lock directory.

use super::attached::{AttachedFile, MappedFile, Use};
use super::header::{FileIdentity, FileParams};
use super::place::{DataLock, held_too_long, lock_directory, must_be_free};
use super::settings::{LargePages, Settings};
use super::tidy::{NEW, RootLock, take_path, tidy};
use crate::error::{Error, Result};
use crate::platform::{self, Examined, FileSystem, NewFile};
use crate::shm::layout::HEADER_LEN;
use crate::shm::mapping::Mapping;
use crate::shm::{Geometry, Memory, Step};
use crate::store::HeaderWords;
use crate::sync::lock_file::LockFile;
use crate::sync::locks::{LockPlace, lock_file_path};
use crate::sync::own_file::OwnFile;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;

/// Creates a cache file and opens it. With `replace` it replaces the existing file, whose opening lock the caller
/// holds.
pub(crate) fn create(real: &Path, settings: &Settings, replace: bool) -> Result<AttachedFile> {
    if !replace {
        must_be_free(real)?;
    }
    let fixed = settings.fixed(settings.geometry()?)?;
    let id = [settings.random()?, settings.random()?];
    let directory = lock_directory(real, id);
    let creation = Creation { real, settings, replace, fixed, id, lineage: settings.random()?, directory };
    let nameless = creation.nameless()?;
    // This case needs no lock directory, not even for a short time.
    if nameless.is_some() && !replace && !settings.locks.is_shared() {
        return creation.make(nameless);
    }
    // Until the file has its name and its first member a lease, no process may tidy its locks away.
    let root_lock = RootLock::shared(real, settings)?;
    let made = creation.make(nameless);
    drop(root_lock);
    tidy(real, settings.trust);
    made
}

/// A cache file that is being created.
pub(super) struct Creation<'a> {
    real: &'a Path,
    settings: &'a Settings,
    replace: bool,
    fixed: FileParams,
    id: [u64; 2],
    lineage: u64,
    /// Its lock directory.
    directory: PathBuf,
}

impl<'a> Creation<'a> {
    /// The successor of the file at a path. It has the same values, and so the same lineage.
    pub(super) fn of_successor(
        real: &'a Path,
        settings: &'a Settings,
        fixed: FileParams,
        lineage: u64,
    ) -> Result<Self> {
        let id = [settings.random()?, settings.random()?];
        Ok(Self { real, settings, replace: true, fixed, id, lineage, directory: lock_directory(real, id) })
    }

    /// Creates the file and takes a seat in it.
    pub(super) fn begin(&self) -> Result<(NewFile, AttachedFile)> {
        let _root_lock = self.hold_place()?;
        let new = self.new_or(self.nameless()?)?;
        let opened = self.open(&new)?;
        Ok((new, opened))
    }

    /// Keeps processes that tidy up away until the file has its name.
    pub(super) fn hold_place(&self) -> Result<RootLock> {
        RootLock::shared(self.real, self.settings)
    }

    /// Gives the file the name of the one that it replaces.
    pub(super) fn finish(&self, new: &mut NewFile, _: &RootLock) -> Result<()> {
        self.take_place(new)
    }

    fn nameless(&self) -> Result<Option<File>> {
        let parent = self.real.parent().unwrap_or(Path::new("/"));
        platform::nameless_file(parent).map_err(Error::io("create a file in", parent))
    }

    fn new_or(&self, nameless: Option<File>) -> Result<NewFile> {
        match nameless {
            Some(file) => Ok(NewFile { file, temporary: None }),
            None => self.new_file(),
        }
    }

    /// Creates the file, takes a seat in it, and gives it its name.
    fn make(&self, nameless: Option<File>) -> Result<AttachedFile> {
        let mut new = self.new_or(nameless)?;
        let opened = self.open(&new)?;
        self.take_place(&mut new).map(|()| opened)
    }

    fn take_place(&self, new: &mut NewFile) -> Result<()> {
        let is_aside = self.replace && !platform::CAN_REPLACE_MAPPED;
        let aside = if is_aside { take_path(self.real, self.settings)? } else { None };
        let named = self.give_name(new);
        if let (Err(_), Some(aside)) = (&named, &aside)
            && matches!(platform::identity_at(self.real), Ok(None))
        {
            // If another process creates a file just now, that file is mapped, so the rename does not replace it.
            let _ = fs::rename(aside, self.real);
        }
        if !self.settings.locks.is_shared() {
            // The directory held the new file, or nothing.
            let _ = fs::remove_dir(&self.directory);
        }
        named
    }

    /// Opens a new file in its future lock directory, with which it is removed if its creator is killed.
    fn new_file(&self) -> Result<NewFile> {
        self.settings.make_lock_directory(&self.directory)?;
        let path = self.directory.join(NEW);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(Error::io("create the file", &path))?;
        let temporary = TempPath::try_from_path(path).map_err(Error::io("create a file in", &self.directory))?;
        Ok(NewFile { file, temporary: Some(temporary) })
    }

    /// Gives the file everything but its name, and makes this process its first member.
    fn open(&self, new: &NewFile) -> Result<AttachedFile> {
        let Self { real, settings, fixed, directory, .. } = self;
        let data = new.file.try_clone().and_then(Examined::of).map_err(Error::io("examine", *real))?;
        let system = settings.check_filesystem(&new.file, real)?;
        platform::set_mode(&new.file, settings.mode).map_err(Error::io("set the mode of", *real))?;
        let mapping = self.map(&new.file, &system)?;
        let inodes = make_locks(directory, settings, &fixed.geometry)?;
        let own = FileIdentity {
            id: self.id,
            data: data.identity,
            lock_directory: platform::directory_inode(directory),
            lineage: self.lineage,
        };
        fill(&mapping, fixed, own, &inodes, settings)?;
        // No other process knows the file, so this does not wait. A strategy for one process keeps the lock.
        let path = new.temporary.as_deref().unwrap_or(real);
        let lock = DataLock::take(&data, path, settings.lock_wait)?.ok_or_else(|| held_too_long(real, settings))?;
        let (fixed, settings) = (fixed.clone(), Settings::clone(settings));
        let data = OwnFile::keep(data).map_err(Error::io("examine", *real))?;
        let opened = AttachedFile::new(MappedFile { real, data, system, mapping, fixed, settings }, Use::With(lock))?;
        if self.settings.prefault {
            opened.store.mem.prefault().map_err(Error::io("prefault", *real))?;
        }
        // A file system may write a name to disk before the content. This makes sure that after a power failure a file
        // that has its name also has its header.
        opened.store.mem.sync(0, HEADER_LEN).map_err(Error::io("write", *real))?;
        Ok(opened)
    }

    /// Gives the file its length and all its space, and maps it.
    ///
    /// If a file lies in memory, each of its pages keeps the size with which it was allocated, so large pages must be
    /// there first. No store goes through the mapping before all space is allocated: it could end this process with a
    /// SIGBUS.
    fn map(&self, file: &File, system: &FileSystem) -> Result<Mapping> {
        let Self { real, settings, .. } = self;
        let len = self.fixed.geometry.file_len;
        check_limit(len, real)?;
        if settings.large_pages == LargePages::Never || !system.in_memory {
            allocate(file, len, real)?;
            return settings.map_new(file, len, system, real);
        }
        // Mapped before it has its length, since under `mlockall` a mapping allocates its pages at once.
        let mapping = settings.map_new(file, len, system, real)?;
        file.set_len(len).map_err(|source| no_space(source, len, real))?;
        mapping.take_large_pages(file, settings.large_pages == LargePages::Always);
        allocate(file, len, real)?;
        Ok(mapping)
    }

    /// Gives the file its name. A file that replaces another is first named in its lock directory: if its creator is
    /// killed there, the next process that tidies up removes it.
    fn give_name(&self, new: &mut NewFile) -> Result<()> {
        if self.replace {
            self.settings.make_lock_directory(&self.directory)?;
        }
        let through = self.replace.then(|| self.directory.join(NEW));
        platform::name_new_file(new, self.real, through.as_deref()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(self.real.into()),
            _ => Error::Io { what: "create", path: self.real.into(), source },
        })
    }
}

/// Makes a lock directory with its lock files, and returns their inode numbers. The caller holds the [`RootLock`].
pub(super) fn make_locks(directory: &Path, settings: &Settings, geometry: &Geometry) -> Result<Arc<[u64]>> {
    if !settings.locks.is_shared() {
        return Ok(Arc::new([]));
    }
    settings.make_lock_directory(directory)?;
    let regions = geometry.shape.lock_regions;
    let mut inodes = Vec::new();
    for number in 0..settings.locks.lock_files(regions) {
        let path = lock_file_path(directory, number);
        let file = LockFile::create(&path, settings.mode).map_err(Error::io("create the lock file", &path))?;
        inodes.push(file.identity().inode);
    }
    let place = LockPlace { directory: directory.into(), regions, inodes: inodes.into() };
    settings.locks.prepare(&place).map_err(Error::io("prepare the locks in", directory))?;
    Ok(place.inodes)
}

/// Returns an error for a file that is longer than this process may write. The system would end the process with a
/// signal, unless the program handles it.
fn check_limit(len: u64, real: &Path) -> Result<()> {
    if platform::largest_file().is_none_or(|largest| len <= largest) {
        return Ok(());
    }
    let advice = ": this process may not write files of that size (`ulimit -f`); raise the limit, or choose a smaller \
                  capacity";
    Err(Error::NoSpace { path: real.into(), needed: len, advice })
}

fn allocate(file: &File, len: u64, real: &Path) -> Result<()> {
    platform::allocate(file, len).map_err(|source| no_space(source, len, real))
}

/// The error for a file that could not get its length or its space.
fn no_space(source: io::Error, len: u64, real: &Path) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let advice = if real.starts_with("/dev/shm") {
                ": /dev/shm is too small; in a container start it with more (`docker run --shm-size 1g`, in \
                 Kubernetes an `emptyDir` with `medium: Memory`), or choose a smaller capacity"
            } else {
                ": free some, or choose a smaller capacity"
            };
            Error::NoSpace { path: real.into(), needed: len, advice }
        }
        _ => Error::Io { what: "reserve space for", path: real.into(), source },
    }
}

/// Writes the header, and the words of the stripes that are not zero.
fn fill(mapping: &Mapping, fixed: &FileParams, own: FileIdentity, inodes: &[u64], settings: &Settings) -> Result<()> {
    let page = fixed.page(own, settings.boot_id);
    mapping.copy_in(Step::Header, 0, bytemuck::bytes_of(&page));
    let words = HeaderWords(mapping);
    words.set_lock_inodes(&fixed.geometry, inodes);
    let (small, main) = settings.first_positions(&fixed.geometry);
    for stripe in 0..fixed.geometry.shape.stripes {
        words.start_stripe(&fixed.geometry, stripe, settings.random()? >> 1, small, main);
    }
    Ok(())
}
