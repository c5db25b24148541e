//! What processes did, and whether the answers that they got keep the promises.
//!
//! Each key has one writer at a time, and each value is written once, so a value names its write. A write whose answer
//! is not known may take effect at any time after it began, or never.
//!
//! * F1: between the end of a write that came later than the one whose value was read, and the start of that read, no
//!   more than T passed.
//! * F2: no later write of the same host had ended before the read began.
//! * F3: no read of the same host that had ended before this one began had returned the value of a later write.
//! * F4: a value is not read after its time to live is over.

use super::log::{ALL_KEYS, Event, Kind, NO_HOST};
use std::collections::BTreeMap;

/// The end of a write whose answer is not known.
const NEVER: u64 = u64::MAX;
/// How far the server's clock and ours may differ, in microseconds, when a value ends: the server counts in
/// milliseconds.
const TTL_SLACK: u64 = 5_000;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Reads that were checked.
    pub reads: u64,
    /// Values that were written.
    pub writes: u64,
    /// The longest time, in microseconds, between the end of a value and a read of it.
    pub oldest: u64,
    /// The promises that were broken, in words.
    pub violations: Vec<String>,
}

impl Report {
    /// Adds what another check found.
    pub fn add(&mut self, other: Report) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.oldest = self.oldest.max(other.oldest);
        self.violations.extend(other.violations);
    }
}

/// The writes of one key.
#[derive(Default)]
struct Writes {
    by_value: BTreeMap<u64, Event>,
    /// Moments at which the key had no value: from, until.
    ends: Vec<(u64, u64)>,
    /// For all writes, and for those of each host: when they began, and the first end among those that began then or
    /// later.
    all: Ends,
    of_host: BTreeMap<u64, Ends>,
    /// Times in which F1 does not hold, because the server itself does not keep it.
    doubts: Vec<(u64, u64)>,
}

/// Acknowledged writes by the time at which they began.
#[derive(Default)]
struct Ends(Vec<(u64, u64)>);

impl Ends {
    fn finish(&mut self) {
        self.0.sort_unstable();
        let mut first = NEVER;
        for (_, end) in self.0.iter_mut().rev() {
            first = first.min(*end);
            *end = first;
        }
    }

    /// The first end of a write that began after this moment.
    fn first_after(&self, moment: u64) -> u64 {
        let next = self.0.partition_point(|(began, _)| *began <= moment);
        self.0.get(next).map_or(NEVER, |(_, end)| *end)
    }
}

/// Checks all events of a run against T in microseconds.
#[must_use]
pub fn check(events: &[Event], staleness: u64) -> Report {
    let mut report = Report::default();
    let mut keys: BTreeMap<u64, (Writes, Vec<Event>)> = BTreeMap::new();
    let flushes: Vec<&Event> = events.iter().filter(|event| event.key == ALL_KEYS).collect();
    for event in events.iter().filter(|event| event.key != ALL_KEYS) {
        let (writes, reads) = keys.entry(event.key).or_default();
        match event.kind {
            Kind::Read => reads.push(*event),
            Kind::Begin | Kind::Acknowledged => writes.add(event),
            Kind::Doubt => writes.doubts.push((event.began, event.ended)),
        }
    }
    for (writes, reads) in keys.values_mut() {
        for event in &flushes {
            match event.kind {
                Kind::Doubt => writes.doubts.push((event.began, event.ended)),
                _ => writes.add(event),
            }
        }
        writes.finish();
        report.reads += reads.len() as u64;
        report.writes += writes.by_value.len() as u64;
        for read in reads.iter() {
            writes.check(read, staleness, &mut report);
        }
        let hosts: std::collections::BTreeSet<u64> = reads.iter().map(|read| read.host).collect();
        for host in hosts {
            let of_host: Vec<Event> = reads.iter().filter(|read| read.host == host).copied().collect();
            writes.check_order(&of_host, &mut report);
        }
    }
    report
}

impl Writes {
    fn add(&mut self, event: &Event) {
        let ended = if event.kind == Kind::Acknowledged { event.ended } else { NEVER };
        if event.value != 0 {
            let known = self.by_value.entry(event.value).or_insert(Event { ended: NEVER, ..*event });
            known.ended = known.ended.min(ended);
        } else {
            self.ends.push((event.began, ended));
        }
        if ended != NEVER {
            self.all.0.push((event.began, ended));
            if event.host != NO_HOST {
                self.of_host.entry(event.host).or_default().0.push((event.began, ended));
            }
        }
    }

    fn finish(&mut self) {
        self.ends.push((0, 0));
        self.all.finish();
        self.of_host.values_mut().for_each(Ends::finish);
        for write in self.by_value.values().filter(|write| write.ttl != 0) {
            let from = write.began + write.ttl;
            // A value that was replaced before did not end by itself.
            if self.all.first_after(write.ended) > from {
                self.ends.push((from, write.ended.saturating_add(write.ttl + TTL_SLACK)));
            }
        }
    }

    /// F1, F2 and F4 of one read.
    fn check(&self, read: &Event, staleness: u64, report: &mut Report) {
        let none = Ends::default();
        let of_host = self.of_host.get(&read.host).unwrap_or(&none);
        let (ended, ended_here) = if read.value == 0 {
            // The answer is right if it is right for one moment at which the key had no value.
            let before = self.ends.iter().filter(|(from, _)| *from <= read.ended);
            let first = |of: &Ends| before.clone().map(|(_, until)| of.first_after(*until)).max().unwrap_or(0);
            (first(&self.all), first(of_host))
        } else {
            let Some(write) = self.by_value.get(&read.value).filter(|write| write.began <= read.ended) else {
                report.violations.push(format!("F1: a value that nobody had written: {read:?}"));
                return;
            };
            if write.ttl != 0 && write.ended != NEVER && read.began > write.ended + write.ttl + TTL_SLACK {
                report.violations.push(format!("F4: a value after its end: {read:?} of {write:?}"));
            }
            (self.all.first_after(write.ended), of_host.first_after(write.ended))
        };
        let age = read.began.saturating_sub(ended);
        let is_doubtful = self
            .doubts
            .iter()
            .any(|(from, until)| *from <= read.ended && read.began <= until.saturating_add(staleness));
        if !is_doubtful {
            report.oldest = report.oldest.max(age);
        }
        if age > staleness && !is_doubtful {
            report.violations.push(format!("F1: {age} us old: {read:?}"));
        }
        if ended_here < read.began {
            report.violations.push(format!("F2: {} us after a write of this host: {read:?}", read.began - ended_here));
        }
    }

    /// F3 among the reads of one host.
    fn check_order(&self, reads: &[Event], report: &mut Report) {
        let mut by_end: Vec<&Event> = reads.iter().filter(|read| read.value != 0).collect();
        by_end.sort_unstable_by_key(|read| read.ended);
        let mut by_begin = by_end.clone();
        by_begin.sort_unstable_by_key(|read| read.began);
        let (mut next, mut newest) = (0, 0);
        for read in by_begin {
            while let Some(earlier) = by_end.get(next).filter(|earlier| earlier.ended < read.began) {
                newest = newest.max(self.by_value.get(&earlier.value).map_or(0, |write| write.began));
                next += 1;
            }
            if self.by_value.get(&read.value).is_some_and(|write| write.ended < newest) {
                report.violations.push(format!("F3: a newer value was read before: {read:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checker_finds_what_breaks_a_promise_and_nothing_else() {
        let event = |kind, host, value, began, ended| Event { kind, host, key: 1, value, began, ended, ttl: 0 };
        let write = |host, value, began, ended| event(Kind::Acknowledged, host, value, began, ended);
        let read = |host, value, began, ended| event(Kind::Read, host, value, began, ended);
        let writes = [write(1, 10, 100, 110), write(1, 20, 200, 210), write(2, 0, 300, 310), write(2, 30, 400, 410)];
        let found = |more: &[Event]| check(&[&writes, more].concat(), 50).violations;
        let good: [&[Event]; 8] = [
            &[read(1, 0, 10, 20)],
            &[read(2, 10, 260, 270)],
            &[read(1, 10, 205, 240)],
            &[read(1, 20, 211, 220), read(2, 10, 221, 230)],
            &[read(1, 0, 305, 306)],
            &[read(2, 30, 500, 510)],
            &[read(1, 0, 455, 456)],
            &[read(1, 20, 205, 206), read(1, 10, 206, 209)],
        ];
        good.iter().for_each(|reads| assert!(found(reads).is_empty(), "{reads:?}: {:?}", found(reads)));
        let bad: [(&str, &[Event]); 7] = [
            ("F1", &[read(2, 10, 261, 270)]),
            ("F1", &[read(1, 77, 261, 270)]),
            ("F1", &[read(1, 20, 400, 420)]),
            ("F1", &[read(1, 0, 461, 470)]),
            ("F2", &[read(1, 10, 211, 220)]),
            ("F2", &[read(2, 0, 411, 420)]),
            ("F3", &[read(2, 20, 205, 206), read(2, 10, 207, 209)]),
        ];
        for (promise, reads) in bad {
            let found = found(reads);
            assert!(found.iter().any(|text| text.starts_with(promise)), "{reads:?}: {found:?}");
        }
        let ttl = Event { ttl: 10_000, ..write(1, 40, 1_000, 1_010) };
        assert!(check(&[ttl, read(1, 40, 15_000, 15_001), read(2, 0, 11_500, 11_600)], 50).violations.is_empty());
        assert!(check(&[ttl, read(1, 40, 16_100, 16_200)], 50).violations[0].starts_with("F4"));
        let doubt = |began, ended| event(Kind::Doubt, NO_HOST, 0, began, ended);
        assert!(found(&[doubt(250, 270), read(2, 10, 261, 270)]).is_empty());
        assert_eq!(found(&[doubt(100, 210), read(2, 10, 261, 270)]).len(), 1, "the doubt is over");
        assert_eq!(found(&[doubt(100, 300), read(1, 10, 211, 220)]).len(), 1, "F2 holds all the same");
        let begun = Event { kind: Kind::Begin, ..write(1, 50, 1_000, 0) };
        assert!(check(&[begun, write(1, 60, 2_000, 2_010), read(1, 50, 9_000, 9_001)], 50).violations.is_empty());
    }
}
