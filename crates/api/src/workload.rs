//! Who a pod is: the workload above it, its canonical service and revision, as Istio names them.

use std::net::IpAddr;

use lateen_model::Labels;
use lateen_model::workload::Workload;

/// A pod, reduced to what its identity in metrics needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// The pod's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Kind and name of the object that controls it (the owner reference with `controller`).
    pub controller: Option<Owner>,
    /// Its service account.
    pub service_account: String,
    /// The node on which it runs.
    pub node: String,
}

/// An object that controls another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The workload at one of a pod's addresses.
pub fn of_pod(pod: &Pod, address: IpAddr, cluster: &str) -> Workload {
    let workload = name(pod);
    Workload {
        address,
        pod: pod.name.clone(),
        namespace: pod.namespace.clone(),
        canonical_service: canonical_name(&pod.labels, &workload),
        canonical_revision: canonical_revision(&pod.labels),
        app: pod.labels.get("app").cloned().unwrap_or_default(),
        version: pod.labels.get("version").cloned().unwrap_or_default(),
        workload,
        service_account: pod.service_account.clone(),
        cluster: cluster.to_owned(),
        node: pod.node.clone(),
    }
}

/// The name of the workload above a pod: its Deployment, Job, StatefulSet, …; that of the pod
/// itself if nothing controls it.
pub fn name(pod: &Pod) -> String {
    if let Some(name) = pod
        .labels
        .get("service.istio.io/workload-name")
        .filter(|n| !n.is_empty())
    {
        return name.clone();
    }
    let Some(owner) = &pod.controller else {
        return pod.name.clone();
    };
    let parent = match owner.kind.as_str() {
        "ReplicaSet" => deployment(&owner.name, &pod.labels),
        "ReplicationController" => pod
            .labels
            .get("deploymentconfig")
            .filter(|config| owner.name.starts_with(config.as_str()))
            .cloned(),
        "Job" => cron_job(&owner.name),
        _ => None,
    };
    parent.unwrap_or_else(|| owner.name.clone())
}

/// The Deployment of a ReplicaSet: what stands before `-<pod-template-hash>`.
fn deployment(replica_set: &str, labels: &Labels) -> Option<String> {
    let hash = labels
        .get("pod-template-hash")
        .filter(|hash| !hash.is_empty())?;
    let name = replica_set.strip_suffix(hash.as_str())?.strip_suffix('-')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The CronJob of a Job: what stands before `-<minutes since the epoch>`, which have eight digits
/// (ten seconds' digits in old clusters).
fn cron_job(job: &str) -> Option<String> {
    let (name, time) = job.rsplit_once('-')?;
    let is_time = matches!(time.len(), 8 | 10) && time.bytes().all(|b| b.is_ascii_digit());
    (is_time && !name.is_empty()).then(|| name.to_owned())
}

/// The canonical service: a label of that name, the application's name, else the workload.
pub fn canonical_name(labels: &Labels, workload: &str) -> String {
    let keys = [
        "service.istio.io/canonical-name",
        "app.kubernetes.io/name",
        "app",
    ];
    first_label(labels, &keys).unwrap_or_else(|| workload.to_owned())
}

/// The canonical revision: a label of that name, the application's version, else `latest`.
pub fn canonical_revision(labels: &Labels) -> String {
    let keys = [
        "service.istio.io/canonical-revision",
        "app.kubernetes.io/version",
        "version",
    ];
    first_label(labels, &keys).unwrap_or_else(|| "latest".to_owned())
}

fn first_label(labels: &Labels, keys: &[&str]) -> Option<String> {
    let mut values = keys.iter().filter_map(|key| labels.get(*key));
    values.find(|value| !value.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn pod(kind: &str, owner: &str, pairs: &[(&str, &str)]) -> Pod {
        Pod {
            name: "reviews-v1-6f8d9c7b5-x2x4z".into(),
            labels: labels(pairs),
            controller: Some(Owner {
                kind: kind.into(),
                name: owner.into(),
            }),
            ..Pod::default()
        }
    }

    #[test]
    fn the_workload_is_the_object_that_a_user_wrote() {
        let hash = [("pod-template-hash", "6f8d9c7b5")];
        assert_eq!(
            name(&pod("ReplicaSet", "reviews-v1-6f8d9c7b5", &hash)),
            "reviews-v1"
        );
        assert_eq!(name(&pod("ReplicaSet", "bare", &hash)), "bare");
        assert_eq!(name(&pod("StatefulSet", "db", &[])), "db");
        assert_eq!(name(&pod("Job", "report-28394820", &[])), "report");
        assert_eq!(name(&pod("Job", "report-once", &[])), "report-once");
        let bare = Pod {
            controller: None,
            ..pod("", "", &[])
        };
        assert_eq!(name(&bare), "reviews-v1-6f8d9c7b5-x2x4z");
        let named = [("service.istio.io/workload-name", "given")];
        assert_eq!(name(&pod("ReplicaSet", "x", &named)), "given");
    }

    #[test]
    fn canonical_names_come_from_labels_in_istios_order() {
        let all = labels(&[
            ("app", "c"),
            ("app.kubernetes.io/name", "b"),
            ("service.istio.io/canonical-name", "a"),
            ("version", "v3"),
        ]);
        assert_eq!(canonical_name(&all, "w"), "a");
        assert_eq!(canonical_name(&labels(&[("app", "c")]), "w"), "c");
        assert_eq!(canonical_name(&labels(&[]), "w"), "w");
        assert_eq!(canonical_revision(&all), "v3");
        assert_eq!(canonical_revision(&labels(&[])), "latest");
    }
}
