//! Compiles the resources of one proxy into the [`Plan`] that its data path reads, and decides:
//! facts of a request or a connection in, a decision (and on demand its whole trace) out.
//!
//! It is not the place where configuration is received (`lateen-xds`), nor where bytes move
//! (`lateen-proxy`): no I/O, no clock, no random of its own. What it needs of these comes in as
//! arguments.
//!
//! ```text
//! Resource, Endpoints, DNS answers ──► Store ── compile ──► Arc<Plan>      main thread, on change
//!                                                             │
//!      ┌──────────────────────────────────────────────────────┘            workers, per connection
//!      ├─ outbound(original destination) ─► Outbound { http, sni, tcp }
//!      ├─ inbound(port)                  ─► Inbound
//!      └─ listeners()                    ─► GatewayListener { http | tls | tcp }
//!
//! RouteTable::decide(facts) ─► Decision::Forward { cluster, route }        workers, per request
//! Plan::cluster(id) ─► Cluster ── pick ─► Endpoint
//! ```
//!
//! A compiled table never differs from what the rules say read one after the other: the tests
//! hold it against an interpreter that does just that.

pub mod authority;
pub mod cluster;
mod compile;
mod condition;
pub mod cors;
pub mod decision;
pub mod describe;
pub mod error;
pub mod facts;
pub mod hash;
pub mod headers;
mod hosts;
pub mod l4;
mod matcher;
mod names;
pub mod outlier;
pub mod path;
mod pattern;
pub mod plan;
mod policies;
mod registry;
mod resources;
pub mod retry;
pub mod rewrite;
pub mod route;
pub mod store;
pub mod table;
pub mod tls;
mod trie;

pub use cluster::{
    Cluster, ClusterId, Counted, Endpoint, Load, Permit, Pick, ServiceLabels, Upstream, Usage,
};
pub use decision::{Decision, Origin, Trace};
pub use error::Error;
pub use facts::{Facts, Scratch};
pub use l4::{SniTable, TcpRoute};
pub use names::Named;
pub use outlier::{Millis, Outcome};
pub use path::normalize_path;
pub use plan::{GatewayListener, Inbound, Inspect, Outbound, Plan, Serve};
pub use route::{Action, Route};
pub use store::Store;
pub use table::RouteTable;
pub use tls::{ServerId, Terminated, TlsTable};
