//! What a mesh is: services and their endpoints, routes, policies of destinations, gateways,
//! workloads, and the closed list of reasons why a request got what it got.
//!
//! It is not how any of this is written by users (that is `lateen-api`), sent (`lateen-xds`) or
//! looked up per request (`lateen-decide`): plain values, no I/O, no clock, no random.
//!
//! ```text
//! Resource { name, source, body } ── one per object that a user wrote, pointing UP to its parent
//!    body: Mesh | Proxy | Service | VirtualService | DestinationRule | Gateway
//! Endpoints { service, endpoints } ── the second type: changes often, never carries rules
//! Workload { address, … }          ── the third: who lives at an address, asked for on demand
//! Secret { chain, private key, … } ── the fourth: a credential, asked for by name
//! ```

pub mod address;
pub mod balancer;
pub mod destination;
pub mod endpoint;
pub mod gateway;
pub mod host;
pub mod http;
pub mod mesh;
pub mod percent;
pub mod pool;
pub mod protocol;
pub mod proxy;
pub mod reason;
pub mod resource;
pub mod retry;
pub mod route;
pub mod secret;
pub mod service;
pub mod source;
pub mod tls;
pub mod workload;

pub use address::{Address, SocketAddress};
pub use host::{Host, HostPattern};
pub use percent::Percent;
pub use protocol::Protocol;
pub use reason::Reason;
pub use resource::{Body, Resource, ResourceName};
pub use source::{ObjectRef, Source};

/// Labels of an object, in order of their keys, so that equal sets are equal values.
pub type Labels = std::collections::BTreeMap<String, String>;

/// Answers whether `labels` carry every pair of `selector`; an empty selector selects everything.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
