//! Storing a created value for a caller that also wants the item.

use super::{Claim, Stored, Storing};
use crate::api::create::created::Created;
use crate::api::item::{Item, Stamp};
use crate::api::stripe_lock::Patience;
use crate::api::waiting::run;
#[cfg(feature = "tokio")]
use crate::api::waiting::run_as_task;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::store::record::Metadata;

impl Claim {
    /// [`store_with`](Self::store_with) that also returns the value as an item. If the value is not stored, the item
    /// has the flags and times that it would have had, and `Stamp(0)`. There is an item even with an error, because the
    /// caller has its value.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Created, Expiry, Lookup, Stored};
    /// use std::time::Duration;
    /// let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new())? else { panic!("it is missing") };
    /// let made = Created::new("value").expiry(Expiry::After(Duration::from_secs(60)));
    /// let (item, stored) = claim.store_as_item(made);
    /// assert_eq!(stored?, Stored::Yes(item.stamp));
    /// assert_eq!(cache.get_item("key"), Some(item));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The second value is an error of [`store`](Self::store).
    pub fn store_as_item(self, made: Created) -> (Item, Result<Stored>) {
        let (opened, mut locks) = (self.0.opened.clone(), Patience::of_thread(self.0.lock_wait));
        let (times, prepared) = self.prepare_item(&made);
        let stored = match prepared {
            Ok(mut storing) => {
                let stored = run(|| storing.step(&mut locks));
                storing.conclude(stored)
            }
            Err(end) => Ok(end),
        };
        item_of(&opened, made.into_value(), times, stored)
    }

    /// [`store_as_item`](Self::store_as_item) that does not wait for the lock of the key's stripe, like
    /// [`try_store`](Self::try_store). The item has a copy of the value.
    ///
    /// # Errors
    /// The outer error is the claim, still held: another caller holds the stripe's lock. The inner one is an error of
    /// [`store`](Self::store) other than `Busy`.
    pub fn try_store_as_item(self, made: &Created) -> std::result::Result<(Item, Result<Stored>), Self> {
        let opened = self.0.opened.clone();
        let (times, prepared) = self.prepare_item(made);
        let stored = match prepared {
            Ok(mut storing) => match storing.attempt(&mut Patience::none()) {
                Err(Error::Busy { .. }) => return Err(storing.claim),
                stored => storing.conclude(stored),
            },
            Err(end) => Ok(end),
        };
        Ok(item_of(&opened, made.value().to_vec(), times, stored))
    }

    /// [`store_as_item`](Self::store_as_item) for a tokio task, like [`store_as_task`](Self::store_as_task).
    #[cfg(feature = "tokio")]
    pub(in crate::api) async fn store_as_item_of_task(
        self,
        made: Created,
        locks: &mut Patience,
    ) -> (Item, Result<Stored>) {
        let opened = self.0.opened.clone();
        let (times, prepared) = self.prepare_item(&made);
        let stored = match prepared {
            Ok(mut storing) => {
                let stored = run_as_task(|| storing.step(locks)).await;
                storing.conclude(stored)
            }
            Err(end) => Ok(end),
        };
        item_of(&opened, made.into_value(), times, stored)
    }

    /// [`prepare`](Self::prepare), and the expiry and metadata of the value, whether or not it is stored.
    fn prepare_item(self, made: &Created) -> ((u64, Metadata), std::result::Result<Storing<'_>, Stored>) {
        let (opened, defaults, set) = (self.0.opened.clone(), self.0.defaults, self.0.how.set);
        match self.prepare(Some(made.parts())) {
            Ok(storing) => ((storing.expires_ms, storing.metadata), Ok(storing)),
            Err(end) => (made.parts().1.over(set).times(defaults, || opened.settings.time.now_ms()), Err(end)),
        }
    }
}

/// A created value as an item, with the times that it is stored with, or would have been.
fn item_of(
    opened: &AttachedFile,
    value: Vec<u8>,
    (expires_ms, metadata): (u64, Metadata),
    stored: Result<Stored>,
) -> (Item, Result<Stored>) {
    let stamp = if let Ok(Stored::Yes(stamp)) = stored { stamp } else { Stamp(0) };
    (Item::made(value, expires_ms, metadata, stamp, opened.store.lineage()), stored)
}
