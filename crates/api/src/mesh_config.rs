//! The configuration of the whole mesh: the key `mesh` of the ConfigMap `istio`, and the settings
//! of proxies in it (`defaultConfig`), which a pod may override by the annotation
//! `proxy.istio.io/config`.
//!
//! As with Istio an unknown field is a warning, not an error: a mesh must not stop working because
//! its configuration is newer than its control plane. What is known, but not in effect in this
//! version, is listed.

mod fields;
mod proxy_config;

use lateen_model::mesh::{AccessLogEncoding, Mesh, OutboundPolicy};
use serde_json::{Map, Value};

use crate::lower::Settings;
use crate::problem::{Path, Problem, Report, closest};
use crate::spec::duration;
use crate::yaml;

pub use proxy_config::{InterceptionMode, ProxyConfig};

/// The annotation by which a pod overrides settings of its proxy.
pub const PROXY_CONFIG: &str = "proxy.istio.io/config";

/// The configuration of the whole mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshConfig {
    /// What proxies need of it.
    pub mesh: Mesh,
    /// What lowering needs of it.
    pub settings: Settings,
    /// Settings of proxies that say nothing themselves.
    pub default_config: ProxyConfig,
    /// `defaultConfig` as it is written, which annotations are merged into.
    default_values: Map<String, Value>,
}

/// Reads the text of the key `mesh`; an empty text is the default configuration. The problems are
/// fields that are unknown or not in effect.
///
/// # Errors
/// Everything that is wrong; the configuration before it should stay in effect.
pub fn parse(text: &str) -> Result<(MeshConfig, Vec<Problem>), Report> {
    parse_for(text, "cluster.local")
}

/// As [`parse`], for a cluster of another domain.
///
/// # Errors
/// As [`parse`].
pub fn parse_for(text: &str, cluster_domain: &str) -> Result<(MeshConfig, Vec<Problem>), Report> {
    let mut report = Report::default();
    let root = Path::Root("");
    let value = match yaml::value(text) {
        Ok(Value::Null) => Value::Object(Map::new()),
        Ok(value) => value,
        Err(error) => {
            report.error(&root, error.to_string());
            return Err(report);
        }
    };
    let Value::Object(map) = value else {
        report.error(
            &root,
            "the configuration of the mesh must be a map of fields",
        );
        return Err(report);
    };
    let mut reader = Reader {
        map: &map,
        path: root,
        report: &mut report,
    };
    reader.known(&fields::MESH);
    let mesh = mesh(&mut reader, cluster_domain);
    let settings = Settings {
        cluster_domain: cluster_domain.to_owned(),
        default_service_export_to: reader.export_to("defaultServiceExportTo"),
        default_virtual_service_export_to: reader.export_to("defaultVirtualServiceExportTo"),
        default_destination_rule_export_to: reader.export_to("defaultDestinationRuleExportTo"),
    };
    let default_values = reader.object("defaultConfig").unwrap_or_default();
    let path = Path::Root("defaultConfig");
    let default_config = proxy_config::read(&default_values, path, &mut report);
    if report.is_valid() {
        let config = MeshConfig {
            mesh,
            settings,
            default_config,
            default_values,
        };
        Ok((config, report.warnings))
    } else {
        Err(report)
    }
}

fn mesh(reader: &mut Reader<'_>, cluster_domain: &str) -> Mesh {
    let default = Mesh::default();
    let outbound = reader.object("outboundTrafficPolicy").unwrap_or_default();
    let mode = {
        let mut inner = Reader {
            map: &outbound,
            path: Path::Root("outboundTrafficPolicy"),
            report: &mut *reader.report,
        };
        inner.known(&fields::OUTBOUND_POLICY);
        inner.choice("mode", &["ALLOW_ANY", "REGISTRY_ONLY"])
    };
    let encoding = reader.choice("accessLogEncoding", &["TEXT", "JSON"]);
    let timeout = reader.duration("protocolDetectionTimeout");
    // Istio's default, 0, waits for ever, which hangs every server that speaks first on a port
    // without a declared protocol; after this mesh's wait, whoever speaks first decides.
    let timeout = timeout.filter(|timeout| !timeout.is_zero());
    Mesh {
        cluster_domain: cluster_domain.to_owned(),
        root_namespace: reader
            .text("rootNamespace")
            .unwrap_or(default.root_namespace),
        trust_domain: reader.text("trustDomain").unwrap_or(default.trust_domain),
        outbound_policy: match mode.as_deref() {
            Some("REGISTRY_ONLY") => OutboundPolicy::RegistryOnly,
            _ => OutboundPolicy::AllowAny,
        },
        access_log_file: reader.text("accessLogFile").unwrap_or_default(),
        access_log_encoding: match encoding.as_deref() {
            Some("JSON") => AccessLogEncoding::Json,
            _ => AccessLogEncoding::Text,
        },
        protocol_detection_timeout_ms: timeout
            .map_or(default.protocol_detection_timeout_ms, |timeout| {
                u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
            }),
        ..default
    }
}

// === impl MeshConfig ===

impl MeshConfig {
    /// The settings of a proxy whose pod carries `annotation` ([`PROXY_CONFIG`]): each field that
    /// it sets replaces the mesh's, `proxyMetadata` and `proxyHeaders` are merged by key.
    ///
    /// # Errors
    /// Everything that is wrong with the annotation.
    pub fn proxy_config(
        &self,
        annotation: Option<&str>,
    ) -> Result<(ProxyConfig, Vec<Problem>), Report> {
        let Some(text) = annotation else {
            return Ok((self.default_config.clone(), Vec::new()));
        };
        let mut report = Report::default();
        let path = Path::Root(PROXY_CONFIG);
        let own = match yaml::value(text) {
            Ok(Value::Object(own)) => own,
            Ok(Value::Null) => Map::new(),
            Ok(_) => {
                report.error(&path, "must be a map of fields");
                return Err(report);
            }
            Err(error) => {
                report.error(&path, error.to_string());
                return Err(report);
            }
        };
        // The annotation alone is judged: what the mesh says was judged when it was read.
        proxy_config::read(&own, path, &mut report);
        if !report.is_valid() {
            return Err(report);
        }
        let merged = proxy_config::merge(&self.default_values, own);
        let config = proxy_config::read(&merged, path, &mut Report::default());
        Ok((config, report.warnings))
    }
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            mesh: Mesh::default(),
            settings: Settings::default(),
            default_config: ProxyConfig::default(),
            default_values: Map::new(),
        }
    }
}

/// Reads the fields of a map one by one and notes what is wrong with them.
struct Reader<'a> {
    map: &'a Map<String, Value>,
    path: Path<'a>,
    report: &'a mut Report,
}

// === impl Reader ===

impl Reader<'_> {
    /// Warns of fields that are unknown or not in effect.
    fn known(&mut self, fields: &fields::Fields) {
        for name in self.map.keys() {
            let path = self.path.field(name);
            if fields.other.contains(&name.as_str()) {
                self.report.warn(&path, crate::validate::NOT_IN_EFFECT);
            } else if !fields.in_effect.contains(&name.as_str()) {
                let known = fields.in_effect.iter().chain(fields.other).copied();
                let hint = closest(name, known)
                    .map(|meant| format!("; did you mean {meant:?}?"))
                    .unwrap_or_default();
                self.report
                    .warn(&path, format!("unknown field, ignored{hint}"));
            }
        }
    }

    /// The value of a field, if `read` understands it; null is as good as absent.
    fn field<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.report
                .error(&self.path.field(name), format!("{value} is not {expected}"));
        }
        read
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.field(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn boolean(&mut self, name: &str) -> Option<bool> {
        self.field(name, "true or false", Value::as_bool)
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        self.field(name, "a whole number from 0", |value| {
            value.as_u64().and_then(|n| u32::try_from(n).ok())
        })
    }

    fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.field(name, "a map", |value| value.as_object().cloned())
    }

    fn duration(&mut self, name: &str) -> Option<std::time::Duration> {
        self.field(name, "a duration such as 5s", |value| {
            duration::parse(value.as_str()?).ok()
        })
    }

    fn choice(&mut self, name: &str, allowed: &[&str]) -> Option<String> {
        let expected = format!("one of {}", allowed.join(", "));
        self.field(name, &expected, |value| {
            value
                .as_str()
                .filter(|text| allowed.contains(text))
                .map(str::to_owned)
        })
    }

    fn strings(&mut self, name: &str) -> Option<Vec<String>> {
        self.field(name, "a list of strings", |value| {
            value
                .as_array()?
                .iter()
                .map(|entry| entry.as_str().map(str::to_owned))
                .collect()
        })
    }

    fn export_to(&mut self, name: &str) -> Vec<String> {
        self.strings(name)
            .filter(|list| !list.is_empty())
            .unwrap_or_else(|| vec!["*".into()])
    }
}

#[cfg(test)]
mod tests;
