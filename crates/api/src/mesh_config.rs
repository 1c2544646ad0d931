//! The configuration of the whole mesh: the key `mesh` of the ConfigMap `istio`, and the settings
//! of proxies in it (`defaultConfig`), which a pod may override by the annotation
//! `proxy.istio.io/config`.
//!
//! As with Istio an unknown field is a warning, not an error: a mesh must not stop working because
//! its configuration is newer than its control plane. What is known, but not in effect in this
//! version, is listed.

mod fields;
mod proxy_config;
mod reader;

use std::time::Duration;

use lateen_model::mesh::{AccessLogEncoding, Mesh, OutboundPolicy};
use serde_json::{Map, Value};

use self::reader::Reader;
use crate::lower::Settings;
use crate::lower::load_balancer::locality;
use crate::lower::retries::retries;
use crate::problem::{Path, Problem, Report};
use crate::spec::traffic_policy::LocalityLb;
use crate::spec::virtual_service::Retries;
use crate::{validate, yaml};

pub use proxy_config::{PROXY_CONFIG, ProxyConfig};

/// The environment of proxies that answer their applications' DNS, where it is `true`.
pub const DNS_CAPTURE: &str = "ISTIO_META_DNS_CAPTURE";

/// Istio's limits of `connectTimeout`.
const CONNECT_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(3600);

/// The least `dnsRefreshRate`, as in Istio.
const DNS_REFRESH_RATE: Duration = Duration::from_millis(1);

/// The configuration of the whole mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshConfig {
    /// What proxies need of it.
    pub mesh: Mesh,
    /// What lowering needs of it.
    pub settings: Settings,
    /// Settings of proxies that say nothing themselves.
    pub default_config: ProxyConfig,
    /// `enablePrometheusMerge`: annotations of injected pods lead scrapers to the proxy.
    pub is_prometheus_merged: bool,
    /// Fields that are unknown or not in effect.
    pub warnings: Vec<Problem>,
}

// === impl MeshConfig ===

impl MeshConfig {
    /// The configuration of a mesh that says nothing.
    pub fn new(cluster_domain: &str, root_namespace: &str) -> Self {
        Self {
            mesh: Mesh {
                cluster_domain: cluster_domain.to_owned(),
                root_namespace: root_namespace.to_owned(),
                ..Mesh::default()
            },
            settings: Settings {
                cluster_domain: cluster_domain.to_owned(),
                ..Settings::default()
            },
            default_config: ProxyConfig::default(),
            is_prometheus_merged: true,
            warnings: Vec::new(),
        }
    }

    /// Reads the text of the key `mesh` over these defaults; an empty text changes nothing.
    ///
    /// # Errors
    /// Everything that is wrong; the configuration before it should stay in effect.
    pub fn read(mut self, text: &str) -> Result<Self, Report> {
        let mut report = Report::default();
        let root = Path::Root("");
        let map = match yaml::value(text) {
            Ok(Value::Null) => Map::new(),
            Ok(Value::Object(map)) => map,
            Ok(_) => {
                report.error(&root, "must be a map of settings");
                Map::new()
            }
            Err(error) => {
                report.error(&root, error.to_string());
                Map::new()
            }
        };
        let mut reader = Reader {
            map: &map,
            path: root,
            report: &mut report,
        };
        reader.known(&fields::MESH);
        self.read_mesh(&mut reader);
        self.read_traffic(&mut reader);
        self.read_visibility(&mut reader);
        if let Some(merged) = reader.boolean("enablePrometheusMerge") {
            self.is_prometheus_merged = merged;
        }
        let proxies = reader.object("defaultConfig").unwrap_or_default();
        let path = Path::Root("defaultConfig");
        self.default_config = proxy_config::read(proxies, path, &mut report);
        if !report.is_valid() {
            return Err(report);
        }
        self.warnings = report.warnings;
        Ok(self)
    }

    fn read_mesh(&mut self, reader: &mut Reader<'_>) {
        if let Some(namespace) = reader.nonempty("rootNamespace") {
            self.mesh.root_namespace = namespace;
        }
        if let Some(domain) = reader.nonempty("trustDomain") {
            self.mesh.trust_domain = domain;
        }
        if let Some(file) = reader.text("accessLogFile") {
            self.mesh.access_log_file = file;
        }
        if let Some(encoding) = reader.choice("accessLogEncoding", &["TEXT", "JSON"]) {
            self.mesh.access_log_encoding = match encoding.as_str() {
                "JSON" => AccessLogEncoding::Json,
                _ => AccessLogEncoding::Text,
            };
        }
        // Istio's default, 0, waits for ever, which hangs every server that speaks first on a port
        // without a declared protocol; after this mesh's wait, whoever speaks first decides.
        let timeout = reader.duration("protocolDetectionTimeout");
        if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) {
            self.mesh.protocol_detection_timeout_ms =
                u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        }
    }

    fn read_traffic(&mut self, reader: &mut Reader<'_>) {
        if let Some(policy) = reader.object("outboundTrafficPolicy") {
            self.mesh.outbound_policy = outbound_policy(&policy, reader.report);
        }
        if let Some(timeout) = reader.duration("connectTimeout") {
            if CONNECT_TIMEOUT.contains(&timeout) {
                self.mesh.connect_timeout = timeout;
            } else {
                let path = reader.path.field("connectTimeout");
                reader.report.error(&path, "must be from 1ms to 1h");
            }
        }
        if let Some(rate) = reader.duration("dnsRefreshRate") {
            if rate >= DNS_REFRESH_RATE {
                self.mesh.dns_refresh_rate = rate;
            } else {
                let path = reader.path.field("dnsRefreshRate");
                reader.report.error(&path, "must be at least 1ms");
            }
        }
        if let Some(policy) = reader.part::<Retries>("defaultHttpRetryPolicy") {
            let path = reader.path.field("defaultHttpRetryPolicy");
            validate::retries(&policy, &path, reader.report);
            self.mesh.default_retries = retries(&policy);
        }
        if let Some(setting) = reader.part::<LocalityLb>("localityLbSetting") {
            let path = reader.path.field("localityLbSetting");
            // Whether a destination has outlier detection is not known here.
            validate::locality_setting(&setting, true, &path, reader.report);
            self.mesh.locality = locality(&setting);
        }
    }

    fn read_visibility(&mut self, reader: &mut Reader<'_>) {
        let settings = &mut self.settings;
        for (name, setting) in [
            (
                "defaultServiceExportTo",
                &mut settings.default_service_export_to,
            ),
            (
                "defaultVirtualServiceExportTo",
                &mut settings.default_virtual_service_export_to,
            ),
            (
                "defaultDestinationRuleExportTo",
                &mut settings.default_destination_rule_export_to,
            ),
        ] {
            if let Some(list) = reader.strings(name).filter(|list| !list.is_empty()) {
                *setting = list;
            }
        }
    }
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self::new("cluster.local", "istio-system")
    }
}

/// Reads `outboundTrafficPolicy`.
fn outbound_policy(policy: &Map<String, Value>, report: &mut Report) -> OutboundPolicy {
    const DYNAMIC: &str = "ALLOW_ANY_DYNAMIC_DNS";
    let mut reader = Reader {
        map: policy,
        path: Path::Root("outboundTrafficPolicy"),
        report,
    };
    reader.known(&fields::OUTBOUND_POLICY);
    match reader
        .choice("mode", &["ALLOW_ANY", "REGISTRY_ONLY", DYNAMIC])
        .as_deref()
    {
        // Istio's zero value of the enum, which an empty block means.
        Some("REGISTRY_ONLY") | None => OutboundPolicy::RegistryOnly,
        Some(mode) => {
            if mode == DYNAMIC {
                let path = reader.path.field("mode");
                reader.report.warn(
                    &path,
                    format!("{DYNAMIC} {}; it is ALLOW_ANY", validate::NOT_IN_EFFECT),
                );
            }
            OutboundPolicy::AllowAny
        }
    }
}

#[cfg(test)]
mod tests;
