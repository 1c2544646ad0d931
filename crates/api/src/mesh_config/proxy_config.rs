//! Settings of proxies: `defaultConfig` of the mesh, and the annotation of pods.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Reader, fields};
use crate::problem::{Path, Report};

/// Settings that a proxy gets when its pod is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Where the control plane is; the injector's default if unset.
    pub discovery_address: Option<String>,
    /// Number of worker threads: 0 uses every core; by the CPU limit if unset.
    pub concurrency: Option<u32>,
    /// How long old connections live after a change of listeners.
    pub drain_duration: Duration,
    /// How long the proxy keeps accepting after it was asked to end.
    pub termination_drain_duration: Duration,
    /// Whether the application starts only when the proxy is ready.
    pub hold_application_until_proxy_starts: bool,
    /// How traffic gets into the proxy.
    pub interception_mode: InterceptionMode,
    /// The type of the proxy's image; empty for the default.
    pub image_type: String,
    /// Identifies the mesh; the trust domain if unset.
    pub mesh_id: Option<String>,
    /// Environment of the proxy.
    pub proxy_metadata: BTreeMap<String, String>,
}

/// How traffic gets into the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InterceptionMode {
    /// By redirection.
    #[default]
    Redirect,
    /// By transparent proxying.
    Tproxy,
    /// Not at all.
    None,
}

/// Reads settings and notes what is wrong with them.
pub(super) fn read(map: &Map<String, Value>, path: Path<'_>, report: &mut Report) -> ProxyConfig {
    let mut reader = Reader { map, path, report };
    reader.known(&fields::PROXY);
    let default = ProxyConfig::default();
    let modes = ["REDIRECT", "TPROXY", "NONE"];
    let interception_mode = match reader.choice("interceptionMode", &modes).as_deref() {
        Some("TPROXY") => InterceptionMode::Tproxy,
        Some("NONE") => InterceptionMode::None,
        _ => InterceptionMode::Redirect,
    };
    let image = reader.object("image").unwrap_or_default();
    let drain = reader.duration("terminationDrainDuration");
    ProxyConfig {
        discovery_address: reader
            .text("discoveryAddress")
            .filter(|text| !text.is_empty()),
        concurrency: reader.number("concurrency"),
        drain_duration: reader
            .duration("drainDuration")
            .unwrap_or(default.drain_duration),
        termination_drain_duration: drain.unwrap_or(default.termination_drain_duration),
        hold_application_until_proxy_starts: reader
            .boolean("holdApplicationUntilProxyStarts")
            .unwrap_or(false),
        interception_mode,
        image_type: image
            .get("imageType")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned(),
        mesh_id: reader.text("meshId").filter(|text| !text.is_empty()),
        proxy_metadata: metadata(&mut reader),
    }
}

/// Environment variables are text, but people write `true` and `1` without quotes.
fn metadata(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let map = reader.object("proxyMetadata").unwrap_or_default();
    let mut metadata = BTreeMap::new();
    for (name, value) in map {
        let text = match value {
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => {
                let path = reader.path.field("proxyMetadata");
                reader.report.error(&path.key(&name), "must be a string");
                continue;
            }
        };
        metadata.insert(name, text);
    }
    metadata
}

/// Puts the fields of `own` over those of `base`.
pub(super) fn merge(base: &Map<String, Value>, own: Map<String, Value>) -> Map<String, Value> {
    let mut merged = base.clone();
    for (name, value) in own {
        match (merged.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(own))
                if matches!(name.as_str(), "proxyMetadata" | "proxyHeaders") =>
            {
                inner.extend(own);
            }
            (_, value) => {
                merged.insert(name, value);
            }
        }
    }
    merged
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            discovery_address: None,
            concurrency: None,
            drain_duration: Duration::from_secs(45),
            termination_drain_duration: Duration::from_secs(5),
            hold_application_until_proxy_starts: false,
            interception_mode: InterceptionMode::Redirect,
            image_type: String::new(),
            mesh_id: None,
            proxy_metadata: BTreeMap::new(),
        }
    }
}
