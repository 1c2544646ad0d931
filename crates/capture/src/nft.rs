//! nftables: tables as values, put in place atomically, read back from the kernel.
//!
//! A [`Table`] is complete: [`Connection::replace`] sends it as one transaction that deletes the
//! previous table of that name and adds this one, so packets see the old rules or the new ones and
//! never a mixture, and installing twice is installing once. It is not an interface to change
//! single rules of somebody else's table.
//!
//! ```
//! use lateen_capture::nft::{Base, Chain, Family, Match, Protocol, Rule, Statement, Table};
//!
//! let mut table = Table::new(Family::Inet, "example");
//! table.chains.push(
//!     Chain::new("output").base(Base::nat_output()).rule(
//!         Rule::new()
//!             .when(Match::Protocol(Protocol::Tcp))
//!             .unless(Match::mark(1337))
//!             .then(Statement::Redirect(15001)),
//!     ),
//! );
//! assert_eq!(
//!     table.chains[0].rules[0].to_string(),
//!     "meta l4proto tcp meta mark != 1337 redirect to :15001"
//! );
//! ```

mod abi;
mod batch;
mod compile;
mod expression;
mod list;
mod rule;
mod set;

pub use expression::Expression;
pub use list::{ListedChain, ListedRule, ListedSet, Listing};
pub use rule::{Match, PortRange, Rule, Statement, States};
pub use set::{Element, Field, Set, Value};

use std::fmt;

use crate::Error;
use crate::netlink::Socket;

/// The packets that a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// The version of IP that an address or a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ip {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmp6,
}

/// A table with everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The packets that it sees.
    pub family: Family,
    /// Its name, unique per family.
    pub name: String,
    /// Its named sets and maps.
    pub sets: Vec<Set>,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// A chain: rules in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it; nothing if only rules jump to it.
    pub base: Option<Base>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where in the kernel a base chain is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// What it may do.
    pub kind: ChainKind,
    /// The place.
    pub hook: Hook,
    /// The order among chains of the same place; low ones first.
    pub priority: i32,
    /// Whether a packet that no rule decides is dropped.
    pub drops_by_default: bool,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees the first packet of each connection only.
    Nat,
    /// Change what a packet is routed by.
    Route,
}

/// A place in a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Arrived, before it is routed.
    Prerouting,
    /// Arrived, for this host.
    Input,
    /// On its way through.
    Forward,
    /// Made on this host.
    Output,
    /// About to leave.
    Postrouting,
}

/// Where a packet goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Onward.
    Accept,
    /// Nowhere.
    Drop,
    /// To the next rule.
    Continue,
    /// To the rule after the jump.
    Return,
    /// To a chain and back.
    Jump(String),
    /// To a chain.
    Goto(String),
}

/// A connection to nftables of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
}

// === impl Connection ===

impl Connection {
    /// Connects to the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Socket::open(libc::NETLINK_NETFILTER).map(|socket| Self { socket })
    }

    /// Puts a table in place of the one of the same name, atomically.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the table contradicts itself; [`Error::Kernel`] with the table, chain
    /// and rule that the kernel refused. In both cases the previous table stays as it was.
    pub fn replace(&mut self, table: &Table) -> Result<(), Error> {
        let batch = batch::replacement(table)?;
        batch.send(&mut self.socket, &format!("replace {table}"))
    }

    /// Deletes a table with everything in it; without effect if there is none.
    pub fn delete(&mut self, family: Family, name: &str) -> Result<(), Error> {
        let what = format!("delete table {family} {name}");
        batch::removal(family, name).send(&mut self.socket, &what)
    }

    /// The names of all tables.
    pub fn tables(&mut self) -> Result<Vec<(Family, String)>, Error> {
        list::tables(&mut self.socket)
    }

    /// Reads a table back from the kernel; nothing if there is none.
    pub fn list(&mut self, family: Family, name: &str) -> Result<Option<Listing>, Error> {
        list::table(&mut self.socket, family, name)
    }
}

// === impl Table ===

impl Table {
    /// An empty table.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self {
            family,
            name: name.into(),
            sets: Vec::new(),
            chains: Vec::new(),
        }
    }

    /// Adds a chain.
    #[must_use]
    pub fn chain(mut self, chain: Chain) -> Self {
        self.chains.push(chain);
        self
    }

    /// Adds a named set or map.
    #[must_use]
    pub fn set(mut self, set: Set) -> Self {
        self.sets.push(set);
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {}", self.family, self.name)
    }
}

// === impl Chain ===

impl Chain {
    /// A chain that only rules jump to.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base: None,
            rules: Vec::new(),
        }
    }

    /// Has packets enter the chain at a place in the kernel.
    #[must_use]
    pub fn base(mut self, base: Base) -> Self {
        self.base = Some(base);
        self
    }

    /// Appends a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Appends rules.
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.extend(rules);
        self
    }
}

// === impl Base ===

impl Base {
    /// Translation of destinations of what arrives.
    pub fn nat_prerouting() -> Self {
        Self::new(ChainKind::Nat, Hook::Prerouting, libc::NF_IP_PRI_NAT_DST)
    }

    /// Translation of destinations of what this host sends.
    pub fn nat_output() -> Self {
        Self::new(ChainKind::Nat, Hook::Output, libc::NF_IP_PRI_NAT_DST)
    }

    /// Translation of sources of what leaves.
    pub fn nat_postrouting() -> Self {
        Self::new(ChainKind::Nat, Hook::Postrouting, libc::NF_IP_PRI_NAT_SRC)
    }

    /// A filter that accepts by default.
    pub fn filter(hook: Hook) -> Self {
        Self::new(ChainKind::Filter, hook, libc::NF_IP_PRI_FILTER)
    }

    /// Any place, accepting by default.
    pub fn new(kind: ChainKind, hook: Hook, priority: i32) -> Self {
        Self {
            kind,
            hook,
            priority,
            drops_by_default: false,
        }
    }
}

// === impl Ip ===

impl Ip {
    /// The version of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "ipv6-icmp",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}
