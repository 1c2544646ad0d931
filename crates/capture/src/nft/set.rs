//! Named sets and maps: keys of one or several fields, looked up by hash or by interval.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Ip, PortRange, Protocol, Verdict, abi};
use crate::Error;

/// A part of a packet that can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The source address.
    SourceAddress(Ip),
    /// The destination address.
    DestinationAddress(Ip),
    /// The transport protocol.
    Protocol,
    /// The source port, of whatever protocol.
    SourcePort,
    /// The destination port, of whatever protocol.
    DestinationPort,
    /// The packet's mark.
    Mark,
    /// The link by which it arrived.
    Input,
    /// The link by which it leaves.
    Output,
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An address.
    Address(IpAddr),
    /// A range of addresses; only in sets of intervals.
    Network(IpNet),
    /// A protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// A range of ports; only in sets of intervals.
    Ports(PortRange),
    /// A mark.
    Mark(u32),
    /// A link's name.
    Link(String),
}

/// A named set, or a verdict map if its elements have verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// The fields of its keys.
    pub key: Vec<Field>,
    /// Whether keys are ranges; then there is one field.
    pub is_interval: bool,
    /// Whether it is a verdict map: then every element has a verdict.
    pub is_map: bool,
    /// What is in it.
    pub elements: Vec<Element>,
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// A value for each field.
    pub key: Vec<Value>,
    /// Where packets with this key go, in a map.
    pub verdict: Option<Verdict>,
}

/// An element as the kernel takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawElement {
    pub(super) key: Vec<u8>,
    pub(super) is_end: bool,
    pub(super) data: Option<RawData>,
}

/// What a map has for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RawData {
    Verdict(Verdict),
    Value(Vec<u8>),
}

// === impl Field ===

impl Field {
    /// How many bytes it has.
    pub(super) fn length(self) -> u32 {
        match self {
            Self::SourceAddress(Ip::V6)
            | Self::DestinationAddress(Ip::V6)
            | Self::Input
            | Self::Output => 16,
            Self::SourceAddress(Ip::V4) | Self::DestinationAddress(Ip::V4) | Self::Mark => 4,
            Self::Protocol => 1,
            Self::SourcePort | Self::DestinationPort => 2,
        }
    }

    /// How many 32-bit registers it takes.
    pub(super) fn words(self) -> u32 {
        self.length().div_ceil(4)
    }

    /// The number of its type in nft's own listings.
    fn kind(self) -> u32 {
        match self {
            Self::SourceAddress(Ip::V4) | Self::DestinationAddress(Ip::V4) => 7,
            Self::SourceAddress(Ip::V6) | Self::DestinationAddress(Ip::V6) => 8,
            Self::Protocol => 12,
            Self::SourcePort | Self::DestinationPort => 13,
            Self::Mark => 19,
            Self::Input | Self::Output => 41,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceAddress(Ip::V4) => "ip saddr",
            Self::SourceAddress(Ip::V6) => "ip6 saddr",
            Self::DestinationAddress(Ip::V4) => "ip daddr",
            Self::DestinationAddress(Ip::V6) => "ip6 daddr",
            Self::Protocol => "meta l4proto",
            Self::SourcePort => "th sport",
            Self::DestinationPort => "th dport",
            Self::Mark => "meta mark",
            Self::Input => "iifname",
            Self::Output => "oifname",
        })
    }
}

// === impl Set ===

impl Set {
    /// A set of single values.
    pub fn of(name: impl Into<String>, key: Vec<Field>) -> Self {
        Self {
            name: name.into(),
            key,
            is_interval: false,
            is_map: false,
            elements: Vec::new(),
        }
    }

    /// A set of ranges of one field; ranges may overlap.
    pub fn of_ranges(name: impl Into<String>, field: Field) -> Self {
        Self {
            is_interval: true,
            ..Self::of(name, vec![field])
        }
    }

    /// A verdict map.
    pub fn map(name: impl Into<String>, key: Vec<Field>) -> Self {
        Self {
            is_map: true,
            ..Self::of(name, key)
        }
    }

    /// Adds an element.
    #[must_use]
    pub fn element(mut self, key: Vec<Value>) -> Self {
        self.elements.push(Element { key, verdict: None });
        self
    }

    /// Adds a key and where its packets go.
    #[must_use]
    pub fn entry(mut self, key: Vec<Value>, verdict: Verdict) -> Self {
        let verdict = Some(verdict);
        self.elements.push(Element { key, verdict });
        self
    }

    /// The length of a key in bytes.
    pub(super) fn key_length(&self) -> u32 {
        match self.key.as_slice() {
            [field] => field.length(),
            fields => fields.iter().map(|field| field.words() * 4).sum(),
        }
    }

    /// The type of a key in nft's own listings: six bits a field.
    pub(super) fn key_kind(&self) -> u32 {
        self.key
            .iter()
            .fold(0, |kind: u32, field| kind.wrapping_shl(6) | field.kind())
    }

    /// The elements as the kernel takes them.
    pub(super) fn raw_elements(&self) -> Result<Vec<RawElement>, Error> {
        for element in &self.elements {
            if element.verdict.is_some() != self.is_map {
                return Err(self.invalid("the elements of a map, and only they, have verdicts"));
            }
        }
        if self.is_interval {
            return self.intervals();
        }
        let points = self.elements.iter().map(|element| {
            Ok(RawElement {
                key: self.point(&element.key)?,
                is_end: false,
                data: element.verdict.clone().map(RawData::Verdict),
            })
        });
        points.collect()
    }

    /// A key that is no range.
    fn point(&self, values: &[Value]) -> Result<Vec<u8>, Error> {
        if values.len() != self.key.len() {
            return Err(self.invalid("a key has a value for each field"));
        }
        let mut key = Vec::new();
        for (field, value) in self.key.iter().zip(values) {
            let (first, last) = self.range(*field, value)?;
            if first != last {
                return Err(self.invalid("ranges are only in sets of intervals"));
            }
            key.extend_from_slice(&first);
            if self.key.len() > 1 {
                key.resize(key.len().next_multiple_of(4), 0);
            }
        }
        Ok(key)
    }

    /// Ranges as pairs of where one starts and the first value after it.
    fn intervals(&self) -> Result<Vec<RawElement>, Error> {
        let [field] = *self.key.as_slice() else {
            return Err(self.invalid("a set of intervals has one field"));
        };
        if matches!(field, Field::Mark) {
            return Err(self.invalid("marks have no order of bytes in which ranges are looked up"));
        }
        let mut ranges = Vec::new();
        for element in &self.elements {
            let [value] = element.key.as_slice() else {
                return Err(self.invalid("a key has a value for each field"));
            };
            let (first, last) = self.range(field, value)?;
            ranges.push((first, last, element.verdict.clone()));
        }
        ranges.sort_by(|a, b| a.0.cmp(&b.0));
        let mut merged: Vec<(Vec<u8>, Vec<u8>, Option<Verdict>)> = Vec::new();
        for (first, last, verdict) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1 => {
                    if previous.2 != verdict {
                        return Err(self.invalid("ranges with different verdicts overlap"));
                    }
                    previous.1 = last.max(previous.1.clone());
                }
                // Neighbours become one: the kernel takes an end and a start at one key ill.
                Some(previous)
                    if successor(&previous.1).as_ref() == Some(&first) && previous.2 == verdict =>
                {
                    previous.1 = last;
                }
                _ => merged.push((first, last, verdict)),
            }
        }
        let mut elements = Vec::new();
        for (first, last, verdict) in merged {
            let data = verdict.map(RawData::Verdict);
            elements.push(RawElement {
                key: first,
                is_end: false,
                data,
            });
            // What reaches the last value of all has no end.
            elements.extend(successor(&last).map(|key| RawElement {
                key,
                is_end: true,
                data: None,
            }));
        }
        Ok(elements)
    }

    /// The first and the last value that a value stands for, in the packet's byte order.
    fn range(&self, field: Field, value: &Value) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let single = |bytes: Vec<u8>| Ok((bytes.clone(), bytes));
        match (field, value) {
            (Field::SourceAddress(ip) | Field::DestinationAddress(ip), Value::Address(address))
                if Ip::of(*address) == ip =>
            {
                single(address_bytes(*address))
            }
            (Field::SourceAddress(ip) | Field::DestinationAddress(ip), Value::Network(net))
                if Ip::of(net.addr()) == ip =>
            {
                Ok((address_bytes(net.network()), address_bytes(net.broadcast())))
            }
            (Field::Protocol, Value::Protocol(protocol)) => {
                single(vec![abi::protocol_number(*protocol)])
            }
            (Field::SourcePort | Field::DestinationPort, Value::Port(port)) => {
                single(port.to_be_bytes().to_vec())
            }
            (Field::SourcePort | Field::DestinationPort, Value::Ports(ports)) => Ok((
                ports.first.to_be_bytes().to_vec(),
                ports.last.to_be_bytes().to_vec(),
            )),
            (Field::Mark, Value::Mark(mark)) => single(mark.to_ne_bytes().to_vec()),
            (Field::Input | Field::Output, Value::Link(name)) => single(link_bytes(name)),
            (field, value) => Err(self.invalid(&format!("{value:?} is no value of {field}"))),
        }
    }

    fn invalid(&self, why: &str) -> Error {
        Error::Invalid {
            what: format!("set {}", self.name),
            why: why.into(),
        }
    }
}

/// An address in the order of the network.
pub(super) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A link's name in the 16 bytes that it has in the kernel.
pub(super) fn link_bytes(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// The next larger value; nothing after the largest.
fn successor(value: &[u8]) -> Option<Vec<u8>> {
    let mut next = value.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, overflows) = byte.overflowing_add(1);
        *byte = sum;
        if !overflows {
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(nets: &[&str]) -> Set {
        nets.iter().fold(
            Set::of_ranges("nets", Field::DestinationAddress(Ip::V4)),
            |set, net| set.element(vec![Value::Network(net.parse().unwrap())]),
        )
    }

    #[test]
    fn overlapping_and_neighbouring_ranges_become_one() {
        let set = nets(&[
            "10.1.0.0/16",
            "10.0.0.0/15",
            "10.2.0.0/16",
            "192.168.0.0/16",
        ]);
        let raw = set.raw_elements().unwrap();
        let ends: Vec<_> = raw.iter().map(|e| (e.key.as_slice(), e.is_end)).collect();
        assert_eq!(
            ends,
            [
                (&[10, 0, 0, 0][..], false),
                (&[10, 3, 0, 0][..], true),
                (&[192, 168, 0, 0][..], false),
                (&[192, 169, 0, 0][..], true),
            ]
        );
    }

    #[test]
    fn a_range_up_to_the_last_address_has_no_end() {
        assert_eq!(nets(&["0.0.0.0/0"]).raw_elements().unwrap().len(), 1);
    }

    #[test]
    fn keys_of_several_fields_are_padded_to_registers() {
        let key = vec![
            Field::DestinationAddress(Ip::V4),
            Field::Protocol,
            Field::DestinationPort,
        ];
        let set = Set::map("services", key).entry(
            vec![
                Value::Address("10.96.0.1".parse().unwrap()),
                Value::Protocol(Protocol::Tcp),
                Value::Port(443),
            ],
            Verdict::Goto("service".into()),
        );
        assert_eq!(set.key_length(), 12);
        let raw = set.raw_elements().unwrap();
        assert_eq!(raw[0].key, [10, 96, 0, 1, 6, 0, 0, 0, 1, 187, 0, 0]);
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        let set = Set::of("ports", vec![Field::DestinationPort])
            .element(vec![Value::Address("10.0.0.1".parse().unwrap())]);
        let error = set.raw_elements().unwrap_err().to_string();
        assert!(error.contains("no value of th dport"), "{error}");
    }
}
