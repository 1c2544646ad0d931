//! Domain names: on the wire a list of labels, elsewhere text.

use std::fmt;

use super::{HEADER, Malformed};

/// The longest name on the wire (RFC 1035, 2.3.4).
const LONGEST: usize = 255;

/// The longest label.
const LONGEST_LABEL: usize = 63;

/// A name in lower case and without a dot at its end; the root is empty. Bytes that a host's name
/// does not have are written `\ddd`, so that different names are different texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Name(String);

// === impl Name ===

impl Name {
    /// Takes a name that a person or a file wrote; nothing if no message can carry it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() + 2 > LONGEST {
            return None;
        }
        let is_label =
            |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(is_plain);
        let is_name = text.split('.').all(is_label);
        is_name.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a name of a message, and says where it ends.
    ///
    /// A pointer must lead behind the header and to what is before everything that was read of this
    /// name, so no chain of them is endless; a name of 255 bytes has at most 127 labels, so none is
    /// expensive either.
    pub(super) fn read(message: &[u8], start: usize) -> Result<(Self, usize), Malformed> {
        let mut text = String::new();
        let (mut at, mut end, mut earliest) = (start, None, start);
        let mut length = 1;
        loop {
            let head = byte(message, at)?;
            match head >> 6 {
                0 if head == 0 => return Ok((Self(text), end.unwrap_or(at + 1))),
                0 => {
                    let size = usize::from(head);
                    let label = message.get(at + 1..at + 1 + size);
                    let label = label.ok_or(Malformed("a label is cut off"))?;
                    length += size + 1;
                    if length > LONGEST {
                        return Err(Malformed("a name is longer than 255 bytes"));
                    }
                    push(&mut text, label);
                    at += size + 1;
                }
                3 => {
                    let low = byte(message, at + 1)?;
                    let target = usize::from(head & 0x3f) << 8 | usize::from(low);
                    if target < HEADER {
                        // What stands there differs between a question and its answer.
                        return Err(Malformed("a name points into the header"));
                    }
                    if target >= earliest {
                        return Err(Malformed("a name points to itself or forward"));
                    }
                    end.get_or_insert(at + 2);
                    (at, earliest) = (target, target);
                }
                _ => return Err(Malformed("a label of an unknown kind")),
            }
        }
    }

    /// Appends the name, uncompressed.
    pub(super) fn write(&self, message: &mut Vec<u8>) {
        for label in self.0.split('.').filter(|label| !label.is_empty()) {
            let at = message.len();
            message.push(0);
            let mut bytes = label.bytes();
            while let Some(byte) = bytes.next() {
                if byte == b'\\' {
                    let digits = [bytes.next(), bytes.next(), bytes.next()];
                    let digits = digits.into_iter().flatten();
                    let value = digits.fold(0_u32, |sum, digit| {
                        sum * 10 + u32::from(digit.wrapping_sub(b'0'))
                    });
                    message.push(value.to_le_bytes()[0]);
                } else {
                    message.push(byte);
                }
            }
            // Both ways to make a name check the length of its labels.
            message[at] = (message.len() - at - 1).to_le_bytes()[0];
        }
        message.push(0);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

fn byte(message: &[u8], at: usize) -> Result<u8, Malformed> {
    let byte = message.get(at).copied();
    byte.ok_or(Malformed("a name is cut off"))
}

fn push(text: &mut String, label: &[u8]) {
    if !text.is_empty() {
        text.push('.');
    }
    for byte in label {
        if is_plain(*byte) {
            text.push(char::from(byte.to_ascii_lowercase()));
        } else {
            text.push_str(&format!("\\{byte:03}"));
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'.' && byte != b'\\'
}
