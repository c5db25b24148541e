//! Creating what is missing: one caller creates, the others wait or take the stale value.
//!
//! | the value is | the claim goes to | the others |
//! |---|---|---|
//! | fresh | nobody | return it |
//! | stale | the first caller, which creates it anew | return the stale one immediately |
//! | absent | the first caller, which creates it | wait up to their limit, then read again |

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
