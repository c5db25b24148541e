//! The sum of the reports of all workers.

use hdrhistogram::Histogram;

use super::sample::{Sample, histogram};

pub struct Tally {
    pub reads: u64,
    pub hits: u64,
    pub writes: u64,
    pub wrong: u64,
    pub wrong_example: Option<String>,
    pub read_latency: Histogram<u64>,
    pub write_latency: Histogram<u64>,
}

impl Tally {
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            reads: 0,
            hits: 0,
            writes: 0,
            wrong: 0,
            wrong_example: None,
            read_latency: histogram()?,
            write_latency: histogram()?,
        })
    }

    pub fn add(&mut self, sample: Sample) {
        self.reads += sample.reads;
        self.hits += sample.hits;
        self.writes += sample.writes;
        self.wrong += sample.wrong;
        self.wrong_example = self.wrong_example.take().or(sample.wrong_example);
        sample.read_latency.add_to(&mut self.read_latency);
        sample.write_latency.add_to(&mut self.write_latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_add_up_and_the_first_example_stays() {
        let mut tally = Tally::new().unwrap();
        for (wrong, example) in [(0, None), (1, Some("first")), (2, Some("second"))] {
            tally.add(Sample {
                reads: 10,
                hits: 5,
                writes: 1,
                wrong,
                wrong_example: example.map(str::to_owned),
                ..Sample::default()
            });
        }
        assert_eq!((tally.reads, tally.hits, tally.writes, tally.wrong), (30, 15, 3, 3));
        assert_eq!(tally.wrong_example.as_deref(), Some("first"));
    }
}
