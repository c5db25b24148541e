//! Redis Cluster: which master has which slots, as all processes of the host see it, and how data calls find it.
//!
//! Each master says of itself which slots it has and with which epoch (`CLUSTER NODES`); the *map* of the near file joins
//! what they say. A slot belongs to the master with the highest epoch of those that say that they have it, as in the
//! cluster itself. What a master says of others tells only where they are.
//!
//! Each master's keys lie in a namespace of their own with a proof of its own. Before the map gives a slot to a
//! namespace, or takes one away, that namespace is flushed. So what a namespace says of a slot is younger than the moment
//! at which it got the slot.

mod atlas;
mod map;
mod redirect;
mod route;
mod view;

pub(crate) use atlas::Atlas;
pub(crate) use map::{FORGET_AFTER_US, MOST_MASTERS, Map, Master, Merged};
pub(crate) use route::{Answers, Part, Router};
pub(crate) use view::{Said, View};
