//! The faults that `--plant` accepts, by name.

use kennel::planted::Plant;

pub const ALL: &[(&str, Plant)] = &[
    ("torn", Plant::Torn),
    ("revived", Plant::Revived),
    ("unlocked", Plant::Unlocked),
    ("late-store", Plant::LateStore),
    ("double-claim", Plant::DoubleClaim),
    ("unfollowed", Plant::Unfollowed),
];

pub fn named(name: &str) -> Option<Plant> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, plant)| *plant)
}
