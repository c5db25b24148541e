//! Creating what is missing: one creates, the others wait or take the stale value.
//!
//! | the value is | who gets the claim | the others |
//! |---|---|---|
//! | fresh | nobody | return it |
//! | stale | creates it anew | return the stale one at once |
//! | absent | creates it | wait up to their limit, then read again |

mod batch;
mod claim;
mod created;
mod finding;
mod form;
mod freshness;
mod get_or_create;
mod grant;
mod lookup;
mod options;
mod output;

#[cfg(feature = "tokio")]
pub(crate) use batch::{Batch, in_one_order};
pub use claim::{Claim, Stored};
pub use created::Created;
#[cfg(any(feature = "tokio", feature = "typed"))]
pub(crate) use finding::Remaining;
#[cfg(feature = "tokio")]
pub(crate) use finding::{Finding, Next};
#[cfg(feature = "typed")]
pub(crate) use form::Form;
pub use lookup::Lookup;
pub use options::CreateOptions;
pub use output::{CreateError, CreatorOutput};
