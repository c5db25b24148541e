//! What is in a trace, known before it is played.

use std::collections::HashMap;

use crate::trace::{FileError, Key, Request, Trace};

/// Where the sizes of the values come from.
#[derive(Clone, Copy)]
pub(super) enum ValueSizes {
    /// One size for all, whatever the trace tells.
    AllOf(u32),
    /// What the trace tells first for an object, or `otherwise` if that request tells nothing.
    OfTrace { otherwise: u32 },
}

impl ValueSizes {
    fn of(self, request: &Request) -> u32 {
        match self {
            Self::AllOf(size) => size,
            Self::OfTrace { otherwise } => request.size.unwrap_or(otherwise),
        }
    }
}

/// The number of requests of a trace, and the size of the value of each distinct object.
pub(super) struct Survey {
    requests: u64,
    sizes: HashMap<Key, u32>,
}

impl Survey {
    /// Reads the whole trace.
    pub(super) fn read(trace: &Trace, sizes: ValueSizes) -> Result<Self, FileError> {
        let mut survey = Self { requests: 0, sizes: HashMap::new() };
        for request in trace.requests() {
            let request = request?;
            survey.requests += 1;
            survey.sizes.entry(request.key).or_insert_with(|| sizes.of(&request));
        }
        Ok(survey)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn objects(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// The mean size of the values, each object counted once; 0 without any.
    pub(super) fn mean_size(&self) -> u64 {
        let sum: u64 = self.sizes.values().copied().map(u64::from).sum();
        sum.checked_div(self.objects()).unwrap_or(0)
    }

    pub(super) fn size_of(&self, key: &Key) -> Option<u32> {
        self.sizes.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Columns;

    fn survey(content: &str, sizes: ValueSizes) -> Survey {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let trace = Trace::new(vec![file.path().to_owned()], None, Columns::default());
        Survey::read(&trace, sizes).expect("a well-formed trace")
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
        let survey = survey("1\n1 100\n", ValueSizes::OfTrace { otherwise: 64 });
        assert_eq!(survey.size_of(&Key::from(1)), Some(64));
    }

    #[test]
    fn one_size_for_all_overrules_the_trace() {
        let survey = survey("1 100\n2\n", ValueSizes::AllOf(8));
        assert_eq!(survey.mean_size(), 8);
    }

    #[test]
    fn an_empty_trace_has_nothing_in_it() {
        let survey = survey("", ValueSizes::AllOf(8));
        assert_eq!((survey.requests(), survey.objects(), survey.mean_size()), (0, 0, 0));
    }
}
