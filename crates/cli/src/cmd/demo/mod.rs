//! `kennel demo`: processes share a cache while some of them are killed.
//!
//! First a [`herd`] of threads misses one key, and one of them creates its value. Then the [`director`] starts a
//! [`crew`] of workers, kills some of them, adds up what they report, and [`watch`]es for a stripe that a killed worker
//! left half changed.
//!
//! With `--languages` programs in several [`languages`] take the places of the workers.
//!
//! A [`worker`] is this program under an internal command. It writes a report line to its standard output every few
//! milliseconds, and ends when its standard input does, so that it cannot outlive its parent.

mod crew;
mod director;
mod herd;
mod languages;
mod live;
mod member;
mod records;
mod report;
mod run;
mod sample;
mod tally;
mod watch;
mod worker;

pub(super) use herd::{HerdArgs, run_member};
pub(super) use languages::{SpeakerArgs, run_speaker};
pub(super) use run::{DemoArgs, run};
pub(super) use worker::{WorkerArgs, run_worker};
