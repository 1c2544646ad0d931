//! The node: runs pods as processes in namespaces of their own.
//!
//! It does for one machine what scheduler, kubelet and container runtime do for many, and talks to
//! the API server as they do: nothing but objects goes in, nothing but status and events comes out.
//!
//! ```text
//! watch of pods ─► agent ─► schedule: is there room for it here?      (binding)
//!                    └────► worker, one per pod: lifecycle (what now?) ─► run (a container's run)
//!                              ├─ volumes, environment, blueprint          └─ container (a process)
//!                              ├─ probe, action
//!                              └─ status ─► API
//! ```
//!
//! Nothing about a pod is kept outside of these: when the cluster ends, its processes end, and
//! when it is started again, its pods are, as after a machine's restart.

mod action;
mod agent;
mod blueprint;
pub(crate) mod container;
pub(crate) mod dial;
mod environment;
mod fields;
pub mod images;
mod lifecycle;
pub(crate) mod logs;
mod naming;
mod objects;
mod probe;
mod quantity;
mod register;
mod run;
pub(crate) mod sandbox;
mod schedule;
mod status;
mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;

pub(crate) use container::{container_main, exec_main};
pub(crate) use naming::DOMAIN;

use crate::events::Recorder;
use crate::network::links::Links;
use dial::Sandboxes;
use images::{Images, Mapping};
use objects::Objects;

/// The sub-command that becomes a container.
pub(crate) const CONTAINER: &str = "__container";
/// The sub-command that becomes a program in a container.
pub(crate) const EXEC: &str = "__exec";

/// What a node is started with.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Its name.
    pub(crate) name: String,
    /// A directory of its own, on a tmpfs that goes with it.
    pub(crate) runtime: PathBuf,
    /// Where logs of containers go.
    pub(crate) logs: PathBuf,
    /// Where the mesh's own programs are.
    pub(crate) programs: PathBuf,
    /// Images beyond those built in.
    pub(crate) images: Vec<Mapping>,
    /// The address of cluster DNS.
    pub(crate) dns: Ipv4Addr,
    /// Where sandboxes are noted, for whoever forwards ports.
    pub(crate) sandboxes: Sandboxes,
}

/// What every part of the node works with.
pub(crate) struct Context {
    client: Client,
    name: String,
    runtime: PathBuf,
    logs: PathBuf,
    dns: Ipv4Addr,
    images: Images,
    links: Links,
    objects: Objects,
    events: Recorder,
    allocatable: BTreeMap<String, Quantity>,
    /// Whether other users than root exist here.
    maps_users: bool,
    sandboxes: Sandboxes,
}

/// Runs the node, for ever; called in the cluster's namespaces.
///
/// # Errors
/// If its directory cannot be made. A server that cannot be reached is no error: it tries again.
pub(crate) async fn run(options: Options, client: Client, links: Links) -> std::io::Result<()> {
    for directory in ["root", "pods", "host"] {
        std::fs::create_dir_all(options.runtime.join(directory))?;
    }
    let (objects, keep_objects) = Objects::watch(&client);
    let (events, write_events) = Recorder::new(client.clone(), Some(&options.name));
    let context = Arc::new(Context {
        images: Images::new(&options.images, &options.programs, &options.name),
        client,
        name: options.name,
        runtime: options.runtime,
        logs: options.logs,
        dns: options.dns,
        links,
        objects,
        events,
        allocatable: register::capacity(),
        maps_users: maps_users(),
        sandboxes: options.sandboxes,
    });
    let work = async {
        context.objects.synced().await;
        tokio::join!(register::run(&context), agent::run(&context));
    };
    tokio::join!(keep_objects, write_events, work);
    Ok(())
}

/// Whether the user namespace has more than one user.
fn maps_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let count = |line: &str| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok();
    map.lines().filter_map(count).sum::<u64>() > 1
}

/// A duration as Kubernetes writes it: `10s`, `1m20s`.
fn seconds(duration: Duration) -> String {
    let all = duration.as_secs();
    match (all / 60, all % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
