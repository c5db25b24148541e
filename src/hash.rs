//! The hash of a key: it determines the key's stripe, bucket and short hash.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bits of the hash that choose the stripe: as many as the largest number of stripes needs.
const STRIPE_BITS: u32 = 12;
/// Bits of the hash that a slot keeps.
pub(crate) const SHORT_HASH_BITS: u32 = 12;

/// A key with its hash: xxh3 with the file's random seed, divided into three disjoint parts.
///
/// ```text
/// bits 63..24 bucket (by multiply-shift) | 23..12 short hash | 11..0 stripe (by modulus)
/// ```
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

impl<'a> Key<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], seed: u64) -> Self {
        Self { bytes, hash: xxh3_64_with_seed(bytes, seed) }
    }

    /// A 128-bit hash by which a claim identifies its key, because a claim does not contain the key. If two keys
    /// collide, their callers wait for each other.
    pub(crate) fn wide(&self, seed: u64) -> [u64; 2] {
        [self.hash, xxh3_64_with_seed(self.bytes, !seed)]
    }

    /// The stripe: the hash modulo the number of stripes, a power of two.
    #[inline]
    pub(crate) fn stripe(&self, stripes: u32) -> u32 {
        self.hash as u32 & (stripes - 1)
    }

    #[inline]
    pub(crate) fn short_hash(&self) -> u64 {
        (self.hash >> STRIPE_BITS) & ((1 << SHORT_HASH_BITS) - 1)
    }

    /// The bucket, a number below `buckets`, which is at most 2^32. This takes no division: Lemire, "A fast alternative
    /// to the modulo reduction", 2016.
    #[inline]
    pub(crate) fn bucket(&self, buckets: u64) -> u64 {
        // The bits are not shifted down, so the bucket is the upper half of the product.
        let high = self.hash & (u64::MAX << (STRIPE_BITS + SHORT_HASH_BITS));
        ((u128::from(high) * u128::from(buckets)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_and_every_stripe_is_reached_about_evenly() {
        let (buckets, stripes) = (37, 8);
        let mut by_bucket = vec![0u32; 37];
        let mut by_stripe = vec![0u32; 8];
        for n in 0..37_000u32 {
            let bytes = n.to_le_bytes();
            let key = Key::new(&bytes, 7);
            by_bucket[key.bucket(buckets) as usize] += 1;
            by_stripe[key.stripe(stripes) as usize] += 1;
        }
        assert!(by_bucket.iter().all(|&n| (850..1150).contains(&n)), "{by_bucket:?}");
        assert!(by_stripe.iter().all(|&n| (4400..4850).contains(&n)), "{by_stripe:?}");
    }
}
