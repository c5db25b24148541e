//! Redis Cluster: which master has which slots, as all processes of the host see it, and how data calls find a master.
//!
//! Each master says which slots it has, and with which epoch (`CLUSTER NODES`); the *map* of the near file joins what
//! they say. A slot belongs to the master with the highest epoch of those that say that they have it, as in the cluster
//! itself. What a master says about others is used only to find them.
//!
//! Each master's keys lie in a namespace of their own with a proof of its own. Before the map gives a slot to a
//! namespace, or takes one away, that namespace is flushed. So everything that a namespace has of a slot was stored
//! after it got the slot.

mod atlas;
mod map;
mod redirect;
mod route;
mod view;

pub(crate) use atlas::Atlas;
pub(crate) use map::{FORGET_AFTER_US, MOST_MASTERS, Map, Master, Merged};
pub(crate) use route::{Answers, Part, Router};
pub(crate) use view::{Said, View};
