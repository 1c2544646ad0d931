//! The Node object: what this machine is, and that it is well.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Context;

/// How often the node says that it is well.
const HEARTBEAT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(200);
/// The version of Kubernetes whose kubelet this node behaves like; clients look at it for native
/// sidecars.
const KUBELET: &str = "v1.33.0";
/// Processes are cheap, and there is one node only.
const MAX_PODS: &str = "500";
/// Condition, status while all is well, reason, message.
const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    (
        "DiskPressure",
        "False",
        "KubeletHasNoDiskPressure",
        "kubelet has no disk pressure",
    ),
    (
        "PIDPressure",
        "False",
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
    ),
    (
        "Ready",
        "True",
        "KubeletReady",
        "kubelet is posting ready status",
    ),
];

/// Registers the node and keeps its status fresh, for ever.
pub(super) async fn run(context: &Context) {
    let since = Timestamp::now();
    while let Err(error) = register(context, since).await {
        tracing::warn!(%error, "the node cannot be registered");
        sleep(RETRY).await;
    }
    let nodes: Api<Node> = Api::all(context.client.clone());
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.tick().await;
    loop {
        beat.tick().await;
        let status = json!({ "status": { "conditions": conditions(since) } });
        let patched = nodes
            .patch_status(
                &context.name,
                &PatchParams::default(),
                &Patch::Merge(status),
            )
            .await;
        match patched {
            Ok(_) => {}
            // Somebody has deleted the node; it is still here.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                if let Err(error) = register(context, since).await {
                    tracing::warn!(%error, "the node cannot be registered again");
                }
            }
            Err(error) => tracing::warn!(%error, "the node's status cannot be written"),
        }
    }
}

/// What the machine has.
pub(super) fn capacity() -> BTreeMap<String, Quantity> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .unwrap_or("0");
    [
        ("cpu", cores.to_string()),
        ("memory", format!("{memory}Ki")),
        ("pods", MAX_PODS.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Quantity(value)))
    .collect()
}

async fn register(context: &Context, since: Timestamp) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let name = &context.name;
    let node = Node {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels(name)),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: None,
    };
    match nodes.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patch = json!({ "metadata": { "labels": labels(name) } });
            nodes
                .patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        Err(error) => return Err(error),
    }
    let status = json!({ "status": status(context, since) });
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let architecture = architecture();
    [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture),
        ("node-role.kubernetes.io/control-plane", ""),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

fn status(context: &Context, since: Timestamp) -> NodeStatus {
    NodeStatus {
        addresses: Some(vec![
            NodeAddress {
                address: context.links.node().to_string(),
                type_: "InternalIP".into(),
            },
            NodeAddress {
                address: context.name.clone(),
                type_: "Hostname".into(),
            },
        ]),
        allocatable: Some(context.allocatable.clone()),
        capacity: Some(context.allocatable.clone()),
        conditions: Some(conditions(since)),
        node_info: Some(system()),
        ..NodeStatus::default()
    }
}

fn conditions(since: Timestamp) -> Vec<NodeCondition> {
    CONDITIONS
        .iter()
        .map(|(kind, status, reason, message)| NodeCondition {
            type_: (*kind).into(),
            status: (*status).into(),
            reason: Some((*reason).into()),
            message: Some((*message).into()),
            last_heartbeat_time: Some(Time(Timestamp::now())),
            last_transition_time: Some(Time(since)),
        })
        .collect()
}

fn system() -> NodeSystemInfo {
    let line = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    NodeSystemInfo {
        architecture: architecture().into(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: concat!("lateen://", env!("CARGO_PKG_VERSION")).into(),
        kernel_version: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET.into(),
        machine_id: line("/etc/machine-id"),
        operating_system: "linux".into(),
        os_image: name.unwrap_or("Linux").trim_matches('"').into(),
        swap: None,
        system_uuid: String::new(),
    }
}

/// The machine's architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
