//! What `kennel load` and `kennel copy`, the commands that store saved items in a cache file, have in common.

use std::fmt;

use clap::Args;
use kennel::{Error, RestoreOptions};
use kennel_harness::human::{count, plural};
use kennel_stream::{FillOptions, Namespace, Tally};

use crate::message::of_cache;
use crate::output::warn;

/// Which items are stored.
#[derive(Args)]
pub struct FillArgs {
    /// Replace the value that the file holds for a key. By default this value is kept, because it is newer.
    #[arg(long)]
    replace: bool,
    /// Store items even if there is no room for them, so that other items are evicted. By default such items are left
    /// out, and nothing that the file holds is evicted: the file keeps what it has and gets the most used items that
    /// fit.
    #[arg(long)]
    evict: bool,
    /// Store items that bear tags, too. By default they are left out, because it is unknown whether their tags were
    /// invalidated after they were read from the other file.
    #[arg(long)]
    tagged: bool,
}

impl FillArgs {
    pub fn how(&self) -> FillOptions {
        FillOptions { restore: RestoreOptions::new().replace(self.replace).evict(self.evict), tagged: self.tagged }
    }
}

/// Says that the file has no room for a namespace.
pub fn refused(namespace: &Namespace, error: &Error) {
    warn(&format!("the items of namespace {:?} are left out: {}", namespace.name, of_cache(error)));
}

/// What became of the items, as text for people.
pub struct InWords<'t>(pub &'t Tally);

/// One sentence: `12 items; 3 had expired`.
impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.0;
        write!(f, "{}", plural(tally.stored, "item"))?;
        let others = [
            (tally.kept, "were there already"),
            (tally.expired, "had expired"),
            (tally.tagged, "bear tags and were left out: see --tagged"),
            (tally.no_room, "did not fit, the least used ones"),
            (tally.too_large, "were too large for the file"),
            (tally.no_namespace, "are of namespaces for which the file has no room"),
        ];
        others.iter().filter(|(n, _)| *n != 0).try_for_each(|(n, what)| write!(f, "; {} {what}", count(*n)))
    }
}
