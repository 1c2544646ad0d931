//! DNS messages (RFC 1035, EDNS by RFC 6891): questions read and answered, questions asked and
//! answers read.
//!
//! It is not a resolver: it knows neither servers nor time. What is no message is refused without
//! a panic and without more work than the message has bytes.
//!
//! ```text
//! a client's question ─► query::Query::read ─► addresses │ failure │ truncated  (its answer)
//!                                   └── relayed: the same bytes under another id
//! our question        ─► ask::write ─► a server ─► answer::Answer::read ─► addresses, TTL, alias
//! ```

pub mod answer;
pub mod ask;
pub mod name;
pub mod query;
mod record;

pub use answer::Answer;
pub use name::Name;
pub use query::Query;

/// The port of name servers.
pub const PORT: u16 = 53;

/// The length of a message's header.
pub const HEADER: usize = 12;

/// The type of an IPv4 address.
pub const A: u16 = 1;
/// The type of another name.
pub const CNAME: u16 = 5;
/// The type of the start of a zone.
pub const SOA: u16 = 6;
/// The type of an IPv6 address.
pub const AAAA: u16 = 28;
/// The type of EDNS' pseudo record.
pub const OPT: u16 = 41;

/// The class of the internet.
pub const INTERNET: u16 = 1;

/// What a client without EDNS takes in a datagram (RFC 1035, 4.2.1).
pub const UDP_DEFAULT: usize = 512;

/// What is taken and sent in a datagram at most: never fragmented on any usual link (DNS Flag Day
/// 2020).
pub const UDP_MOST: u16 = 1232;

/// Why bytes are no DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a DNS message: {0}")]
pub struct Malformed(pub &'static str);

/// How a question ended (RFC 1035, 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Well, though there may be nothing of the wanted type.
    NoError,
    /// The question could not be read.
    FormErr,
    /// It could not be found out.
    ServFail,
    /// The name does not exist.
    NxDomain,
    /// Questions of this kind are not answered.
    NotImp,
    /// It is not answered for whoever asked.
    Refused,
    /// Anything else.
    Other(u8),
}

// === impl Code ===

impl Code {
    /// Reads the number of a header.
    pub fn from_wire(code: u8) -> Self {
        match code {
            0 => Self::NoError,
            1 => Self::FormErr,
            2 => Self::ServFail,
            3 => Self::NxDomain,
            4 => Self::NotImp,
            5 => Self::Refused,
            other => Self::Other(other),
        }
    }

    /// The number in a header.
    pub fn to_wire(self) -> u8 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::Other(other) => other,
        }
    }
}

/// Puts another id in place of a message's.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(bytes) = message.get_mut(..2) {
        bytes.copy_from_slice(&id.to_be_bytes());
    }
}

/// The code of a message's header; nothing of what is too short.
pub fn code(message: &[u8]) -> Option<Code> {
    let byte = message.get(3).filter(|_| message.len() >= HEADER)?;
    Some(Code::from_wire(byte & 0x0f))
}

/// Answers whether a message says that it did not fit into its datagram.
pub fn is_truncated(message: &[u8]) -> bool {
    message.len() >= HEADER && message[2] & 0x02 != 0
}

/// Answers whether `message` is a response with this id to the question of `query`. Letters may
/// differ in case.
pub fn is_answer(message: &[u8], id: u16, query: &[u8]) -> bool {
    if message.len() < HEADER || message[..2] != id.to_be_bytes() || message[2] & 0x80 == 0 {
        return false;
    }
    let question = |bytes: &[u8]| {
        let count = u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]);
        let (name, at) = Name::read(bytes, HEADER).ok()?;
        let rest: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some((count, name, rest))
    };
    // Servers that cannot read a question, or do not want to, leave it out.
    let is_bare = message[4..6] == [0, 0] && code(message) != Some(Code::NoError);
    is_bare || question(query).is_some_and(|asked| question(message) == Some(asked))
}

#[cfg(test)]
mod tests;
