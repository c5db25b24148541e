//! RESP3, the protocol of Redis and Valkey: commands out, replies and pushes in, in the order of one stream.
//!
//! The decoder keeps what it has read of an unfinished frame, so it reads each byte once. It trusts no length that the
//! peer sends: it allocates for bytes that have arrived, and refuses a frame that would need more than its limit.

use std::fmt;

/// A reply, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: a null of any kind.
    Null,
    /// A string: bulk, simple, verbatim, a double or a big number.
    Bytes(Vec<u8>),
    /// An integer.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// An error of the server.
    Error(String),
    /// An array, a set, or a map as its keys and values in turn.
    Array(Vec<Value>),
    /// What the server sends without being asked.
    Push(Vec<Value>),
}

impl Value {
    /// The bytes of a string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Bytes that are not RESP3, or a frame beyond the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a reply of RESP3: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// The longest line: types with a line carry numbers, short texts and errors.
const LONGEST_LINE: usize = 64 << 10;
const DEEPEST: usize = 16;
/// The longest line with a length: its type, a sign, nineteen digits and CR LF.
const LONGEST_LENGTH: usize = 23;
/// What a value costs besides its bytes.
const PER_VALUE: usize = size_of::<Value>();

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Array,
    Push,
    /// Describes the value that follows it, and is dropped.
    Attribute,
}

/// An array of which some elements have arrived.
struct Open {
    kind: Kind,
    missing: u64,
    values: Vec<Value>,
}

/// What comes next in a stream, for a tracker. The tracker gets the keys of an invalidation one by one, without copies,
/// while further keys may still be on their way.
#[derive(Debug, PartialEq)]
pub enum Item<'d> {
    /// The server invalidates this many keys, which follow.
    Invalidation(u64),
    /// One of the invalidated keys.
    Key(&'d [u8]),
    /// Any other reply or push, whole.
    Value(Value),
}

/// The beginning of a push that invalidates keys. An array of the keys follows, or a null for all keys.
const INVALIDATION: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";

/// Takes bytes as they arrive and gives out whole values.
pub struct Decoder {
    bytes: Vec<u8>,
    /// Bytes before this one are decoded.
    start: usize,
    open: Vec<Open>,
    /// Keys of an invalidation that are still to be given out.
    keys: u64,
    /// What the current frame has cost so far.
    cost: usize,
    limit: usize,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("undecoded", &(self.bytes.len() - self.start)).finish_non_exhaustive()
    }
}

/// One step: a value without parts, or the head of one with parts.
enum Token {
    Value(Value),
    Head(Kind, u64),
}

impl Decoder {
    /// A decoder of frames that need at most `limit` bytes of memory.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, open: Vec::new(), keys: 0, cost: 0, limit }
    }

    /// Adds bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 && (self.start == self.bytes.len() || self.start > LONGEST_LINE) {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What comes next. `None`: more bytes must arrive.
    ///
    /// # Errors
    /// [`Malformed`]. The stream has no next item then: its connection must be closed.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, Malformed> {
        if self.keys > 0 {
            return Ok(self.key()?.map(Item::Key));
        }
        if self.open.is_empty() {
            let rest = &self.bytes[self.start..];
            if let Some(array) = rest.strip_prefix(INVALIDATION)
                && array.first().is_none_or(|kind| *kind == b'*')
            {
                let Some((keys, len)) = length(array)? else { return Ok(None) };
                // A null array of RESP2 is left to the general decoder.
                if let Ok(keys) = u64::try_from(keys) {
                    self.start += INVALIDATION.len() + len;
                    self.keys = keys;
                    return Ok(Some(Item::Invalidation(keys)));
                }
            } else if INVALIDATION.starts_with(rest) {
                return Ok(None);
            }
        }
        Ok(self.next_value()?.map(Item::Value))
    }

    /// The next key of an invalidation.
    fn key(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let rest = &self.bytes[self.start..];
        if rest.first().is_some_and(|kind| *kind != b'$') {
            return Err(Malformed("an invalidated key is not a string"));
        }
        let Some((len, head)) = length(rest)? else { return Ok(None) };
        let len = usize::try_from(len).map_err(|_| Malformed("a negative length"))?;
        if len > self.limit {
            return Err(Malformed("a key is larger than the limit"));
        }
        let begin = self.start + head;
        let Some(text) = self.bytes.get(begin..begin + len + 2) else { return Ok(None) };
        if !text.ends_with(b"\r\n") {
            return Err(Malformed("a string does not end in CR LF"));
        }
        self.start = begin + len + 2;
        self.keys -= 1;
        Ok(Some(&self.bytes[begin..begin + len]))
    }

    /// The next whole value. `None`: more bytes must arrive. Keys of an invalidation that
    /// [`next_item`](Self::next_item) has not returned yet are skipped.
    ///
    /// # Errors
    /// [`Malformed`]. The stream has no next value then: its connection must be closed.
    pub fn next_value(&mut self) -> Result<Option<Value>, Malformed> {
        while self.keys > 0 {
            if self.key()?.is_none() {
                return Ok(None);
            }
        }
        loop {
            let Some(token) = self.token()? else { return Ok(None) };
            self.spend(PER_VALUE)?;
            let value = match token {
                Token::Value(value) => value,
                Token::Head(kind, 0) => close(kind, Vec::new()),
                Token::Head(kind, parts) => {
                    if self.open.len() == DEEPEST {
                        return Err(Malformed("nested too deep"));
                    }
                    self.open.push(Open { kind, missing: parts, values: Vec::new() });
                    continue;
                }
            };
            if let Some(whole) = self.place(value) {
                self.cost = 0;
                return Ok(Some(whole));
            }
        }
    }

    /// Puts a value into the innermost open array; `Some` if that completes a frame.
    fn place(&mut self, mut value: Value) -> Option<Value> {
        loop {
            let Some(inner) = self.open.last_mut() else { return Some(value) };
            inner.values.push(value);
            inner.missing -= 1;
            if inner.missing > 0 {
                return None;
            }
            let done = self.open.pop()?;
            if done.kind == Kind::Attribute {
                return None;
            }
            value = close(done.kind, done.values);
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.cost = self.cost.saturating_add(bytes);
        if self.cost > self.limit { Err(Malformed("a frame is larger than the limit")) } else { Ok(()) }
    }

    /// Decodes one token, or leaves the bytes as they are.
    fn token(&mut self) -> Result<Option<Token>, Malformed> {
        let rest = &self.bytes[self.start..];
        let Some(&kind) = rest.first() else { return Ok(None) };
        let Some(end) = rest.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n') else {
            return if rest.len() >= LONGEST_LINE { Err(Malformed("a line is too long")) } else { Ok(None) };
        };
        let line = rest[1.min(end)..end].strip_suffix(b"\r").ok_or(Malformed("a line does not end in CR LF"))?.to_vec();
        let after = self.start + end + 1;
        let token = match kind {
            b'$' | b'=' | b'!' => return self.bulk(kind, &line, after),
            b'+' | b',' | b'(' => Token::Value(Value::Bytes(line)),
            b'-' => Token::Value(Value::Error(String::from_utf8_lossy(&line).into_owned())),
            b':' => Token::Value(Value::Int(number(&line)?)),
            b'_' => Token::Value(Value::Null),
            b'#' => Token::Value(Value::Bool(line == b"t")),
            b'*' | b'~' | b'>' | b'%' | b'|' => match number(&line)? {
                -1 if kind == b'*' => Token::Value(Value::Null),
                parts => head(kind, u64::try_from(parts).map_err(|_| Malformed("a negative length"))?),
            },
            _ => return Err(Malformed("an unknown type")),
        };
        self.start = after;
        self.spend(end)?;
        Ok(Some(token))
    }

    /// A string whose length precedes it.
    fn bulk(&mut self, kind: u8, line: &[u8], after: usize) -> Result<Option<Token>, Malformed> {
        let len = number(line)?;
        if len == -1 && kind == b'$' {
            self.start = after;
            return Ok(Some(Token::Value(Value::Null)));
        }
        let len = usize::try_from(len).map_err(|_| Malformed("a negative length"))?;
        if self.cost.saturating_add(len) > self.limit {
            return Err(Malformed("a frame is larger than the limit"));
        }
        let Some(text) = self.bytes.get(after..after + len + 2) else { return Ok(None) };
        let text = text.strip_suffix(b"\r\n").ok_or(Malformed("a string does not end in CR LF"))?;
        let value = match kind {
            b'!' => Value::Error(String::from_utf8_lossy(text).into_owned()),
            // A verbatim string begins with its format, such as `txt:`.
            b'=' => Value::Bytes(text.get(4..).unwrap_or_default().to_vec()),
            _ => Value::Bytes(text.to_vec()),
        };
        self.start = after + len + 2;
        self.spend(len)?;
        Ok(Some(Token::Value(value)))
    }
}

fn head(kind: u8, parts: u64) -> Token {
    // Twice the largest `i64` fits.
    match kind {
        b'>' => Token::Head(Kind::Push, parts),
        b'%' => Token::Head(Kind::Array, parts * 2),
        b'|' => Token::Head(Kind::Attribute, parts * 2),
        _ => Token::Head(Kind::Array, parts),
    }
}

fn close(kind: Kind, values: Vec<Value>) -> Value {
    if kind == Kind::Push { Value::Push(values) } else { Value::Array(values) }
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed("a number is not text"))?;
    text.parse().map_err(|_| Malformed("not a number"))
}

/// The number in the line of an array or a string, and the length of the line. `None`: it has not arrived whole.
fn length(line: &[u8]) -> Result<Option<(i64, usize)>, Malformed> {
    // A length has few digits: a longer text cannot be one.
    let Some(end) = line.iter().take(LONGEST_LENGTH).position(|&byte| byte == b'\n') else {
        return if line.len() >= LONGEST_LENGTH { Err(Malformed("not a length")) } else { Ok(None) };
    };
    let digits = line[1.min(end)..end].strip_suffix(b"\r").ok_or(Malformed("a line does not end in CR LF"))?;
    Ok(Some((number(digits)?, end + 1)))
}

/// Appends a command to what is to be sent.
pub fn encode<A: AsRef<[u8]>>(command: &[A], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for part in command {
        let part = part.as_ref();
        into.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        into.extend_from_slice(part);
        into.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.into())
    }

    fn all(decoder: &mut Decoder) -> Result<Vec<Value>, Malformed> {
        let mut values = Vec::new();
        while let Some(value) = decoder.next_value()? {
            values.push(value);
        }
        Ok(values)
    }

    #[test]
    fn every_type_is_decoded_however_the_bytes_arrive() {
        let stream =
            b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\nhe\r\no\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n=6\r\ntxt:ab\r\n(12\r\n\
            *2\r\n:1\r\n*0\r\n%1\r\n+a\r\n:1\r\n~1\r\n+b\r\n!3\r\nERR\r\n|1\r\n+ttl\r\n:3\r\n:9\r\n\
            >2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n$0\r\n\r\n";
        let push = |of| Value::Push(vec![bytes("invalidate"), of]);
        let expected = [
            bytes("OK"),
            Value::Error("ERR no".into()),
            Value::Int(-7),
            bytes("he\r\no"),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Bool(true),
            bytes("1.5"),
            bytes("ab"),
            bytes("12"),
            Value::Array(vec![Value::Int(1), Value::Array(vec![])]),
            Value::Array(vec![bytes("a"), Value::Int(1)]),
            Value::Array(vec![bytes("b")]),
            Value::Error("ERR".into()),
            Value::Int(9),
            push(Value::Array(vec![bytes("k")])),
            push(Value::Null),
            bytes(""),
        ];
        for piece in [1, 2, 3, 7, stream.len()] {
            let mut decoder = Decoder::new(1 << 20);
            let mut found = Vec::new();
            for part in stream.chunks(piece) {
                decoder.feed(part);
                found.extend(all(&mut decoder).unwrap());
            }
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn invalidated_keys_come_one_by_one_before_the_rest_of_them_has_arrived() {
        let stream = b"+OK\r\n>2\r\n$10\r\ninvalidate\r\n*3\r\n$1\r\na\r\n$0\r\n\r\n$4\r\n\r\n:1\r\n:7\r\n\
            >2\r\n$10\r\ninvalidate\r\n*0\r\n>2\r\n$10\r\ninvalidate\r\n*-1\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n\
            >2\r\n$7\r\nmessage\r\n*1\r\n$1\r\nb\r\n";
        let all_keys = || Item::Value(Value::Push(vec![bytes("invalidate"), Value::Null]));
        let expected = [
            Item::Value(bytes("OK")),
            Item::Invalidation(3),
            Item::Key(b"a"),
            Item::Key(b""),
            Item::Key(b"\r\n:1"),
            Item::Value(Value::Int(7)),
            Item::Invalidation(0),
            all_keys(),
            all_keys(),
            Item::Value(Value::Push(vec![bytes("message"), Value::Array(vec![bytes("b")])])),
        ];
        for piece in [1, 2, 3, 7, stream.len()] {
            let (mut decoder, mut found) = (Decoder::new(1 << 20), 0);
            for part in stream.chunks(piece) {
                decoder.feed(part);
                while let Some(item) = decoder.next_item().unwrap() {
                    assert_eq!(item, expected[found], "in pieces of {piece}");
                    found += 1;
                }
            }
            assert_eq!(found, expected.len(), "in pieces of {piece}");
        }
        let head = ">2\r\n$10\r\ninvalidate\r\n";
        let bad =
            ["*x\r\n", "*99999999999999999999999\r\n", "*1\n", "*1\r\n:1\r\n", "*1\r\n$-1\r\n", "*1\r\n$1\r\nabc"];
        for bad in bad.into_iter().chain(["*1\r\n$5000\r\n"]) {
            let mut decoder = Decoder::new(4096);
            decoder.feed(format!("{head}{bad}").as_bytes());
            let end = loop {
                match decoder.next_item() {
                    Ok(Some(_)) => {}
                    end => break end.map(|item| item.is_none()),
                }
            };
            assert!(end.is_err(), "{bad:?}: {end:?}");
        }
        let mut decoder = Decoder::new(4096);
        decoder.feed(format!("{head}*9223372036854775807\r\n$1\r\na\r\n").as_bytes());
        assert_eq!(decoder.next_item(), Ok(Some(Item::Invalidation(i64::MAX as u64))));
        assert_eq!(decoder.next_item(), Ok(Some(Item::Key(b"a"))));
        decoder.feed(b"$1\r\nb\r\n");
        assert_eq!(decoder.next_value(), Ok(None), "what is left of an invalidation is left out");
    }

    #[test]
    fn what_is_malformed_or_too_large_is_refused_before_memory_is_taken() {
        let long = [b"+".as_slice(), &[b'x'; LONGEST_LINE]].concat();
        let deep = b"*1\r\n".repeat(DEEPEST + 1);
        let many = [b"*100000000\r\n".as_slice(), &b"_\r\n".repeat(200)].concat();
        let lines = [b"*50\r\n".as_slice(), &[b"+".as_slice(), &[b'x'; 1000], b"\r\n"].concat().repeat(50)].concat();
        let hostile: [&[u8]; 12] = [
            b"?\r\n",
            b"\n",
            b":1x\r\n",
            b":1\n",
            b"$-2\r\n",
            b"*-2\r\n",
            b"$1\r\nabc",
            b"$99999\r\n",
            &long,
            &deep,
            &many,
            &lines,
        ];
        for stream in hostile {
            let mut decoder = Decoder::new(4096);
            decoder.feed(stream);
            assert!(all(&mut decoder).is_err(), "{:?}", String::from_utf8_lossy(&stream[..stream.len().min(40)]));
        }
        for kind in ["*", ">", "%", "|"] {
            let mut decoder = Decoder::new(4096);
            decoder.feed(format!("{kind}9223372036854775807\r\n").as_bytes());
            assert_eq!(decoder.next_value(), Ok(None), "a length alone takes no memory");
        }
    }

    #[test]
    fn each_frame_has_the_whole_limit_and_commands_are_arrays_of_strings() {
        let mut decoder = Decoder::new(200);
        for _ in 0..100 {
            decoder.feed(b"$100\r\n");
            decoder.feed(&[b'x'; 100]);
            decoder.feed(b"\r\n");
            assert_eq!(all(&mut decoder).unwrap(), [Value::Bytes(vec![b'x'; 100])]);
        }
        let mut out = Vec::new();
        encode(&["GET", "k\r\n"], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\nk\r\n\r\n");
    }
}
