//! Reads an ordinary command line without clap, whose setup takes longer than looking up a result.
//!
//! Unusual forms and mistakes are left to clap, which knows all forms and all messages. What is read here has the same
//! meaning as in clap.

use std::ffi::OsString;
use std::time::Duration;

use kennel_harness::size::parse_size;

use super::args::{MemoArgs, parse_rests};
use crate::time::parse_duration;

/// Options that take no value.
const FLAGS: [&str; 6] = ["cwd", "force", "warm", "cache-failures", "trust", "require-cache"];

impl MemoArgs {
    /// Reads the words after `kennel memo`; `None` if they need clap.
    pub fn plain(words: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut words = words.into_iter();
        let mut given = Given::read(&mut words)?;
        let args = Self {
            ttl: given.value("ttl", time)?,
            stale: given.value("stale", time)?,
            stale_if_error: given.value("stale-if-error", time)?,
            retry_after: given.value("retry-after", |text| parse_rests(text.to_str()?).ok())?,
            scope: given.value("scope", Some)?,
            cwd: given.flag("cwd")?,
            env: given.values("env"),
            modtime: given.values("modtime").into_iter().map(Into::into).collect(),
            tags: given.values("tag"),
            force: given.flag("force")?,
            warm: given.flag("warm")?,
            cache_failures: given.flag("cache-failures")?,
            wait: given.value("wait", time)?,
            cache: given.value("cache", |path| Some(path.into()))?,
            capacity: given.value("capacity", |size| parse_size(size.to_str()?).ok())?,
            trust: given.flag("trust")?,
            require_cache: given.flag("require-cache")?,
            command: words.collect(),
        };
        let is_plain = given.0.is_empty() && !args.command.is_empty();
        let conflicts = args.force && args.warm || args.stale_if_error.is_some() && args.cache_failures;
        (is_plain && !conflicts).then_some(args)
    }
}

/// The options that were given and not yet asked for, each with its value; that of a flag is empty.
struct Given(Vec<(String, OsString)>);

impl Given {
    /// Reads the words up to and including `--`.
    fn read(words: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let mut given = Vec::new();
        loop {
            let word = words.next()?.into_string().ok()?;
            let option = word.strip_prefix("--")?;
            if option.is_empty() {
                return Some(Self(given));
            }
            if FLAGS.contains(&option) {
                given.push((option.to_owned(), OsString::new()));
                continue;
            }
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, value.into()),
                None => (option, words.next().filter(|value| !value.as_encoded_bytes().starts_with(b"-"))?),
            };
            given.push((name.to_owned(), present(value)?));
        }
    }

    fn values(&mut self, name: &str) -> Vec<OsString> {
        self.0.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect()
    }

    /// The value of an option that may be given once; `None` if clap must report a mistake.
    fn value<T>(&mut self, name: &str, read: impl FnOnce(OsString) -> Option<T>) -> Option<Option<T>> {
        let mut values = self.values(name);
        match (values.pop(), values.is_empty()) {
            (Some(value), true) => read(value).map(Some),
            (Some(_), false) => None,
            (None, _) => Some(None),
        }
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        match self.values(name)[..] {
            [] => Some(false),
            // A flag takes no value.
            [ref value] => value.is_empty().then_some(true),
            _ => None,
        }
    }
}

fn present(value: OsString) -> Option<OsString> {
    (!value.is_empty()).then_some(value)
}

fn time(value: OsString) -> Option<Duration> {
    parse_duration(value.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use proptest::prelude::*;

    #[derive(clap::Parser)]
    struct Memo {
        #[command(flatten)]
        args: MemoArgs,
    }

    /// The arguments as clap reads them.
    fn parsed(words: &[&str]) -> Option<MemoArgs> {
        let line = ["memo"].into_iter().chain(words.iter().copied());
        Memo::try_parse_from(line).ok().map(|memo| memo.args)
    }

    fn plain(words: &[&str]) -> Option<MemoArgs> {
        MemoArgs::plain(words.iter().map(OsString::from))
    }

    #[test]
    fn ordinary_lines_do_without_the_parser() {
        let lines = [
            "-- true",
            "--ttl 1h -- true",
            "--ttl=1h --stale 1m -- true",
            "--scope s --cwd --env A --env=B --modtime f --modtime g -- ls -l --ttl",
            "--force --cache-failures --wait 0s --cache=f -- sh -c --",
            "--capacity 16M --trust --require-cache -- true",
            "--warm -- true",
            "--tag a --tag=b -- true",
            "--stale-if-error 1h --retry-after 1s,30s -- true",
        ];
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let read = plain(&words);
            assert!(read.is_some(), "{line}");
            assert_eq!(read, parsed(&words), "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_read_here_the_parser_reads_alike(words in proptest::collection::vec(prop_oneof![
            4 => prop::sample::select(&["--", "true", "--ttl", "--stale", "--wait", "1h", "2 m", "0s", "soon", "", "-"][..]),
            2 => prop::sample::select(&["--scope", "--cache", "--env", "--modtime", "--cwd", "--warm", "--force"][..]),
            1 => prop::sample::select(&["--cache-failures", "--trust", "--none", "--help", "-h", "-x"][..]),
            1 => prop::sample::select(&["--ttl=2h", "--stale=", "--scope=a=b", "--cwd=", "--cwd=x", "--env=A", "--=x"][..]),
        ], 0..8)) {
            // The command follows `--`.
            let words = [&words[..], &["--", "ls"]].concat();
            if let Some(read) = plain(&words) {
                prop_assert_eq!(Some(read), parsed(&words));
            }
        }
    }
}
