//! The slots of a cluster: each key lies in one of 16 384.

/// How many slots a cluster has.
pub(crate) const SLOTS: usize = 16_384;

/// CRC16 with the polynomial 0x1021 (XMODEM), for each value of the upper byte.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`, unless that is nothing.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let begin = key.iter().position(|byte| *byte == b'{')? + 1;
    let len = key[begin..].iter().position(|byte| *byte == b'}')?;
    (len > 0).then(|| &key[begin..begin + len])
}

/// The slot of a key.
pub(crate) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS as u16
}

/// A key with this beginning that lies in the slot of `beside`.
pub(crate) fn key_beside(begin: &[u8], beside: &[u8]) -> Vec<u8> {
    let wanted = slot(beside);
    let plain = [begin, beside].concat();
    if slot(&plain) == wanted {
        return plain;
    }
    let tagged = [begin, b"{", beside, b"}"].concat();
    if slot(&tagged) == wanted {
        return tagged;
    }
    // The key has braces that form no tag. For each slot there is a number that lies in it.
    let numbers = (0..u32::MAX).map(|number| number.to_string());
    let tag = numbers.into_iter().find(|number| slot(number.as_bytes()) == wanted).unwrap_or_default();
    [begin, b"{", tag.as_bytes(), b"}", beside].concat()
}

/// Some of the slots.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SlotSet(Box<[u64; SLOTS / 64]>);

impl Default for SlotSet {
    fn default() -> Self {
        Self(Box::new([0; SLOTS / 64]))
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries((0..SLOTS as u16).filter(|slot| self.has(*slot))).finish()
    }
}

impl SlotSet {
    pub(crate) fn insert(&mut self, slot: u16) {
        self.0[usize::from(slot) / 64] |= 1 << (slot % 64);
    }

    pub(crate) fn has(&self, slot: u16) -> bool {
        self.0[usize::from(slot) / 64] >> (slot % 64) & 1 == 1
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Adds the slots of a text such as `7` or `0-5460`; `None` if it has neither form.
    pub(crate) fn add(&mut self, text: &str) -> Option<()> {
        let (first, last) = range(text)?;
        (first..=last).for_each(|slot| self.insert(slot));
        Some(())
    }
}

/// The first and the last slot of `7` or `0-5460`.
pub(crate) fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && usize::from(last) < SLOTS).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lies_in_the_slot_in_which_the_server_sees_it() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT` answers.
        for (key, expected) in [("", 0), ("foo", 12_182), ("{user1000}.following", 3_443), ("foo{{bar}}zap", 4_015)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"{user1000}.followers"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16_384, "an empty tag is none");
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % 16_384);
    }

    #[test]
    fn a_key_beside_another_lies_in_its_slot() {
        for key in ["k", "{a}b", "b{a}", "a}b", "{}ab", "a{b", "", "}", "{", "x{}y{z}"] {
            let beside = key_beside(b"lease:", key.as_bytes());
            assert_eq!(slot(&beside), slot(key.as_bytes()), "{key}");
            assert!(beside.starts_with(b"lease:"));
        }
        assert_eq!(key_beside(b"lease:", b"k"), b"lease:{k}");
    }

    #[test]
    fn a_set_has_what_was_added() {
        let mut set = SlotSet::default();
        for good in ["0-2", "3", "16383", "100-100"] {
            assert_eq!(set.add(good), Some(()), "{good}");
        }
        for bad in ["", "-", "5-", "x", "16384", "0-16384", "9-8", "-1"] {
            assert_eq!(set.add(bad), None, "{bad}");
        }
        assert_eq!((range("0-2"), range("3"), range("3-2")), (Some((0, 2)), Some((3, 3)), None));
        assert_eq!((set.len(), set.has(2), set.has(4)), (6, true, false));
    }
}
