//! Values that a user gives as an argument or on standard input.

use std::ffi::OsString;
use std::io::Read as _;

use crate::platform::{Stream, is_closed};

/// The argument; without an argument, or with "-", standard input up to its end.
pub fn read_value(argument: Option<OsString>) -> Result<Vec<u8>, String> {
    match argument {
        Some(value) if value != "-" => Ok(value.into_encoded_bytes()),
        _ => read_standard_input(),
    }
}

fn read_standard_input() -> Result<Vec<u8>, String> {
    if is_closed(Stream::Input) {
        return Err(
            "cannot read the value from standard input: it is closed; give the value, or \"\" for an empty one".into(),
        );
    }
    let mut value = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut value) {
        Ok(_) => Ok(value),
        Err(error) => Err(format!("cannot read the value from standard input: {error}")),
    }
}
