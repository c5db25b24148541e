//! Writes a stream.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use kennel::SavedItem;
use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Compressor;

use super::frame::{BLOCK, FrameHead, Head, Kind};
use super::item::{MOST_BEFORE_KEY, Namespace, encode_head};
use super::numbers::put;

/// A level that keeps up with reading the items.
const LEVEL: i32 = 1;

/// Writes a stream item by item.
pub struct Writer<W> {
    out: W,
    compressor: Compressor<'static>,
    /// The content of the next frame.
    block: Vec<u8>,
    /// Its compressed form.
    coded: Vec<u8>,
    frames: u64,
    items: u64,
    bytes: u64,
    /// The numbers of the namespaces, from 1.
    namespaces: HashMap<Arc<str>, u64>,
}

impl<W> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("items", &self.items).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Writes the head of a stream.
    ///
    /// # Errors
    /// Those of the output, as for all methods.
    pub fn new(mut out: W, head: &Head) -> io::Result<Self> {
        let bytes = head.bytes();
        out.write_all(&bytes)?;
        Ok(Self {
            out,
            compressor: Compressor::new(LEVEL)?,
            block: Vec::with_capacity(BLOCK),
            coded: Vec::with_capacity(zstd::zstd_safe::compress_bound(BLOCK)),
            frames: 0,
            items: 0,
            bytes: bytes.len() as u64,
            namespaces: HashMap::new(),
        })
    }

    /// Adds namespaces. Each must come before its first item.
    ///
    /// # Errors
    /// Those of the output.
    pub fn namespaces(&mut self, namespaces: impl IntoIterator<Item = Namespace>) -> io::Result<()> {
        self.flush_items()?;
        for namespace in namespaces {
            let number = self.namespaces.len() as u64 + 1;
            if self.block.is_empty() {
                put(number, &mut self.block);
            }
            self.namespaces.insert(namespace.name.clone(), number);
            namespace.encode(&mut self.block);
            // A namespace takes about 200 bytes at most.
            if self.block.len() > BLOCK / 2 {
                self.frame(Kind::Namespaces)?;
            }
        }
        if self.block.is_empty() { Ok(()) } else { self.frame(Kind::Namespaces) }
    }

    /// Whether a namespace was added.
    #[must_use]
    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
    }

    /// Adds an item.
    ///
    /// # Errors
    /// Those of the output.
    pub fn item(&mut self, item: &SavedItem) -> io::Result<()> {
        let namespace = item.namespace.as_ref().and_then(|name| self.namespaces.get(name)).copied().unwrap_or(0);
        let mut value = item.value.as_deref().unwrap_or_default();
        let most = MOST_BEFORE_KEY + item.key.len() + value.len();
        if self.block.len() + most > BLOCK {
            self.flush_items()?;
        }
        encode_head(item, namespace, &mut self.block);
        self.block.extend_from_slice(&item.key);
        self.items += 1;
        // What does not fit into a frame is written in pieces.
        let mut kind = Kind::FirstPiece;
        while self.block.len() + value.len() > BLOCK {
            let (now, rest) = value.split_at(BLOCK - self.block.len());
            self.block.extend_from_slice(now);
            self.frame(kind)?;
            (value, kind) = (rest, Kind::NextPiece);
        }
        self.block.extend_from_slice(value);
        if kind == Kind::NextPiece { self.frame(Kind::LastPiece) } else { Ok(()) }
    }

    /// Ends the stream. Returns the output, and how many items and bytes were written.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<(W, u64, u64)> {
        self.flush_items()?;
        put(self.items, &mut self.block);
        self.frame(Kind::End)?;
        self.out.flush()?;
        Ok((self.out, self.items, self.bytes))
    }

    fn flush_items(&mut self) -> io::Result<()> {
        if self.block.is_empty() { Ok(()) } else { self.frame(Kind::Items) }
    }

    /// Writes a frame with the content that has been collected.
    fn frame(&mut self, kind: Kind) -> io::Result<()> {
        self.coded.clear();
        let coded_len = self.compressor.compress_to_buffer(&self.block[..], &mut self.coded)?;
        let is_coded = coded_len < self.block.len();
        let stored = if is_coded { &self.coded } else { &self.block };
        let head = FrameHead {
            number: self.frames,
            kind,
            is_coded,
            raw_len: self.block.len(),
            stored_len: stored.len(),
            check: xxh3_64(stored),
        };
        self.out.write_all(&head.bytes())?;
        self.out.write_all(stored)?;
        self.bytes += (head.bytes().len() + stored.len()) as u64;
        self.frames += 1;
        self.block.clear();
        Ok(())
    }
}
