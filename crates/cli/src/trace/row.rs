//! One row of comma-separated fields.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

/// The fields of one line, in buffers that serve all lines. They may be quoted, but a row stays on
/// its line.
pub(super) struct Row {
    splitter: Reader,
    /// The fields one after the other, without quotes and commas.
    text: Vec<u8>,
    /// Where in the text each field ends.
    ends: Vec<usize>,
}

impl Row {
    pub(super) fn new() -> Self {
        let splitter = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Self { splitter, text: Vec::new(), ends: Vec::new() }
    }

    /// Takes in a line, or returns false if it ends within quotes.
    pub(super) fn split(&mut self, line: &[u8]) -> bool {
        // Room for the most that can come out: all of the line and its end, and a field more than
        // there are commas.
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

    /// Where the field is that reads `name` in capital or small letters.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.fields().position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// All fields for a message.
    pub(super) fn text(&self) -> Vec<u8> {
        self.fields().collect::<Vec<_>>().join(&b","[..])
    }
}
