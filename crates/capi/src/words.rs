//! The texts of errors, for a program in C.

use engine::{Advice, Error};

/// The message of an error, with the names of `kennel.h`.
pub(crate) fn in_c(error: &Error) -> String {
    let parts = error.parts();
    match parts.advice.map_or("", advice) {
        "" => parts.facts,
        advice => parts.facts + "; " + advice,
    }
}

fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Create => "create one with \"kennel create\", or open it without KENNEL_EXISTING",
        Advice::OpenOrDestroy => "open it, or remove it first with kennel_destroy",
        Advice::OtherPath => "this is no cache file, so it is left alone: choose another path, or remove it yourself",
        Advice::OtherPathOrRemove => {
            "this is no cache file, so it is left alone: choose another path, or remove it yourself if you know that it \
             once was one"
        }
        Advice::ReplaceLost => {
            "a power failure can leave a file like this, and nothing is lost with it: remove it with kennel_destroy"
        }
        Advice::DestroyAndCreate => {
            "it is a cache file of another format, or a damaged one: remove it with kennel_destroy, and open it again"
        }
        Advice::OnMismatch => "use the file as it is, without KENNEL_SAME_SIZES, or remove it with kennel_destroy",
        Advice::RestoreLocks => {
            "the file was moved, linked or mounted without its lock directory, or that directory was deleted: restore \
             the directory, or remove the cache with kennel_destroy"
        }
        Advice::NotLease => "use another file system (/dev/shm, a volume), or create the file with locks = \"file\"",
        Advice::ShareHandle => {
            "share that handle within the process, or create the file with another lock strategy for several processes"
        }
        Advice::Trust => "if you trust everyone who can write to it, open it with KENNEL_TRUST",
        Advice::LocalFiles => {
            "use a local file system, or KENNEL_ALLOW_NETWORK if only one host uses it and you know that its locks work"
        }
        Advice::MoreSeats => "create the file with more seats (kennel_options.seats)",
        Advice::LargerItems => "fewer stripes or a larger capacity allow larger items",
        Advice::WaitLonger => "wait longer (wait_ms), or create the value anyway (KENNEL_UNPROTECTED)",
        Advice::NotWithin => "within its creation or lock, do not create or lock the key again",
        Advice::MoreNamespaces => "create the file with room for more (kennel_options.namespaces)",
        // One that this library does not know yet.
        _ => "",
    }
}
