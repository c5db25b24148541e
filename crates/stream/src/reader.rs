//! Reads a stream, which may be cut, damaged or malicious: no length is trusted before it was checked, and memory is
//! taken only for a few frames and for the largest item that the caller wants.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Decompressor;

use super::frame::{BLOCK, BadHead, FRAME_HEAD_LEN, FrameHead, HEAD_LEN, Head, Kind};
use super::item::Namespace;
use super::numbers::take;

/// The most namespaces that a cache file can have.
const MOST_NAMESPACES: usize = u16::MAX as usize;

/// Why a stream cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The input cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("expected a stream that \"kennel dump\" wrote, found something else")]
    NoStream,
    /// It is a cache file.
    #[error("expected a stream that \"kennel dump\" wrote, found a cache file; use \"kennel copy\" for cache files")]
    CacheFile,
    /// It has this version.
    #[error(
        "expected a stream of version 1, found version {0}; use the release of kennel that wrote it, or a later one"
    )]
    Version(u32),
    /// Its head does not pass its checksum.
    #[error("the head of the stream is damaged")]
    Damaged,
}

/// The next part of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'r> {
    /// Namespaces, which come before their first item.
    Namespaces(Vec<Namespace>),
    /// The bytes of whole items.
    Items(&'r [u8]),
    /// The end.
    End(Ending),
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its last frame, which says how many items it has.
    Whole {
        /// The number of items.
        items: u64,
    },
    /// Before its last frame.
    Cut,
    /// With a damaged head of a frame. Where the next frame begins is not known.
    Damaged,
}

/// The pieces of an item that is larger than a frame.
enum Pieces {
    /// No item is being put together.
    No,
    Some(Vec<u8>),
    /// The item is larger than the caller wants.
    TooMany,
    /// A frame was lost, perhaps one with a piece of the item.
    Lost,
}

/// Reads a stream part by part.
pub struct Reader<R> {
    input: R,
    decompressor: Decompressor<'static>,
    /// A frame as it is in the stream.
    stored: Vec<u8>,
    /// The content of a frame, or of an item in pieces.
    raw: Vec<u8>,
    pieces: Pieces,
    /// The most bytes of an item that the caller wants.
    largest: usize,
    /// The number of the next frame.
    next: u64,
    namespaces: Vec<Option<Arc<str>>>,
    lost: u64,
    too_large: u64,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Reads the head of a stream. Items of more than `largest` bytes are passed over, unless they fit into a frame.
    pub fn new(mut input: R, largest: usize) -> Result<Self, OpenError> {
        let mut head = [0; HEAD_LEN];
        let len = read_up_to(&mut input, &mut head)?;
        Head::parse(&head).map_err(|bad| match bad {
            BadHead::CacheFile => OpenError::CacheFile,
            BadHead::Version(version) if len >= 12 => OpenError::Version(version),
            BadHead::Damaged => OpenError::Damaged,
            BadHead::NoStream | BadHead::Version(_) => OpenError::NoStream,
        })?;
        Ok(Self {
            input,
            decompressor: Decompressor::new()?,
            stored: Vec::with_capacity(BLOCK),
            raw: Vec::with_capacity(BLOCK),
            pieces: Pieces::No,
            largest,
            next: 0,
            namespaces: Vec::new(),
            lost: 0,
            too_large: 0,
        })
    }

    /// The names of the namespaces so far, by their numbers from 1; `None` for one that was lost.
    pub fn namespaces(&self) -> &[Option<Arc<str>>] {
        &self.namespaces
    }

    /// How many frames are missing so far, did not pass their checksum, or made no sense.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many items were passed over because of their size.
    pub fn too_large(&self) -> u64 {
        self.too_large
    }

    /// Reads the next part of the stream. Nothing may be read after the end.
    ///
    /// # Errors
    /// Those of the input. A stream that is cut or damaged is no error.
    pub fn read(&mut self) -> io::Result<Part<'_>> {
        loop {
            let mut bytes = [0; FRAME_HEAD_LEN];
            if read_up_to(&mut self.input, &mut bytes)? < FRAME_HEAD_LEN {
                return Ok(Part::End(Ending::Cut));
            }
            let Some(head) = FrameHead::parse(&bytes) else { return Ok(Part::End(Ending::Damaged)) };
            self.stored.resize(head.stored_len, 0);
            if read_up_to(&mut self.input, &mut self.stored)? < head.stored_len {
                return Ok(Part::End(Ending::Cut));
            }
            self.notice_gap(head.number);
            if !self.decode(&head) {
                self.lose(1);
                continue;
            }
            match head.kind {
                Kind::Namespaces => match self.add_namespaces() {
                    Some(added) => return Ok(Part::Namespaces(added)),
                    None => self.lose(1),
                },
                Kind::Items => return Ok(Part::Items(&self.raw)),
                Kind::FirstPiece => self.begin_pieces(),
                Kind::NextPiece => self.add_piece(),
                Kind::LastPiece => {
                    self.add_piece();
                    if self.end_pieces() {
                        return Ok(Part::Items(&self.raw));
                    }
                }
                Kind::End => match take(&mut &self.raw[..]) {
                    Some(items) => return Ok(Part::End(Ending::Whole { items })),
                    None => self.lose(1),
                },
            }
        }
    }

    /// Counts the frames that are missing in front of this one.
    fn notice_gap(&mut self, number: u64) {
        if number != self.next {
            self.lose(number.checked_sub(self.next).unwrap_or(1));
        }
        self.next = number.saturating_add(1);
    }

    /// An item whose pieces are being put together is lost as well.
    fn lose(&mut self, frames: u64) {
        self.lost = self.lost.saturating_add(frames);
        self.pieces = Pieces::Lost;
    }

    /// Decodes the content of a frame; returns whether it is whole.
    fn decode(&mut self, head: &FrameHead) -> bool {
        if xxh3_64(&self.stored) != head.check {
            return false;
        }
        self.raw.clear();
        if !head.is_coded {
            self.raw.extend_from_slice(&self.stored);
            return true;
        }
        // An item in pieces may have left a longer vector; nothing is decoded beyond the length in the head.
        self.raw.resize(head.raw_len, 0);
        let decoded = self.decompressor.decompress_to_buffer(&self.stored, &mut self.raw[..]);
        decoded.is_ok_and(|len| len == head.raw_len)
    }

    /// The namespaces of a frame, which begins with the number of the first one.
    fn add_namespaces(&mut self) -> Option<Vec<Namespace>> {
        let mut bytes = &self.raw[..];
        let before = take(&mut bytes)?.checked_sub(1).and_then(|before| usize::try_from(before).ok())?;
        let mut added = Vec::new();
        while !bytes.is_empty() {
            added.push(Namespace::decode(&mut bytes)?);
        }
        if before < self.namespaces.len() || before.saturating_add(added.len()) > MOST_NAMESPACES {
            return None;
        }
        self.namespaces.resize(before, None);
        self.namespaces.extend(added.iter().map(|namespace| Some(namespace.name.clone())));
        Some(added)
    }

    fn begin_pieces(&mut self) {
        self.pieces = Pieces::Some(Vec::new());
        self.add_piece();
    }

    fn add_piece(&mut self) {
        match &mut self.pieces {
            Pieces::No => self.lose(1),
            Pieces::TooMany | Pieces::Lost => {}
            Pieces::Some(pieces) if pieces.len() + self.raw.len() > self.largest => self.pieces = Pieces::TooMany,
            Pieces::Some(pieces) => pieces.extend_from_slice(&self.raw),
        }
    }

    /// Whether an item is complete.
    fn end_pieces(&mut self) -> bool {
        match std::mem::replace(&mut self.pieces, Pieces::No) {
            Pieces::No | Pieces::Lost => false,
            Pieces::TooMany => {
                self.too_large += 1;
                false
            }
            Pieces::Some(pieces) => {
                self.raw = pieces;
                true
            }
        }
    }
}

/// Fills the buffer as far as the input goes; returns how far.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match input.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
