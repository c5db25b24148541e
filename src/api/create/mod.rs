//! Creation of missing and stale values: one caller creates a value; the others wait, or use the stale one.
//!
//! | the value is | the claim goes to | the others |
//! |---|---|---|
//! | fresh | nobody | return it |
//! | stale | the first caller, which creates it anew | return the stale one immediately |
//! | absent | the first caller, which creates it | wait up to their limit, then read again |

mod at_hand;
mod batch;
mod created;
mod creation;
mod failure;
mod get_or_create;
mod got;
mod options;
mod output;
mod purpose;
mod request;

#[cfg(feature = "tokio")]
pub(crate) use batch::{Batch, in_one_order};
pub use created::Created;
pub use creation::{Claim, Lookup, Stored};
pub use got::{Got, Source};
pub use options::CreateOptions;
#[cfg(feature = "typed")]
pub(crate) use options::Form;
pub use output::{CreateError, CreatorOutput};
#[cfg(feature = "tokio")]
pub(crate) use purpose::ToCreate;
pub use request::ClaimRequest;
