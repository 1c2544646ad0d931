//! Settings of proxies: `defaultConfig` of the mesh, and the annotation of pods.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields;
use super::reader::Reader;
use crate::problem::{Path, Problem, Report};
use crate::yaml;

/// The annotation by which a pod overrides settings of its proxy.
pub const PROXY_CONFIG: &str = "proxy.istio.io/config";

/// More threads than this are a mistake.
const MAX_CONCURRENCY: u32 = 1024;

/// Settings that a proxy gets when its pod is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyConfig {
    /// As they are written, for the proxy, which reads them when it starts.
    pub settings: Map<String, Value>,
    /// The environment of the proxy (`proxyMetadata`).
    pub environment: BTreeMap<String, String>,
}

/// Takes settings and notes what is wrong with them.
pub(super) fn read(
    mut settings: Map<String, Value>,
    path: Path<'_>,
    report: &mut Report,
) -> ProxyConfig {
    let mut reader = Reader {
        map: &settings,
        path,
        report,
    };
    reader.known(&fields::PROXY);
    reader.text("discoveryAddress");
    reader.duration("drainDuration");
    reader.duration("terminationDrainDuration");
    reader.boolean("holdApplicationUntilProxyStarts");
    if reader
        .number("concurrency")
        .is_some_and(|n| n > MAX_CONCURRENCY)
    {
        let path = path.field("concurrency");
        reader.report.error(
            &path,
            format!("is more than {MAX_CONCURRENCY} threads; 0 is one for every core"),
        );
    }
    let environment = environment(&mut reader);
    settings.remove("proxyMetadata");
    settings.retain(|_, value| !value.is_null());
    ProxyConfig {
        settings,
        environment,
    }
}

/// Environment variables are text, but people write `true` and `1` without quotes.
fn environment(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let map = reader.object("proxyMetadata").unwrap_or_default();
    let mut environment = BTreeMap::new();
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
        environment.insert(name, text);
    }
    environment
}

// === impl ProxyConfig ===

impl ProxyConfig {
    /// The settings of a proxy whose pod carries `annotation` ([`PROXY_CONFIG`]): each field that
    /// it sets replaces the mesh's, `proxyMetadata` and `proxyHeaders` are merged by key. Beside
    /// them are its fields that are unknown or not in effect.
    ///
    /// # Errors
    /// Everything that is wrong with the annotation.
    pub fn merged(&self, annotation: Option<&str>) -> Result<(Self, Vec<Problem>), Report> {
        let Some(text) = annotation else {
            return Ok((self.clone(), Vec::new()));
        };
        let mut report = Report::default();
        let path = Path::Root(PROXY_CONFIG);
        let own = match yaml::value(text) {
            Ok(Value::Object(own)) => own,
            Ok(Value::Null) => Map::new(),
            Ok(_) => {
                report.error(&path, "must be a map of settings, such as `concurrency: 2`");
                return Err(report);
            }
            Err(error) => {
                report.error(&path, error.to_string());
                return Err(report);
            }
        };
        // The annotation alone is judged: what the mesh says was judged when it was read.
        let own = read(own, path, &mut report);
        if !report.is_valid() {
            return Err(report);
        }
        let mut merged = self.clone();
        merged.environment.extend(own.environment);
        for (name, value) in own.settings {
            match (merged.settings.get_mut(&name), value) {
                (Some(Value::Object(inner)), Value::Object(own)) if name == "proxyHeaders" => {
                    inner.extend(own);
                }
                (_, value) => {
                    merged.settings.insert(name, value);
                }
            }
        }
        Ok((merged, report.warnings))
    }
}
