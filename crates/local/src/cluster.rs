//! The life of a local cluster: namespaces, supervisor, what is left behind (nothing).
//!
//! It is not the cluster itself: API server, controllers, network and node are modules of their
//! own, which `supervisor` starts together inside of the namespaces.
//!
//! ```text
//! lateen up ── opens host ports, takes the lock, waits until ready, returns
//!    └─ publisher   (outside, own session)  ports of LoadBalancer services, way out, host DNS
//!         └─ supervisor  (new user, net, mount, pid, uts and ipc namespaces; PID 1)
//!              └─ one process per container, each in namespaces of its own
//! ```
//!
//! # What ends what
//!
//! - The publisher dies, of whatever: the kernel sends SIGKILL to the supervisor (PDEATHSIG).
//! - The supervisor dies: as PID 1 it takes every process of its PID namespace along, the kernel
//!   removes the namespaces with their links, rules and mounts, and the publisher ends.
//! - `down` asks the publisher with SIGTERM and waits for both, then insists.
//!
//! What remains is files in the state directory: the objects of the API and the mapping of images,
//! for the next `up`, and logs. `down --purge` removes these, too.
//!
//! # The hidden programs
//!
//! Each of these processes is this program again ([`child_main`]): a copy of a process with
//! threads cannot be used safely, a new program can.

pub mod kubeconfig;
pub mod options;
pub mod state;

mod error;
mod images;
mod isolate;
mod manifests;
mod outside;
mod start;
mod stop;
mod supervisor;

use std::process::ExitCode;

pub use error::Error;
pub use images::images;
pub(crate) use isolate::THIS_PROGRAM;
pub use options::{Options, Published, ServicePort};
pub use start::{Progress, up};
pub use state::Record;
pub use stop::{Status, down, follow_log, purge, running, status};

use crate::node;

/// The sub-command that is the publisher.
const PUBLISHER: &str = "__publisher";
/// The sub-command that is the supervisor.
const SUPERVISOR: &str = "__cluster";

/// Runs what this process is if it is one of the cluster's own, which its first argument tells.
///
/// A program that calls [`up`] must call this before anything else, above all before it starts a
/// thread, and end with the code returned.
pub fn child_main() -> Option<ExitCode> {
    let role = std::env::args_os().nth(1)?;
    match role.to_str()? {
        PUBLISHER => Some(outside::main()),
        SUPERVISOR => Some(supervisor::main()),
        node::CONTAINER => Some(node::container_main()),
        node::EXEC => Some(node::exec_main()),
        _ => None,
    }
}
