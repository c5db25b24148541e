//! The owners of claims: threads, and tasks that are not tied to a thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The owner of a claim: a thread, or a task that is not tied to a thread. If an owner claims a key that it has already
/// claimed, it gets [`OwnClaim`](crate::Error::OwnClaim).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task(pub(super) u64);

impl Task {
    /// The calling thread, or the task on whose behalf it runs: see [`run`](Self::run).
    #[must_use]
    pub fn of_thread() -> Self {
        MINE.try_with(Cell::get).unwrap_or_else(|_| Self::unique())
    }

    /// A new task, different from all others of this process.
    #[must_use]
    pub fn unique() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Runs `work` on this thread on behalf of this task: claims in it belong to the task.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        struct Back(Task);
        impl Drop for Back {
            fn drop(&mut self) {
                let _ = MINE.try_with(|mine| mine.set(self.0));
            }
        }
        let _back = Back(MINE.replace(self));
        work()
    }
}

thread_local! {
    static MINE: Cell<Task> = Cell::new(Task::unique());
}

#[cfg(feature = "tokio")]
tokio::task_local! {
    /// The tasks whose creators the current task runs.
    static CREATING: Vec<Task>;
}

#[cfg(feature = "tokio")]
impl Task {
    /// The tasks whose creators the current tokio task runs, one within another, the innermost last.
    pub(super) fn creating() -> Vec<Self> {
        CREATING.try_with(Clone::clone).unwrap_or_else(|_outside_of_all_creators| Vec::new())
    }

    /// Runs `work` in the current tokio task on behalf of this task. If a call within `work` waits for a key that this
    /// task has claimed, it gets [`OwnClaim`](crate::Error::OwnClaim). This is for a caller that takes a claim by
    /// [`AsyncCache::claim`](crate::AsyncCache::claim) and runs a creator itself. It needs the feature `tokio`.
    pub async fn run_async<F: Future>(self, work: impl FnOnce() -> F) -> F::Output {
        let mut tasks = Self::creating();
        tasks.push(self);
        // `work` may return a future that does nothing until it is polled, or work before it returns the future.
        CREATING.scope(tasks, async { work().await }).await
    }
}
