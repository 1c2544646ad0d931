//! What `lateen install` applies and `lateen up` runs: the mesh as Kubernetes objects, built in
//! this one place.
//!
//! Names, labels and ports are Istio's, so that what people know and what tools look for is there.
//! Certificates are not here: the control plane makes its own and fills in the webhooks' `caBundle`.

mod control;
mod gateway;
mod rbac;
mod webhooks;

use serde_json::{Value, json};

/// The version of this build, of the images it installs and of the proxies it speaks with.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The namespace of the mesh's own parts.
pub(crate) const ROOT_NAMESPACE: &str = "istio-system";

/// What may differ between two installations.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    /// Where images come from: `<hub>/lateen` and `<hub>/lateen-proxy`.
    pub(crate) hub: String,
    /// The images' tag.
    pub(crate) tag: String,
    /// The text of MeshConfig (YAML).
    pub(crate) mesh_config: String,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            hub: "docker.io/lateen".into(),
            tag: VERSION.into(),
            mesh_config: "accessLogFile: \"\"\ntrustDomain: cluster.local\n".into(),
        }
    }
}

impl Values {
    fn image(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.hub, self.tag)
    }
}

/// Every object of an installation, in the order in which they are to be applied.
pub(crate) fn all(values: &Values) -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": ROOT_NAMESPACE }
    })];
    objects.extend(lateen_api::crd::crds());
    objects.extend(rbac::objects());
    objects.extend(control::objects(values));
    objects.extend(gateway::objects(values));
    objects.extend(webhooks::objects());
    for object in &mut objects {
        object["metadata"]["labels"]["app.kubernetes.io/part-of"] = "lateen".into();
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "lateen".into();
    }
    objects
}

/// `kind/namespace/name` of an object, for messages.
pub(crate) fn name_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{}", text(&metadata["name"])),
        None => format!("{kind} {}", text(&metadata["name"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_a_kind_a_name_and_appears_once() {
        let objects = all(&Values::default());
        let mut names: Vec<_> = objects.iter().map(name_of).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), objects.len());
        assert!(names.contains(&"Deployment istio-system/istiod".to_owned()));
        assert!(names.contains(&"Service istio-system/istio-ingressgateway".to_owned()));
        assert!(
            objects
                .iter()
                .all(|object| object["apiVersion"].is_string())
        );
    }

    #[test]
    fn services_select_the_pods_of_their_deployments() {
        let objects = all(&Values::default());
        let find = |kind: &str, name: &str| {
            let wanted = format!("{kind} {ROOT_NAMESPACE}/{name}");
            objects
                .iter()
                .find(|object| name_of(object) == wanted)
                .expect("it is installed")
        };
        for name in ["istiod", "istio-ingressgateway"] {
            let labels = &find("Deployment", name)["spec"]["template"]["metadata"]["labels"];
            let selector = find("Service", name)["spec"]["selector"]
                .as_object()
                .unwrap();
            for (key, value) in selector {
                assert_eq!(&labels[key], value, "{name}: {key}");
            }
        }
    }

    #[test]
    fn the_gateway_knows_the_control_plane_and_may_have_secrets() {
        let objects = all(&Values::default());
        let find = |name: &str| {
            let mut all = objects.iter();
            all.find(|object| name_of(object) == name)
                .expect("it is installed")
        };
        let pod = &find("Deployment istio-system/istio-ingressgateway")["spec"]["template"]["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        let volumes = pod["volumes"].as_array().unwrap();
        for name in ["istio-token", "istiod-ca-cert"] {
            assert!(mounts.iter().any(|mount| mount["name"] == name), "{name}");
            assert!(
                volumes.iter().any(|volume| volume["name"] == name),
                "{name}"
            );
        }
        let ports = find("Service istio-system/istiod")["spec"]["ports"].as_array();
        let mut ports = ports.unwrap().iter();
        assert!(ports.any(|port| port["port"] == 15012 && port["name"] == "https-dns"));
        let binding = find("RoleBinding istio-system/istio-ingressgateway-sds");
        assert_eq!(
            binding["subjects"][0]["name"], pod["serviceAccountName"],
            "the Role is bound to whom the gateway runs as"
        );
        let role = find("Role istio-system/istio-ingressgateway-sds");
        assert_eq!(role["rules"][0]["resources"][0], "secrets");
    }
}
