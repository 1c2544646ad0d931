//! A plan told to people and programs: as JSON whose form is stable.
//!
//! It is what the proxy's page `/config_dump` shows as `plan`, what `lateen proxy-config` prints,
//! and whose parts `lateen why` uses. Everything is said of the compiled plan, never of what it was
//! made from, so that it is what the data path does. Fields that are off are left out.
//!
//! | Part | One entry is | Its fields |
//! |---|---|---|
//! | `listeners` | a socket, or a destination that the sidecar's outbound socket knows | `name`, `direction`, `address`, `port`, `inspect`, `serves`: what serves which bytes (`match`, and `routes`: the name of a table, or the `route` itself; of the workload's ports the `cluster`, the `service`, and the `endpoint` if it is not what was dialled) |
//! | `routes` | a table | `name`, `virtualHosts` with `name`, `requiresTls`, `rules` in order; `otherwise` |
//! | a rule | | `name`, `source` (`object`, `rule`, `match`), `matches` in words, `action`, and how requests are treated |
//! | `clusters` | a destination | `name`, `service`, `port`, `subset`, `type`, `loadBalancer`, `policy`, `destinationRules`, counts |
//! | `endpoints` | an address of a cluster | `cluster`, `address`, `health`, `weight`, `locality`, `priority`, `active`, `outlier` |

mod cluster;
mod listener;
mod route;

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::outlier::Millis;
use crate::plan::Plan;

pub use cluster::{cluster, endpoint};
pub use listener::{address_name, table_name};
pub use route::route;

/// The sockets of a sidecar, which no plan knows.
#[derive(Debug, Clone, Copy)]
pub struct Sockets {
    /// The address that they are bound to.
    pub bind: IpAddr,
    /// Where outbound connections arrive.
    pub outbound: u16,
    /// Where inbound connections arrive.
    pub inbound: u16,
}

/// Everything that a plan says; `sockets` are those of a sidecar.
pub fn plan(plan: &Plan, sockets: Option<Sockets>, now: Millis) -> Value {
    json!({
        "listeners": listener::listeners(plan, sockets),
        "routes": listener::tables(plan),
        "clusters": plan.clusters().map(|one| cluster(one, now)).collect::<Vec<_>>(),
        "endpoints": plan
            .clusters()
            .flat_map(|one| cluster::endpoints(one, now))
            .collect::<Vec<_>>(),
    })
}

/// A duration in seconds or, if they are not whole, in milliseconds or less: `10s`, `250ms`.
pub fn duration(duration: Duration) -> String {
    match (duration.subsec_nanos(), duration.as_nanos()) {
        (0, _) => format!("{}s", duration.as_secs()),
        (_, nanos) if nanos.is_multiple_of(1_000_000) => format!("{}ms", duration.as_millis()),
        (_, nanos) if nanos.is_multiple_of(1_000) => format!("{}us", duration.as_micros()),
        (_, nanos) => format!("{nanos}ns"),
    }
}

/// An object that leaves out what is not there.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

// === impl Fields ===

impl Fields {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn set_if(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn set_duration(&mut self, name: &str, value: Option<Duration>) {
        self.set_if(name, value.map(duration));
    }

    fn finish(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_the_largest_unit_that_is_exact() {
        for (nanos, text) in [
            (10_000_000_000, "10s"),
            (1_500_000_000, "1500ms"),
            (250_000, "250us"),
            (0, "0s"),
            (3, "3ns"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }
}
