//! A custom lock strategy: robust mutexes of the C library, in shared memory.
//!
//! ```sh
//! cargo run --release -p kennel-harness --example pthread_mutex -- conformance
//! cargo run --release -p kennel-harness --example pthread_mutex -- kill
//! cargo run --release -p kennel-harness --example pthread_mutex -- bench --report mutex.html
//! ```
//!
//! There is one mutex for each lock region, all in one file of the cache's lock directory, which every process maps.
//! The mutexes are robust: when an owner dies, the kernel marks the mutex, and the next thread that locks it gets it
//! together with `EOWNERDEAD`. The strategy need not repair what the dead owner left half done, because the engine
//! finds and repairs it.
//!
//! How it keeps the contract in [`kennel::locks`]:
//!
//! * *A killed owner's lock is released*: the kernel walks the list of robust mutexes of every thread that ends.
//! * *A stopped owner's lock is not released*: no process takes a mutex away from another.
//! * *A forked child does not keep its parent's lock*: the owner is a thread, and the child has a different thread.
//! * *Threads exclude each other, too*: a mutex always excludes other threads.
//! * *Waiting has a limit*: `pthread_mutex_timedlock`. It uses the wall clock, so a step of that clock lengthens or
//!   shortens a wait. Not every C library has the call for the monotonic clock.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let strategy = kennel::LockStrategy::Custom(std::sync::Arc::new(mutexes::RobustMutexes));
    kennel_harness::program::run(strategy)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("robust mutexes are Linux's");
}

#[cfg(target_os = "linux")]
mod mutexes {
    #![allow(unsafe_code, reason = "a mutex of the C library is a raw pointer into shared memory")]

    use kennel::locks::{LockError, LockFactory, LockPlace, LockRegions};
    use memmap2::{MmapOptions, MmapRaw};
    use std::fs::File;
    use std::io;
    use std::mem::MaybeUninit;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// Bytes from one mutex to the next: each has a cache line of its own.
    const STRIDE: usize = 64;
    const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= STRIDE);

    /// A mutex for each lock region.
    pub struct RobustMutexes;

    impl RobustMutexes {
        fn path(place: &LockPlace) -> PathBuf {
            place.directory.join("mutexes.lock")
        }

        fn length(place: &LockPlace) -> usize {
            place.regions as usize * STRIDE
        }

        fn map(place: &LockPlace, file: &File) -> io::Result<Attached> {
            let map = MmapOptions::new().len(Self::length(place)).map_raw(file)?;
            Ok(Attached { map })
        }
    }

    impl LockFactory for RobustMutexes {
        fn name(&self) -> &str {
            "pthread-mutex"
        }

        fn id(&self) -> u64 {
            1001
        }

        fn prepare(&self, place: &LockPlace) -> io::Result<()> {
            let file = File::options().read(true).write(true).create_new(true).open(Self::path(place))?;
            file.set_len(Self::length(place) as u64)?;
            let attached = Self::map(place, &file)?;
            (0..place.regions).try_for_each(|region| init(attached.mutex(region)))
        }

        /// A file of another length is not the prepared file: another process deleted the prepared file and created a
        /// new one.
        fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
            let path = Self::path(place);
            let file = File::options().read(true).write(true).open(&path)?;
            if file.metadata()?.len() != Self::length(place) as u64 {
                let why = format!("{}: not the file that was made with the cache", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
            Ok(Box::new(Self::map(place, &file)?))
        }
    }

    /// The mutexes as mapped by one process.
    pub struct Attached {
        map: MmapRaw,
    }

    impl Attached {
        fn mutex(&self, region: u32) -> *mut libc::pthread_mutex_t {
            let at = region as usize * STRIDE;
            assert!(at < self.map.len(), "region {region} is beyond the last one");
            // The mapping begins on a page, and each mutex on a multiple of 64 bytes: aligned for any type.
            self.map.as_mut_ptr().wrapping_add(at).cast()
        }
    }

    impl LockRegions for Attached {
        fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError> {
            let mutex = self.mutex(region);
            // SAFETY: `prepare` made a mutex at this place, which is mapped for as long as `self` lives.
            let free = unsafe { libc::pthread_mutex_trylock(mutex) };
            let result = match free {
                libc::EBUSY => {
                    let until = deadline(limit);
                    // SAFETY: as above, and the time is valid.
                    unsafe { libc::pthread_mutex_timedlock(mutex, &raw const until) }
                }
                result => result,
            };
            match result {
                0 => Ok(()),
                // SAFETY: as above, and this thread holds it, as the result says.
                libc::EOWNERDEAD => match unsafe { libc::pthread_mutex_consistent(mutex) } {
                    0 => Ok(()),
                    error => Err(LockError::Failed(io::Error::from_raw_os_error(error))),
                },
                libc::ETIMEDOUT => Err(LockError::Busy),
                error => Err(LockError::Failed(io::Error::from_raw_os_error(error))),
            }
        }

        fn unlock(&self, region: u32) {
            // SAFETY: the mutex is mapped, and the caller holds it.
            let result = unsafe { libc::pthread_mutex_unlock(self.mutex(region)) };
            debug_assert_eq!(result, 0, "only the holder unlocks");
        }
    }

    fn deadline(limit: Duration) -> libc::timespec {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // No caller waits longer than this, so a longer limit is cut off.
        let until = now.saturating_add(limit.min(Duration::from_secs(u32::MAX.into())));
        libc::timespec { tv_sec: until.as_secs() as libc::time_t, tv_nsec: until.subsec_nanos().into() }
    }

    /// Initialises a mutex that processes share and that survives its owner.
    fn init(mutex: *mut libc::pthread_mutex_t) -> io::Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the memory is that of attributes.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes were initialised above.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: the attributes were initialised above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: the memory is mapped, aligned and large enough, and no other process knows of the file yet.
        check(unsafe { libc::pthread_mutex_init(mutex, attributes) })?;
        // SAFETY: the attributes were initialised above and are not used again.
        check(unsafe { libc::pthread_mutexattr_destroy(attributes) })
    }

    fn check(error: libc::c_int) -> io::Result<()> {
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    }
}
