//! The texts of errors, for a program in C.

use engine::{Advice, Error};
use std::ffi::{CStr, CString};

/// A text that may be constant.
enum Text {
    Fixed(&'static CStr),
    Own(CString),
}

/// What is said of a failure.
pub(crate) struct Words {
    facts: Text,
    /// The facts with what to do, if there is something.
    whole: Option<CString>,
    advice: &'static CStr,
}

impl Words {
    pub(crate) const fn fixed(facts: &'static CStr) -> Self {
        Self { facts: Text::Fixed(facts), whole: None, advice: c"" }
    }

    pub(crate) fn of(facts: CString) -> Self {
        Self { facts: Text::Own(facts), whole: None, advice: c"" }
    }

    /// What was expected, and what was found.
    pub(crate) fn facts(&self) -> &CStr {
        match &self.facts {
            Text::Fixed(facts) => facts,
            Text::Own(facts) => facts,
        }
    }

    /// The facts and what to do, with the names of `kennel.h`.
    pub(crate) fn whole(&self) -> &CStr {
        self.whole.as_deref().unwrap_or_else(|| self.facts())
    }

    /// The name of the advice.
    pub(crate) fn advice(&self) -> &CStr {
        self.advice
    }
}

/// A text for C, which ends at the first zero byte.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// What is said of an error of the engine.
pub(crate) fn words(error: &Error) -> Words {
    let parts = error.parts();
    let whole = parts.advice.map(in_c).filter(|advice| !advice.is_empty());
    let whole = whole.map(|advice| text(&format!("{}; {advice}", parts.facts)));
    Words { facts: Text::Own(text(&parts.facts)), whole, advice: parts.advice.map_or(c"", name) }
}

/// The name of an advice, for languages that word it themselves.
fn name(advice: Advice) -> &'static CStr {
    match advice {
        Advice::Create => c"create",
        Advice::OpenOrDestroy => c"open-or-destroy",
        Advice::OtherPath => c"other-path",
        Advice::OtherPathOrRemove => c"other-path-or-remove",
        Advice::ReplaceLost => c"replace-lost",
        Advice::DestroyAndCreate => c"destroy-and-create",
        Advice::OnMismatch => c"on-mismatch",
        Advice::RestoreLocks => c"restore-locks",
        Advice::NotLease => c"not-lease",
        Advice::ShareHandle => c"share-handle",
        Advice::Trust => c"trust",
        Advice::LocalFiles => c"local-files",
        Advice::MoreSeats => c"more-seats",
        Advice::LargerItems => c"larger-items",
        Advice::WaitLonger => c"wait-longer",
        Advice::NotWithin => c"not-within",
        Advice::MoreNamespaces => c"more-namespaces",
        // One that this library does not know yet.
        _ => c"",
    }
}

fn in_c(advice: Advice) -> &'static str {
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
