//! The application's probes, led through the proxy: the kubelet is not in the mesh, so once only
//! the mesh may call the application, its probes would fail. The proxy carries them out instead.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{PROXY, Work};

/// The probes of a container with the last part of the path that each gets.
const PROBES: [(&str, &str); 3] = [
    ("livenessProbe", "livez"),
    ("readinessProbe", "readyz"),
    ("startupProbe", "startupz"),
];

impl Work<'_> {
    /// Rewrites the probes of every container; answers the originals by their new path.
    pub(super) fn rewrite_probes(&mut self) -> BTreeMap<String, Value> {
        let mut originals = BTreeMap::new();
        if self.annotation("sidecar.istio.io/rewriteAppHTTPProbers") == Some("false") {
            return originals;
        }
        for list in ["containers", "initContainers"] {
            let containers = self.pod["spec"][list].as_array_mut();
            for container in containers.into_iter().flatten() {
                if container["name"] != PROXY {
                    rewrite(container, self.status_port, &mut originals);
                }
            }
        }
        originals
    }
}

fn rewrite(container: &mut Value, status_port: u16, originals: &mut BTreeMap<String, Value>) {
    let ports = container["ports"].as_array().cloned().unwrap_or_default();
    let Some(name) = container["name"].as_str().map(str::to_owned) else {
        return;
    };
    for (field, part) in PROBES {
        let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) else {
            continue;
        };
        let Some(original) = original(probe, &ports) else {
            continue;
        };
        let path = format!("/app-health/{name}/{part}");
        for action in ["httpGet", "tcpSocket", "grpc"] {
            probe.remove(action);
        }
        let action = json!({ "path": path, "port": status_port, "scheme": "HTTP" });
        probe.insert("httpGet".into(), action);
        originals.insert(path, original);
    }
}

/// A probe as the proxy reads it, with its port by number; nothing for those that the proxy cannot
/// carry out (`exec`, or a port whose name the container does not have).
fn original(probe: &Map<String, Value>, ports: &[Value]) -> Option<Value> {
    let mut original = ["httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .find_map(|action| {
            let mut settings = probe.get(action)?.clone();
            settings["port"] = number(&settings["port"], ports)?.into();
            Some(json!({ action: settings }))
        })?;
    if let Some(timeout) = probe.get("timeoutSeconds") {
        original["timeoutSeconds"] = timeout.clone();
    }
    Some(original)
}

fn number(port: &Value, ports: &[Value]) -> Option<u64> {
    if let Some(number) = port.as_u64() {
        return Some(number);
    }
    let name = port.as_str()?;
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let named = ports.iter().find(|entry| entry["name"] == name)?;
    named["containerPort"].as_u64()
}
