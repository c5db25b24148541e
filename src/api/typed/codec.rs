//! The stored form of a typed value: the fingerprint of its type, followed by postcard's bytes.

use super::shape::Shape;
use crate::api::create::Form;
use crate::api::item::Item;
use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The flags of a typed value, which say how to read its bytes.
pub(super) const TAG: u32 = u32::from_le_bytes(*b"typd");
/// The flags of typed values that were stored by versions of Kennel without fingerprints.
const OLD_TAG: u32 = u32::from_le_bytes(*b"post");

/// Writes and reads values of a type.
pub(super) struct Codec<T> {
    shape: &'static Shape,
    version: u32,
    of: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Codec<T> {}

impl<T: Serialize + DeserializeOwned> Codec<T> {
    pub(super) fn new() -> Self {
        Self { shape: Shape::of::<T>(), version: 0, of: PhantomData }
    }

    pub(super) fn version(self, version: u32) -> Self {
        Self { version, ..self }
    }

    /// The bytes with which each stored value of this type begins.
    fn fingerprint(&self) -> [u8; 8] {
        let of_type = self.shape.fingerprint.to_le_bytes();
        if self.version == 0 { of_type } else { xxh3_64_with_seed(&of_type, self.version.into()).to_le_bytes() }
    }

    /// The form of values of this type, which code that does not know the type can check.
    pub(super) fn form(&self) -> Form {
        Form::new(TAG, self.fingerprint())
    }

    /// Returns an error if no value of the type can ever be read back.
    pub(super) fn check_type(&self, what: &'static str) -> Result<()> {
        self.shape.check_type().map_err(|why| Error::Codec { what, detail: why.to_string() })
    }

    pub(super) fn encode(&self, value: &T) -> Result<Vec<u8>> {
        let failed = |detail: String| Error::Codec { what: "serialize", detail };
        self.shape.check(value).map_err(|why| failed(why.to_string()))?;
        let bytes = postcard::to_extend(value, self.fingerprint().to_vec());
        let bytes = bytes.map_err(|why| failed(why.to_string()))?;
        if self.shape.is_new() {
            self.decode_bytes(&bytes).map_err(|error| failed(format!("it was written, but not read back: {error}")))?;
        }
        Ok(bytes)
    }

    /// Encodes the values of many items.
    pub(super) fn encode_all<'k, K>(&self, items: &'k [(K, T)]) -> EncodedItems<'k, K> {
        let (mut encoded, mut errors) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for (key, value) in items {
            errors.push(self.encode(value).map(|bytes| encoded.push((key, bytes))).err());
        }
        EncodedItems { items: encoded, errors }
    }

    pub(super) fn decode(&self, item: &Item) -> Result<T> {
        self.decode_flagged(item.flags, &item.value)
    }

    /// The value of an item with these flags and bytes.
    pub(super) fn decode_flagged(&self, flags: u32, bytes: &[u8]) -> Result<T> {
        match flags {
            TAG => self.decode_bytes(bytes),
            OLD_TAG => {
                Err(unreadable("it was stored by a version of Kennel that did not note of which type it is".into()))
            }
            other => Err(unreadable(format!(
                "expected the caller's flags {TAG:#010x} of a typed value, found {other:#010x}"
            ))),
        }
    }

    fn decode_bytes(&self, bytes: &[u8]) -> Result<T> {
        let Some((&found, encoded)) = bytes.split_first_chunk::<8>() else {
            return Err(unreadable(format!("expected a fingerprint of 8 bytes, found {} bytes", bytes.len())));
        };
        let expected = self.fingerprint();
        if found != expected {
            return Err(unreadable(format!(
                "it was stored by another type, or another version of this one (its fingerprint is {:#018x}, expected \
                 was {:#018x}); delete the key, or give each type keys or a namespace of its own",
                u64::from_le_bytes(found),
                u64::from_le_bytes(expected),
            )));
        }
        match postcard::take_from_bytes(encoded) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(unreadable(format!("{} of {} bytes are left over", rest.len(), bytes.len()))),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }
}

/// Many items whose values were encoded.
pub(super) struct EncodedItems<'k, K> {
    /// The items that can be stored.
    pub items: Vec<(&'k K, Vec<u8>)>,
    /// For each item that was given, the error if its value could not be encoded.
    errors: Vec<Option<Error>>,
}

impl<K> EncodedItems<'_, K> {
    /// The outcome of each item that was given. `stored` has the outcomes of the items that could be encoded.
    pub(super) fn outcomes(self, stored: Vec<Result<()>>) -> Vec<Result<()>> {
        let mut stored = stored.into_iter();
        self.errors
            .into_iter()
            .filter_map(|error| error.map_or_else(|| stored.next(), |error| Some(Err(error))))
            .collect()
    }
}

fn unreadable(detail: String) -> Error {
    Error::Codec { what: "read", detail }
}
