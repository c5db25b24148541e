//! Standard output, on which a closed pipe is no error, and the error line.

use std::error::Error;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use crate::hex;

/// Buffered standard output. Commands write to it with `?` and never with
/// `println!`, which panics when the reader has gone away.
pub fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Writes one line to standard output.
pub fn print_line(line: impl std::fmt::Display) -> io::Result<()> {
    let mut out = stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes a JSON document to standard output.
pub fn print_json(document: &Value) -> io::Result<()> {
    print_line(format_args!("{document:#}"))
}

/// Adds `bytes` to a JSON object: as text under `name` when they are UTF-8,
/// else as hexadecimal under `name_hex`.
pub fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{name}_hex"), json!(hex::encode(bytes))),
    };
}

/// Runs `work` under a moving sign when a person is watching.
pub fn with_spinner<T>(message: &'static str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    spinner.finish_and_clear();
    result
}

/// Says whether the reader of standard output has gone, as in `kennel keys
/// FILE | head -1`. It has what it wanted, so nothing failed.
pub fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes `kennel: MESSAGE: CAUSE: CAUSE` to standard error.
pub fn report_error(error: &(dyn Error + 'static)) {
    // When standard error is closed, too, there is nobody left to tell.
    let _ = writeln!(io::stderr(), "kennel: {}", message_with_causes(error));
}

fn message_with_causes(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors already quote their cause.
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let root = Layer("disk full", None);
        let middle = Layer("cannot write: disk full", Some(Box::new(root)));
        let top = Layer("cannot create", Some(Box::new(middle)));
        assert_eq!(message_with_causes(&top), "cannot create: cannot write: disk full");
    }

    #[test]
    fn bytes_that_are_no_text_become_hexadecimal() {
        let mut object = Map::new();
        insert_bytes(&mut object, "key", b"plain");
        insert_bytes(&mut object, "value", &[0xff, 0]);
        assert_eq!(Value::from(object), json!({ "key": "plain", "value_hex": "ff00" }));
    }
}
