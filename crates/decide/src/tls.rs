//! TLS at a gateway's listener: whose server a client asks for, and what becomes of its connection.
//!
//! One socket may have many servers. The name in the ClientHello chooses among them, exact names
//! before the longest wildcard before `*`, which also takes clients that name nobody. A server
//! passes the connection on as it is, or ends TLS and then serves requests or bytes.

use std::sync::Arc;

use lateen_model::gateway::ServerTls;
use lateen_model::{HostPattern, ObjectRef};

use crate::authority::canonical;
use crate::hosts::{HostIndex, HostIndexBuilder};
use crate::l4::{SniTable, TcpRoute};
use crate::table::RouteTable;

/// The protocols of which a client of the mesh offers one: only such clients are taken on to a
/// service that the mesh's own kind of server name says.
pub const MESH_PROTOCOLS: [&[u8]; 5] = [
    b"istio",
    b"istio-peer-exchange",
    b"istio-http/1.0",
    b"istio-http/1.1",
    b"istio-h2",
];

/// Names a server that ends TLS over all plans of a store. One whose settings of TLS change is
/// another one: what a client proved to the old one does not count at the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u32);

/// The servers of a socket by the names that clients ask for.
#[derive(Debug)]
pub struct TlsTable {
    hosts: HostIndex,
    entries: Box<[(HostPattern, Entry)]>,
    passed: SniTable,
}

/// What happens to connections for one pattern of names.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// They are passed on by the rules for names.
    Passed,
    /// They are passed on to the service that the name says, if a client of the mesh asks.
    Mesh(Arc<TcpRoute>),
    /// TLS ends here.
    Ended(Arc<Terminated>),
}

/// A server that ends TLS.
#[derive(Debug)]
pub struct Terminated {
    /// What open connections remember it by.
    pub id: ServerId,
    /// How TLS ends.
    pub tls: Arc<ServerTls>,
    /// What comes after.
    pub serve: Ended,
    /// The Gateway that has it.
    pub origin: Arc<ObjectRef>,
    /// The name of its route table: `https.<port>.<port name>.<gateway>.<namespace>`.
    pub name: Box<str>,
}

/// What a server that ends TLS serves.
#[derive(Debug, Clone)]
pub enum Ended {
    /// Requests.
    Http(Arc<RouteTable>),
    /// Bytes.
    Tcp(Arc<TcpRoute>),
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'t> {
    /// It is passed on by these rules, of which none may take it.
    Passed(&'t SniTable),
    /// It is passed on, if the client offers one of [`MESH_PROTOCOLS`].
    Mesh(&'t TcpRoute),
    /// TLS ends here.
    Ended(&'t Arc<Terminated>),
}

// === impl TlsTable ===

impl TlsTable {
    /// Compiles entries, of which the first for a pattern counts, and the rules for what is passed.
    pub(crate) fn new(entries: Vec<(HostPattern, Entry)>, passed: SniTable) -> Self {
        let mut hosts = HostIndexBuilder::new();
        for (at, (pattern, _)) in entries.iter().enumerate() {
            hosts.claim(pattern, u32::try_from(at).unwrap_or(u32::MAX));
        }
        Self {
            hosts: hosts.build(),
            entries: entries.into(),
            passed,
        }
    }

    /// Answers whether no name leads anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Chooses by the name in the ClientHello as it was sent; `None` if no server has it, which is
    /// [`lateen_model::Reason::NoRoute`].
    pub fn choose(&self, server_name: Option<&[u8]>) -> Option<Choice<'_>> {
        // Once per connection, beside a TLS handshake: two small allocations do not count.
        let (mut space, mut backwards) = (Vec::new(), Vec::new());
        let host = canonical(server_name.unwrap_or_default(), &mut space);
        let at = self.hosts.find(host, &mut backwards)?;
        Some(match &self.entries[at as usize].1 {
            Entry::Passed => Choice::Passed(&self.passed),
            Entry::Mesh(route) => Choice::Mesh(route),
            Entry::Ended(server) => Choice::Ended(server),
        })
    }

    /// The servers that end TLS, each once.
    pub fn terminated(&self) -> impl Iterator<Item = &Arc<Terminated>> {
        let mut last = None;
        // The patterns of a server are next to each other.
        self.entries
            .iter()
            .filter_map(move |(_, entry)| match entry {
                Entry::Ended(server) if last.replace(server.id) != Some(server.id) => Some(server),
                Entry::Ended(_) | Entry::Mesh(_) | Entry::Passed => None,
            })
    }

    /// Every pattern that is not passed on by rules, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &(HostPattern, Entry)> {
        self.entries.iter()
    }

    /// The rules for what is passed on.
    pub(crate) fn passed(&self) -> &SniTable {
        &self.passed
    }
}
