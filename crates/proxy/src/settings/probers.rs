//! Probes of the application that the proxy carries out for the kubelet.
//!
//! Injection rewrites a container's probes to `/app-health/<container>/{livez,readyz,startupz}` on
//! the status port and keeps the originals in `ISTIO_KUBE_APP_PROBERS`, in Kubernetes' own form.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

/// The probes by path, such as `/app-health/reviews/readyz`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Probers(BTreeMap<String, Prober>);

/// One probe.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prober {
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// How long it may take, in seconds.
    #[serde(default = "one", rename = "timeoutSeconds")]
    timeout_seconds: u32,
}

/// What a probe does.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Succeeds on a status from 200 to 399.
    HttpGet(HttpGet),
    /// Succeeds if the port accepts.
    TcpSocket(TcpSocket),
    /// Succeeds if the health service says SERVING.
    Grpc(Grpc),
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGet {
    /// The path; `/` if unset.
    #[serde(default)]
    pub path: String,
    /// The port.
    pub port: u16,
    /// `HTTP` or `HTTPS`.
    #[serde(default)]
    pub scheme: String,
    /// The Host header; the address if unset.
    #[serde(default)]
    pub host: String,
    /// Further headers.
    #[serde(default)]
    pub http_headers: Vec<HttpHeader>,
}

/// A header of a request.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// A connection.
#[derive(Debug, Clone, Deserialize)]
pub struct TcpSocket {
    /// The port.
    pub port: u16,
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, Deserialize)]
pub struct Grpc {
    /// The port.
    pub port: u16,
    /// The service to ask for; the server itself if unset.
    #[serde(default)]
    pub service: Option<String>,
}

fn one() -> u32 {
    1
}

// === impl Probers ===

impl Probers {
    /// Reads what injection wrote; an empty text is no probes.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
            .context("ISTIO_KUBE_APP_PROBERS is not a map of probes in JSON; inject the pod again")
    }

    /// The probe at a path.
    pub fn get(&self, path: &str) -> Option<&Prober> {
        self.0.get(path)
    }
}

// === impl Prober ===

impl Prober {
    /// How long it may take; at least a second, as in Kubernetes.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_seconds.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_of_probes_are_read_as_injection_writes_them() {
        let probers = Probers::parse(
            r#"{"/app-health/a/livez":{"httpGet":{"path":"/health","port":9080,"scheme":"HTTP"},"timeoutSeconds":3},
                "/app-health/a/readyz":{"tcpSocket":{"port":9081}},
                "/app-health/a/startupz":{"grpc":{"port":9082,"service":null}}}"#,
        )
        .expect("valid");
        let live = probers.get("/app-health/a/livez").expect("there");
        assert_eq!(live.timeout(), Duration::from_secs(3));
        assert!(
            matches!(&live.action, Action::HttpGet(get) if get.path == "/health" && get.port == 9080)
        );
        let ready = probers.get("/app-health/a/readyz").expect("there");
        assert!(matches!(&ready.action, Action::TcpSocket(tcp) if tcp.port == 9081));
        let startup = probers.get("/app-health/a/startupz").expect("there");
        assert!(matches!(&startup.action, Action::Grpc(grpc) if grpc.port == 9082));
    }

    #[test]
    fn a_malformed_map_says_which_variable_is_wrong() {
        let error = Probers::parse(r#"{"x":{"exec":{}}}"#).expect_err("no such probe");
        assert!(error.to_string().contains("ISTIO_KUBE_APP_PROBERS"));
    }
}
