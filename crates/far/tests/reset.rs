//! The near file is emptied, replaced, or removed and made again while a tracker covers it and proves. Nothing old is read,
//! and the tracker goes on with the file that is there. Without a server, these tests say so and are left out.
#![cfg(unix)]

// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/resets.rs"]
mod resets;
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::Degraded;
use resets::{Work, emptied, file};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// So many keys that each is written once in more than T: a change that was missed shows before the next one hides it.
const MANY_KEYS: Work = Work { keys: 128, answers_take: Duration::ZERO };

fn under_reads(test: &str, degraded: Degraded, reset: impl Fn(&Path)) {
    resets::under_reads(test, degraded, MANY_KEYS, reset).unwrap_or_else(|broken| panic!("{test}: {broken}"));
}

/// Its namespaces lose their values, one after the other.
fn invalidated(near: &Path) {
    let file = file().open(near).unwrap();
    for name in file.namespaces() {
        file.namespace(&name, &kennel::NamespaceOptions::new()).unwrap().clear().unwrap();
    }
}

/// The library destroys the file, and the next process that needs it makes it again.
fn destroyed(near: &Path) {
    file().destroy(near).unwrap();
    thread::sleep(Duration::from_millis(5));
    drop(file().open_or_create(near).unwrap());
}

/// Removed behind the back of all who have it open.
fn removed(near: &Path) {
    std::fs::remove_file(near).unwrap();
    drop(file().open_or_create(near).unwrap());
}

#[test]
fn nothing_old_is_read_while_the_near_file_is_emptied() {
    under_reads("emptied", Degraded::Bypass, emptied);
    under_reads("invalidated", Degraded::Brief, invalidated);
}

#[test]
fn nothing_old_is_read_while_the_near_file_is_destroyed_and_made_again() {
    under_reads("destroyed", Degraded::Bypass, destroyed);
    under_reads("destroyed, brief", Degraded::Brief, destroyed);
}

#[test]
fn nothing_old_is_read_while_the_near_file_is_removed_and_made_again() {
    under_reads("removed", Degraded::Bypass, removed);
}
