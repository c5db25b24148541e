//! Empty: the benchmarks are in `benches/calls.rs`.
