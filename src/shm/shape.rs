//! Which sizes a file can have.

use super::layout::{
    BadShape, HISTOGRAMS, LEAST_TAGS, MAX_CAPACITY, MAX_SEATS, MAX_STRIPES, MIN_ARENA, MOST_TAGS, Shape, TAP_WORDS,
};

impl Shape {
    /// Whether a file can have these sizes.
    pub(super) fn check(&self) -> Result<(), BadShape> {
        let bad = |option, given, expected: String| Err(BadShape { option, given, expected });
        let Shape { capacity, mean_item, stripes, lock_regions, seats, namespaces, claims, tags, .. } = *self;
        if !stripes.is_power_of_two() || stripes > MAX_STRIPES {
            return bad("stripes", stripes.into(), format!("a power of two from 1 to {MAX_STRIPES}"));
        }
        if !lock_regions.is_power_of_two() || lock_regions > stripes {
            return bad("lock_regions", lock_regions.into(), format!("a power of two from 1 to the {stripes} stripes"));
        }
        let least = u64::from(stripes) * MIN_ARENA;
        if !(least..=MAX_CAPACITY).contains(&capacity) {
            return bad("capacity", capacity, format!("{least} to {MAX_CAPACITY} bytes with {stripes} stripes"));
        }
        if !(1..=capacity).contains(&mean_item) {
            return bad("mean_item", mean_item, format!("1 to the capacity of {capacity} bytes"));
        }
        if !(1..=MAX_SEATS).contains(&seats) {
            return bad("seats", seats.into(), format!("1 to {MAX_SEATS}"));
        }
        if !(1..=u32::from(u16::MAX)).contains(&namespaces) {
            return bad("namespaces", namespaces.into(), format!("1 to {}", u16::MAX));
        }
        if !(1..=4096).contains(&claims) {
            return bad("claims", claims.into(), "1 to 4096".into());
        }
        if tags != 0 && !(tags.is_power_of_two() && (LEAST_TAGS..=MOST_TAGS).contains(&tags)) {
            return bad("tags", tags.into(), format!("0 or a power of two from {LEAST_TAGS} to {MOST_TAGS}"));
        }
        // A caller cannot choose such numbers, but a file can have any.
        if self.histograms > HISTOGRAMS {
            return bad("histograms", self.histograms.into(), format!("0 to {HISTOGRAMS}"));
        }
        if ![0, TAP_WORDS].contains(&self.samples) {
            return bad("samples", self.samples.into(), format!("0 or {TAP_WORDS}"));
        }
        if self.namespace_reads > 1 {
            return bad("namespace_reads", self.namespace_reads.into(), "0 or 1".into());
        }
        Ok(())
    }
}
