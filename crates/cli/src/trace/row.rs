//! A row of comma-separated fields.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

/// The fields of one line, in buffers that are reused for all lines. Fields may be quoted, but a row cannot span lines.
pub(super) struct Row {
    splitter: Reader,
    /// The fields one after another, without quotes and commas.
    text: Vec<u8>,
    /// The end of each field in the text.
    ends: Vec<usize>,
}

impl Row {
    pub(super) fn new() -> Self {
        let splitter = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Self { splitter, text: Vec::new(), ends: Vec::new() }
    }

    /// Splits a line. Returns false if it ends within quotes.
    pub(super) fn split(&mut self, line: &[u8]) -> bool {
        // Space for the largest possible result: the whole line with its end, and one field more than there are commas.
        let commas = line.iter().filter(|&&byte| byte == b',').count();
        self.text.resize(line.len() + 1, 0);
        self.ends.resize(commas + 1, 0);
        let (_, _, filled, fields) = self.splitter.read_record(line, &mut self.text, &mut self.ends);
        let (result, _, _, last) = self.splitter.read_record(b"\n", &mut self.text[filled..], &mut self.ends[fields..]);
        self.ends.truncate(fields + last);
        result == ReadRecordResult::Record
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The field at `index`, without the blanks around it.
    pub(super) fn field(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(self.text[start..end].trim_ascii())
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.field(index))
    }

    /// The index of the field that equals `name`, ignoring case.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.fields().position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// All fields, for a message.
    pub(super) fn text(&self) -> Vec<u8> {
        self.fields().collect::<Vec<_>>().join(&b","[..])
    }
}
