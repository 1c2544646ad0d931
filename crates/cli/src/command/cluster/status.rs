//! What `lateen status` says of a cluster that runs.

use std::fmt;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use lateen_local::cluster::Record;
use lateen_local::cluster::options::context_name;
use serde_json::{Map, Value, json};

use crate::command::install::full_name;

/// The state of a cluster.
pub(super) struct Report<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What it says of itself.
    pub(super) record: &'a Record,
    /// Where the gateway answers.
    pub(super) ingress: SocketAddr,
    /// The sample is there, with its route.
    pub(super) has_bookinfo: bool,
    /// The pods that should be ready and are not, if the API answers.
    pub(super) unready: kube::Result<Vec<Pod>>,
}

// === impl Report ===

impl Report<'_> {
    /// For programs.
    pub(super) fn value(&self) -> Value {
        let record = self.record;
        let ports: Map<String, Value> = record
            .ports
            .iter()
            .map(|(name, address)| (name.clone(), json!(address.to_string())))
            .collect();
        let unready = self.unready.as_ref().ok();
        let unready = unready.map(|pods| pods.iter().map(full_name).collect::<Vec<_>>());
        json!({
            "name": self.name,
            "state": "running",
            "pid": record.supervisor.pid,
            "publisherPid": record.publisher.pid,
            "started": record.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "api": record.api.to_string(),
            "context": context_name(self.name),
            "ports": ports,
            "kubeconfig": record.kubeconfig,
            "bookinfo": self.has_bookinfo.then(|| self.page()),
            "notReady": unready,
        })
    }

    fn page(&self) -> String {
        format!("http://{}/productpage", self.ingress)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        let started = record.started.strftime("%Y-%m-%d %H:%M:%S UTC");
        let pid = record.supervisor.pid;
        writeln!(f, "{} is running since {started}, process {pid}", self.name)?;
        let mut line = |name: &str, value: &str| writeln!(f, "  {name:<15} {value}");
        line("Kubernetes API", &format!("https://{}", record.api))?;
        line("kubectl context", &context_name(self.name))?;
        for (name, address) in &record.ports {
            let scheme = if name.ends_with("HTTPS") {
                "https"
            } else {
                "http"
            };
            line(name, &format!("{scheme}://{address}"))?;
        }
        if self.has_bookinfo {
            line("Bookinfo", &self.page())?;
        }
        match &self.unready {
            Ok(pods) if pods.is_empty() => f.write_str("  every pod is ready\n"),
            Ok(pods) => {
                let names: Vec<String> = pods.iter().map(full_name).collect();
                writeln!(f, "  not ready: {}", names.join(", "))
            }
            Err(error) => writeln!(f, "  the API does not answer: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_name_context_page_and_a_time_that_people_read() {
        let process = json!({ "pid": 7, "startTime": 1 });
        let record: Record = serde_json::from_value(json!({
            "publisher": process, "supervisor": process,
            "started": "2026-01-02T03:04:05.678901234Z", "api": "127.0.0.1:6443",
            "ports": [["ingress HTTP", "127.0.0.1:8080"]], "kubeconfig": null,
        }))
        .unwrap();
        let report = Report {
            name: "two",
            record: &record,
            ingress: "127.0.0.1:8080".parse().unwrap(),
            has_bookinfo: true,
            unready: Ok(Vec::new()),
        };
        assert_eq!(
            report.to_string(),
            "two is running since 2026-01-02 03:04:05 UTC, process 7\n  \
             Kubernetes API  https://127.0.0.1:6443\n  \
             kubectl context lateen-two\n  \
             ingress HTTP    http://127.0.0.1:8080\n  \
             Bookinfo        http://127.0.0.1:8080/productpage\n  \
             every pod is ready\n"
        );
        assert_eq!(report.value()["started"], "2026-01-02T03:04:05Z");
    }
}
