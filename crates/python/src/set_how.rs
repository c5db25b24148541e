//! How a value is stored: the options of ``set`` and of all other writes.

use crate::error::Outcome;
use crate::expiry::{Seconds, check_life, expiry};
use crate::tags::Tags;
use kennel::{Expiry, SetOptions};
use pyo3::prelude::*;

/// The documentation of the options of every method that stores a value.
macro_rules! life {
    () => {
        ":param ttl: time to live: seconds, or a ``timedelta``, until the value expires. The default is that of the \
            namespace; without one the value does not expire.\n\
        :param stale: seconds, or a ``timedelta``, until the value is stale. Then one caller of ``get_or_create`` \
            creates a new value, and all others continue to use this one. At most ``ttl``.\n\
        :param expires_at: the time at which the value expires, in seconds since 1970, instead of ``ttl``.\n\
        :param flags: a number from 0 to 2**32 - 1 that is stored with the value; default 0.\n\
        :param as_of: a :class:`kennel.Moment`: nothing is stored if the cache, the key's namespace or a tag of the \
            value was invalidated after this moment. ``set`` then returns 0.\n\
        :param tags: the names of tags, at most :data:`kennel.MAX_TAGS`: :meth:`invalidate_tags` with one of them \
            invalidates the value."
    };
}
pub(crate) use life;

/// A moment of a cache or a namespace, which ``moment`` returns. Its only use is the option ``as_of``.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Moment(pub(crate) kennel::Moment);

/// The options of a write. For times that are not given, the defaults of the namespace apply.
pub(crate) fn how(
    ttl: Option<Seconds>,
    stale: Option<Seconds>,
    expires_at: Option<f64>,
    flags: u32,
) -> Outcome<SetOptions> {
    check_life(ttl, stale)?;
    let mut how = SetOptions::new().flags(flags);
    if let Some(expiry) = expiry(ttl, expires_at)? {
        how = how.expiry(expiry);
    }
    if let Some(Seconds(stale)) = stale {
        how = how.soft_expiry(Expiry::After(stale));
    }
    Ok(how)
}

/// The options of a write: its times and flags, its moment, and its tags.
pub(crate) fn with(
    how: Outcome<SetOptions>,
    moment: Option<PyRef<'_, Moment>>,
    tags: Option<Tags<'_>>,
) -> Outcome<SetOptions> {
    let how = how?;
    let how = moment.map_or(how, |moment| how.as_of(moment.0));
    Ok(tags.map_or(how, |tags| tags.given_to(how)))
}
