//! Threads that take turns: one runs at a time, and the input says who, and for how long.
//!
//! A thread is watched at each of its accesses to shared memory. When its turn is over it stops right there, and
//! the next byte of the input chooses who goes on. So an input is one interleaving, and runs the same each time.

use crate::Input;
use kennel::crash::Event;
use kennel::locks::{LockError, LockFactory, LockPlace, LockRegions};
use std::cell::RefCell;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many threads take turns.
pub const THREADS: usize = 3;

/// The payload of a death.
pub struct Died;

/// Whose turn it is, and the rest of the input.
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    input: Vec<u8>,
    at: usize,
    running: usize,
    is_done: [bool; THREADS],
    /// Accesses until the next decision.
    left: u32,
    /// The thread that runs dies at its next store.
    dies: bool,
    /// Counts what happens, so that two events can be told to be one after the other.
    clock: u64,
}

impl State {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.input.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// Chooses who goes on: the two lowest bits say who, the next five for how long, the highest one whether it
    /// dies. Without input the threads run to their ends one after the other.
    fn decide(&mut self) {
        let byte = self.byte();
        let from = byte.map_or(self.running, |byte| usize::from(byte & 3));
        self.left = byte.map_or(u32::MAX, |byte| u32::from(byte >> 2 & 31) * 3 / 2);
        self.dies = byte.is_some_and(|byte| byte & 0x80 != 0);
        self.pass_on(from);
    }

    /// Gives the turn to the first thread from `from` on that is not done.
    fn pass_on(&mut self, from: usize) {
        let next = (0..THREADS).map(|n| (from + n) % THREADS).find(|&thread| !self.is_done[thread]);
        self.running = next.unwrap_or(THREADS);
    }
}

thread_local! {
    /// This thread's place among those that take turns.
    static MINE: RefCell<Option<(Arc<Turns>, usize)>> = const { RefCell::new(None) };
}

impl Turns {
    pub fn new(input: Input<'_>) -> Arc<Self> {
        let mut state = State {
            input: input.0.to_vec(),
            at: 0,
            running: 0,
            is_done: [false; THREADS],
            left: 0,
            dies: false,
            clock: 0,
        };
        state.decide();
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is this thread's turn, after a decision.
    fn hand_over(&self, mut state: MutexGuard<'_, State>, me: usize) {
        if state.running == me {
            return;
        }
        self.changed.notify_all();
        while state.running != me {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs `work` as thread number `me`, from its first turn on.
    pub fn run(self: &Arc<Self>, me: usize, work: impl FnOnce()) {
        MINE.set(Some((self.clone(), me)));
        self.hand_over(self.state(), me);
        work();
        MINE.set(None);
        let mut state = self.state();
        state.is_done[me] = true;
        state.decide();
        self.changed.notify_all();
    }

    /// What the engine is watched by while thread `me` is at work.
    pub fn watcher(self: &Arc<Self>, me: usize) -> impl FnMut(Event) + 'static {
        let turns = self.clone();
        move |event| turns.access(me, event)
    }

    fn access(&self, me: usize, event: Event) {
        let mut state = self.state();
        if state.dies && matches!(event, Event::Store(_)) {
            state.dies = false;
            drop(state);
            resume_unwind(Box::new(Died));
        }
        if state.left > 0 {
            state.left -= 1;
            return;
        }
        state.decide();
        self.hand_over(state, me);
    }

    /// Lets the others run: this thread waits for one of them.
    fn yield_turn(&self, me: usize) {
        let mut state = self.state();
        state.left = state.byte().map_or(u32::MAX, |byte| byte.into());
        state.dies = false;
        state.pass_on(me + 1);
        self.hand_over(state, me);
    }

    /// The next byte of the input, for the thread whose turn it is; 0 behind its end.
    pub fn byte(&self) -> u8 {
        self.state().byte().unwrap_or(0)
    }

    pub fn is_over(&self) -> bool {
        let state = self.state();
        state.at >= state.input.len()
    }

    /// A number higher than all before.
    pub fn tick(&self) -> u64 {
        let mut state = self.state();
        state.clock += 1;
        state.clock
    }
}

/// Locks of threads that take turns: whoever finds one held lets the others run. A death gives it on, as a kernel
/// does.
pub struct TurnLocks;

/// Attempts of those who wait a short time, as readers do, and of the others.
const ATTEMPTS: (u32, u32) = (4, 100_000);
const NOBODY: usize = usize::MAX;
const REGIONS: usize = 4;

static HELD: [AtomicUsize; REGIONS] = [const { AtomicUsize::new(NOBODY) }; REGIONS];

impl LockFactory for TurnLocks {
    fn name(&self) -> &str {
        "turns"
    }

    fn id(&self) -> u64 {
        1001
    }

    fn prepare(&self, _: &LockPlace) -> io::Result<()> {
        Ok(())
    }

    fn attach(&self, _: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(TurnLocks))
    }
}

impl LockRegions for TurnLocks {
    fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError> {
        let held = &HELD[region as usize];
        let mine = MINE.with_borrow(Clone::clone);
        let me = mine.as_ref().map_or(THREADS, |&(_, me)| me);
        for _ in 0..if limit < Duration::from_secs(1) { ATTEMPTS.0 } else { ATTEMPTS.1 } {
            if held.compare_exchange(NOBODY, me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
            let (turns, me) = mine.as_ref().expect("nobody holds a lock when the threads are done");
            turns.yield_turn(*me);
        }
        Err(LockError::Busy)
    }

    fn unlock(&self, region: u32) {
        HELD[region as usize].store(NOBODY, Ordering::Release);
    }
}
