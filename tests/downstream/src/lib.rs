//! A stranger's program: what it does with the public interface must compile, and go on compiling when types grow.
//!
//! Most of that is proved by the compiler. The tests run what can also be wrong at run time.
//!
//! # Structs that will grow
//!
//! A program can read their fields:
//!
//! ```
//! let kennel::Counters { hits, misses, .. } = kennel::Counters::default();
//! assert_eq!((hits, misses), (0, 0));
//! fn file(stats: &kennel::Stats) -> (u64, &std::path::Path) { (stats.items, &stats.path) }
//! fn stripe(stats: &kennel::StripeStats) -> Option<&kennel::Repair> { stats.last_repair.as_ref() }
//! fn seat(repair: &kennel::Repair) -> u32 { repair.by_seat }
//! fn problems(found: &kennel::Verification) -> &[kennel::Problem] { &found.problems }
//! fn detail(problem: &kennel::Problem) -> &str { &problem.detail }
//! fn value(item: kennel::Item) -> Vec<u8> { item.value }
//! ```
//!
//! It cannot write them out, not even with the rest taken from another value:
//!
//! ```compile_fail,E0639
//! let counters = kennel::Counters { hits: 1, ..kennel::Counters::default() };
//! ```
//! ```compile_fail,E0639
//! fn more(stats: kennel::Stats) -> kennel::Stats { kennel::Stats { items: 1, ..stats } }
//! ```
//! ```compile_fail,E0639
//! fn more(stats: kennel::StripeStats) -> kennel::StripeStats { kennel::StripeStats { items: 1, ..stats } }
//! ```
//! ```compile_fail,E0639
//! fn more(repair: kennel::Repair) -> kennel::Repair { kennel::Repair { by_seat: 1, ..repair } }
//! ```
//! ```compile_fail,E0639
//! fn more(found: kennel::Verification) -> kennel::Verification { kennel::Verification { records: 1, ..found } }
//! ```
//! ```compile_fail,E0639
//! fn more(problem: kennel::Problem) -> kennel::Problem { kennel::Problem { stripe: 1, ..problem } }
//! ```
//! ```compile_fail,E0639
//! fn more(item: kennel::Item) -> kennel::Item { kennel::Item { flags: 1, ..item } }
//! ```

#[cfg(test)]
mod creators;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod handles;
#[cfg(test)]
mod names;
