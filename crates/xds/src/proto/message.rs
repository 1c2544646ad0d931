//! The messages of `lateen.config.v1`. Numbers are never reused; 0 of an enum is "not set".
//!
//! Each mirrors the type of the same name in `lateen-model`, where its fields are explained.
//! Durations are nanoseconds, shares are parts per million.
#![allow(
    missing_docs,
    reason = "the fields are those of lateen-model, which documents them"
)]

mod balancer;
mod destination;
mod gateway;
mod http;
mod pool;
mod proxy;
mod resource;
mod retry;
mod route;
mod scalar;
mod secret;
mod service;

pub use self::balancer::{
    ConsistentHash, Distribute, Failover, HashCookie, HashKey, HashTable, LocalityLb,
    LocalityWeight, Warmup,
};
pub use self::destination::{
    ClientTls, DestinationRule, NumberedPolicy, PortPolicy, RetryBudget, Selector, Subset,
    TrafficPolicy,
};
pub use self::gateway::{Certificate, ClientCa, Gateway, Server, ServerHost, ServerTls};
pub use self::http::{
    Abort, AbortWith, CorsPolicy, Delay, Delegate, DirectResponse, Header, HeaderChanges,
    HeaderRules, HttpAction, HttpRule, Mirror, Redirect, RedirectPath, RedirectPort,
    RedirectPortKind, RegexRewrite, Rewrite, UriRewrite,
};
pub use self::pool::{
    ConnectionPool, H2Keepalive, HttpPool, OutlierDetection, StatusRange, TcpKeepalive, TcpPool,
};
pub use self::proxy::{InboundPort, Proxy, Workload};
pub use self::resource::{Body, Mesh, Resource, Source};
pub use self::retry::Retries;
pub use self::route::{
    Destination, GatewayName, GatewayRef, GatewayRefTo, HttpMatch, L4Match, NamedMatch,
    NamedMatchKind, StringMatch, StringMatchKind, TcpRule, TlsMatch, TlsRule, VirtualService,
    WeightedDestination,
};
pub use self::scalar::{PortPair, SocketAddress, Subnet, Unit};
pub use self::secret::Secret;
pub use self::service::{
    DnsEndpoint, DnsEndpoints, DynamicDns, Endpoint, Endpoints, ExportTo, Resolution, Service,
    ServiceKey, ServicePort,
};

type Labels = std::collections::BTreeMap<String, String>;
