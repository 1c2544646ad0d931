//! ProxyConfig of one pod: MeshConfig's `defaultConfig` with the pod's annotation over it.

use std::collections::BTreeMap;

use lateen_api::yaml;
use serde_json::{Map, Value, json};

use super::{Refused, Work, refuse};

/// The annotation of a pod.
const KEY: &str = "proxy.istio.io/config";

/// Settings as merged, and the environment that they ask for.
pub(super) struct ProxyConfig {
    /// For the proxy, as JSON.
    pub(super) settings: Map<String, Value>,
    /// `proxyMetadata`.
    pub(super) environment: BTreeMap<String, String>,
}

/// Merges per field, and `proxyMetadata` per key.
pub(super) fn merged(work: &Work<'_>) -> Result<ProxyConfig, Refused> {
    let at = format!("annotation {KEY}");
    let mut settings = work.template.default_config.clone();
    let own = match work.annotation(KEY) {
        None => Map::new(),
        Some(text) => match yaml::value(text) {
            Ok(Value::Object(map)) => map,
            Ok(Value::Null) => Map::new(),
            Ok(_) => {
                return Err(refuse(
                    &at,
                    "must be a map of settings, such as `concurrency: 2`",
                ));
            }
            Err(error) => return Err(refuse(&at, error.to_string())),
        },
    };
    for (key, value) in own {
        match (settings.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(over)) if key == "proxyMetadata" => {
                base.extend(over);
            }
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
    check(&at, &settings)?;
    let metadata = settings.remove("proxyMetadata").unwrap_or(Value::Null);
    let pairs = metadata.as_object().into_iter().flatten();
    let environment = pairs
        .map(|(key, value)| (key.clone(), plain(value)))
        .collect();
    settings
        .entry("discoveryAddress")
        .or_insert_with(|| json!(work.template.discovery_address));
    Ok(ProxyConfig {
        settings,
        environment,
    })
}

/// Checks what would keep the proxy from starting.
fn check(at: &str, settings: &Map<String, Value>) -> Result<(), Refused> {
    let fail = |field: &str, why: &str| Err(refuse(&format!("{at}: {field}"), why));
    match settings.get("concurrency") {
        None | Some(Value::Null) => {}
        Some(value) if value.as_u64().is_some_and(|n| n <= 1024) => {}
        Some(_) => {
            return fail(
                "concurrency",
                "must be a number of threads, 0 for every core",
            );
        }
    }
    for field in ["drainDuration", "terminationDrainDuration"] {
        if let Some(value) = settings.get(field)
            && let Err(error) = crate::mesh_config::duration(field, value)
        {
            return fail(field, &error.why);
        }
    }
    for field in ["discoveryAddress"] {
        if settings.get(field).is_some_and(|value| !value.is_string()) {
            return fail(
                field,
                "must be a text such as istiod.istio-system.svc:15010",
            );
        }
    }
    match settings.get("proxyMetadata") {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => fail("proxyMetadata", "must be a map of texts"),
    }
}

/// A value as an environment variable holds it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
