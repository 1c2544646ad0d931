//! The controllers of Kubernetes that a mesh needs, as clients of any Kubernetes API server.
//!
//! They are not a part of the API server and run no processes: they watch objects, compare what is
//! wished with what is, and write the difference. Nothing polls; a change is acted on when it
//! arrives.
//!
//! ```text
//!  watch ─► Objects<K> (what is known of a kind) ─ key ─► Queue ─► reconcile(key)
//!               ▲                                                     │ plan: values in, actions out
//!               └───────── the server's answer, at once ◄─────────────┘ create, update, delete
//! ```
//!
//! # Read your own writes
//!
//! Kubernetes' controllers remember what they expect to see, because their caches lag behind their
//! writes. Here every write goes through [`objects::Objects`], which takes the server's answer into
//! what is known before the next plan is made (an older event that arrives later is recognised by
//! its resourceVersion). So a plan is a pure function of what is known, and is tested as one.
//!
//! | Module | Keeps |
//! |---|---|
//! | `deployment` | the ReplicaSets of a Deployment: rolling, recreate, pause, history |
//! | `replica_set`, `stateful_set`, `daemon_set`, `job` | pods |
//! | `endpoints` | EndpointSlices and Endpoints of Services |
//! | `load_balancer` | published addresses in the status of Services |
//! | `namespace`, `accounts` | the end and the beginnings of a namespace |
//! | `garbage`, `pod_garbage` | what has lost its owner, or its node |

#![allow(
    clippy::large_futures,
    reason = "futures hold the Kubernetes objects that they write, which are large values; the queue \
              boxes each reconciliation once"
)]

mod accounts;
mod clock;
mod daemon_set;
mod deployment;
mod endpoints;
mod error;
mod garbage;
mod inventory;
mod job;
pub mod load_balancer;
mod meta;
mod namespace;
mod objects;
mod pod_garbage;
mod pods;
mod queue;
mod replica_set;
mod retry;
mod selector;
mod stateful_set;

pub use error::Error;

use std::future::Future;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::runtime::watcher;
use tokio::task::JoinSet;

use self::inventory::Inventory;
use self::load_balancer::LoadBalancer;
use self::objects::{Objects, Watched};
use crate::events::Recorder;

/// Settings of the controllers.
#[derive(Debug)]
pub struct Options {
    /// The authority's certificate in PEM, for the ConfigMap `kube-root-ca.crt`.
    pub ca: String,
    /// Who publishes services of type LoadBalancer; nobody if unset.
    pub load_balancer: Option<LoadBalancer>,
}

/// What every controller works with.
#[derive(Clone)]
struct Context {
    client: Client,
    recorder: Recorder,
    pods: Objects<Pod>,
    nodes: Objects<Node>,
    namespaces: Objects<Namespace>,
    services: Objects<Service>,
    endpoint_slices: Objects<EndpointSlice>,
    endpoints: Objects<Endpoints>,
    accounts: Objects<ServiceAccount>,
    config_maps: Objects<ConfigMap>,
    deployments: Objects<Deployment>,
    replica_sets: Objects<ReplicaSet>,
    stateful_sets: Objects<StatefulSet>,
    daemon_sets: Objects<DaemonSet>,
    jobs: Objects<Job>,
    inventory: Inventory,
}

/// Runs all controllers until `shutdown` completes.
///
/// # Errors
/// [`Error::Stopped`] if one of them ends by itself, which is a bug. A server that cannot be
/// reached is no error: they try again.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    let context = start(&client, &mut tasks);
    spawn_controllers(&context, options, &mut tasks);
    // What is queued meanwhile waits: a controller plans only with everything in view.
    tokio::select! {
        () = shutdown => Ok(()),
        ended = tasks.join_next() => {
            let what = match ended {
                Some(Err(error)) => error.to_string(),
                Some(Ok(())) | None => "it returned".into(),
            };
            Err(Error::Stopped(what))
        }
    }
}

/// Starts the watches.
fn start(client: &Client, tasks: &mut JoinSet<()>) -> Context {
    let (recorder, events) = Recorder::new(client.clone(), None);
    tasks.spawn(events);
    let inventory = Inventory::start(client.clone(), tasks);
    let root_ca = watcher::Config::default().fields("metadata.name=kube-root-ca.crt");
    Context {
        client: client.clone(),
        recorder,
        pods: watch(client, tasks),
        nodes: watch(client, tasks),
        namespaces: watch(client, tasks),
        services: watch(client, tasks),
        endpoint_slices: watch(client, tasks),
        endpoints: watch(client, tasks),
        accounts: watch(client, tasks),
        config_maps: watch_with(client, root_ca, tasks),
        deployments: watch(client, tasks),
        replica_sets: watch(client, tasks),
        stateful_sets: watch(client, tasks),
        daemon_sets: watch(client, tasks),
        jobs: watch(client, tasks),
        inventory,
    }
}

fn watch<K: Watched>(client: &Client, tasks: &mut JoinSet<()>) -> Objects<K> {
    watch_with(client, watcher::Config::default(), tasks)
}

fn watch_with<K: Watched>(
    client: &Client,
    config: watcher::Config,
    tasks: &mut JoinSet<()>,
) -> Objects<K> {
    let (objects, watching) = Objects::watch(client.clone(), config);
    tasks.spawn(watching);
    objects
}

fn spawn_controllers(context: &Context, options: Options, tasks: &mut JoinSet<()>) {
    tasks.spawn(deployment::run(context.clone()));
    tasks.spawn(replica_set::run(context.clone()));
    tasks.spawn(stateful_set::run(context.clone()));
    tasks.spawn(daemon_set::run(context.clone()));
    tasks.spawn(job::run(context.clone()));
    tasks.spawn(endpoints::run(context.clone()));
    tasks.spawn(namespace::run(context.clone()));
    tasks.spawn(accounts::run(context.clone(), options.ca));
    tasks.spawn(garbage::run(context.clone()));
    tasks.spawn(pod_garbage::run(context.clone()));
    if let Some(load_balancer) = options.load_balancer {
        tasks.spawn(load_balancer::run(context.clone(), load_balancer));
    }
}

#[cfg(test)]
mod tests;
