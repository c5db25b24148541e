//! `kennel far`: the real program in front of a real server. Where there is no server, the tests that need one say so.
#![cfg(unix)]

#[cfg(target_os = "linux")] // For what is ended, which is found in /proc.
#[path = "../ctrl_c/mod.rs"]
mod ctrl_c;
#[path = "../fixture/fields.rs"]
mod fields;
#[path = "../fixture/mod.rs"]
mod fixture;
mod server;

mod edges;
#[cfg(target_os = "linux")]
mod ended;
mod keep;
mod runs;
mod tls;
