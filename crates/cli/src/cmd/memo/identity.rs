//! The key of a result, which is equal for invocations that share results.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The version of the format of keys and values.
const VERSION: u8 = 1;

/// Builds a key from parts. Each part is preceded by its kind and length, so that different lists of parts give
/// different keys.
pub struct Identity(Vec<u8>);

impl Identity {
    /// Starts with a command, its arguments and its scope.
    pub fn new(scope: Option<&OsStr>, command: &[OsString]) -> Self {
        let mut identity = Self(vec![VERSION]);
        if let Some(scope) = scope {
            identity.push(b's', scope);
        }
        command.iter().for_each(|part| identity.push(b'c', part));
        identity
    }

    /// Adds the working directory.
    pub fn with_directory(mut self, directory: &Path) -> Self {
        self.push(b'd', directory.as_os_str());
        self
    }

    /// Adds the value of an environment variable; an unset variable differs from an empty one.
    pub fn with_variable(mut self, name: &OsStr, value: Option<&OsStr>) -> Self {
        self.push(b'e', name);
        if let Some(value) = value {
            self.push(b'=', value);
        }
        self
    }

    /// Adds the modification time of a file; a missing file differs from any time.
    pub fn with_modification(mut self, file: &Path) -> Self {
        self.push(b'm', file.as_os_str());
        if let Some(nanoseconds) = modified_at(file) {
            self.push(b't', OsStr::new(&nanoseconds.to_string()));
        }
        self
    }

    pub fn into_key(self) -> Vec<u8> {
        self.0
    }

    fn push(&mut self, kind: u8, part: &OsStr) {
        let part = part.as_encoded_bytes();
        self.0.push(kind);
        self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.0.extend_from_slice(part);
    }
}

/// The modification time of a file in nanoseconds since 1970, negative before that; `None` if it is not available.
fn modified_at(file: &Path) -> Option<i128> {
    let modified = file.metadata().ok()?.modified().ok()?;
    Some(match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scope: Option<&str>, command: &[&str]) -> Vec<u8> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        Identity::new(scope.map(OsStr::new), &command).into_key()
    }

    #[test]
    fn what_differs_gives_other_keys() {
        let plain = || Identity::new(None, &["ls".into()]);
        let keys = [
            key(None, &["ls"]),
            key(None, &["ls", ""]),
            key(None, &["l", "s"]),
            key(Some("ls"), &[]),
            key(Some("a"), &["ls"]),
            plain().with_directory(Path::new("/tmp")).into_key(),
            plain().with_variable(OsStr::new("A"), None).into_key(),
            plain().with_variable(OsStr::new("A"), Some(OsStr::new(""))).into_key(),
            plain().with_variable(OsStr::new("A"), Some(OsStr::new("1"))).into_key(),
            plain().with_modification(Path::new("/nowhere/at/all")).into_key(),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| a != b), "{a:?} twice");
        }
        assert_eq!(key(Some("a"), &["ls"]), key(Some("a"), &["ls"]));
    }

    #[test]
    fn a_changed_file_gives_another_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = || Identity::new(None, &["ls".into()]).with_modification(file.path()).into_key();
        let before = key();
        assert_eq!(before, key());
        file.as_file().set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
        assert_ne!(before, key());
    }
}
