//! Up and down again, the polite way and the other one.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use lateen_local::cluster::{self, Error, Record, Status};
use lateen_local::node::images::Mapping;
use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::block_on;
use crate::cluster::{Cluster, PATIENCE, Place, client, container, options, scratch};

/// What a cluster could leave on a machine.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
}

fn traces() -> Traces {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let links = fs::read_to_string("/proc/self/net/dev").unwrap();
    let name = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
    Traces {
        mounts: mounts.lines().map(str::to_owned).collect(),
        links: links.lines().filter_map(name).collect(),
    }
}

/// The namespace of a process, as the kernel names it.
fn namespace(pid: &str, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    Some(link.display().to_string())
}

/// The processes that are in one of these namespaces.
fn processes_in(namespaces: &[String]) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            ["pid", "net", "mnt", "user"]
                .iter()
                .any(|kind| namespace(pid, kind).is_some_and(|own| namespaces.contains(&own)))
        })
        .collect()
}

fn namespaces_of(record: &Record) -> Vec<String> {
    let pid = record.supervisor.pid.to_string();
    ["pid", "net", "mnt", "user"]
        .iter()
        .filter_map(|kind| namespace(&pid, kind))
        .collect()
}

fn running(cluster: &Cluster) -> Record {
    let status = cluster::status(&cluster.options.name, cluster.options.state.as_deref()).unwrap();
    match status {
        Status::Running(record) => *record,
        other => panic!("the cluster is {other:?}"),
    }
}

/// Starts a pod that would live for long.
fn start_pod(cluster: &Cluster) {
    block_on(async {
        let place = Place::make(cluster.client().await, "life").await;
        place
            .pod(
                "sleeper",
                json!({ "containers": [container("main", "sleep 1000")] }),
            )
            .await;
        place.wait_ready("sleeper").await;
    });
}

/// Waits until a condition holds that the kernel brings about in its own time.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn assert_nothing_is_left(before: &Traces, namespaces: &[String]) {
    eventually("processes are left", || processes_in(namespaces).is_empty());
    assert_eq!(*before, traces());
}

pub(crate) fn down_leaves_no_process_mount_namespace_or_link() {
    let before = traces();
    let cluster = Cluster::start(|_| {});
    start_pod(&cluster);
    let record = running(&cluster);
    let namespaces = namespaces_of(&record);
    assert_eq!(namespaces.len(), 4);
    let own = namespace("self", "net").unwrap();
    assert!(
        !namespaces.contains(&own),
        "the cluster has a network of its own"
    );
    assert!(!processes_in(&namespaces).is_empty());
    assert_eq!(
        before,
        traces(),
        "what a cluster mounts and links is not seen outside"
    );
    let mut log = Vec::new();
    cluster::follow_log("lateen", cluster.options.state.as_deref(), false, &mut log).unwrap();
    assert!(
        String::from_utf8(log)
            .unwrap()
            .contains("the cluster is ready")
    );
    let kubeconfig = cluster.options.kubeconfig.clone().unwrap();
    assert!(
        fs::read_to_string(&kubeconfig)
            .unwrap()
            .contains("current-context: \"lateen\"")
    );
    assert!(cluster::down("lateen", cluster.options.state.as_deref()).unwrap());
    assert!(
        processes_in(&namespaces).is_empty(),
        "down waits for the end"
    );
    assert_nothing_is_left(&before, &namespaces);
    let state = cluster.options.state.as_deref();
    assert_eq!(cluster::status("lateen", state).unwrap(), Status::Stopped);
    assert!(
        !fs::read_to_string(&kubeconfig)
            .unwrap()
            .contains("\"lateen\"")
    );
    assert!(
        !cluster::down("lateen", state).unwrap(),
        "there is nothing to end any more"
    );
}

pub(crate) fn nothing_is_left_when_the_supervisor_is_killed() {
    let before = traces();
    let cluster = Cluster::start(|_| {});
    start_pod(&cluster);
    let record = running(&cluster);
    let namespaces = namespaces_of(&record);
    kill(record.supervisor.pid);
    assert_nothing_is_left(&before, &namespaces);
    eventually("the publisher goes on", || has_ended(record.publisher.pid));
}

pub(crate) fn nothing_is_left_when_the_publisher_is_killed() {
    let before = traces();
    let cluster = Cluster::start(|_| {});
    start_pod(&cluster);
    let record = running(&cluster);
    let namespaces = namespaces_of(&record);
    kill(record.publisher.pid);
    assert_nothing_is_left(&before, &namespaces);
    // And the next one starts as if nothing had been.
    let state = cluster.options.state.as_deref();
    eventually("the lock is held", || {
        cluster::status("lateen", state).unwrap() == Status::Stopped
    });
    cluster::up(&cluster.options, |_| {}).unwrap();
}

pub(crate) fn objects_outlive_the_cluster_and_its_pods_start_again() {
    let cluster = Cluster::start(|_| {});
    start_pod(&cluster);
    let kubeconfig = cluster.options.kubeconfig.clone().unwrap();
    block_on(async {
        let place = Place {
            client: client(&kubeconfig).await,
            name: "life".into(),
        };
        let _: ConfigMap = place
            .create(json!({ "metadata": { "name": "kept" }, "data": { "key": "value" } }))
            .await;
    });
    cluster::down("lateen", cluster.options.state.as_deref()).unwrap();
    cluster::up(&cluster.options, |_| {}).unwrap();
    block_on(async {
        let place = Place {
            client: client(&kubeconfig).await,
            name: "life".into(),
        };
        let maps: Api<ConfigMap> = Api::namespaced(place.client.clone(), "life");
        assert_eq!(
            maps.get("kept").await.unwrap().data.unwrap()["key"],
            "value"
        );
        let status = place
            .wait("sleeper", "restarted and ready", |status| {
                let restarts = status.container_statuses.iter().flatten();
                restarts.map(|one| one.restart_count).sum::<i32>() == 1
                    && crate::cluster::is_ready(status)
            })
            .await;
        assert!(status.pod_ip.is_some());
    });
}

pub(crate) fn images_are_kept_until_the_cluster_is_purged() {
    let cluster = Cluster::start(|options| {
        options.images = vec![Mapping::parse("kept:1=/bin/sh").unwrap()];
    });
    let state = cluster.options.state.as_deref();
    let running = cluster::running(state).unwrap();
    assert_eq!(running[0].0, "lateen");
    cluster::down("lateen", state).unwrap();
    let mut options = cluster.options.clone();
    options.images = Vec::new();
    cluster::up(&options, |_| {}).unwrap();
    block_on(async {
        let place = Place::make(cluster.client().await, "kept").await;
        let main = json!({ "name": "main", "image": "kept:1", "args": ["-c", "sleep 1000"] });
        place.pod("kept", json!({ "containers": [main] })).await;
        place.wait_ready("kept").await;
    });
    assert!(cluster::purge("lateen", state).unwrap());
    assert!(!state.unwrap().join("lateen").exists());
    assert!(!cluster::purge("lateen", state).unwrap());
    assert!(!cluster::down("nosuch", state).unwrap());
    assert_eq!(cluster::status("nosuch", state).unwrap(), Status::Stopped);
    assert!(!state.unwrap().join("nosuch").exists());
}

pub(crate) fn a_second_cluster_of_the_same_name_is_refused() {
    let cluster = Cluster::start(|_| {});
    let error = cluster::up(&cluster.options, |_| {}).unwrap_err();
    assert!(matches!(error, Error::Running { .. }), "{error}");
    assert!(error.to_string().contains("`lateen down`"), "{error}");
}

pub(crate) fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = scratch("taken");
    let mut options = options(&directory);
    options.published[0].address = taken.local_addr().unwrap();
    let error = cluster::up(&options, |_| {}).unwrap_err().to_string();
    assert!(
        error.contains(&taken.local_addr().unwrap().to_string()),
        "{error}"
    );
    assert!(error.contains("ingress HTTP"), "{error}");
    let state = options.state.as_deref();
    assert_eq!(cluster::status("lateen", state).unwrap(), Status::Stopped);
    remove(&directory);
}

pub(crate) fn manifests_that_cannot_be_applied_end_the_start() {
    let directory = scratch("manifests");
    let mut options = options(&directory);
    options.manifests = vec![json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "Bad_Name", "namespace": "default" }, "spec": { "ports": [{ "port": 1 }] } })];
    let error = cluster::up(&options, |_| {}).unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("Service default/Bad_Name cannot be applied"),
        "{error}"
    );
    let state = options.state.as_deref();
    eventually("it goes on", || {
        cluster::status("lateen", state).unwrap() == Status::Stopped
    });
    remove(&directory);
}

fn kill(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn has_ended(pid: i32) -> bool {
    // Whoever started it is this process, which does not wait for it; a zombie has ended, too.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty()
        || stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn remove(directory: &Path) {
    fs::remove_dir_all(directory).unwrap();
}
