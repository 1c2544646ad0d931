//! Labels and annotations of an injected pod.

use lateen_api::workload;
use serde_json::{Value, json};

use super::{PROXY, Work, annotation};

/// The longest value of a label.
const MAX_LABEL: usize = 63;

impl Work<'_> {
    /// Sets labels and annotations. Answers what the pod said about scraping, which the proxy
    /// needs when it takes the place of the application there.
    pub(super) fn metadata(&mut self) -> Option<Value> {
        let identity = self.identity();
        let name = workload::canonical_name(&identity.labels, &workload::name(&identity));
        let revision = workload::canonical_revision(&identity.labels);
        self.default_label("service.istio.io/canonical-name", cut(&name));
        self.default_label("service.istio.io/canonical-revision", cut(&revision));
        self.default_label("security.istio.io/tlsMode", "istio");
        self.set_annotation("istio.io/rev", self.template.revision.clone());
        self.default_container();
        self.prometheus()
    }

    /// `kubectl logs` and `exec` mean the application, not the proxy.
    fn default_container(&mut self) {
        let containers = self.original["spec"]["containers"].as_array();
        let names = containers
            .into_iter()
            .flatten()
            .filter_map(|c| c["name"].as_str());
        let Some(first) = names
            .filter(|name| *name != PROXY)
            .map(str::to_owned)
            .next()
        else {
            return;
        };
        for key in ["default-container", "default-logs-container"] {
            let key = format!("kubectl.kubernetes.io/{key}");
            if annotation(&self.pod, &key).is_none() {
                self.set_annotation(&key, first.clone());
            }
        }
    }

    /// Leads scrapers to the proxy, which adds the application's metrics to its own.
    fn prometheus(&mut self) -> Option<Value> {
        let wish = self.annotation("prometheus.istio.io/merge-metrics");
        let is_merged = wish.map_or(self.template.is_prometheus_merged, |wish| wish == "true");
        let scrape = self.annotation("prometheus.io/scrape").map(str::to_owned);
        if !is_merged || scrape.as_deref() == Some("false") {
            return None;
        }
        let port = self.annotation("prometheus.io/port").map(str::to_owned);
        let path = self.annotation("prometheus.io/path").map(str::to_owned);
        self.set_annotation("prometheus.io/scrape", "true");
        self.set_annotation("prometheus.io/port", self.status_port.to_string());
        self.set_annotation("prometheus.io/path", "/stats/prometheus");
        if scrape.as_deref() != Some("true") {
            return None;
        }
        Some(json!({
            "scrape": "true",
            "path": path.unwrap_or_default(),
            "port": port.unwrap_or_else(|| "80".into()),
        }))
    }
}

/// Cuts a text to what a label may hold: at most 63 characters, the last a letter or digit.
fn cut(text: &str) -> String {
    let cut: String = text.chars().take(MAX_LABEL).collect();
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}
