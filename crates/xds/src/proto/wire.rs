//! What all conversions share: the trait, faults with the path of the part, and scalars.

use std::net::IpAddr;

use ipnet::IpNet;
use lateen_model::{Address, Host, HostPattern, SocketAddress};

use super::message;
use crate::Malformed;

/// A model type with its message.
pub(super) trait Wire: Sized {
    /// The message.
    type Message: prost::Message + Default;

    /// Writes the message.
    fn to_wire(&self) -> Self::Message;

    /// Reads it strictly.
    fn from_wire(message: Self::Message) -> Result<Self, Fault>;
}

/// Why a message cannot be read, with the path of the part, which grows as the error travels up.
#[derive(Debug)]
pub(super) struct Fault {
    at: String,
    why: String,
}

// === impl Fault ===

impl Fault {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            at: String::new(),
            why: why.into(),
        }
    }

    /// Puts the name of the enclosing part in front of the path.
    pub(super) fn at(mut self, part: impl AsRef<str>) -> Self {
        let part = part.as_ref();
        self.at = if self.at.is_empty() {
            part.to_owned()
        } else if self.at.starts_with('[') {
            format!("{part}{}", self.at)
        } else {
            format!("{part}.{}", self.at)
        };
        self
    }

    /// Names the resource.
    pub(super) fn of(self, name: &str) -> Malformed {
        Malformed {
            name: name.to_owned(),
            at: if self.at.is_empty() {
                "message".to_owned()
            } else {
                self.at
            },
            why: self.why,
        }
    }
}

// === lists and parts ===

/// Writes a list.
pub(super) fn wire_list<T: Wire>(items: &[T]) -> Vec<T::Message> {
    items.iter().map(Wire::to_wire).collect()
}

/// Reads a list.
pub(super) fn list<T: Wire>(items: Vec<T::Message>, part: &str) -> Result<Vec<T>, Fault> {
    read_list(items, part, T::from_wire)
}

/// Reads a list with a function.
pub(super) fn read_list<M, T>(
    items: Vec<M>,
    part: &str,
    read: impl Fn(M) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let numbered = items.into_iter().enumerate();
    numbered
        .map(|(i, item)| read(item).map_err(|fault| fault.at(format!("[{i}]")).at(part)))
        .collect()
}

/// Refuses a list that says nothing.
pub(super) fn nonempty_list<T>(items: Vec<T>, part: &str) -> Result<Vec<T>, Fault> {
    if items.is_empty() {
        return Err(missing().at(part));
    }
    Ok(items)
}

/// Reads a part that must be there.
pub(super) fn required<T: Wire>(item: Option<T::Message>, part: &str) -> Result<T, Fault> {
    let item = item.ok_or_else(|| missing().at(part))?;
    T::from_wire(item).map_err(|fault| fault.at(part))
}

/// Reads a part that may be absent.
pub(super) fn optional<T: Wire>(item: Option<T::Message>, part: &str) -> Result<Option<T>, Fault> {
    item.map(|item| T::from_wire(item).map_err(|fault| fault.at(part)))
        .transpose()
}

/// The fault of a part that is not there.
pub(super) fn missing() -> Fault {
    Fault::new("is missing; the control plane may be of another version")
}

/// The fault of an enum value that is not known here.
pub(super) fn unknown_value(value: i32) -> Fault {
    Fault::new(format!(
        "value {value} is not known here; the control plane may be newer than this proxy"
    ))
}

// === scalars ===

/// Reads a text that may not be empty.
pub(super) fn nonempty(text: String, part: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(missing().at(part));
    }
    Ok(text)
}

/// Reads a number of a port.
pub(super) fn port(number: u32, part: &str) -> Result<u16, Fault> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Fault::new(format!("{number} is not a port")).at(part))
}

/// Reads a port that may be absent.
pub(super) fn optional_port(number: Option<u32>, part: &str) -> Result<Option<u16>, Fault> {
    number.map(|number| port(number, part)).transpose()
}

/// Writes pairs of ports.
pub(super) fn wire_pairs(pairs: &[(u16, u16)]) -> Vec<message::PortPair> {
    pairs
        .iter()
        .map(|(port, target)| message::PortPair {
            port: u32::from(*port),
            target: u32::from(*target),
        })
        .collect()
}

/// Reads pairs of ports.
pub(super) fn pairs(pairs: Vec<message::PortPair>, part: &str) -> Result<Vec<(u16, u16)>, Fault> {
    read_list(pairs, part, |pair| {
        Ok((port(pair.port, "port")?, port(pair.target, "target")?))
    })
}

/// Writes an address as its 4 or 16 bytes.
pub(super) fn wire_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Reads an address.
pub(super) fn address(bytes: &[u8]) -> Result<IpAddr, Fault> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(octets.into());
    }
    <[u8; 16]>::try_from(bytes)
        .map(IpAddr::from)
        .map_err(|_| Fault::new(format!("an address cannot have {} bytes", bytes.len())))
}

impl Wire for IpNet {
    type Message = message::Subnet;

    fn to_wire(&self) -> message::Subnet {
        message::Subnet {
            address: wire_address(self.addr()),
            prefix: u32::from(self.prefix_len()),
        }
    }

    fn from_wire(subnet: message::Subnet) -> Result<Self, Fault> {
        let address = address(&subnet.address).map_err(|fault| fault.at("address"))?;
        u8::try_from(subnet.prefix)
            .ok()
            .and_then(|prefix| Self::new(address, prefix).ok())
            .ok_or_else(|| {
                Fault::new(format!("/{} is no length for {address}", subnet.prefix)).at("prefix")
            })
    }
}

/// Writes where a workload is: its address, or else the path of its socket.
pub(super) fn wire_place(place: &Address) -> (Vec<u8>, String) {
    match place {
        Address::Ip(ip) => (wire_address(*ip), String::new()),
        Address::Unix(path) => (Vec::new(), path.as_ref().to_owned()),
    }
}

/// Reads where a workload is.
pub(super) fn place(bytes: &[u8], path: &str) -> Result<Address, Fault> {
    match (bytes, path) {
        (_, "") => address(bytes)
            .map(Address::Ip)
            .map_err(|fault| fault.at("address")),
        ([], path) => Ok(Address::Unix(path.into())),
        _ => Err(Fault::new("an address and a path are set, one must be").at("path")),
    }
}

impl Wire for SocketAddress {
    type Message = message::SocketAddress;

    fn to_wire(&self) -> message::SocketAddress {
        let (place, port) = match self {
            Self::Inet(address) => (Address::Ip(address.ip()), address.port()),
            Self::Unix(path) => (Address::Unix(path.clone()), 0),
        };
        let (address, path) = wire_place(&place);
        message::SocketAddress {
            address,
            port: u32::from(port),
            path,
        }
    }

    fn from_wire(socket: message::SocketAddress) -> Result<Self, Fault> {
        let place = place(&socket.address, &socket.path)?;
        let port = match place {
            Address::Ip(_) => port(socket.port, "port")?,
            Address::Unix(_) => 0,
        };
        Ok(place.at(port))
    }
}

/// Reads a host that may not be empty.
pub(super) fn host(text: &str, part: &str) -> Result<Host, Fault> {
    if text.is_empty() {
        return Err(missing().at(part));
    }
    Ok(Host::new(text))
}

/// Reads a host or wildcard as [`HostPattern`] writes itself. Names are already expanded.
pub(super) fn pattern(text: &str) -> Result<HostPattern, Fault> {
    match text.strip_prefix('*') {
        Some("") => Ok(HostPattern::Any),
        Some(suffix) => Ok(HostPattern::Suffix(Host::new(suffix).as_str().to_owned())),
        None if text.is_empty() => Err(missing()),
        None => Ok(HostPattern::Exact(Host::new(text))),
    }
}

/// Reads a list of hosts and wildcards.
pub(super) fn patterns(texts: Vec<String>, part: &str) -> Result<Vec<HostPattern>, Fault> {
    read_list(texts, part, |text| pattern(&text))
}

/// Writes a list of hosts and wildcards.
pub(super) fn wire_patterns(patterns: &[HostPattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

/// Declares the two directions of an enum by one table; an unknown value is a fault.
macro_rules! wire_enum {
    ($write:ident, $read:ident, $type:ty, $($value:pat => $number:literal = $make:expr),+ $(,)?) => {
        pub(super) fn $write(value: $type) -> i32 {
            match value { $($value => $number),+ }
        }

        pub(super) fn $read(
            value: i32,
            part: &str,
        ) -> Result<$type, $crate::proto::wire::Fault> {
            match value {
                $($number => Ok($make),)+
                0 => Err($crate::proto::wire::missing().at(part)),
                other => Err($crate::proto::wire::unknown_value(other).at(part)),
            }
        }
    };
    ($write:ident, $read:ident, $type:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        $crate::proto::wire::wire_enum!(
            $write, $read, $type, $($type::$variant => $number = $type::$variant),+
        );
    };
}
pub(super) use wire_enum;
