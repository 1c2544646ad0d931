//! Connections to upstreams: made, pooled, and counted towards the load of their endpoint.

pub mod connect;
pub mod pool;

use std::sync::Arc;

use lateen_decide::{Load, Permit, Usage};

use crate::clock::Instant;
use crate::side::Side;
use crate::transport::Transport;

pub use connect::{Connector, Error as ConnectError};
pub use pool::{Key, Owner, Pools, Version};

/// A connection to an upstream, with what limits its life. It is boxed once, when it is made, and
/// handed on so from then on.
#[derive(Debug)]
pub struct Connection {
    /// Its bytes.
    pub side: Side,
    /// How many exchanges it has begun.
    pub served: u32,
    /// When it has to end, if its age is limited.
    pub ends: Option<Instant>,
    /// Leave to have it, if the number of connections is limited.
    pub permit: Option<Permit<Arc<Usage>>>,
    /// The request that made a tunnel of it, which goes on as long as the tunnel.
    pub request: Option<Request>,
}

/// A request under way, as the limits of its cluster and the load of its endpoint count it.
#[derive(Debug)]
pub struct Request {
    _permit: Permit<Arc<Usage>>,
    _active: Option<Active<Arc<Load>>>,
}

/// Counts one request or connection towards the load of an endpoint until it is dropped.
#[derive(Debug)]
pub struct Active<L: AsRef<Load>>(L);

// === impl Connection ===

impl From<Transport> for Connection {
    /// A connection without limits.
    fn from(transport: Transport) -> Self {
        Self {
            side: Side::new(transport),
            served: 0,
            ends: None,
            permit: None,
            request: None,
        }
    }
}

// === impl Request ===

impl Request {
    /// Takes over what an exchange held.
    pub fn new(permit: Permit<&Arc<Usage>>, active: Option<Active<&Arc<Load>>>) -> Self {
        Self {
            _permit: permit.into_owned(),
            _active: active.map(Active::into_owned),
        }
    }
}

// === impl Active ===

impl<L: AsRef<Load>> Active<L> {
    /// Begins to count.
    pub fn begin(load: L) -> Self {
        load.as_ref().begin();
        Self(load)
    }
}

impl Active<&Arc<Load>> {
    /// The same for as long as one likes.
    fn into_owned(self) -> Active<Arc<Load>> {
        Active::begin(Arc::clone(self.0))
    }
}

impl<L: AsRef<Load>> Drop for Active<L> {
    fn drop(&mut self) {
        self.0.as_ref().end();
    }
}
