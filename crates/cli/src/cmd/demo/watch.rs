//! Finds a stripe that a killed worker left half changed.

use kennel::{Cache, StripeStats};

/// A stripe that was found half changed and repaired.
pub struct Catch {
    pub stripe: u32,
    /// The operation that was interrupted.
    pub operation: String,
    pub by_pid: u32,
    pub by_seat: u32,
    /// How many workers had been killed by then.
    pub kills: u64,
}

/// Remembers how many times each stripe was repaired before the run.
pub struct Watch<'a> {
    cache: &'a Cache,
    repairs: Vec<u64>,
}

impl<'a> Watch<'a> {
    pub fn new(cache: &'a Cache) -> Self {
        let repairs = cache.stripe_stats().iter().map(|stripe| stripe.repairs).collect();
        Self { cache, repairs }
    }

    /// A stripe that was repaired since the watch began, if any. The first process that writes to a stripe after the
    /// kill repairs it.
    pub fn look(&self, kills: u64) -> Option<Catch> {
        let stripes = self.cache.stripe_stats();
        let mut pairs = stripes.into_iter().zip(&self.repairs);
        pairs.find_map(|(stripe, &before)| catch(stripe, before, kills))
    }
}

fn catch(stripe: StripeStats, before: u64, kills: u64) -> Option<Catch> {
    let repair = stripe.last_repair.filter(|_| stripe.repairs > before)?;
    Some(Catch {
        stripe: stripe.stripe,
        operation: repair.intent,
        by_pid: repair.by_pid,
        by_seat: repair.by_seat,
        kills,
    })
}
