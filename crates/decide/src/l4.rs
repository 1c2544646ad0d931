//! Routes of connections: by destination address and by the name that TLS asks for.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::cluster::ClusterId;
use crate::decision::Route;

/// Where connections go that are not routed request by request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRoute {
    /// Tried in order; the last one takes everything.
    pub(crate) rules: Box<[TcpRule]>,
}

/// One rule for connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TcpRule {
    /// The original destination is in one of these; empty matches all.
    pub(crate) subnets: Box<[IpNet]>,
    /// What it says.
    pub(crate) route: Route,
}

/// Where TLS connections go that the mesh does not open.
#[derive(Debug, Clone, Default)]
pub struct SniTable {}

impl TcpRoute {
    /// Decides on a connection: never refuses, but the cluster may not exist
    /// ([`lateen_model::Reason::NoCluster`]) or be [`ClusterId::BLACK_HOLE`].
    pub fn decide(
        &self,
        destination: SocketAddr,
        random: impl FnOnce() -> u64,
    ) -> (ClusterId, &Route) {
        let _ = (destination, random);
        unimplemented!()
    }
}

impl SniTable {
    /// Decides on a TLS connection by the server name of its ClientHello (as sent); `None` if no
    /// rule names it: then the listener's `tcp` route decides.
    pub fn decide(
        &self,
        server_name: &[u8],
        destination: SocketAddr,
        random: impl FnOnce() -> u64,
    ) -> Option<(ClusterId, &Route)> {
        let _ = (server_name, destination, random);
        unimplemented!()
    }
}
