//! Names for every store to shared memory: the points at which a process can die.
//!
//! Before each store the engine passes its [`Step`] to [`reached`], which does nothing in a normal build. With the
//! feature `crash-points` (or in the crate's own tests) a test can arm a plan that kills the process, or unwinds the
//! thread, at the n-th passing of a step. So the kill tests reach every state that a killed process can leave behind.

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A store to shared memory, named after what it does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Step { $($(#[$doc])* $name,)* }

        #[cfg(any(test, feature = "crash-points"))]
        impl Step {
            /// Every step, in the order of declaration.
            #[cfg(feature = "crash-points")]
            pub const ALL: &'static [Step] = &[$(Step::$name,)*];

            /// The name as tests and tables spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Step::$name => $text,)* }
            }
        }
    };
}

steps! {
    /// A field of the intent; the kind is not stored yet, so the intent does not count.
    IntentFields = "intent-fields",
    /// The intent's kind: from here on the operation is completed or undone by a repair.
    IntentKind = "intent-kind",
    /// The intent is cleared: the operation is complete.
    IntentClear = "intent-clear",
    /// The stripe's stamp counter, raised before a record carries the new stamp.
    Stamp = "stamp",
    /// A pad at the end of a ring.
    Pad = "pad",
    /// The header of a record that no slot points to yet.
    RecordHeader = "record-header",
    /// Key and value bytes of a record that no slot points to yet.
    RecordBody = "record-body",
    /// A ring's head passes a complete record.
    Head = "head",
    /// A ring's tail leaves a record behind; its bytes may be overwritten from here on.
    Tail = "tail",
    /// A bucket's version becomes odd: readers wait.
    BucketOdd = "bucket-odd",
    /// A slot of an odd bucket.
    Slot = "slot",
    /// A bucket's version becomes even: readers see the change.
    BucketEven = "bucket-even",
    /// The dead mark of a record: no slot will point to it again.
    Dead = "dead",
    /// An access mark, raised by a reader.
    Mark = "mark",
    /// A record overwritten in place while its bucket is odd.
    InPlace = "in-place",
    /// A record's expiry, changed in place.
    Expiry = "expiry",
    /// The stripe's number of live records.
    Live = "live",
    /// A counter.
    Counter = "counter",
    /// The number of attempts to repair a stripe, and which member repaired it.
    Repair = "repair",
    /// A ring's head or tail while a stripe is being emptied or rebuilt.
    RingReset = "ring-reset",
    /// The verify-me flag of a stripe.
    VerifyMe = "verify-me",
    /// A field of a claim that is not held yet.
    ClaimFields = "claim-fields",
    /// The number of the stripe's newest claim, and how many of its claims can be held.
    ClaimCount = "claim-count",
    /// A claim's number and state: from here on it is held.
    ClaimTake = "claim-take",
    /// A claim's number and state: from here on it is not held.
    ClaimEnd = "claim-end",
    /// A claim's time and state: it has ended, and its key rests.
    ClaimRest = "claim-rest",
    /// A field of a namespace; the hash of its name, stored last, makes it valid.
    Namespace = "namespace",
    /// The epochs of the header or of a namespace.
    Epoch = "epoch",
    /// The clock of tags in the header.
    TagClock = "tag-clock",
    /// The word of a tag, raised to the clock: from here on the values that bear the tag are gone, or stale.
    TagTable = "tag-table",
    /// The flush mark of the header.
    FlushMark = "flush-mark",
    /// The bit of the flush mark that closes the file to writers.
    Closed = "closed",
    /// The name of the member that resizes the file.
    Resizer = "resizer",
    /// A field of a seat.
    Seat = "seat",
    /// The lock word of a lock region: locked, unlocked, taken over, or marked by a waiter.
    LockWord = "lock-word",
    /// The word that waiters of a lock region sleep on.
    SleepWord = "sleep-word",
    /// A word of the header, of a stripe or of a seat that is stored while a cache file is created, adopted, reset or
    /// replaced, and the sample mask.
    Header = "header",
}

#[cfg(not(any(test, feature = "crash-points")))]
#[inline(always)]
pub(crate) fn reached(_: Step) {}

/// Called after a range of the file was synced to the device.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn synced(_: u64, _: u64) {}

/// Called before a load of shared memory that may race.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn loading() {}

#[cfg(feature = "crash-points")]
pub use watched::{Event, unwatch, watch};
#[cfg(feature = "crash-points")]
pub(crate) use watched::{loading, synced};

#[cfg(feature = "crash-points")]
mod watched {
    use super::Step;
    use std::cell::RefCell;

    /// What a watcher is notified of.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Event {
        /// A load of shared memory that may race is about to happen.
        Load,
        /// A store is about to happen.
        Store(Step),
        /// A range of the file, by offset and length in bytes, was synced to the device.
        Synced(u64, u64),
    }

    type Watcher = Box<dyn FnMut(Event)>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// Calls `watcher` at every event of this thread until [`unwatch`]. The watcher may block, so that other threads
    /// run in between. It may also unwind, which stands for a death and ends the watch.
    pub fn watch(watcher: impl FnMut(Event) + 'static) {
        // `set` would drop the old watcher while the cell is borrowed, and dropping what it owns may cause events, too.
        drop(WATCHER.replace(Some(Box::new(watcher))));
    }

    /// Ends the [`watch`] of this thread.
    pub fn unwatch() {
        drop(WATCHER.replace(None));
    }

    pub(super) fn tell(event: Event) {
        // No event while the watcher itself runs, or while the thread's locals are being dropped.
        if let Ok(Some(mut watcher)) = WATCHER.try_with(RefCell::take) {
            watcher(event);
            drop(WATCHER.replace(Some(watcher)));
        }
    }

    pub(crate) fn loading() {
        tell(Event::Load);
    }

    pub(crate) fn synced(offset: u64, len: u64) {
        tell(Event::Synced(offset, len));
    }
}

#[cfg(any(test, feature = "crash-points"))]
pub use armed::{Died, Plan, arm, passed, reached};

#[cfg(any(test, feature = "crash-points"))]
mod armed {
    use super::Step;
    use std::cell::Cell;

    /// What happens at the armed step.
    #[derive(Clone, Copy, Debug)]
    pub enum Plan {
        /// The thread unwinds with [`Died`] as its payload: a death that a test can observe within its own process.
        Unwind,
        /// The process kills itself immediately, without cleaning up: by `SIGKILL` or `TerminateProcess`.
        #[cfg(feature = "crash-points")]
        Kill,
        /// The thread sleeps until its process ends: it stands for a stopped process.
        #[cfg(feature = "crash-points")]
        Stop,
    }

    /// The payload of an unwinding death.
    #[derive(Debug)]
    pub struct Died(pub Step);

    thread_local! {
        static ARMED: Cell<Option<(Option<Step>, u64, Plan)>> = const { Cell::new(None) };
        static PASSED: Cell<u64> = const { Cell::new(0) };
    }

    /// Arms this thread: `plan` happens at the `nth` passing (from 0) of `step`, or of any step if `step` is `None`.
    pub fn arm(step: Option<Step>, nth: u64, plan: Plan) {
        ARMED.set(Some((step, nth, plan)));
        PASSED.set(0);
    }

    /// Disarms this thread, and returns how many steps it passed since it was armed.
    pub fn passed() -> u64 {
        ARMED.set(None);
        PASSED.get()
    }

    /// Called before every store to shared memory.
    pub fn reached(step: Step) {
        #[cfg(feature = "crash-points")]
        super::watched::tell(super::watched::Event::Store(step));
        let Some((wanted, left, plan)) = ARMED.get() else { return };
        PASSED.set(PASSED.get() + 1);
        if wanted.is_some_and(|wanted| wanted != step) {
            return;
        }
        if left > 0 {
            ARMED.set(Some((wanted, left - 1, plan)));
            return;
        }
        ARMED.set(None);
        die(step, plan);
    }

    fn die(step: Step, plan: Plan) {
        match plan {
            Plan::Unwind => std::panic::resume_unwind(Box::new(Died(step))),
            #[cfg(feature = "crash-points")]
            Plan::Kill => crate::platform::end_process(),
            #[cfg(feature = "crash-points")]
            Plan::Stop => loop {
                std::thread::park();
            },
        }
    }
}
