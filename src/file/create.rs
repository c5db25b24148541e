//! Creating a cache file. It begins without a name, or in its lock directory; its locks are made first, and the
//! finished file is moved into place. So no process maps a half-made file, two creators yield one file, and a killed
//! creator leaves at most a lock directory.

use super::attached::{AttachedFile, MappedFile};
use super::header::{FileIdentity, FileParams};
use super::place::{DataLock, held_too_long, lock_directory, must_be_free};
use super::settings::Settings;
use super::tidy::{NEW, RootLock, take_path, tidy};
use crate::error::{Error, Result};
use crate::platform::{self, Examined, NewFile};
use crate::shm::layout::HEADER_LEN;
use crate::shm::mapping::Mapping;
use crate::shm::{Geometry, Memory, Step};
use crate::store::HeaderWords;
use crate::sync::lock_file::LockFile;
use crate::sync::locks::{LockPlace, lock_file_path};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;

/// Creates a cache file and opens it. With `replace` it replaces the existing file, whose data lock the caller holds.
pub(crate) fn create(real: &Path, settings: &Settings, replace: bool) -> Result<AttachedFile> {
    if !replace {
        must_be_free(real)?;
    }
    let fixed = settings.fixed(settings.geometry()?)?;
    let id = [settings.random()?, settings.random()?];
    let creation = Creation { real, settings, replace, fixed, id, directory: lock_directory(real, id) };
    let parent = real.parent().unwrap_or(Path::new("/"));
    let nameless = platform::nameless_file(parent).map_err(Error::io("create a file in", parent))?;
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
struct Creation<'a> {
    real: &'a Path,
    settings: &'a Settings,
    replace: bool,
    fixed: FileParams,
    id: [u64; 2],
    /// Its lock directory.
    directory: PathBuf,
}

impl Creation<'_> {
    /// Creates the file, takes a seat in it, and gives it its name.
    fn make(&self, nameless: Option<File>) -> Result<AttachedFile> {
        let mut new = match nameless {
            Some(file) => NewFile { file, temporary: None },
            None => self.new_file()?,
        };
        let opened = self.open(&new)?;
        let is_aside = self.replace && !platform::CAN_REPLACE_MAPPED;
        let aside = if is_aside { take_path(self.real, self.settings)? } else { None };
        let named = self.give_name(&mut new);
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
        named.map(|()| opened)
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
        settings.check_filesystem(&new.file, real)?;
        platform::set_mode(&new.file, settings.mode).map_err(Error::io("set the mode of", *real))?;
        allocate(&new.file, fixed.geometry.file_len, real)?;
        let inodes = make_locks(directory, settings, &fixed.geometry)?;
        let own = FileIdentity {
            id: self.id,
            data: data.identity,
            lock_directory: platform::directory_inode(directory),
            lineage: settings.random()?,
        };
        let mapping = Mapping::new(&new.file, fixed.geometry.file_len, true).map_err(Error::io("map", *real))?;
        fill(&mapping, fixed, own, &inodes, settings)?;
        // No other process knows the file, so this does not wait. A strategy for one process keeps the lock.
        let path = new.temporary.as_deref().unwrap_or(real);
        let lock = DataLock::take(&data, path, settings.lock_wait)?.ok_or_else(|| held_too_long(real, settings))?;
        let (fixed, settings) = (fixed.clone(), Settings::clone(settings));
        let opened = AttachedFile::new(MappedFile { real, data, mapping, fixed, settings }, Some(lock))?;
        if self.settings.prefault {
            opened.store.mem.prefault().map_err(Error::io("prefault", *real))?;
        }
        // A file system may write a name to disk before the content. This makes sure that after a power failure a file
        // that has its name also has its header.
        opened.store.mem.sync(0, HEADER_LEN).map_err(Error::io("write", *real))?;
        Ok(opened)
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

fn allocate(file: &File, len: u64, real: &Path) -> Result<()> {
    if platform::largest_file().is_some_and(|largest| len > largest) {
        // The system would end the process with a signal, unless the program handles it.
        let advice = ": this process may not write files of that size (`ulimit -f`); raise the limit, or choose a smaller \
                      capacity";
        return Err(Error::NoSpace { path: real.into(), needed: len, advice });
    }
    platform::allocate(file, len).map_err(|source| match source.kind() {
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
    })
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
