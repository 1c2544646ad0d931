//! Route tables: the virtual hosts of one port, found by the request's authority.

use crate::decision::{Decision, Trace};
use crate::facts::{Facts, Scratch};

/// The routes of one port of a sidecar, or of one listener of a gateway.
#[derive(Debug)]
pub struct RouteTable {}

impl RouteTable {
    /// Decides on a request. `random` is asked only where a rule splits traffic.
    pub fn decide<'t>(
        &'t self,
        facts: &impl Facts,
        scratch: &mut Scratch,
        random: impl FnOnce() -> u64,
    ) -> Decision<'t> {
        let _ = (facts, scratch, random);
        unimplemented!()
    }

    /// Decides on a request by the same path and tells why.
    pub fn explain<'t>(&'t self, facts: &impl Facts, random: impl FnOnce() -> u64) -> Trace<'t> {
        let _ = (facts, random);
        unimplemented!()
    }
}
