//! Typed values of two versions of one type: an old program and a new one use the same keys.
//!
//! The versions have the same bytes, so that only their fingerprints distinguish them. Each value holds the version
//! that stored it and a self-proving [value](crate::value); all rules of a [history](crate::history) apply to it. No
//! other operation uses these keys. In addition, a caller gets
//!
//! * only values of its own version, whether it found them or another caller created them; `get` reports values of the
//!   other version, and bytes without a type, as an error;
//! * the value that it created, if it was the creator.
//!
//! Half of the calls go through the near copies of their process, which forked children inherit. The same rules apply: a
//! near value is one that a `get` could have returned.

use crate::board::{KEYS, PARTS, TYPED, Word};
use crate::history::{Before, Token, Wrong, wall_ms};
use crate::keys::name;
use crate::parts::{GaveUp, Parts};
use crate::value::Value;
use crate::versions::{New, Old, Version, typed};
use crate::worker::Worker;
use kennel::{CreateError, Error, Expiry, SetOptions};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Checks that a value is of this version, and that the key's history allows it.
fn check<T: Version>(before: &Before<'_>, key: u16, value: &T) -> Result<(), Wrong> {
    match value.parts() {
        (number, bytes) if number == T::NUMBER => before.check_hit(bytes, None),
        (other, _) => {
            let expected = format!("a value that version {} of the type stored", T::NUMBER);
            Err(Wrong { key, expected, found: format!("one of version {other}") })
        }
    }
}

impl<'a> Worker<'a> {
    /// Uses a typed key, as the old or the new program.
    pub fn typed(&mut self) {
        // All of these keys are in part 0.
        let key = (KEYS + PARTS * self.random.below((TYPED / PARTS) as u64) as usize) as u16;
        match self.random.below(16) {
            0 => self.store_untyped(key),
            1 => self.delete(key),
            2..9 => self.use_typed::<Old>(key),
            _ => self.use_typed::<New>(key),
        }
    }

    fn use_typed<T: Version>(&mut self, key: u16) {
        match self.random.below(8) {
            0 => self.set_typed::<T>(key),
            1..4 => self.get_typed::<T>(key),
            _ => self.create_typed::<T>(key),
        }
    }

    fn get_typed<T: Version>(&mut self, key: u16) {
        let near = T::near().filter(|_| self.random.one_in(2));
        let before = Before::sample(self.board, key);
        let get = |cache: &Parts| match near {
            Some(near) => near.get(name(key)),
            None => typed::<T>(cache).get(name(key)).map(|value| value.map(Arc::new)),
        };
        match self.call(get) {
            Ok(Some(value)) => self.check(check::<T>(&before, key, &value)),
            Ok(None) | Err(Error::Codec { what: "read", .. }) => {}
            Err(error) => {
                let expected = "a value, a miss, or an error about another type".into();
                self.wrong(Wrong { key, expected, found: error.to_string() });
            }
        }
    }

    fn set_typed<T: Version>(&mut self, key: u16) {
        let Some(token) = Token::take(self.board, key, self.worker) else { return };
        let number = token.begin();
        let value = T::of(self.value(key, number));
        if self.write_call(key, |cache| typed::<T>(cache).set(name(key), &value)).is_some() {
            token.done(number);
        }
    }

    /// Stores bytes without a type, as a program older than both versions may have done.
    fn store_untyped(&mut self, key: u16) {
        let Some(token) = Token::take(self.board, key, self.worker) else { return };
        let number = token.begin();
        let value = self.value(key, number);
        if self.write_call(key, |cache| cache.set(key, &value, &SetOptions::new())).is_some() {
            token.done(number);
        }
    }

    fn create_typed<T: Version>(&mut self, key: u16) {
        let mut how = self.options();
        let expires_ms = if self.random.one_in(4) { 0 } else { wall_ms() + self.random.within(5, 80) };
        if expires_ms != 0 {
            how = how.expiry(Expiry::At(UNIX_EPOCH + Duration::from_millis(expires_ms)));
        }
        let (time, len, stops) = (self.time(), self.len(), self.stops());
        let near = T::near().filter(|_| self.random.one_in(2));
        let before = Before::sample(self.board, key);
        // The key's token is held until the call returns.
        let mut created = None;
        let create = || {
            std::thread::sleep(time);
            let token = self.wait_for_token(key).ok_or(GaveUp)?;
            let number = token.begin() as u32;
            let value = T::of(Value { key, writer: self.worker as u16, number, expires_ms }.bytes(len));
            created = Some((token, value.clone()));
            Ok(value)
        };
        let longest = [Word::LongestClaimNs; 2];
        let get = |cache: &Parts| match near {
            Some(near) => near.get_or_create(name(key), &how, create).map(|value| T::clone(&value)),
            None => typed::<T>(cache).get_or_create(name(key), &how, create),
        };
        let found = self.measured(get, longest);
        if let Err(CreateError::Cache(error @ Error::Codec { .. })) = &found {
            let expected = "a value of its own version".into();
            return self.wrong(Wrong { key, expected, found: error.to_string() });
        }
        let Some(found) = self.found(key, stops, found) else { return };
        match created.map(|(_token, value)| value) {
            None => self.check(check(&before, key, &found)),
            Some(value) if value == found => self.board.add(Word::TypedCreated, 1),
            Some(_) => {
                let (expected, found) = ("the created value".into(), format!("{:?}", found.parts().0));
                self.wrong(Wrong { key, expected, found });
            }
        }
    }
}
