//! The environment of a container: services of its namespace, then what its spec says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, Secret, Service,
};

use super::container::spec;
use super::fields::Facts;
use super::objects::Objects;

/// Variables in the order in which they were first set; setting one again replaces its value.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    list: Vec<(String, String)>,
    index: BTreeMap<String, usize>,
}

/// The whole environment of a container.
///
/// # Errors
/// For the user: which object or key is missing. It may come later.
pub(crate) fn of(
    container: &Container,
    facts: &Facts<'_>,
    objects: &Objects,
) -> Result<Variables, String> {
    let mut variables = Variables::default();
    variables.set("PATH", spec::PATH);
    variables.set("HOME", "/");
    variables.set("HOSTNAME", &super::naming::hostname(facts.pod));
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = facts
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    for service in objects.services.all() {
        let of = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let is_api = of == "default" && name == "kubernetes";
        if is_api || (links && of == namespace) {
            set_service(&mut variables, &service);
        }
    }
    for source in container.env_from.iter().flatten() {
        set_all(&mut variables, source, namespace, objects)?;
    }
    for variable in container.env.iter().flatten() {
        set_one(&mut variables, variable, container, facts, objects)?;
    }
    Ok(variables)
}

/// Replaces `$(NAME)` by the variable's value; `$$(NAME)` is a literal `$(NAME)`, and a name that
/// is not known stays as it is.
pub(crate) fn expand(text: &str, variables: &Variables) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let reference = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        match reference {
            Some((name, after)) => {
                match variables.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.push_str(&format!("$({name})")),
                }
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

// === impl Variables ===

impl Variables {
    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if let Some(at) = self.index.get(name) {
            value.clone_into(&mut self.list[*at].1);
            return;
        }
        self.index.insert(name.into(), self.list.len());
        self.list.push((name.into(), value.into()));
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|at| self.list[*at].1.as_str())
    }

    /// All of them, in order.
    pub(crate) fn into_list(self) -> Vec<(String, String)> {
        self.list
    }
}

/// The variables that Docker links once had, which some programs still read.
fn set_service(variables: &mut Variables, service: &Service) {
    let spec = service.spec.as_ref();
    let address = spec
        .and_then(|spec| spec.cluster_ip.as_deref())
        .unwrap_or_default();
    if address.is_empty() || address == "None" {
        return;
    }
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let prefix = name.to_ascii_uppercase().replace('-', "_");
    variables.set(&format!("{prefix}_SERVICE_HOST"), address);
    let ports = spec
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let number = port.port.to_string();
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{address}:{number}", protocol.to_ascii_lowercase());
        if index == 0 {
            variables.set(&format!("{prefix}_SERVICE_PORT"), &number);
            variables.set(&format!("{prefix}_PORT"), &url);
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let name = name.to_ascii_uppercase().replace('-', "_");
            variables.set(&format!("{prefix}_SERVICE_PORT_{name}"), &number);
        }
        let link = format!("{prefix}_PORT_{number}_{}", protocol.to_ascii_uppercase());
        variables.set(&link, &url);
        variables.set(&format!("{link}_PROTO"), &protocol.to_ascii_lowercase());
        variables.set(&format!("{link}_PORT"), &number);
        variables.set(&format!("{link}_ADDR"), address);
    }
}

fn set_all(
    variables: &mut Variables,
    source: &EnvFromSource,
    namespace: &str,
    objects: &Objects,
) -> Result<(), String> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    if let Some(reference) = &source.config_map_ref {
        let found = objects.config_maps.get(namespace, &reference.name);
        if let Some(map) = required(found, "configmap", &reference.name, reference.optional)? {
            for (key, value) in map.data.iter().flatten() {
                variables.set(&format!("{prefix}{key}"), value);
            }
        }
    }
    if let Some(reference) = &source.secret_ref {
        let found = objects.secrets.get(namespace, &reference.name);
        if let Some(secret) = required(found, "secret", &reference.name, reference.optional)? {
            for (key, value) in secret.data.iter().flatten() {
                variables.set(
                    &format!("{prefix}{key}"),
                    &String::from_utf8_lossy(&value.0),
                );
            }
        }
    }
    Ok(())
}

fn set_one(
    variables: &mut Variables,
    variable: &EnvVar,
    container: &Container,
    facts: &Facts<'_>,
    objects: &Objects,
) -> Result<(), String> {
    let value = match &variable.value_from {
        None => Some(expand(
            variable.value.as_deref().unwrap_or_default(),
            variables,
        )),
        Some(source) => from_source(source, container, facts, objects)
            .map_err(|why| format!("variable {}: {why}", variable.name))?,
    };
    // A key that is optional and missing leaves the variable unset.
    if let Some(value) = value {
        variables.set(&variable.name, &value);
    }
    Ok(())
}

fn from_source(
    source: &EnvVarSource,
    container: &Container,
    facts: &Facts<'_>,
    objects: &Objects,
) -> Result<Option<String>, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(selector) = &source.field_ref {
        return facts.field(selector).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return facts.resource(selector, Some(container)).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let found = objects.config_maps.get(namespace, &selector.name);
        let map = required(found, "configmap", &selector.name, selector.optional)?;
        let value = map.and_then(|map| value_of_map(&map, &selector.key));
        return key(
            value,
            &selector.key,
            "configmap",
            &selector.name,
            selector.optional,
        );
    }
    if let Some(selector) = &source.secret_key_ref {
        let found = objects.secrets.get(namespace, &selector.name);
        let secret = required(found, "secret", &selector.name, selector.optional)?;
        let value = secret.and_then(|secret| value_of_secret(&secret, &selector.key));
        return key(
            value,
            &selector.key,
            "secret",
            &selector.name,
            selector.optional,
        );
    }
    Err("valueFrom names no source that this node knows".into())
}

fn value_of_map(map: &ConfigMap, key: &str) -> Option<String> {
    map.data.as_ref()?.get(key).cloned()
}

fn value_of_secret(secret: &Secret, key: &str) -> Option<String> {
    let value = secret.data.as_ref()?.get(key)?;
    Some(String::from_utf8_lossy(&value.0).into_owned())
}

/// An object that may be missing only if it is optional.
pub(super) fn required<T>(
    found: Option<T>,
    kind: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<T>, String> {
    if found.is_none() && optional != Some(true) {
        return Err(format!("{kind} {name:?} not found"));
    }
    Ok(found)
}

fn key(
    value: Option<String>,
    key: &str,
    kind: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<String>, String> {
    if value.is_none() && optional != Some(true) {
        return Err(format!("couldn't find key {key} in {kind} {name}"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn environment(container: Value) -> Result<Variables, String> {
        let objects = Objects::fixed(
            vec![
                serde_json::from_value(json!({
                    "metadata": { "namespace": "shop", "name": "settings" },
                    "data": { "LEVEL": "debug", "color": "red" }
                }))
                .unwrap(),
            ],
            vec![
                serde_json::from_value(json!({
                    "metadata": { "namespace": "shop", "name": "password" },
                    "data": { "value": "c2VjcmV0" }
                }))
                .unwrap(),
            ],
            vec![
                service("default", "kubernetes", 443),
                service("shop", "my-db", 5432),
                service("other", "hidden", 1),
            ],
        );
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web-1", "namespace": "shop" },
            "spec": { "containers": [] }
        }))
        .unwrap();
        let facts = Facts {
            pod: &pod,
            address: Ipv4Addr::new(10, 244, 0, 2),
            node_address: Ipv4Addr::new(10, 244, 0, 1),
            allocatable: &BTreeMap::new(),
        };
        of(
            &serde_json::from_value(container).unwrap(),
            &facts,
            &objects,
        )
    }

    fn service(namespace: &str, name: &str, port: i32) -> Service {
        serde_json::from_value(json!({
            "metadata": { "namespace": namespace, "name": name },
            "spec": { "clusterIP": "10.96.0.9", "ports": [{ "name": "main-port", "port": port }] }
        }))
        .unwrap()
    }

    #[test]
    fn variables_come_from_everywhere_and_refer_to_earlier_ones() {
        let variables = environment(json!({ "name": "app",
            "envFrom": [{ "prefix": "S_", "configMapRef": { "name": "settings" } }],
            "env": [
                { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                { "name": "COLOR", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "color" } } },
                { "name": "PASS", "valueFrom": { "secretKeyRef": { "name": "password", "key": "value" } } },
                { "name": "ALL", "value": "$(NAME)-$(COLOR)-$(PASS)-$(LATER)-$$(NAME)" },
                { "name": "LATER", "value": "x" },
                { "name": "PATH", "value": "/bin" },
                { "name": "MAYBE", "valueFrom": { "secretKeyRef": { "name": "none", "key": "k", "optional": true } } }
            ]
        }))
        .unwrap();
        assert_eq!(
            variables.get("ALL"),
            Some("web-1-red-secret-$(LATER)-$(NAME)")
        );
        assert_eq!(variables.get("S_LEVEL"), Some("debug"));
        assert_eq!(variables.get("PATH"), Some("/bin"));
        assert_eq!(variables.get("HOSTNAME"), Some("web-1"));
        assert_eq!(variables.get("MAYBE"), None);
    }

    #[test]
    fn services_of_the_namespace_and_the_api_are_linked() {
        let variables = environment(json!({ "name": "app" })).unwrap();
        assert_eq!(variables.get("KUBERNETES_SERVICE_HOST"), Some("10.96.0.9"));
        assert_eq!(variables.get("KUBERNETES_SERVICE_PORT"), Some("443"));
        assert_eq!(variables.get("MY_DB_SERVICE_PORT_MAIN_PORT"), Some("5432"));
        assert_eq!(variables.get("MY_DB_PORT_5432_TCP_ADDR"), Some("10.96.0.9"));
        assert_eq!(variables.get("HIDDEN_SERVICE_HOST"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = environment(json!({ "name": "app", "env": [
            { "name": "A", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "none" } } }
        ] }))
        .unwrap_err();
        assert_eq!(
            error,
            "variable A: couldn't find key none in configmap settings"
        );
        let error = environment(json!({ "name": "app",
            "envFrom": [{ "secretRef": { "name": "none" } }] }))
        .unwrap_err();
        assert_eq!(error, "secret \"none\" not found");
    }

    #[test]
    fn dollars_that_refer_to_nothing_stay() {
        let variables = Variables::default();
        for text in ["$", "$a", "$(", "$(open", "cost: 5$", "$()"] {
            assert_eq!(expand(text, &variables), text);
        }
        assert_eq!(expand("$$$(A)", &variables), "$$(A)");
    }
}
