//! The ids of items, as Python has them.

use kennel::{Item, ItemId, Stamp};

/// Identifies one write of a key among the writes to all files: the stamp and the lineage.
pub(crate) type Id = (u64, u64);

pub(crate) fn id_of(item: &Item) -> Id {
    (item.stamp.0, item.lineage)
}

pub(crate) fn item_id((stamp, lineage): Id) -> ItemId {
    ItemId { stamp: Stamp(stamp), lineage }
}
