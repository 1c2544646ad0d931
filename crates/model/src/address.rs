//! Where things listen: addresses of the network, and sockets of the file system.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// How sockets of the file system are written.
const UNIX: &str = "unix://";

/// Where a workload is; with a port, where one of its services is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address of the network.
    Ip(IpAddr),
    /// A socket of the file system, by its path. It has no ports.
    Unix(Arc<str>),
}

/// What a connection is made to. Cheap to copy about: a socket of the file system, the rare kind,
/// shares its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketAddress {
    /// A port of an address of the network.
    Inet(SocketAddr),
    /// A socket of the file system, by its path.
    Unix(Arc<str>),
}

/// A text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAddress;

/// The path of a socket of the file system, if a text means one: `unix://` and the path.
pub fn socket_path(text: &str) -> Option<&str> {
    text.strip_prefix(UNIX)
}

// === impl Address ===

impl Address {
    /// This address with a port; a socket of the file system is what it is.
    pub fn at(&self, port: u16) -> SocketAddress {
        match self {
            Self::Ip(ip) => SocketAddress::Inet(SocketAddr::new(*ip, port)),
            Self::Unix(path) => SocketAddress::Unix(Arc::clone(path)),
        }
    }

    /// The address, if it is one of the network.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Unix(_) => None,
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        match socket_path(text) {
            Some("") => Err(NotAnAddress),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Ip).map_err(|_| NotAnAddress),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl SocketAddress ===

impl SocketAddress {
    /// Where it is, whatever the port.
    pub fn without_port(&self) -> Address {
        match self {
            Self::Inet(address) => Address::Ip(address.ip()),
            Self::Unix(path) => Address::Unix(Arc::clone(path)),
        }
    }

    /// The address without its port, if it is one of the network.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for SocketAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        match text.parse() {
            Ok(Address::Unix(path)) => Ok(Self::Unix(path)),
            Ok(Address::Ip(_)) => Err(NotAnAddress), // Its port is missing.
            Err(NotAnAddress) => text.parse().map(Self::Inet).map_err(|_| NotAnAddress),
        }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

impl Serialize for SocketAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl NotAnAddress ===

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither an address of the network nor unix:// with a path")
    }
}

impl std::error::Error for NotAnAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["10.0.0.1", "fd00::1", "unix:///run/app.sock", "unix://@app"] {
            let address: Address = text.parse().expect("an address");
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "unix://", "name.test", "10.0.0.1:80", "/run/app.sock"] {
            assert_eq!(text.parse::<Address>(), Err(NotAnAddress), "{text}");
        }
    }

    #[test]
    fn a_socket_of_the_file_system_has_no_ports() {
        let socket: Address = "unix:///a".parse().expect("an address");
        assert_eq!(socket.at(80), socket.at(81));
        let ip: Address = "fd00::1".parse().expect("an address");
        assert_eq!(ip.at(80).to_string(), "[fd00::1]:80");
        for address in [ip.at(80), socket.at(0)] {
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        assert_eq!("10.0.0.1".parse::<SocketAddress>(), Err(NotAnAddress));
    }
}
