//! Error messages, with this program's options and commands in place of the library's functions.

use std::error::Error as StdError;

use kennel::Error;

/// An error with its causes: `MESSAGE: CAUSE: CAUSE`.
pub fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut message = text_of(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = text_of(error);
        // Some errors already quote their cause.
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

fn text_of(error: &(dyn StdError + 'static)) -> String {
    #[cfg(all(unix, feature = "far"))]
    if let Some(error) = error.downcast_ref::<kennel_far::Error>() {
        return of_far(error);
    }
    error.downcast_ref().map_or_else(|| error.to_string(), of_cache)
}

/// The message of an error of the far tier, for a user of the command line.
#[cfg(all(unix, feature = "far"))]
fn of_far(error: &kennel_far::Error) -> String {
    use kennel_far::Error as Far;
    match error {
        Far::Near(error) => of_cache(error),
        Far::Option { option: "url", given, expected } => format!("URL: expected {expected}, found {given}"),
        Far::Option { option, given, expected } => format!("{}: expected {expected}, found {given}", flag_of(option)),
        Far::Mismatch(path) => format!(
            "the near tier in {path} is in use with another database, another --max-staleness or without tracking: give \
             all processes of a host the same, or use another file"
        ),
        other => other.to_string(),
    }
}

/// The message of an error of the library, for a user of the command line.
pub fn of_cache(error: &Error) -> String {
    match error {
        Error::NotFound(path) => format!("no cache file at {}; create one with \"kennel create\"", path.display()),
        Error::Exists(path) => {
            format!("{} exists already; use it, or remove it first with \"kennel destroy\"", path.display())
        }
        // The library's message names an option that this program lacks.
        Error::BadFile { path, field: field @ "content", expected, found } => format!(
            "{}: {field}: expected {expected}, found {found}; a power failure can leave such a file, which holds no values: \
             remove it with \"kennel destroy\"",
            path.display()
        ),
        Error::Mismatch { path, option, asked, found } => {
            format!("{}: {}: asked for {asked}, the file has {found}", path.display(), flag_of(option))
        }
        Error::LeaseRefused(path) => format!(
            "--locks lease is refused for {}: on an overlay file system, such as the root of a container, a lease does \
             not show whether a process is alive; use another file system (/dev/shm, a volume) or --locks file",
            path.display()
        ),
        Error::OpenElsewhere(path) => format!(
            "{} was created with --locks process, so only one process at a time may open it, and another has it open",
            path.display()
        ),
        Error::NotTrusted { path, detail } => {
            format!("{} is not trusted: {detail}; use --trust if you trust everyone who can write it", path.display())
        }
        Error::NetworkFilesystem { path, kind } => format!(
            "{} is on {kind}, where mappings or locks are not coherent; use a local file system",
            path.display()
        ),
        Error::SeatsFull { path, seats } => format!(
            "all {seats} seats of {} are taken by running processes; create it with more (--seats)",
            path.display()
        ),
        Error::NamespacesFull { path, namespaces } => {
            format!("all {namespaces} namespaces of {} are used; create it with more (--namespaces)", path.display())
        }
        Error::BadOption { option, given, expected } => {
            format!("{}: expected {expected}, found {given}", flag_of(option))
        }
        Error::TimedOut { waited } => {
            format!("another process still has the key after {waited:.1?}; wait longer (--wait)")
        }
        error => error.to_string(),
    }
}

/// The name of an option of the library on the command line: `--lock-regions` for `lock_regions`. Some names are
/// descriptions with spaces, and remain as they are.
pub fn flag_of(option: &str) -> String {
    match option {
        "path" => "FILE".to_owned(),
        described if described.contains(' ') => described.to_owned(),
        name => format!("--{}", name.replace('_', "-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Layer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let root = Layer("disk full", None);
        let middle = Layer("cannot write: disk full", Some(Box::new(root)));
        let top = Layer("cannot create", Some(Box::new(middle)));
        assert_eq!(with_causes(&top), "cannot create: cannot write: disk full");
    }

    /// Names from Rust are paths with `::` and words in backticks.
    #[test]
    fn no_error_of_the_cache_is_told_in_the_words_of_the_library() {
        let path = || "file.cache".into();
        let bad = |field| Error::BadFile { path: path(), field, expected: "one".into(), found: "two".into() };
        let errors = [
            bad("magic"),
            bad("length"),
            bad("file type"),
            bad("content"),
            bad("format"),
            bad("checksum"),
            Error::NotFound(path()),
            Error::Exists(path()),
            Error::Mismatch { path: path(), option: "lock_regions", asked: "1".into(), found: "2".into() },
            Error::LocksLost { path: path(), detail: "none".into() },
            Error::LeaseRefused(path()),
            Error::OpenElsewhere(path()),
            Error::NotTrusted { path: path(), detail: "others may write it".into() },
            Error::NetworkFilesystem { path: path(), kind: "nfs".into() },
            Error::NoSpace { path: path(), needed: 1, advice: "" },
            Error::SeatsFull { path: path(), seats: 1 },
            Error::BadOption { option: "mean_item", given: "0".into(), expected: "more".into() },
            Error::KeyTooLong { size: 2, limit: 1 },
            Error::TooLarge { size: 2, limit: 1 },
            Error::NotANumber { found: "x".into() },
            Error::Overflow { value: 1, sign: '-', delta: 2 },
            Error::Busy { stripe: 1, waited: Duration::from_secs(1) },
            Error::TimedOut { waited: Duration::from_secs(1) },
            Error::OwnClaim,
            Error::NamespacesFull { path: path(), namespaces: 1 },
            Error::ReadOnly(path()),
        ];
        for error in errors {
            let told = of_cache(&error);
            assert!(!told.contains("::") && !told.contains('`') && !told.contains('_'), "{told}");
        }
    }
}
