//! The container of the proxy and what it mounts.

use std::collections::BTreeMap;

use lateen_api::mesh_config::ProxyConfig;
use lateen_api::workload;
use serde_json::{Map, Value, json};

use super::{Env, PROXY, Refused, STATUS_PORT, Work, refuse};

/// The user and group of the proxy, whose traffic the capture leaves alone on a cluster.
const PROXY_ID: u32 = 1337;

/// Resources by the annotation that sets each.
const RESOURCES: [(&str, &str, &str); 4] = [
    ("sidecar.istio.io/proxyCPU", "requests", "cpu"),
    ("sidecar.istio.io/proxyMemory", "requests", "memory"),
    ("sidecar.istio.io/proxyCPULimit", "limits", "cpu"),
    ("sidecar.istio.io/proxyMemoryLimit", "limits", "memory"),
];

impl Work<'_> {
    pub(super) fn image(&self) -> &str {
        let own = self.annotation("sidecar.istio.io/proxyImage");
        own.filter(|image| !image.is_empty())
            .unwrap_or(&self.template.image)
    }

    /// Resources: as in Istio, one annotation replaces all defaults. These are what an idle proxy
    /// takes; there is no limit, since a throttled proxy slows down its application.
    pub(super) fn resources(&self) -> Result<Value, Refused> {
        let mut resources = Map::new();
        for (annotation, list, resource) in RESOURCES {
            let Some(value) = self.annotation(annotation) else {
                continue;
            };
            if !is_quantity(value) {
                let why = format!("{value:?} is not a quantity such as 100m or 128Mi");
                return Err(refuse(&format!("annotation {annotation}"), why));
            }
            let list = resources.entry(list).or_insert_with(|| json!({}));
            list[resource] = value.into();
        }
        if resources.is_empty() {
            return Ok(json!({ "requests": { "cpu": "10m", "memory": "16Mi" } }));
        }
        Ok(resources.into())
    }

    pub(super) fn proxy_container(
        &mut self,
        config: &ProxyConfig,
        probers: &BTreeMap<String, Value>,
        scrape: Option<Value>,
    ) -> Result<Value, Refused> {
        let environment = self.environment(config, probers, scrape);
        let container = json!({
            "name": PROXY,
            "image": self.image(),
            "imagePullPolicy": "IfNotPresent",
            // Makes the init container a native sidecar.
            "restartPolicy": "Always",
            "args": self.arguments(),
            "env": environment,
            "ports": [{ "name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP" }],
            "startupProbe": {
                "httpGet": { "path": "/healthz/ready", "port": 15021, "scheme": "HTTP" },
                "failureThreshold": 600,
                "periodSeconds": 1,
                "timeoutSeconds": 3,
            },
            "readinessProbe": self.readiness()?,
            "lifecycle": { "preStop": { "exec": { "command": ["lateen-proxy", "drain"] } } },
            "resources": self.resources()?,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                // The mark that exempts the proxy's traffic where user ids cannot be told apart.
                "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] },
                "privileged": false,
                "readOnlyRootFilesystem": true,
                "runAsGroup": PROXY_ID,
                "runAsNonRoot": true,
                "runAsUser": PROXY_ID,
            },
            "volumeMounts": [
                { "name": "istio-envoy", "mountPath": "/etc/istio/proxy" },
                { "name": "istio-data", "mountPath": "/var/lib/istio/data" },
                { "name": "istio-podinfo", "mountPath": "/etc/istio/pod" },
                { "name": "istio-token", "mountPath": "/var/run/secrets/tokens" },
                { "name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio" },
            ],
        });
        Ok(match self.own_container() {
            Some(own) => overlay(container, own),
            None => container,
        })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["sidecar".to_owned()];
        let domain = &self.template.cluster_domain;
        if domain != "cluster.local" {
            arguments.push(format!("--domain={}.svc.{domain}", self.namespace));
        }
        if self.status_port != STATUS_PORT {
            arguments.push(format!("--status-port={}", self.status_port));
        }
        arguments
    }

    /// The container that the pod's author wrote to change ours.
    fn own_container(&self) -> Option<&Value> {
        let spec = &self.original["spec"];
        let lists = ["containers", "initContainers"].map(|list| spec[list].as_array());
        let mut all = lists.into_iter().flatten().flatten();
        all.find(|container| container["name"] == PROXY)
    }

    fn readiness(&self) -> Result<Value, Refused> {
        let number = |name: &str, default: u32| {
            let key = format!("readiness.status.sidecar.istio.io/{name}");
            let Some(text) = self.annotation(&key) else {
                return Ok(default);
            };
            let parsed = text.parse::<u32>();
            let why = || {
                refuse(
                    &format!("annotation {key}"),
                    format!("{text:?} is not a number"),
                )
            };
            parsed.map_err(|_| why())
        };
        let mut probe = json!({
            "httpGet": { "path": "/healthz/ready", "port": 15021, "scheme": "HTTP" },
            "failureThreshold": number("failureThreshold", 4)?,
            "periodSeconds": number("periodSeconds", 15)?,
            "timeoutSeconds": 3,
        });
        let delay = number("initialDelaySeconds", 0)?;
        if delay > 0 {
            probe["initialDelaySeconds"] = delay.into();
        }
        Ok(probe)
    }

    fn environment(
        &self,
        config: &ProxyConfig,
        probers: &BTreeMap<String, Value>,
        scrape: Option<Value>,
    ) -> Vec<Value> {
        let identity = self.identity();
        let mut env = Env::default();
        env.field("POD_NAME", "metadata.name");
        env.field("POD_NAMESPACE", "metadata.namespace");
        env.field("INSTANCE_IP", "status.podIP");
        env.field("HOST_IP", "status.hostIP");
        env.field("SERVICE_ACCOUNT", "spec.serviceAccountName");
        env.set(
            "PROXY_CONFIG",
            Value::from(config.settings.clone()).to_string(),
        );
        env.set("TRUST_DOMAIN", &self.template.trust_domain);
        env.set("ISTIO_META_CLUSTER_ID", &self.template.cluster);
        env.set("ISTIO_META_MESH_ID", &self.template.trust_domain);
        env.field("ISTIO_META_NODE_NAME", "spec.nodeName");
        env.set("ISTIO_META_INTERCEPTION_MODE", "REDIRECT");
        let workload = workload::name(&identity);
        env.set("ISTIO_META_WORKLOAD_NAME", workload.as_str());
        env.set("ISTIO_META_OWNER", self.owner(&workload));
        env.set("ISTIO_META_APP_CONTAINERS", self.application_containers());
        env.set("ISTIO_META_POD_PORTS", self.application_ports().to_string());
        if !probers.is_empty() {
            env.set("ISTIO_KUBE_APP_PROBERS", json!(probers).to_string());
        }
        if let Some(scrape) = scrape {
            env.set("ISTIO_PROMETHEUS_ANNOTATIONS", scrape.to_string());
        }
        if let Some(level) = self.annotation("sidecar.istio.io/logLevel") {
            env.set("LATEEN_LOG", log_level(level));
        }
        env.extend(&config.environment);
        env.0
    }

    /// Istio's reference to the workload above the pod.
    fn owner(&self, workload: &str) -> String {
        let owners = self.original["metadata"]["ownerReferences"].as_array();
        let controller = owners
            .into_iter()
            .flatten()
            .find(|owner| owner["controller"] == true);
        let (api, kind) = match controller {
            None => ("api/v1".to_owned(), "pods".to_owned()),
            Some(owner) if owner["kind"] == "ReplicaSet" => {
                ("apis/apps/v1".to_owned(), "deployments".to_owned())
            }
            Some(owner) => {
                let kind = owner["kind"].as_str().unwrap_or_default().to_lowercase();
                let api = match owner["apiVersion"].as_str().unwrap_or("v1") {
                    core if !core.contains('/') => format!("api/{core}"),
                    group => format!("apis/{group}"),
                };
                (api, format!("{kind}s"))
            }
        };
        let namespace = self.namespace;
        format!("kubernetes://{api}/namespaces/{namespace}/{kind}/{workload}")
    }

    fn containers(&self) -> impl Iterator<Item = &Value> {
        let containers = self.original["spec"]["containers"].as_array();
        containers
            .into_iter()
            .flatten()
            .filter(|container| container["name"] != PROXY)
    }

    fn application_containers(&self) -> String {
        let names: Vec<&str> = self
            .containers()
            .filter_map(|c| c["name"].as_str())
            .collect();
        names.join(",")
    }

    fn application_ports(&self) -> Value {
        let ports = self
            .containers()
            .filter_map(|container| container["ports"].as_array());
        ports.flatten().cloned().collect::<Vec<_>>().into()
    }
}

/// Answers whether a text is a number with one of Kubernetes' suffixes.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 15] = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi",
    ];
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    number.parse::<f64>().is_ok() && SUFFIXES.contains(&suffix)
}

/// Envoy's names of levels as ours.
fn log_level(level: &str) -> &str {
    match level {
        "warning" => "warn",
        "critical" => "error",
        other => other,
    }
}

/// What the proxy mounts.
pub(super) fn volumes() -> Vec<Value> {
    let field =
        |path: &str, field: &str| json!({ "path": path, "fieldRef": { "fieldPath": field } });
    let token = json!({
        "path": "istio-token",
        "audience": "istio-ca",
        "expirationSeconds": 43200,
    });
    vec![
        json!({ "name": "istio-envoy", "emptyDir": { "medium": "Memory" } }),
        // The last configuration, on disk: it outlives a restart of the container.
        json!({ "name": "istio-data", "emptyDir": {} }),
        json!({ "name": "istio-podinfo", "downwardAPI": { "items": [
            field("labels", "metadata.labels"),
            field("annotations", "metadata.annotations"),
        ] } }),
        json!({ "name": "istio-token", "projected": { "sources": [{ "serviceAccountToken": token }] } }),
        // What the control plane's certificate is checked with.
        json!({ "name": "istiod-ca-cert", "configMap": { "name": crate::ROOT_CONFIG_MAP } }),
    ]
}

/// Lays the author's container over ours: fields replace, maps merge, lists merge by the key that
/// Kubernetes uses for them. The image `auto` means ours.
fn overlay(ours: Value, own: &Value) -> Value {
    let (Value::Object(mut ours), Some(own)) = (ours, own.as_object()) else {
        return own.clone();
    };
    for (key, value) in own {
        let merged = match (ours.remove(key), value) {
            (Some(image), Value::String(text)) if key == "image" && text == "auto" => image,
            (Some(Value::Array(base)), Value::Array(over)) => match list_key(key) {
                Some(id) => merge_list(base, over, id).into(),
                None => value.clone(),
            },
            (Some(base @ Value::Object(_)), Value::Object(_)) => overlay(base, value),
            (_, value) => value.clone(),
        };
        ours.insert(key.clone(), merged);
    }
    ours.into()
}

fn list_key(field: &str) -> Option<&'static str> {
    match field {
        "env" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        _ => None,
    }
}

fn merge_list(mut base: Vec<Value>, over: &[Value], key: &str) -> Vec<Value> {
    for item in over {
        match base.iter_mut().find(|other| other[key] == item[key]) {
            Some(same) => *same = item.clone(),
            None => base.push(item.clone()),
        }
    }
    base
}
