//! The survey of a trace before it is played.

use std::collections::HashMap;

use crate::trace::{FileError, Key, Request, Trace};

/// The source of the sizes of values.
#[derive(Clone, Copy)]
pub(super) enum ValueSizes {
    /// One size for all values, whatever the trace gives.
    AllOf(u32),
    /// The first size that the trace gives for an object, or `otherwise` if it gives none.
    OfTrace { otherwise: u32 },
}

impl ValueSizes {
    /// The size of the object according to a request.
    fn told(self, request: &Request) -> Option<u32> {
        match self {
            Self::AllOf(size) => Some(size),
            Self::OfTrace { .. } => request.size,
        }
    }

    /// The size of the value, if the trace gave `told`.
    fn of(self, told: Option<u32>) -> u32 {
        match self {
            Self::AllOf(size) => size,
            Self::OfTrace { otherwise } => told.unwrap_or(otherwise),
        }
    }
}

/// The number of requests of a trace, and the size of the value of each distinct object.
pub(super) struct Survey {
    requests: u64,
    told: HashMap<Key, Option<u32>>,
    sizes: ValueSizes,
}

impl Survey {
    /// Reads the whole trace.
    pub(super) fn read(trace: &mut Trace, sizes: ValueSizes) -> Result<Self, FileError> {
        let mut survey = Self { requests: 0, told: HashMap::new(), sizes };
        for request in trace.requests() {
            let request = request?;
            survey.requests += 1;
            let told = survey.told.entry(request.key).or_default();
            *told = told.or(sizes.told(&request));
        }
        Ok(survey)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn objects(&self) -> u64 {
        self.told.len() as u64
    }

    /// The mean size of the values, each object counted once; 0 without any.
    pub(super) fn mean_size(&self) -> u64 {
        let sum: u64 = self.told.values().map(|told| u64::from(self.sizes.of(*told))).sum();
        sum.checked_div(self.objects()).unwrap_or(0)
    }

    pub(super) fn size_of(&self, key: &Key) -> Option<u32> {
        self.told.get(key).map(|told| self.sizes.of(*told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Format, Table};

    fn survey(content: &str, sizes: ValueSizes) -> Survey {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let paths = [file.path().to_owned()];
        let mut trace = Trace::open(&paths, Some(Format::Text), Table::default()).expect("a trace");
        Survey::read(&mut trace, sizes).expect("a well-formed trace")
    }

    #[test]
    fn the_first_size_of_an_object_counts() {
        let survey = survey("1 100\n2 300\n1 500\n", ValueSizes::OfTrace { otherwise: 64 });
        assert_eq!((survey.requests(), survey.objects(), survey.mean_size()), (3, 2, 200));
        assert_eq!(survey.size_of(&Key::from(1)), Some(100));
        assert_eq!(survey.size_of(&Key::from(3)), None);
    }

    #[test]
    fn objects_without_a_size_get_the_one_given() {
        let survey = survey("1\n2 100\n1\n", ValueSizes::OfTrace { otherwise: 64 });
        assert_eq!((survey.size_of(&Key::from(1)), survey.size_of(&Key::from(2))), (Some(64), Some(100)));
    }

    #[test]
    fn a_size_told_later_is_better_than_none() {
        let survey = survey("1\n1 100\n1 200\n", ValueSizes::OfTrace { otherwise: 64 });
        assert_eq!((survey.size_of(&Key::from(1)), survey.mean_size()), (Some(100), 100));
    }

    #[test]
    fn one_size_for_all_overrules_the_trace() {
        let survey = survey("1 100\n2\n", ValueSizes::AllOf(8));
        assert_eq!(survey.mean_size(), 8);
    }
}
