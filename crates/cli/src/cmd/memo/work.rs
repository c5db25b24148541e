//! One invocation: looks the result up, shows it, waits for it, or runs the command and remembers its result.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::Command;
use std::time::Duration;

use kennel::{Cache, Claim, CreateOptions, Error, Expiry, Item, Lookup, MAX_KEY, NamespaceOptions, SetOptions, Wait};
use kennel_harness::size::format_size;

use super::args::MemoArgs;
use super::background;
use super::identity::Identity;
use super::nesting::{self, Nesting};
use super::place::Place;
use super::recorded::Recorded;
use super::runner::{self, Audience, Ran};
use super::settings::Settings;
use crate::cmd::command::{self, Failure, exit_code};
use crate::cmd::outcome::CliResult;
use crate::message;
use crate::platform::run_in_place;

/// The namespace of remembered commands, so that the file can hold other things, too.
const NAMESPACE: &str = "memo";

/// Longest identity of a command: the namespace's name and a separator are part of the key.
const LONGEST_KEY: usize = MAX_KEY - NAMESPACE.len() - 1;

/// The most bytes that a record takes in addition to the two outputs and the key.
const OVERHEAD: u64 = 64;

/// The longest time that a claim can be held, because a command may run for any time.
const LONGEST_RUN: Duration = Duration::from_secs(19 * 24 * 60 * 60);

/// Shows the result of the command that the arguments name, or runs it.
pub fn run(args: &MemoArgs) -> CliResult {
    command::leave(Work::of(args, Audience::Caller).and_then(|work| work.do_it()))
}

/// Runs the command for an invocation that showed a stale result, or that has the option `--warm`.
pub fn run_in_background(args: &MemoArgs) -> CliResult {
    command::leave(Work::of(args, Audience::Nobody).and_then(|work| work.do_in_background()))
}

/// One invocation.
struct Work<'a> {
    args: &'a MemoArgs,
    settings: Settings,
    key: Vec<u8>,
    nesting: Nesting,
    audience: Audience,
}

impl<'a> Work<'a> {
    /// # Errors
    /// The caller's options or environment variables are wrong.
    fn of(args: &'a MemoArgs, audience: Audience) -> Result<Self, Failure> {
        let settings = Settings::of(args)?;
        let mut identity = Identity::new(settings.scope.as_deref(), &args.command);
        if args.cwd {
            let directory = env::current_dir()
                .map_err(|error| Failure::own("cannot determine the working directory").because(error))?;
            identity = identity.with_directory(&directory);
        }
        for name in &settings.variables {
            identity = identity.with_variable(name, env::var_os(name).as_deref());
        }
        let key = settings.files.iter().fold(identity, |identity, file| identity.with_modification(file)).into_key();
        let nesting = Nesting::of(&key, settings.cache.as_deref());
        Ok(Self { args, settings, key, nesting, audience })
    }

    fn do_it(&self) -> Result<i32, Failure> {
        let done = self.memory().and_then(|memory| match self.args.warm {
            true => start_in_background().map_err(Unmet::Failed),
            false => memory.show_or_run(),
        });
        self.or_without_cache(done)
    }

    fn do_in_background(&self) -> Result<i32, Failure> {
        match self.memory().and_then(|memory| memory.refresh()) {
            // The caller was shown a stale result and does not wait for a new one.
            Err(Unmet::Uncached(_)) if !self.args.warm => Ok(0),
            done => self.or_without_cache(done),
        }
    }

    /// Runs the command without the cache if the cache cannot be used, unless the caller requires it.
    fn or_without_cache(&self, done: Result<i32, Unmet>) -> Result<i32, Failure> {
        let why = match done {
            Ok(status) => return Ok(status),
            Err(Unmet::Failed(failure)) => return Err(failure),
            Err(Unmet::Uncached(why)) if self.args.require_cache => {
                return Err(Failure::own(format!("the cache cannot be used: {why}")));
            }
            Err(Unmet::Uncached(why)) => why,
        };
        not_remembered(why);
        if self.args.warm && matches!(self.audience, Audience::Caller) {
            return start_in_background();
        }
        self.check_nesting()?;
        let ended = run_in_place(&mut self.command());
        ended.map(exit_code).map_err(|error| Failure::to_start(&self.args.command, error))
    }

    /// Opens the cache file.
    fn memory(&self) -> Result<Memory<'_>, Unmet> {
        if self.key.len() > LONGEST_KEY {
            let found = format_size(self.key.len() as u64);
            return Err(Unmet::Uncached(format!("the command line of {found} is too long to be a key")));
        }
        let (capacity, trust) = (self.args.capacity, self.args.trust);
        let cache = Place { file: self.settings.cache.as_deref(), capacity, trust }.open().map_err(Unmet::Uncached)?;
        let cache = cache.namespace(NAMESPACE, &NamespaceOptions::new())?;
        Ok(Memory { work: self, cache })
    }

    fn command(&self) -> Command {
        // The parser ensures that there is a command.
        let (program, arguments) = self.args.command.split_first().map_or((OsStr::new(""), &[][..]), |(a, b)| (a, b));
        let mut command = Command::new(program);
        command.args(arguments).env(nesting::VARIABLE, self.nesting.variable());
        command
    }

    fn check_nesting(&self) -> Result<(), Failure> {
        if self.nesting.is_within_itself() { Err(self.runs_itself()) } else { Ok(()) }
    }

    fn runs_itself(&self) -> Failure {
        let name = self.args.command.first().map(|name| name.display().to_string()).unwrap_or_default();
        Failure::own(format!(
            "{name} runs itself without end: \"kennel memo\" is running the same command in a parent process; a script \
             that memoizes itself must check that {} is not set",
            nesting::VARIABLE
        ))
    }
}

/// Why an invocation did not end with the status of the command.
enum Unmet {
    /// The cache cannot be used, and the command has not been started.
    Uncached(String),
    Failed(Failure),
}

impl From<Failure> for Unmet {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Unmet {
    fn from(error: Error) -> Self {
        Self::Uncached(message::of_cache(&error))
    }
}

/// The part of a cache file that holds results.
struct Memory<'a> {
    work: &'a Work<'a>,
    cache: Cache,
}

impl Memory<'_> {
    fn show_or_run(&self) -> Result<i32, Unmet> {
        if self.work.args.force {
            return self.run_anew();
        }
        match self.claim(&self.how()) {
            Ok(Lookup::Hit(item) | Lookup::Stale(item)) => match self.of_use(&item) {
                Some(recorded) => Ok(show(&recorded)?),
                None => self.run_instead_of(&item),
            },
            Ok(Lookup::Create(claim)) => match claim.stale().and_then(|item| self.of_use(item)) {
                Some(stale) => self.show_and_renew(&stale, claim),
                None => self.run_under(claim),
            },
            // This program never stores an absence.
            Ok(_) => self.run_anew(),
            Err(Error::Resting { left }) => self.show_while_it_rests(left),
            Err(error) => Err(self.unclaimed(error)),
        }
    }

    /// Shows the result that takes the place of a failure, or fails, while no process runs the command.
    fn show_while_it_rests(&self, left: Duration) -> Result<i32, Unmet> {
        let why = format!("the command failed before, and may run again in {:.1} s", left.as_secs_f64());
        match self.older() {
            Some(older) => show_older(&older, why),
            None => Err(Failure::own(why).into()),
        }
    }

    /// The result that takes the place of a failure, if this caller wants one.
    fn older(&self) -> Option<Recorded> {
        let longest = self.work.settings.longest_if_failed()?;
        let item = self.cache.get_item(&self.work.key)?;
        let age = item.created.and_then(|created| created.elapsed().ok()).unwrap_or_default();
        self.of_use(&item).filter(|_| age < longest)
    }

    /// In the background: runs the command unless another process does. A fresh result is replaced only with `--warm`.
    fn refresh(&self) -> Result<i32, Unmet> {
        match self.cache.claim(&self.work.key, &self.how().wait(Wait::No).unprotected(false)) {
            Ok(Lookup::Create(claim)) => self.run_under(claim),
            Ok(Lookup::Hit(item)) if self.work.args.warm || self.of_use(&item).is_none() => self.run_anew(),
            Ok(_) | Err(Error::TimedOut { .. } | Error::Resting { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn how(&self) -> CreateOptions {
        let (ttl, stale) = (self.work.settings.ttl, self.work.settings.stale);
        let kept = Expiry::After(self.work.settings.kept());
        let how = CreateOptions::new().expiry(kept).unprotected(true).claim_max_age(LONGEST_RUN);
        let how = match self.work.args.retry_after {
            Some((first, most)) => how.rest(first, most),
            None => how,
        };
        // An older result than this caller accepts counts as missing.
        let how = how.wait(self.work.args.wait.map_or(Wait::Forever, Wait::For)).max_age(ttl).tags(&self.tags());
        match stale {
            Some(stale) => how.soft_expiry(Expiry::After(stale)).max_fresh_age(stale),
            None => how,
        }
    }

    fn tags(&self) -> Vec<&[u8]> {
        self.work.args.tags.iter().map(|tag| tag.as_encoded_bytes()).collect()
    }

    fn claim(&self, how: &CreateOptions) -> Result<Lookup, Error> {
        if self.work.nesting.is_within_itself() {
            // The process that holds the claim waits for this one.
            return self.cache.claim(&self.work.key, &how.clone().wait(Wait::No).unprotected(false));
        }
        self.cache.claim(&self.work.key, how)
    }

    fn unclaimed(&self, error: Error) -> Unmet {
        match error {
            Error::TimedOut { .. } if self.work.nesting.is_within_itself() => self.work.runs_itself().into(),
            error => error.into(),
        }
    }

    /// The result, if this caller accepts it: a failure is only for callers with `--cache-failures`.
    fn of_use(&self, item: &Item) -> Option<Recorded> {
        // Other bytes under this key come from another program.
        Recorded::from_bytes(&item.value).filter(|recorded| recorded.status == 0 || self.work.args.cache_failures)
    }

    /// Runs the command although a result is stored that this caller does not accept. Other callers that do not accept
    /// it wait; one of them may have been faster.
    fn run_instead_of(&self, unwanted: &Item) -> Result<i32, Unmet> {
        // With a greatest age of zero the stored result counts as missing.
        match self.claim(&self.how().max_age(Duration::ZERO)) {
            Ok(Lookup::Create(claim)) => {
                let found = self.cache.get_item(&self.work.key).filter(|item| item.stamp != unwanted.stamp);
                match found.and_then(|item| self.of_use(&item)) {
                    Some(recorded) => {
                        drop(claim);
                        Ok(show(&recorded)?)
                    }
                    None => self.run_under(claim),
                }
            }
            Ok(_) => self.run_anew(),
            Err(Error::Resting { left }) => self.show_while_it_rests(left),
            Err(error) => Err(self.unclaimed(error)),
        }
    }

    fn show_and_renew(&self, stale: &Recorded, claim: Claim) -> Result<i32, Unmet> {
        // The process in the background takes the claim.
        drop(claim);
        match background::start() {
            Ok(()) => Ok(show(stale)?),
            // If no process can be started, a stale result must not be shown forever.
            Err(_) => self.run_anew(),
        }
    }

    /// Runs the command while all other callers wait for its result.
    fn run_under(&self, claim: Claim) -> Result<i32, Unmet> {
        let ran = self.record()?;
        match &ran.recorded {
            None => {
                claim.refuse();
                self.remark_size(&ran);
            }
            Some(recorded) if self.is_kept(&ran) => {
                claim.store(recorded.to_bytes()).map(drop).unwrap_or_else(|error| not_stored(&error));
            }
            Some(_) => drop(claim.fail()),
        }
        self.end(ran)
    }

    /// The status of a command, or the older result that takes the place of its failure.
    fn end(&self, ran: Ran) -> Result<i32, Unmet> {
        if !ran.is_withheld {
            return Ok(ran.end()?);
        }
        let status = ran.status();
        match self.older() {
            Some(older) => show_older(&older, format_args!("the command failed with status {status}")),
            // The older result expired while the command ran.
            None => Ok(ran.recorded.map_or(Ok(status), |recorded| show(&recorded))?),
        }
    }

    /// Runs the command regardless of other callers and of stored results. A result that is invalidated meanwhile stays
    /// invalidated.
    fn run_anew(&self) -> Result<i32, Unmet> {
        let began = self.cache.moment()?;
        let ran = self.record()?;
        match &ran.recorded {
            Some(recorded) if self.is_kept(&ran) => {
                let kept = Expiry::After(self.work.settings.kept());
                let mut how = SetOptions::new().expiry(kept).tags(&self.tags()).as_of(began);
                if let Some(stale) = self.work.settings.stale {
                    how = how.soft_expiry(Expiry::After(stale));
                }
                let stored = self.cache.set_with(&self.work.key, recorded.to_bytes(), &how);
                stored.map(drop).unwrap_or_else(|error| not_stored(&error));
            }
            Some(_) => {}
            None => self.remark_size(&ran),
        }
        self.end(ran)
    }

    /// Runs the command and records its output.
    fn record(&self) -> Result<Ran, Unmet> {
        self.work.check_nesting()?;
        let failed = |error| Failure::to_start(&self.work.args.command, error);
        let running = runner::start(&mut self.work.command()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => failed(error).into(),
            // There may be too few descriptors for the pipes, which the command alone does not need.
            _ => Unmet::Uncached(format!("the command cannot be started with its output recorded: {error}")),
        })?;
        let audience = match self.work.audience {
            Audience::Caller if !self.work.args.force && self.older().is_some() => Audience::CallerIfGood,
            audience => audience,
        };
        Ok(running.finish(audience, self.most()).map_err(failed)?)
    }

    fn is_kept(&self, ran: &Ran) -> bool {
        ran.is_success() || self.work.args.cache_failures
    }

    /// The most bytes of output that can be stored.
    fn most(&self) -> u64 {
        self.cache.stats().largest_record.saturating_sub(self.work.key.len() as u64 + OVERHEAD)
    }

    fn remark_size(&self, ran: &Ran) {
        let (found, most) = (format_size(ran.output), format_size(self.most()));
        not_remembered(format_args!("{found} of output, and the cache file accepts at most {most}"));
    }
}

fn show(recorded: &Recorded) -> Result<i32, Failure> {
    recorded.replay()?;
    Ok(recorded.status)
}

/// Shows a result that takes the place of a failure, and says so.
fn show_older(older: &Recorded, why: impl Display) -> Result<i32, Unmet> {
    // If standard error is closed, the message is lost.
    let _ = writeln!(io::stderr(), "kennel memo: an older result is shown: {why}");
    Ok(show(older)?)
}

fn start_in_background() -> Result<i32, Failure> {
    background::start()
        .map(|()| 0)
        .map_err(|error| Failure::own("cannot start the command in the background").because(error))
}

fn not_stored(error: &Error) {
    not_remembered(message::of_cache(error));
}

/// Tells the caller, on standard error, why the result is not remembered.
fn not_remembered(why: impl Display) {
    // If standard error is closed, the message is lost.
    let _ = writeln!(io::stderr(), "kennel memo: not remembered: {why}");
}
