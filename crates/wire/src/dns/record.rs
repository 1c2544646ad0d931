//! Resource records: read from a message one after the other, and written.

use std::net::IpAddr;

use super::{A, AAAA, CNAME, INTERNET, Malformed, Name, OPT, UDP_MOST};

/// One record of a message.
#[derive(Debug)]
pub(super) struct Record<'m> {
    pub(super) owner: Name,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    /// Where its data begins in the message: names there may point elsewhere.
    pub(super) start: usize,
    pub(super) data: &'m [u8],
    /// Where the next record begins.
    pub(super) end: usize,
}

/// Room for a message of limited size that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) message: Vec<u8>,
    /// How long it may become, without what is kept for EDNS.
    pub(super) limit: usize,
}

// === impl Record ===

impl<'m> Record<'m> {
    pub(super) fn read(message: &'m [u8], at: usize) -> Result<Self, Malformed> {
        let (owner, at) = Name::read(message, at)?;
        let cut = Malformed("a record is cut off");
        let fixed: [u8; 10] = message
            .get(at..at + 10)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(cut)?;
        let [k0, k1, c0, c1, t0, t1, t2, t3, l0, l1] = fixed;
        let start = at + 10;
        let end = start + usize::from(u16::from_be_bytes([l0, l1]));
        let ttl = u32::from_be_bytes([t0, t1, t2, t3]);
        Ok(Self {
            owner,
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            // A TTL with the highest bit is none (RFC 2181, 8).
            ttl: if ttl > i32::MAX.unsigned_abs() {
                0
            } else {
                ttl
            },
            start,
            data: message.get(start..end).ok_or(cut)?,
            end,
        })
    }

    /// The address that it holds, if it holds one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match (self.kind, self.class) {
            (A, INTERNET) => Some(IpAddr::from(<[u8; 4]>::try_from(self.data).ok()?)),
            (AAAA, INTERNET) => Some(IpAddr::from(<[u8; 16]>::try_from(self.data).ok()?)),
            _ => None,
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Appends a record whose owner's name begins at `owner`; `false` if there is no room for it.
    pub(super) fn address(&mut self, owner: u16, ttl: u32, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.record(owner, A, ttl, &address.octets()),
            IpAddr::V6(address) => self.record(owner, AAAA, ttl, &address.octets()),
        }
    }

    /// Appends another name, and says where it is in the message.
    pub(super) fn alias(&mut self, owner: u16, ttl: u32, target: &Name) -> Option<u16> {
        let mut data = Vec::new();
        target.write(&mut data);
        let is_written = self.record(owner, CNAME, ttl, &data);
        let at = u16::try_from(self.message.len() - data.len()).ok()?;
        (is_written && at < 0x4000).then_some(at)
    }

    /// Appends EDNS' pseudo record, for which room is kept.
    pub(super) fn edns(&mut self) {
        let [high, low] = UDP_MOST.to_be_bytes();
        let [kind_high, kind_low] = OPT.to_be_bytes();
        let record = [0, kind_high, kind_low, high, low, 0, 0, 0, 0, 0, 0];
        self.message.extend_from_slice(&record);
    }

    fn record(&mut self, owner: u16, kind: u16, ttl: u32, data: &[u8]) -> bool {
        let Ok(length) = u16::try_from(data.len()) else {
            return false;
        };
        if self.message.len() + 12 + data.len() > self.limit {
            return false;
        }
        for half in [owner | 0xc000, kind, INTERNET] {
            self.message.extend_from_slice(&half.to_be_bytes());
        }
        self.message.extend_from_slice(&ttl.to_be_bytes());
        self.message.extend_from_slice(&length.to_be_bytes());
        self.message.extend_from_slice(data);
        true
    }
}
