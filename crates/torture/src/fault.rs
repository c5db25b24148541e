//! The faults that `--fault` accepts, by name.

use kennel::faults::Fault;

pub const ALL: &[(&str, Fault)] = &[
    ("torn", Fault::Torn),
    ("revived", Fault::Revived),
    ("unlocked", Fault::Unlocked),
    ("late-store", Fault::LateStore),
    ("double-claim", Fault::DoubleClaim),
    ("unfollowed", Fault::Unfollowed),
    ("deaf-to-tags", Fault::DeafToTags),
    ("fresh-though-tagged", Fault::FreshThoughTagged),
    ("late-clock", Fault::LateClock),
    ("not-closed", Fault::NotClosed),
    ("left-closed", Fault::LeftClosed),
    ("forgotten-tags", Fault::ForgottenTags),
    ("moved-locks", Fault::MovedLocks),
];

pub fn named(name: &str) -> Option<Fault> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault)
}
