//! Removing a namespace with all its values, which frees its entry for another name.

use super::cache::Cache;
use super::namespace::{Namespace, NamespaceOptions};
use super::stripe_lock::Patience;
use crate::error::{Error, Result};
use crate::store::namespace::Removal;

impl Cache {
    /// Removes the namespace of this name with all its values, for all processes, and makes room for another name.
    /// Returns whether the file had the namespace. The time does not depend on the number of values.
    ///
    /// Handles of the namespace stay valid: their reads miss, and their next write adds the namespace again, with the
    /// defaults of that handle. So a long-running program continues when someone removes unused namespaces, just as it
    /// does when the file itself is replaced. A value that a handle writes during the removal counts as written before
    /// it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().namespaces(1).create(dir.path().join("cache"))?;
    /// use kennel::NamespaceOptions;
    /// let old = cache.namespace("tenant 1", &NamespaceOptions::new())?;
    /// old.set("key", "value")?;
    /// assert!(cache.remove_namespace("tenant 1")?);
    /// let new = cache.namespace("tenant 2", &NamespaceOptions::new())?;
    /// assert_eq!((old.get("key"), cache.namespaces()), (None, vec!["tenant 2".to_owned()]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) for a name that no namespace can have, and for a namespace with a
    /// [word](Self::raise_namespace_word) above 0: because words never fall, it can be [cleared](Self::clear), but not
    /// removed; and the errors of [`set`](Self::set).
    pub fn remove_namespace(&self, name: &str) -> Result<bool> {
        let namespace = Namespace::new(name, &NamespaceOptions::new())?;
        self.while_open(|| {
            let opened = self.current()?;
            let Some(id) = opened.store.namespace_named(namespace.name()) else {
                opened.member()?;
                return Ok(false);
            };
            let mut patience = Patience::of_thread(self.lock_wait);
            if !opened.store.can_raise(id) {
                // The lock of a stripe also settles what a crash left there.
                for stripe in 0..opened.geometry().shape.stripes {
                    patience.lock_stripe(&opened, stripe)?.remove_namespace(id.number());
                }
            }
            match patience.lock_stripe(&opened, 0)?.remove_namespace_named(namespace.name()) {
                Removal::Done => Ok(true),
                Removal::Absent => Ok(false),
                Removal::HasWords => Err(Error::BadOption {
                    option: "name of a namespace",
                    given: format!("{name:?}, which has words above 0"),
                    expected: "one without such words: it can be cleared, but not removed".into(),
                }),
            }
        })
    }
}
