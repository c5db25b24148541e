//! Hexadecimal text, for keys and values that are not UTF-8.

use std::fmt::Write as _;

/// Writes two lower-case digits for each byte.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads the output of [`encode`], and upper case digits as well.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    if !text.len().is_multiple_of(2) {
        return Err(format!(
            "\"{text}\" is not hexadecimal: expected two digits for each byte, found {} digits",
            text.len()
        ));
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| format!("\"{text}\" is not hexadecimal: expected digits 0-9 and a-f only"))
}

fn digit(byte: u8) -> Option<u8> {
    // A hexadecimal digit is below 16, so it always fits.
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
        assert_eq!(encode(&[0, 0x7f, 0xff]), "007fff");
        assert_eq!(decode(""), Ok(Vec::new()));
        assert_eq!(decode("FFa0"), Ok(vec![0xff, 0xa0]));
    }

    #[test]
    fn refuses_odd_lengths_and_other_characters() {
        for text in ["f", "abc", "zz", "+1", "é", "0x10"] {
            assert!(decode(text).is_err(), "{text:?} was taken for hexadecimal");
        }
    }
}
