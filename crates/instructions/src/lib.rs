//! Nothing: all of it is in `benches/calls.rs`.
