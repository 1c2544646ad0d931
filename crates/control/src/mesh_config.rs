//! MeshConfig: the settings of the whole mesh, from the key `mesh` of the ConfigMap `istio`.
//!
//! What is read here is in effect; every other key is listed as such, so that nobody believes in a
//! setting that does nothing.

use std::time::Duration;

use lateen_api::{lower, yaml};
use lateen_model::mesh::{AccessLogEncoding, Mesh, OutboundPolicy};
use serde_json::{Map, Value};

/// The settings of the mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshConfig {
    /// What proxies are told.
    pub mesh: Mesh,
    /// What lowering needs.
    pub lower: lower::Settings,
    /// `defaultConfig`: what proxies start with, as written; annotations are merged over it.
    pub default_config: Map<String, Value>,
    /// `enablePrometheusMerge`: annotations of injected pods lead scrapers to the proxy.
    pub is_prometheus_merged: bool,
    /// Keys that are set but not in effect.
    pub unsupported: Vec<String>,
}

/// Why a text is no MeshConfig. The last good one stays in effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Invalid {
    /// The key, such as `outboundTrafficPolicy.mode`.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl MeshConfig {
    /// The settings of a mesh that says nothing.
    pub fn new(cluster_domain: &str, root_namespace: &str) -> Self {
        Self {
            mesh: Mesh {
                cluster_domain: cluster_domain.to_owned(),
                root_namespace: root_namespace.to_owned(),
                ..Mesh::default()
            },
            lower: lower::Settings {
                cluster_domain: cluster_domain.to_owned(),
                ..lower::Settings::default()
            },
            default_config: Map::new(),
            is_prometheus_merged: true,
            unsupported: Vec::new(),
        }
    }

    /// Reads a text over these defaults.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn read(mut self, text: &str) -> Result<Self, Invalid> {
        let value = yaml::value(text).map_err(|error| invalid("mesh", error.to_string()))?;
        let map = match value {
            Value::Null => return Ok(self),
            Value::Object(map) => map,
            _ => return Err(invalid("mesh", "must be a map of settings")),
        };
        // A null is a key that is not set, as in protobuf's JSON.
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            self.set(key, value)?;
        }
        Ok(self)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), Invalid> {
        match key {
            "accessLogFile" => self.mesh.access_log_file = text(key, value)?,
            "accessLogEncoding" => {
                self.mesh.access_log_encoding = match text(key, value)?.as_str() {
                    "TEXT" => AccessLogEncoding::Text,
                    "JSON" => AccessLogEncoding::Json,
                    other => return Err(unknown(key, other, "TEXT or JSON")),
                };
            }
            "trustDomain" => self.mesh.trust_domain = nonempty(key, value)?,
            "rootNamespace" => self.mesh.root_namespace = nonempty(key, value)?,
            "outboundTrafficPolicy" => {
                let key = "outboundTrafficPolicy.mode";
                self.mesh.outbound_policy = match value["mode"].as_str() {
                    Some("ALLOW_ANY") => OutboundPolicy::AllowAny,
                    // Istio's zero value of the enum, which an empty block means.
                    Some("REGISTRY_ONLY") | None => OutboundPolicy::RegistryOnly,
                    Some(other) => return Err(unknown(key, other, "ALLOW_ANY or REGISTRY_ONLY")),
                };
            }
            "protocolDetectionTimeout" => {
                let timeout = duration(key, value)?;
                let millis = u32::try_from(timeout.as_millis());
                self.mesh.protocol_detection_timeout_ms =
                    millis.map_err(|_| invalid(key, "is more than 49 days"))?;
            }
            "defaultServiceExportTo" => {
                self.lower.default_service_export_to = list(key, value)?;
            }
            "defaultVirtualServiceExportTo" => {
                self.lower.default_virtual_service_export_to = list(key, value)?;
            }
            "defaultDestinationRuleExportTo" => {
                self.lower.default_destination_rule_export_to = list(key, value)?;
            }
            "defaultConfig" => {
                let map = value
                    .as_object()
                    .ok_or_else(|| invalid(key, "must be a map"))?;
                self.default_config.clone_from(map);
            }
            "enablePrometheusMerge" => {
                let flag = value.as_bool();
                self.is_prometheus_merged =
                    flag.ok_or_else(|| invalid(key, "must be true or false"))?;
            }
            other => self.unsupported.push(other.to_owned()),
        }
        Ok(())
    }
}

fn invalid(key: &str, why: impl Into<String>) -> Invalid {
    Invalid {
        key: key.to_owned(),
        why: why.into(),
    }
}

fn unknown(key: &str, value: &str, known: &str) -> Invalid {
    invalid(key, format!("{value:?} is unknown; it must be {known}"))
}

fn text(key: &str, value: &Value) -> Result<String, Invalid> {
    let text = value
        .as_str()
        .ok_or_else(|| invalid(key, "must be a text"))?;
    Ok(text.to_owned())
}

fn nonempty(key: &str, value: &Value) -> Result<String, Invalid> {
    let text = text(key, value)?;
    if text.is_empty() {
        return Err(invalid(key, "must not be empty"));
    }
    Ok(text)
}

fn list(key: &str, value: &Value) -> Result<Vec<String>, Invalid> {
    let entries = value
        .as_array()
        .ok_or_else(|| invalid(key, "must be a list"))?;
    entries.iter().map(|entry| text(key, entry)).collect()
}

/// Reads a duration as protobuf's JSON writes it, with the units that Istio takes beside.
pub(crate) fn duration(key: &str, value: &Value) -> Result<Duration, Invalid> {
    let text = text(key, value)?;
    let fail = || {
        invalid(
            key,
            format!("{text:?} is no duration such as 5s, 100ms or 1m"),
        )
    };
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(fail)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| fail())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(fail()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MeshConfig, Invalid> {
        MeshConfig::new("cluster.local", "istio-system").read(text)
    }

    #[test]
    fn what_a_mesh_says_replaces_the_defaults() {
        let config = read(
            "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\n\
             outboundTrafficPolicy: {mode: REGISTRY_ONLY}\nprotocolDetectionTimeout: 0.25s\n\
             defaultServiceExportTo: ['.']\ndefaultConfig: {concurrency: 2}\n\
             enablePrometheusMerge: false\nextensionProviders: []\n",
        )
        .expect("it is valid");
        assert_eq!(config.mesh.access_log_file, "/dev/stdout");
        assert_eq!(config.mesh.access_log_encoding, AccessLogEncoding::Json);
        assert_eq!(config.mesh.outbound_policy, OutboundPolicy::RegistryOnly);
        assert_eq!(config.mesh.protocol_detection_timeout_ms, 250);
        assert_eq!(config.lower.default_service_export_to, ["."]);
        assert_eq!(config.default_config["concurrency"], 2);
        assert!(!config.is_prometheus_merged);
        assert_eq!(config.unsupported, ["extensionProviders"]);
    }

    #[test]
    fn an_empty_text_is_the_defaults() {
        assert_eq!(
            read(""),
            Ok(MeshConfig::new("cluster.local", "istio-system"))
        );
    }

    #[test]
    fn an_error_names_the_key_and_what_it_may_be() {
        for (text, part) in [
            ("accessLogEncoding: XML", "TEXT or JSON"),
            (
                "outboundTrafficPolicy: {mode: SOME}",
                "outboundTrafficPolicy.mode",
            ),
            ("protocolDetectionTimeout: soon", "no duration"),
            ("trustDomain: ''", "empty"),
            ("- a", "map"),
        ] {
            let error = read(text).expect_err("it is wrong").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
