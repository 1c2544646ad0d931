//! Settings of the whole mesh that proxies need (from Istio's MeshConfig).

use std::time::Duration;

use serde::Serialize;

use crate::balancer::LocalityLb;
use crate::retry::Retries;

/// Settings of the whole mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mesh {
    /// `cluster.local`, unless set otherwise.
    pub cluster_domain: String,
    /// `istio-system`, unless set otherwise: rules here apply everywhere.
    pub root_namespace: String,
    /// The trust domain of identities.
    pub trust_domain: String,
    /// What happens to traffic to destinations that no service names.
    pub outbound_policy: OutboundPolicy,
    /// Where the access log goes; nowhere if empty. `/dev/stdout` is the usual value.
    pub access_log_file: String,
    /// The log's encoding.
    pub access_log_encoding: AccessLogEncoding,
    /// How long an undeclared port waits for the client's first bytes before the upstream is
    /// dialled and both sides are watched, in milliseconds.
    pub protocol_detection_timeout_ms: u32,
    /// When requests are sent again where a rule says nothing (`defaultHttpRetryPolicy`).
    pub default_retries: Retries,
    /// How long a connection may take to be made where nothing else is said (`connectTimeout`).
    pub connect_timeout: Duration,
    /// Which localities come first where a destination says nothing (`localityLbSetting`).
    pub locality: LocalityLb,
    /// When a name is looked up again whose answer does not say how long it holds
    /// (`dnsRefreshRate`).
    pub dns_refresh_rate: Duration,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            trust_domain: "cluster.local".into(),
            outbound_policy: OutboundPolicy::AllowAny,
            access_log_file: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            protocol_detection_timeout_ms: 100,
            default_retries: Retries::default_policy(),
            connect_timeout: Duration::from_secs(10),
            locality: LocalityLb {
                is_enabled: true,
                ..LocalityLb::default()
            },
            dns_refresh_rate: Duration::from_secs(60),
        }
    }
}

/// What happens to outbound traffic to unknown destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OutboundPolicy {
    /// Passed through.
    AllowAny,
    /// Refused: HTTP is answered 502, TCP is reset.
    RegistryOnly,
}

/// How the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogEncoding {
    /// Istio's default text format.
    Text,
    /// One JSON object a line, with Istio's default keys.
    Json,
}
