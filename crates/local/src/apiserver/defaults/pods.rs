//! Defaults of pods and of templates of pods.

use serde_json::{Value, json};

use super::{Fields, field, list};
use crate::apiserver::object::default;

/// File modes 0644, as JSON has them.
const MODE: i32 = 420;

/// A pod: what a template has, and what only a real pod needs.
pub(super) fn pod(root: &mut Fields) {
    let spec = field(root, "spec");
    for key in ["containers", "initContainers"] {
        for container in list(spec, key) {
            requests_from_limits(container);
        }
    }
    default(spec, "enableServiceLinks", true);
    pod_spec(spec);
}

/// The template of a workload.
pub(super) fn template(parent: &mut Fields) {
    pod_spec(field(field(parent, "template"), "spec"));
}

fn pod_spec(spec: &mut Fields) {
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
    // The old name of the field is kept in step with the new one.
    if let Some(account) = spec
        .get("serviceAccountName")
        .or(spec.get("serviceAccount"))
        .cloned()
    {
        spec.insert("serviceAccountName".into(), account.clone());
        spec.insert("serviceAccount".into(), account);
    }
    let on_host = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for key in ["containers", "initContainers", "ephemeralContainers"] {
        for container in list(spec, key) {
            container_defaults(container, on_host);
        }
    }
    for volume in list(spec, "volumes") {
        volume_defaults(volume);
    }
}

fn container_defaults(container: &mut Fields, on_host: bool) {
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    default(container, "imagePullPolicy", policy);
    for port in list(container, "ports") {
        default(port, "protocol", "TCP");
        if on_host && let Some(number) = port.get("containerPort").cloned() {
            default(port, "hostPort", number);
        }
    }
    for variable in list(container, "env") {
        if let Some(reference) = variable
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("fieldRef"))
            .and_then(Value::as_object_mut)
        {
            default(reference, "apiVersion", "v1");
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(key).and_then(Value::as_object_mut) {
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            handler(probe);
        }
    }
    for key in ["postStart", "preStop"] {
        if let Some(hook) = container
            .get_mut("lifecycle")
            .and_then(|lifecycle| lifecycle.get_mut(key))
            .and_then(Value::as_object_mut)
        {
            handler(hook);
        }
    }
}

fn handler(owner: &mut Fields) {
    if let Some(get) = owner.get_mut("httpGet").and_then(Value::as_object_mut) {
        default(get, "path", "/");
        default(get, "scheme", "HTTP");
    }
    if let Some(grpc) = owner.get_mut("grpc").and_then(Value::as_object_mut) {
        default(grpc, "service", "");
    }
}

/// An image without a tag is the latest one; one named by digest never is.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn requests_from_limits(container: &mut Fields) {
    let Some(resources) = container
        .get_mut("resources")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
        return;
    };
    let requests = field(resources, "requests");
    for (name, limit) in limits {
        default(requests, &name, limit);
    }
}

fn volume_defaults(volume: &mut Fields) {
    if volume.len() == 1 && volume.contains_key("name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(kind).and_then(Value::as_object_mut) {
            default(source, "defaultMode", MODE);
        }
    }
    if let Some(source) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        default(source, "type", "");
    }
    if let Some(source) = volume.get_mut("downwardAPI").and_then(Value::as_object_mut) {
        downward_items(source);
    }
    if let Some(projected) = volume.get_mut("projected").and_then(Value::as_object_mut) {
        for source in list(projected, "sources") {
            if let Some(token) = source
                .get_mut("serviceAccountToken")
                .and_then(Value::as_object_mut)
            {
                default(token, "expirationSeconds", 3600);
            }
            if let Some(source) = source.get_mut("downwardAPI").and_then(Value::as_object_mut) {
                downward_items(source);
            }
        }
    }
}

fn downward_items(source: &mut Fields) {
    for item in list(source, "items") {
        if let Some(reference) = item.get_mut("fieldRef").and_then(Value::as_object_mut) {
            default(reference, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_tag_are_always_pulled() {
        for image in ["a", "a:latest", "host:5000/a", "host:5000/b/a:latest"] {
            assert!(is_latest(image), "{image}");
        }
        for image in ["a:1", "host:5000/a:1", "a@sha256:00"] {
            assert!(!is_latest(image), "{image}");
        }
    }

    #[test]
    fn a_pod_gets_what_kubernetes_gives_it() {
        let mut pod_value = json!({"spec": {"containers": [{"name": "a", "image": "a:1",
            "ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"cpu": "1"}}}], "volumes": [{"name": "v"}]}});
        pod(crate::apiserver::object::map(&mut pod_value));
        let spec = &pod_value["spec"];
        assert_eq!(spec["dnsPolicy"], "ClusterFirst");
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        let container = &spec["containers"][0];
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/");
        assert_eq!(container["readinessProbe"]["failureThreshold"], 3);
        assert_eq!(container["resources"]["requests"], json!({"cpu": "1"}));
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    }
}
