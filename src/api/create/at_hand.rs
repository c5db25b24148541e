//! The fast path of a caller that would create the value: one look for a hit, before anything else of a creation is
//! done.

use super::creation::Lookup;
use super::options::{CreateOptions, Form};
use super::purpose::leaves_alone;
use crate::api::cache::Cache;
use crate::api::item::is_stale;
use crate::api::wants::{AtHand, TryWhole};
use crate::file::AttachedFile;
use crate::hash::Key;
use crate::store::read::RecordRef;
use crate::store::record::Head;

/// These looks find plain hits only. They find nothing on the slow paths of reads, with options about a value's age,
/// for a remembered absence, or if there is no memory for the value. The caller then takes the steps of a creation,
/// which handle all these cases.
impl Cache {
    /// The value of a stored key, if this caller uses it as it is.
    pub(super) fn value_at_hand(&self, key: &[u8], how: &CreateOptions, in_background: bool) -> Option<Vec<u8>> {
        if how.judges_age() {
            return None;
        }
        self.glance(key, AtHand, |opened, key, found| is_enough(opened, key, found, in_background))
    }

    /// The values of many stored keys, where this caller uses them as they are.
    pub(in crate::api) fn values_at_hand<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        how: &CreateOptions,
    ) -> Vec<Option<Vec<u8>>> {
        if how.judges_age() {
            return vec![None; keys.len()];
        }
        let mut values = Vec::with_capacity(keys.len());
        let accepts =
            |opened: &AttachedFile, key: &Key<'_>, found: &RecordRef<'_>| is_enough(opened, key, found, how.background);
        self.glance_multi(keys, || AtHand, accepts, |value| values.push(value));
        values
    }

    /// The result of a lookup of a stored key, if this caller uses the value as it is.
    pub(in crate::api) fn lookup_at_hand(&self, key: &[u8], how: &CreateOptions) -> Option<Lookup> {
        self.item_at_hand(key, how, how.form, how.background)
    }

    /// [`lookup_at_hand`](Self::lookup_at_hand) for values of one form.
    pub(in crate::api) fn item_at_hand(
        &self,
        key: &[u8],
        how: &CreateOptions,
        form: Option<Form>,
        in_background: bool,
    ) -> Option<Lookup> {
        if how.judges_age() {
            return None;
        }
        let want = TryWhole::<false>(&self.file.time);
        let known = self.glance(key, want, |opened, key, found| {
            form.is_none_or(|form| form.has_flags(opened.store.extension(found.at, found.head).caller_flags()))
                && is_enough(opened, key, found, in_background)
        });
        let item = known?.ok()?.item;
        if form.is_some_and(|form| !form.fits(&item)) {
            return None;
        }
        Some(if item.is_stale { Lookup::Stale(item) } else { Lookup::Hit(item) })
    }
}

/// Whether a record has a fresh value, or a stale one that this caller uses because it leaves the key alone.
#[inline(always)]
fn is_enough(opened: &AttachedFile, key: &Key<'_>, found: &RecordRef<'_>, in_background: bool) -> bool {
    // Most records have no extension. Only a soft invalidation of the whole cache makes them stale.
    let is_fresh = if found.head.is_extended() {
        !is_stale_by_extension(opened, found.at, found.head)
    } else {
        found.head.epoch() >= opened.store.epochs().soft()
    };
    is_fresh || leaves_alone(opened, key, in_background)
}

#[inline(never)]
fn is_stale_by_extension(opened: &AttachedFile, at: u64, head: Head) -> bool {
    is_stale(&opened.store, head, opened.store.extension(at, head), &opened.settings.time)
}
