//! Numbers of variable length: seven bits a byte, the lowest first; the highest bit says that another byte follows.

/// The longest number of 64 bits.
pub(crate) const LONGEST: usize = 10;

pub(crate) fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the beginning of the bytes; `None` if they do not begin with one.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for i in 0..LONGEST {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        // The tenth byte has only the highest bit.
        if i == LONGEST - 1 && part > 1 {
            return None;
        }
        number |= part << (7 * i);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes this many bytes from the beginning.
pub(crate) fn take_bytes<'b>(bytes: &mut &'b [u8], len: u64) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            assert!(bytes.len() <= LONGEST);
            let mut rest = &bytes[..];
            assert_eq!((take(&mut rest), rest), (Some(number), &[][..]));
            for len in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..len]), None, "{number} cut to {len} bytes");
            }
        }
        assert_eq!(take(&mut &[0xff; 10][..]), None, "more than 64 bits");
    }

    #[test]
    fn no_more_bytes_are_taken_than_there_are() {
        let mut bytes = &b"abc"[..];
        assert_eq!(take_bytes(&mut bytes, 4), None);
        assert_eq!(take_bytes(&mut bytes, u64::MAX), None);
        assert_eq!((take_bytes(&mut bytes, 2), bytes), (Some(&b"ab"[..]), &b"c"[..]));
    }
}
