//! A plan on its way to the workers, with the numbers that metrics need.

use std::collections::HashMap;
use std::sync::Arc;

use lateen_decide::{Plan, ServerId};
use lateen_wire::tls::Server;

use crate::observe::labels::Directory;

/// A version of the configuration as every worker uses it.
#[derive(Debug)]
pub struct Published {
    /// Counts the plans of this process.
    pub version: u64,
    /// What to do with requests and connections.
    pub plan: Arc<Plan>,
    /// The servers that end TLS and have what they need for it.
    pub tls: Arc<Servers>,
    /// The number of the service of each inbound port, in order of ports.
    inbound: Box<[(u16, u32)]>,
    /// The number for all other ports.
    other_inbound: u32,
}

/// Servers that end TLS by their ids.
pub type Servers = HashMap<ServerId, Server>;

// === impl Published ===

impl Published {
    /// Numbers what `plan` names.
    pub fn new(version: u64, plan: Arc<Plan>, directory: &mut Directory) -> Self {
        directory.learn(&plan);
        let ports = plan.proxy().into_iter().flat_map(|proxy| &proxy.inbound);
        let mut inbound: Vec<(u16, u32)> = ports
            .map(|port| {
                let service = plan.inbound(port.port).service.as_ref();
                (port.port, directory.number_inbound(service))
            })
            .collect();
        inbound.sort_unstable();
        inbound.dedup_by_key(|(port, _)| *port);
        Self {
            version,
            plan,
            tls: Arc::default(),
            inbound: inbound.into(),
            other_inbound: directory.number_inbound(None),
        }
    }

    /// The same with servers that end TLS.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Servers>) -> Self {
        Self { tls, ..self }
    }

    /// The number of the service of an inbound port.
    pub fn inbound_service(&self, port: u16) -> u32 {
        let found = self.inbound.binary_search_by_key(&port, |(port, _)| *port);
        found.map_or(self.other_inbound, |index| self.inbound[index].1)
    }
}
