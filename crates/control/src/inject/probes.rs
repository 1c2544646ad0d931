//! Probes of the application: rewritten so that they come through the proxy's status port.
//!
//! The kubelet's probes come from outside of the pod. The proxy asks the application from inside,
//! where nothing is captured, so probes work whatever the mesh demands of its peers.

use serde_json::{Map, Value, json};

/// The probes, with the last part of the path that Istio gives them.
const PROBES: [(&str, &str); 3] = [
    ("livenessProbe", "livez"),
    ("readinessProbe", "readyz"),
    ("startupProbe", "startupz"),
];

/// Rewrites the probes of a pod's containers and returns what the proxy has to ask instead, by
/// path: the value of `ISTIO_KUBE_APP_PROBERS`.
pub(super) fn rewrite(spec: &mut Value, status_port: u16) -> Map<String, Value> {
    let mut probers = Map::new();
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            let ports = container["ports"].clone();
            for (field, last) in PROBES {
                let Some(probe) = container.get_mut(field).filter(|probe| probe.is_object()) else {
                    continue;
                };
                let path = format!("/app-health/{name}/{last}");
                if let Some(prober) = prober(probe, &ports) {
                    redirect(probe, &path, status_port);
                    probers.insert(path, prober);
                }
            }
        }
    }
    probers
}

/// What the proxy has to ask for a probe; nothing for those that run inside the container anyhow.
fn prober(probe: &Value, ports: &Value) -> Option<Value> {
    let mut prober = Map::new();
    if let Some(get) = probe.get("httpGet") {
        let mut get = get.clone();
        get["port"] = port(&get["port"], ports)?;
        prober.insert("httpGet".into(), get);
    } else if let Some(socket) = probe.get("tcpSocket") {
        let mut socket = socket.clone();
        socket["port"] = port(&socket["port"], ports)?;
        prober.insert("tcpSocket".into(), socket);
    } else {
        prober.insert("grpc".into(), probe.get("grpc")?.clone());
    }
    if let Some(timeout) = probe.get("timeoutSeconds") {
        prober.insert("timeoutSeconds".into(), timeout.clone());
    }
    Some(Value::Object(prober))
}

/// The number of a port that may be given by the name of a container's port. A name that no port
/// has is left to the kubelet to complain about.
fn port(port: &Value, ports: &Value) -> Option<Value> {
    let Some(name) = port.as_str() else {
        return Some(port.clone());
    };
    if let Ok(number) = name.parse::<u16>() {
        return Some(json!(number));
    }
    let found = ports.as_array()?.iter().find(|port| port["name"] == name)?;
    Some(found["containerPort"].clone())
}

fn redirect(probe: &mut Value, path: &str, status_port: u16) {
    let Some(fields) = probe.as_object_mut() else {
        return;
    };
    for handler in ["httpGet", "tcpSocket", "grpc"] {
        fields.remove(handler);
    }
    fields.insert(
        "httpGet".into(),
        json!({ "path": path, "port": status_port }),
    );
}
