//! The C library of Kennel: what `include/kennel.h` declares.
//!
//! The header describes each function; a test compares its declarations with the functions here. Each function is a
//! border: it checks what the caller gave, clears what it hands out, and lets no panic pass (`border.rs`). Claims, locks
//! and requests are numbers in a table without a lock (`handles.rs`).

mod border;
mod cache;
mod claim;
mod counts;
mod handles;
mod list;
mod many;
mod memory;
mod read;
mod structs;
mod words;
mod write;
