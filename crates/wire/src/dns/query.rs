//! A client's question, and the answers to it.

use std::net::IpAddr;
use std::ops::Range;

use super::record::{Record, Writer};
use super::{Code, HEADER, Malformed, Name, OPT, UDP_DEFAULT, UDP_MOST};

/// The bit of a header's third byte that says that it is a response.
const RESPONSE: u8 = 0x80;
/// … that whoever answers knows by itself.
const AUTHORITATIVE: u8 = 0x04;
/// … that it did not fit.
const TRUNCATED: u8 = 0x02;
/// … that others should be asked too.
const RECURSION_DESIRED: u8 = 0x01;
/// The bit of the fourth byte that says that others are.
const RECURSION_AVAILABLE: u8 = 0x80;

/// The length of EDNS' pseudo record without options.
const EDNS_LENGTH: usize = 11;

/// How a question came, which limits its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// A question that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The id that its answer must have.
    pub id: u16,
    /// What it is about.
    pub name: Name,
    /// The type that is wanted, such as [`super::A`].
    pub kind: u16,
    /// The class, nearly always [`super::INTERNET`].
    pub class: u16,
    /// The question as it came: its answer repeats it to the letter.
    question: Vec<u8>,
    /// The third byte of the header.
    flags: u8,
    has_edns: bool,
    /// How long the answer may be.
    limit: usize,
}

/// Why a message gets no answer, or which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is no question at all: an answer could go back and forth for ever.
    Ignored(Malformed),
    /// It is a question that cannot be read or is of an unknown kind: this is the answer.
    Answered(Vec<u8>),
}

// === impl Query ===

impl Query {
    /// Reads a question.
    ///
    /// # Errors
    /// What is no question is to be ignored; one that is malformed has an answer that says so.
    pub fn read(message: &[u8], transport: Transport) -> Result<Self, Refusal> {
        let ignored = |why| Refusal::Ignored(Malformed(why));
        let header: [u8; HEADER] = message
            .get(..HEADER)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| ignored("it is shorter than a header"))?;
        let [i0, i1, flags, _, q0, q1, ..] = header;
        if flags & RESPONSE != 0 {
            return Err(ignored("it is an answer"));
        }
        let id = u16::from_be_bytes([i0, i1]);
        let refused = |code| Refusal::Answered(bare(id, flags, code));
        if flags & 0x78 != 0 {
            return Err(refused(Code::NotImp));
        }
        if [q0, q1] != [0, 1] {
            return Err(refused(Code::FormErr));
        }
        let malformed = |_| refused(Code::FormErr);
        let (name, at) = Name::read(message, HEADER).map_err(malformed)?;
        let fixed = message.get(at..at + 4);
        let fixed: [u8; 4] = fixed
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| refused(Code::FormErr))?;
        let [k0, k1, c0, c1] = fixed;
        let size = edns(message, at + 4).map_err(malformed)?;
        let limit = match transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => usize::from(size.unwrap_or(0).min(UDP_MOST)).max(UDP_DEFAULT),
        };
        Ok(Self {
            id,
            name,
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            question: message[question_range(at)].to_vec(),
            flags,
            has_edns: size.is_some(),
            limit,
        })
    }

    /// How long the answer may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The answer without anything but a code.
    pub fn failure(&self, code: Code) -> Vec<u8> {
        self.finish(self.begin(), 0, code, 0)
    }

    /// The answer that says to ask again over TCP.
    pub fn truncated(&self) -> Vec<u8> {
        self.finish(self.begin(), 0, Code::NoError, TRUNCATED)
    }

    /// The answer that the name is another one's (`aliases`, in order) and has these addresses.
    /// What does not fit is left out, and the answer says so.
    pub fn addresses(
        &self,
        aliases: &[Name],
        addresses: impl IntoIterator<Item = IpAddr>,
        ttl: u32,
    ) -> Vec<u8> {
        let mut writer = self.begin();
        let (mut count, mut flags) = (0, AUTHORITATIVE);
        // The question's name stands right behind the header.
        let mut owner = Some(12);
        for alias in aliases {
            owner = owner.and_then(|owner| writer.alias(owner, ttl, alias));
            count += u16::from(owner.is_some());
        }
        let mut addresses = addresses.into_iter();
        let is_whole = match owner {
            None => false,
            Some(owner) => addresses.all(|address| {
                let is_written = count < u16::MAX && writer.address(owner, ttl, address);
                count += u16::from(is_written);
                is_written
            }),
        };
        if !is_whole {
            flags |= TRUNCATED;
        }
        self.finish(writer, count, Code::NoError, flags)
    }

    fn begin(&self) -> Writer {
        let mut message = vec![0; HEADER];
        message.extend_from_slice(&self.question);
        let kept = if self.has_edns { EDNS_LENGTH } else { 0 };
        Writer {
            message,
            limit: self.limit - kept,
        }
    }

    fn finish(&self, mut writer: Writer, answers: u16, code: Code, flags: u8) -> Vec<u8> {
        if self.has_edns {
            writer.edns();
        }
        let header = header(self.id, self.flags, flags, code);
        writer.message[..4].copy_from_slice(&header);
        let counts = [1, answers, 0, u16::from(self.has_edns)];
        for (at, count) in counts.into_iter().enumerate() {
            writer.message[4 + 2 * at..6 + 2 * at].copy_from_slice(&count.to_be_bytes());
        }
        writer.message
    }
}

fn question_range(end_of_name: usize) -> Range<usize> {
    HEADER..end_of_name + 4
}

/// The size of datagrams that EDNS' pseudo record names, if there is one among the records behind
/// the question.
fn edns(message: &[u8], mut at: usize) -> Result<Option<u16>, Malformed> {
    let mut size = None;
    let mut count = 0;
    for pair in message[6..HEADER].chunks_exact(2) {
        count += usize::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    for _ in 0..count {
        let record = Record::read(message, at)?;
        if record.kind == OPT && size.replace(record.class).is_some() {
            return Err(Malformed("it has EDNS twice"));
        }
        at = record.end;
    }
    Ok(size)
}

/// The first four bytes of an answer to a question with these flags.
fn header(id: u16, asked: u8, flags: u8, code: Code) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    let third = RESPONSE | asked & (0x78 | RECURSION_DESIRED) | flags;
    [
        high,
        low,
        third,
        RECURSION_AVAILABLE | code.to_wire() & 0x0f,
    ]
}

/// An answer that repeats no question, to one that cannot be read.
fn bare(id: u16, asked: u8, code: Code) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[..4].copy_from_slice(&header(id, asked, 0, code));
    message
}
