//! The keys that a thread, or a task of tokio, is creating. A creator that asks for its own key would wait for
//! its own lease.
//!
//! The engine knows the owners of its claims, but it does not see every creation. A creation has no claim while nothing
//! is proved, or if the near tier does not cover the key. And its claim may lie in another namespace than the one in
//! which the caller looks.

use crate::error::Result;
use std::cell::RefCell;

/// A key of a server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Names the server and its database.
    pub server: String,
    pub key: Vec<u8>,
}

thread_local! {
    /// The nested creations of this thread, the innermost last.
    static OF_THREAD: RefCell<Vec<Wanted>> = const { RefCell::new(Vec::new()) };
}

#[cfg(feature = "tokio")]
tokio::task_local! {
    /// The nested creations of this task, the innermost last.
    static OF_TASK: Vec<Wanted>;
}

/// Fails if the caller is creating this key.
pub(crate) fn check_not_own(wanted: impl FnOnce() -> Wanted) -> Result<()> {
    let is_creating = OF_THREAD.with_borrow(|all| !all.is_empty());
    #[cfg(feature = "tokio")]
    let is_creating = is_creating || OF_TASK.try_with(|_| ()).is_ok();
    if is_creating { wanted().check() } else { Ok(()) }
}

impl Wanted {
    fn check(&self) -> Result<()> {
        let is_own = OF_THREAD.with_borrow(|all| all.contains(self));
        #[cfg(feature = "tokio")]
        let is_own = is_own || OF_TASK.try_with(|all| all.contains(self)).unwrap_or(false);
        if is_own { Err(kennel::Error::OwnClaim.into()) } else { Ok(()) }
    }

    /// Runs a creator of this key in the calling thread.
    pub(crate) fn during<R>(self, create: impl FnOnce() -> R) -> R {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                OF_THREAD.with_borrow_mut(Vec::pop);
            }
        }
        OF_THREAD.with_borrow_mut(|all| all.push(self));
        let _end = End;
        create()
    }

    /// Runs a creator of this key in the current task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn during_task<F: Future>(self, creating: F) -> F::Output {
        let mut all = OF_TASK.try_with(Clone::clone).unwrap_or_else(|_outside_of_all_creators| Vec::new());
        all.push(self);
        OF_TASK.scope(all, creating).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(key: &str) -> Wanted {
        Wanted { server: "server".into(), key: key.into() }
    }

    #[test]
    fn a_key_is_ones_own_while_it_is_created_and_not_for_others() {
        let is_own = |key: &str| check_not_own(|| wanted(key)).is_err();
        wanted("a").during(|| {
            assert!(is_own("a") && !is_own("b"));
            wanted("b").during(|| assert!(is_own("a") && is_own("b")));
            assert!(!is_own("b") && Wanted { server: "other".into(), ..wanted("a") }.check().is_ok());
            std::thread::scope(|scope| scope.spawn(|| assert!(!is_own("a"))).join().unwrap());
        });
        assert!(std::panic::catch_unwind(|| wanted("a").during(|| panic!("a creator fails"))).is_err());
        assert!(!is_own("a"));
    }
}
