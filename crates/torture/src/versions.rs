//! The two versions of the type of the typed keys, and the near copies of their values in this process.

use crate::board::TYPED;
use crate::parts::Parts;
use kennel::{Local, LocalOptions, Typed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::sync::OnceLock;

/// A value of the old program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Old {
    version: u8,
    bytes: Vec<u8>,
}

/// A value of the new program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct New {
    number: u8,
    body: Vec<u8>,
}

/// One version of the type.
pub trait Version: Clone + Debug + PartialEq + Serialize + DeserializeOwned + 'static {
    const NUMBER: u8;

    fn of(bytes: Vec<u8>) -> Self;

    /// The version that stored the value, and its self-proving bytes.
    fn parts(&self) -> (u8, &[u8]);

    /// The near copies of this process.
    fn near() -> Option<&'static Local<Self>>;
}

/// The near copies of this process, for both versions. They have room for only a part of the keys.
static NEAR: OnceLock<(Local<Old>, Local<New>)> = OnceLock::new();

/// Makes the near copies, before any thread can fork.
pub fn open_near(cache: &Parts) {
    let options = LocalOptions::new().items(TYPED / 4);
    NEAR.get_or_init(|| (typed(cache).local(&options), typed(cache).local(&options)));
}

impl Version for Old {
    const NUMBER: u8 = 1;

    fn of(bytes: Vec<u8>) -> Self {
        Self { version: Self::NUMBER, bytes }
    }

    fn parts(&self) -> (u8, &[u8]) {
        (self.version, &self.bytes)
    }

    fn near() -> Option<&'static Local<Self>> {
        NEAR.get().map(|near| &near.0)
    }
}

impl Version for New {
    const NUMBER: u8 = 2;

    fn of(body: Vec<u8>) -> Self {
        Self { number: Self::NUMBER, body }
    }

    fn parts(&self) -> (u8, &[u8]) {
        (self.number, &self.body)
    }

    fn near() -> Option<&'static Local<Self>> {
        NEAR.get().map(|near| &near.1)
    }
}

pub fn typed<T: Version>(cache: &Parts) -> Typed<T> {
    cache.all.typed()
}
