//! A plan on its way to the workers, with the numbers that metrics need.

use std::sync::Arc;

use lateen_decide::Plan;

use crate::observe::labels::Directory;

/// A version of the configuration as every worker uses it.
#[derive(Debug)]
pub struct Published {
    /// Counts the plans of this process.
    pub version: u64,
    /// What to do with requests and connections.
    pub plan: Arc<Plan>,
    /// The number of the service of each inbound port, in order of ports.
    inbound: Box<[(u16, u32)]>,
    /// The number for all other ports.
    other_inbound: u32,
}

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
            inbound: inbound.into(),
            other_inbound: directory.number_inbound(None),
        }
    }

    /// The number of the service of an inbound port.
    pub fn inbound_service(&self, port: u16) -> u32 {
        let found = self.inbound.binary_search_by_key(&port, |(port, _)| *port);
        found.map_or(self.other_inbound, |index| self.inbound[index].1)
    }
}
