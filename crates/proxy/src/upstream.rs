//! Connections to upstreams: made, pooled, and counted towards the load of their endpoint.

pub mod connect;
pub mod pool;

use lateen_decide::Load;

pub use connect::{Connector, Error as ConnectError};
pub use pool::{Key, Pools, Version};

/// Counts one request or connection towards the load of an endpoint until it is dropped.
#[derive(Debug)]
pub struct Active<L: AsRef<Load>>(L);

// === impl Active ===

impl<L: AsRef<Load>> Active<L> {
    /// Begins to count.
    pub fn begin(load: L) -> Self {
        load.as_ref().begin();
        Self(load)
    }
}

impl<L: AsRef<Load>> Drop for Active<L> {
    fn drop(&mut self) {
        self.0.as_ref().end();
    }
}
