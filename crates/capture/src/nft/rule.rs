//! Rules as one writes them: conditions and what to do, each with its text in nft's language.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{Field, Ip, Protocol, Verdict};

/// A rule: when all conditions hold, the statements run in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The conditions, each with whether it must hold.
    pub conditions: Vec<(bool, Match)>,
    /// What happens.
    pub statements: Vec<Statement>,
    /// Kept by the kernel, shown by listings; at most 127 bytes.
    pub comment: String,
}

/// A condition. One on an address, port or field applies to packets of that version of IP and
/// that protocol only, also when it is negated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The version of IP, for tables of both.
    Version(Ip),
    /// The transport protocol.
    Protocol(Protocol),
    /// The link by which it arrived; a trailing `*` matches the rest of the name.
    Input(String),
    /// The link by which it leaves.
    Output(String),
    /// Bits of the packet's mark.
    Mark {
        /// The bits that count.
        mask: u32,
        /// Their value.
        value: u32,
    },
    /// Bits of the connection's mark.
    ConnectionMark {
        /// The bits that count.
        mask: u32,
        /// Their value.
        value: u32,
    },
    /// The user who owns the sending socket.
    User(u32),
    /// The group that owns the sending socket.
    Group(u32),
    /// The source address.
    Source(IpNet),
    /// The destination address.
    Destination(IpNet),
    /// The source port.
    SourcePort(Protocol, PortRange),
    /// The destination port.
    DestinationPort(Protocol, PortRange),
    /// The fields, together, are in a set of the table.
    In {
        /// What is looked up.
        fields: Vec<Field>,
        /// The set's name.
        set: String,
    },
    /// The connection's state is one of these.
    State(States),
    /// The connection's destination was translated.
    IsTranslated,
    /// The destination is an address of this host.
    LocalDestination,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Counts packets and bytes.
    Counter,
    /// Decides.
    Verdict(Verdict),
    /// Sends the connection to a port of this host.
    Redirect(u16),
    /// Sends the connection to an address and port.
    Dnat(SocketAddr),
    /// Sends each connection to a random one of these, all of one version of IP.
    DnatAny(Vec<SocketAddr>),
    /// Lets the connection come from this address.
    Snat(IpAddr),
    /// Lets the connection come from the address of the link by which it leaves.
    Masquerade,
    /// Answers that there is nothing: a TCP reset.
    RejectWithReset,
    /// Answers that there is nothing: ICMP port unreachable.
    Reject,
    /// Sets bits of the packet's mark and leaves the others.
    SetMark {
        /// The bits to set.
        mask: u32,
        /// Their value.
        value: u32,
    },
    /// Sets the connection's mark.
    SetConnectionMark(u32),
    /// Has connection tracking keep the packet's connection apart from those of other zones;
    /// before it sees the packet.
    SetZone(u16),
    /// Goes where a verdict map of the table says; onward if it says nothing.
    Dispatch {
        /// What is looked up.
        fields: Vec<Field>,
        /// The map's name.
        map: String,
    },
    /// Goes to a random one of these chains, each as likely.
    Spread(Vec<String>),
}

/// Ports from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// States of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States(u32);

// === impl Rule ===

impl Rule {
    /// A rule for every packet that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, condition: Match) -> Self {
        self.conditions.push((true, condition));
        self
    }

    /// Adds a condition that must not hold.
    #[must_use]
    pub fn unless(mut self, condition: Match) -> Self {
        self.conditions.push((false, condition));
        self
    }

    /// Adds a statement.
    #[must_use]
    pub fn then(mut self, statement: Statement) -> Self {
        self.statements.push(statement);
        self
    }

    /// Ends with a verdict.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Statement::Verdict(verdict))
    }

    /// Says why the rule is there.
    #[must_use]
    pub fn because(mut self, comment: impl Into<String>) -> Self {
        self.comment = comment.into();
        self
    }
}

// === impl Match ===

impl Match {
    /// The whole mark of the packet.
    pub fn mark(value: u32) -> Self {
        Self::Mark {
            mask: u32::MAX,
            value,
        }
    }

    /// Exactly this destination.
    pub fn to(address: impl Into<IpAddr>) -> Self {
        Self::Destination(IpNet::from(address.into()))
    }

    /// Exactly this source.
    pub fn from(address: impl Into<IpAddr>) -> Self {
        Self::Source(IpNet::from(address.into()))
    }

    /// A TCP destination port.
    pub fn tcp(port: u16) -> Self {
        Self::DestinationPort(Protocol::Tcp, port.into())
    }

    /// A UDP destination port.
    pub fn udp(port: u16) -> Self {
        Self::DestinationPort(Protocol::Udp, port.into())
    }
}

// === impl States ===

impl States {
    /// What belongs to no connection.
    pub const INVALID: Self = Self(1);
    /// What answers, and what follows an answer.
    pub const ESTABLISHED: Self = Self(2);
    /// What another connection announced.
    pub const RELATED: Self = Self(4);
    /// The first packet.
    pub const NEW: Self = Self(8);

    /// Either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kernel's bits.
    pub(super) const fn bits(self) -> u32 {
        self.0
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::INVALID, "invalid"),
            (Self::ESTABLISHED, "established"),
            (Self::RELATED, "related"),
            (Self::NEW, "new"),
        ];
        let names = names.iter().filter(|(state, _)| self.0 & state.0 != 0);
        f.write_str(&names.map(|(_, name)| *name).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        for (holds, condition) in &self.conditions {
            words.push(condition.text(if *holds { "" } else { "!= " }));
        }
        words.extend(self.statements.iter().map(ToString::to_string));
        if !self.comment.is_empty() {
            words.push(format!("comment {:?}", self.comment));
        }
        f.write_str(&words.join(" "))
    }
}

impl Match {
    /// The condition in nft's language.
    fn text(&self, not: &str) -> String {
        let ip = |net: &IpNet| if net.addr().is_ipv4() { "ip" } else { "ip6" };
        match self {
            Self::Version(Ip::V4) => format!("meta nfproto {not}ipv4"),
            Self::Version(Ip::V6) => format!("meta nfproto {not}ipv6"),
            Self::Protocol(protocol) => format!("meta l4proto {not}{protocol}"),
            Self::Input(link) => format!("iifname {not}{link:?}"),
            Self::Output(link) => format!("oifname {not}{link:?}"),
            Self::Mark { mask, value } => format!("meta mark {not}{}", masked(*mask, *value)),
            Self::ConnectionMark { mask, value } => {
                format!("ct mark {not}{}", masked(*mask, *value))
            }
            Self::User(user) => format!("meta skuid {not}{user}"),
            Self::Group(group) => format!("meta skgid {not}{group}"),
            Self::Source(net) => format!("{} saddr {not}{net}", ip(net)),
            Self::Destination(net) => format!("{} daddr {not}{net}", ip(net)),
            Self::SourcePort(protocol, ports) => format!("{protocol} sport {not}{ports}"),
            Self::DestinationPort(protocol, ports) => format!("{protocol} dport {not}{ports}"),
            Self::In { fields, set } => format!("{} {not}@{set}", joined(fields)),
            Self::State(states) => format!("ct state {not}{states}"),
            Self::IsTranslated => format!("ct status {not}dnat"),
            Self::LocalDestination => format!("fib daddr type {not}local"),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter => f.write_str("counter"),
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
            Self::Dnat(to) => write!(f, "dnat to {to}"),
            Self::DnatAny(to) => {
                let to = to.iter().enumerate();
                let to: Vec<_> = to.map(|(index, to)| format!("{index} : {to}")).collect();
                let (count, to) = (to.len(), to.join(", "));
                write!(f, "dnat to numgen random mod {count} map {{ {to} }}")
            }
            Self::Snat(from) => write!(f, "snat to {from}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::RejectWithReset => f.write_str("reject with tcp reset"),
            Self::Reject => f.write_str("reject"),
            Self::SetMark { mask, value } => write!(f, "meta mark set {}", masked(*mask, *value)),
            Self::SetZone(zone) => write!(f, "ct zone set {zone}"),
            Self::SetConnectionMark(value) => write!(f, "ct mark set {value}"),
            Self::Dispatch { fields, map } => write!(f, "{} vmap @{map}", joined(fields)),
            Self::Spread(chains) => {
                let to = chains.iter().enumerate();
                let to: Vec<_> = to
                    .map(|(index, to)| format!("{index} : goto {to}"))
                    .collect();
                write!(
                    f,
                    "numgen random mod {} vmap {{ {} }}",
                    to.len(),
                    to.join(", ")
                )
            }
        }
    }
}

fn masked(mask: u32, value: u32) -> String {
    if mask == u32::MAX {
        value.to_string()
    } else {
        format!("& {mask:#x} == {value:#x}")
    }
}

fn joined(fields: &[Field]) -> String {
    let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
    fields.join(" . ")
}
