//! Questions that we ask.

use super::record::Writer;
use super::{HEADER, INTERNET, Name};

/// The question for the records of one type of a name, with EDNS, for a resolver that asks others.
pub fn write(id: u16, name: &Name, kind: u16) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[..2].copy_from_slice(&id.to_be_bytes());
    // Recursion is desired; one question, one additional record.
    message[2] = 0x01;
    message[5] = 1;
    message[11] = 1;
    name.write(&mut message);
    for half in [kind, INTERNET] {
        message.extend_from_slice(&half.to_be_bytes());
    }
    let mut writer = Writer {
        message,
        limit: usize::MAX,
    };
    writer.edns();
    writer.message
}
