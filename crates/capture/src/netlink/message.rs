//! Messages and attributes of netlink, as bytes.

use std::io;

use super::extended_text;

/// The length of a message's header: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// The length of an attribute's header.
const ATTRIBUTE: usize = 4;
/// Both are padded to this.
const ALIGN: usize = 4;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 1 << 15;
/// The two highest bits of an attribute's type are flags.
const KIND: u16 = !(3 << 14);

/// The largest value that one attribute can hold (its length has 16 bits).
pub(crate) const LARGEST_VALUE: usize = u16::MAX as usize - ATTRIBUTE;

/// A request under construction.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    flags: u16,
}

/// A message from the kernel.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// What it is.
    pub(crate) kind: u16,
    /// The request's sequence.
    pub(crate) sequence: u32,
    flags: u16,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

/// The attributes in a run of bytes; ends at the first that is cut short.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

// === impl Message ===

impl Message {
    /// Starts a request of a type with its fixed header.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        pad(&mut bytes);
        Self {
            bytes,
            flags: flags | flag(libc::NLM_F_REQUEST),
        }
    }

    /// Asks for an acknowledgement.
    pub(crate) fn acknowledged(mut self) -> Self {
        self.flags |= flag(libc::NLM_F_ACK);
        self
    }

    /// Appends an attribute.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(ATTRIBUTE + value.len())
            .expect("callers keep values below LARGEST_VALUE");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
        self
    }

    /// Appends a text, terminated by zero as the kernel wants names.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Appends a number in the byte order of the network (nftables' attributes).
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a number in the byte order of the host (rtnetlink's attributes).
    pub(crate) fn ne32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Appends bytes that are no attribute: the fixed header inside of a nested message.
    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
        self
    }

    /// Appends an attribute that holds those which `fill` appends.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start)
            .expect("callers keep values below LARGEST_VALUE");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// How many bytes it has so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Fills the header in.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("a message has less than 4 GiB");
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&self.flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

// === impl Received ===

impl Received<'_> {
    /// What the kernel reports about a request: done, or an error with its words; nothing if this
    /// is a part of the answer.
    pub(crate) fn report(&self) -> Option<Result<(), (io::Error, String)>> {
        let kind = i32::from(self.kind);
        if kind != libc::NLMSG_ERROR && kind != libc::NLMSG_DONE {
            return None;
        }
        let code = self.payload.first_chunk::<4>();
        let code = code.map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        if code == 0 {
            return Some(Ok(()));
        }
        // An error repeats the request's header (all of it without NETLINK_CAP_ACK, which is on).
        let skip = if kind == libc::NLMSG_ERROR {
            4 + HEADER
        } else {
            4
        };
        let has_text = self.flags & flag(libc::NLM_F_ACK_TLVS) != 0;
        let text = self.payload.get(skip..).filter(|_| has_text);
        let text = text.map(extended_text).unwrap_or_default();
        Some(Err((io::Error::from_raw_os_error(-code), text)))
    }

    /// The attributes after a fixed header of this length.
    pub(crate) fn attributes(&self, fixed: usize) -> Attributes<'_> {
        Attributes::new(self.payload.get(fixed..).unwrap_or_default())
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// Reads attributes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The value of the first attribute of a type.
    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone()
            .find(|(found, _)| *found == kind)
            .map(|(_, value)| value)
    }

    /// A number in the byte order of the network.
    pub(crate) fn be32(&self, kind: u16) -> Option<u32> {
        let bytes = self.get(kind)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// A number in the byte order of the host.
    pub(crate) fn ne32(&self, kind: u16) -> Option<u32> {
        let bytes = self.get(kind)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// A text.
    pub(crate) fn text(&self, kind: u16) -> Option<String> {
        self.get(kind).map(text)
    }

    /// The attributes inside of an attribute; none if it is missing.
    pub(crate) fn nested(&self, kind: u16) -> Attributes<'a> {
        Attributes::new(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1] = *self.rest.first_chunk::<ATTRIBUTE>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.rest.get(ATTRIBUTE..length)?;
        let next = length.next_multiple_of(ALIGN);
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & KIND, value))
    }
}

/// The messages in one datagram; ends at the first that is cut short.
pub(crate) fn split(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let head = bytes.first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *head;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes
            .get(length.next_multiple_of(ALIGN)..)
            .unwrap_or_default();
        Some(Received {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        })
    })
}

/// Reads a text up to its terminating zero.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A flag of libc (an `int`) as the header has it.
pub(crate) fn flag(flag: i32) -> u16 {
    u16::try_from(flag).expect("netlink's flags have 16 bits")
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested_ones_know_their_length() {
        let mut message = Message::new(7, 0, &[1, 2, 3, 4]);
        message.text(1, "ab").nest(2, |inner| {
            inner.be32(3, 5);
        });
        let bytes = message.finish(9);
        let received: Vec<_> = split(&bytes).collect();
        assert_eq!(received.len(), 1);
        assert_eq!((received[0].kind, received[0].sequence), (7, 9));
        let attributes = received[0].attributes(4);
        assert_eq!(attributes.text(1).as_deref(), Some("ab"));
        assert_eq!(attributes.nested(2).be32(3), Some(5));
        assert_eq!(attributes.get(4), None);
    }

    #[test]
    fn what_is_cut_short_is_not_read() {
        let mut message = Message::new(7, 0, &[]);
        message.bytes(1, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let bytes = message.finish(1);
        for length in 0..bytes.len() {
            assert_eq!(split(&bytes[..length]).count(), 0);
            let _ = Attributes::new(&bytes[..length]).count();
        }
        assert_eq!(
            Attributes::new(&[3, 0, 1, 0]).count(),
            0,
            "shorter than its header"
        );
    }

    #[test]
    fn an_error_is_told_with_its_number() {
        let mut bytes = vec![0; HEADER];
        bytes[0] = 36;
        bytes[4] = 2; // NLMSG_ERROR
        bytes.extend_from_slice(&(-libc::EPERM).to_ne_bytes());
        bytes.extend_from_slice(&[0; HEADER]);
        let received = split(&bytes).next().expect("one message");
        let Some(Err((cause, detail))) = received.report() else {
            panic!("not an error");
        };
        assert_eq!(cause.raw_os_error(), Some(libc::EPERM));
        assert!(detail.is_empty());
    }
}
