//! Who lives at an address: the source of the labels of metrics, asked for on demand.

use std::net::IpAddr;

use serde::Serialize;

/// The workload at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// The address that was asked for.
    pub address: IpAddr,
    /// The pod's name.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// The workload's name: the Deployment, Job, … above the pod.
    pub workload: String,
    /// `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, `app`, the workload.
    pub canonical_service: String,
    /// `service.istio.io/canonical-revision`, else `app.kubernetes.io/version`, `version`,
    /// `latest`.
    pub canonical_revision: String,
    /// The label `app`; empty if none.
    pub app: String,
    /// The label `version`; empty if none.
    pub version: String,
    /// The service account.
    pub service_account: String,
    /// The cluster's name, `Kubernetes` unless set otherwise.
    pub cluster: String,
    /// The node's name.
    pub node: String,
}
