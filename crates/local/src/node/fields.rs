//! What a pod is told about itself: the downward API.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity::Milli;

/// What is known of a pod beyond its object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// The node's address.
    pub(crate) node_address: Ipv4Addr,
    /// What the node offers, for limits that are not set.
    pub(crate) allocatable: &'a BTreeMap<String, Quantity>,
}

// === impl Facts ===

impl Facts<'_> {
    /// The value of a field of the pod.
    ///
    /// # Errors
    /// For the user: which field is not known.
    pub(crate) fn field(&self, selector: &ObjectFieldSelector) -> Result<String, String> {
        let path = selector.field_path.as_str();
        let metadata = &self.pod.metadata;
        let spec = self.pod.spec.as_ref();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok(match path {
            "metadata.name" => text(&metadata.name),
            "metadata.namespace" => text(&metadata.namespace),
            "metadata.uid" => text(&metadata.uid),
            "metadata.labels" => lines(metadata.labels.as_ref()),
            "metadata.annotations" => lines(metadata.annotations.as_ref()),
            "spec.nodeName" => spec
                .and_then(|spec| spec.node_name.clone())
                .unwrap_or_default(),
            "spec.serviceAccountName" => spec
                .and_then(|spec| spec.service_account_name.clone())
                .unwrap_or_default(),
            "status.hostIP" | "status.hostIPs" => self.node_address.to_string(),
            "status.podIP" | "status.podIPs" => self.address.to_string(),
            _ => {
                let (map, key) =
                    keyed(path).ok_or_else(|| format!("field {path:?} of a pod is not known"))?;
                let map = match map {
                    "metadata.labels" => metadata.labels.as_ref(),
                    "metadata.annotations" => metadata.annotations.as_ref(),
                    _ => return Err(format!("field {path:?} of a pod is not known")),
                };
                map.and_then(|map| map.get(key))
                    .cloned()
                    .unwrap_or_default()
            }
        })
    }

    /// A container's limit or request.
    ///
    /// # Errors
    /// For the user: which container or resource is not known.
    pub(crate) fn resource(
        &self,
        selector: &ResourceFieldSelector,
        own: Option<&Container>,
    ) -> Result<String, String> {
        let container = match &selector.container_name {
            Some(name) => self
                .container(name)
                .ok_or_else(|| format!("no container {name:?}"))?,
            None => own.ok_or("containerName must be set")?,
        };
        let unknown = || format!("resource {:?} is not known", selector.resource);
        let (list, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") {
            return Err(unknown());
        }
        let resources = container.resources.as_ref();
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        let found = match list {
            "limits" => limits
                .and_then(|limits| limits.get(name))
                .or_else(|| self.allocatable.get(name)),
            "requests" => requests.and_then(|requests| requests.get(name)),
            _ => return Err(unknown()),
        };
        let read = |quantity: &Quantity| {
            Milli::parse(&quantity.0).ok_or_else(|| format!("quantity {:?} is not one", quantity.0))
        };
        let value = found.map_or(Ok(Milli(0)), read)?;
        let divisor = selector.divisor.as_ref().map_or(Ok(Milli(1000)), read)?;
        // A divisor of zero is one that is not set.
        let divisor = if divisor.0 == 0 { Milli(1000) } else { divisor };
        Ok(value.in_units_of(divisor).to_string())
    }

    fn container(&self, name: &str) -> Option<&Container> {
        let spec = self.pod.spec.as_ref()?;
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .find(|container| container.name == name)
    }
}

/// Labels or annotations as a file: one per line, the value quoted.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        let _ = writeln!(text, "{key}={value:?}");
    }
    text.pop();
    text
}

/// `metadata.labels['app']` as map and key.
fn keyed(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "u",
                "labels": { "app": "web", "version": "v1" },
                "annotations": { "note": "two\nlines \"quoted\"" }
            },
            "spec": { "serviceAccountName": "sa", "containers": [
                { "name": "app", "resources": {
                    "limits": { "cpu": "250m" }, "requests": { "memory": "64Mi" } } }
            ] }
        }))
        .unwrap()
    }

    fn ask(path: &str) -> Result<String, String> {
        let pod = pod();
        let facts = facts(&pod);
        let selector = ObjectFieldSelector {
            api_version: None,
            field_path: path.into(),
        };
        facts.field(&selector)
    }

    fn facts(pod: &Pod) -> Facts<'_> {
        static NONE: BTreeMap<String, Quantity> = BTreeMap::new();
        Facts {
            pod,
            address: Ipv4Addr::new(10, 244, 0, 2),
            node_address: Ipv4Addr::new(10, 244, 0, 1),
            allocatable: &NONE,
        }
    }

    #[test]
    fn fields_are_what_the_pod_says() {
        assert_eq!(ask("metadata.name").unwrap(), "web-1");
        assert_eq!(ask("metadata.labels['app']").unwrap(), "web");
        assert_eq!(ask("metadata.labels['none']").unwrap(), "");
        assert_eq!(ask("status.podIP").unwrap(), "10.244.0.2");
        assert_eq!(
            ask("metadata.labels").unwrap(),
            "app=\"web\"\nversion=\"v1\""
        );
        let note = ask("metadata.annotations").unwrap();
        assert_eq!(note, "note=\"two\\nlines \\\"quoted\\\"\"");
        assert!(
            ask("spec.hostNetwork")
                .unwrap_err()
                .contains("spec.hostNetwork")
        );
    }

    #[test]
    fn resources_are_counted_in_divisors() {
        let pod = pod();
        let ask = |resource: &str, divisor: Option<&str>| {
            let selector = ResourceFieldSelector {
                container_name: Some("app".into()),
                divisor: divisor.map(|text| Quantity(text.into())),
                resource: resource.into(),
            };
            facts(&pod).resource(&selector, None)
        };
        assert_eq!(ask("limits.cpu", None).unwrap(), "1");
        assert_eq!(ask("limits.cpu", Some("1m")).unwrap(), "250");
        assert_eq!(ask("requests.memory", Some("1Mi")).unwrap(), "64");
        assert_eq!(ask("requests.cpu", None).unwrap(), "0");
        assert!(ask("limits.gpu", None).is_err());
    }
}
