//! Pods and templates of pods.

use serde_json::{Value, json};

use super::FieldError;
use super::meta::validate_labels;
use super::names::{DNS_LABEL, is_dns_label, is_port_name};
use crate::apiserver::object;

/// A pod, or a change of one: hardly anything of a pod's spec may change.
pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Some(spec) = new.get("spec") else {
        return vec![FieldError::required("spec.containers", "")];
    };
    match old {
        None => validate_spec(spec, "spec", &mut errors),
        Some(old) => validate_change(spec, &old["spec"], &mut errors),
    }
    errors
}

/// The template of a workload.
pub(super) fn validate_template(template: &Value, path: &str, errors: &mut Vec<FieldError>) {
    validate_labels(
        template,
        &format!("{path}.metadata.labels"),
        &["metadata", "labels"],
        errors,
    );
    match template.get("spec") {
        Some(spec) => validate_spec(spec, &format!("{path}.spec"), errors),
        None => errors.push(FieldError::required(&format!("{path}.spec.containers"), "")),
    }
}

fn validate_spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if object::items(spec, &["containers"]).is_empty() {
        errors.push(FieldError::required(&format!("{path}.containers"), ""));
    }
    let mut volumes = Vec::new();
    for (index, volume) in object::items(spec, &["volumes"]).iter().enumerate() {
        let name = object::text(volume, &["name"]);
        let field = format!("{path}.volumes[{index}].name");
        check_name(name, &field, &mut volumes, errors);
        let sources = volume
            .as_object()
            .map_or(0, |map| map.len().saturating_sub(1));
        if sources > 1 {
            errors.push(FieldError::forbidden(
                &format!("{path}.volumes[{index}]"),
                "may not specify more than 1 volume type",
            ));
        }
    }
    let mut names = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in object::items(spec, &[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            let name = object::text(container, &["name"]);
            check_name(name, &format!("{path}.name"), &mut names, errors);
            validate_container(container, &path, &volumes, errors);
        }
    }
    check_choice(
        spec,
        "restartPolicy",
        &["Always", "OnFailure", "Never"],
        path,
        errors,
    );
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check_choice(spec, "dnsPolicy", &policies, path, errors);
    let grace = spec["terminationGracePeriodSeconds"].as_i64();
    if let Some(grace) = grace.filter(|grace| *grace < 0) {
        let field = format!("{path}.terminationGracePeriodSeconds");
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&field, &grace.into(), detail));
    }
}

fn validate_container(
    container: &Value,
    path: &str,
    volumes: &[String],
    errors: &mut Vec<FieldError>,
) {
    if object::text(container, &["image"]).trim().is_empty() {
        errors.push(FieldError::required(&format!("{path}.image"), ""));
    }
    check_choice(
        container,
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
        path,
        errors,
    );
    for (index, port) in object::items(container, &["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        check_port(port, "containerPort", &path, errors);
        let name = object::text(port, &["name"]);
        if !name.is_empty() && !is_port_name(name) {
            let field = format!("{path}.name");
            let detail = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), \
                          at least one letter, and at most 15 characters";
            errors.push(FieldError::invalid(&field, &name.into(), detail));
        }
    }
    for (index, variable) in object::items(container, &["env"]).iter().enumerate() {
        if object::text(variable, &["name"]).is_empty() {
            errors.push(FieldError::required(
                &format!("{path}.env[{index}].name"),
                "",
            ));
        }
    }
    let mut paths = Vec::new();
    for (index, mount) in object::items(container, &["volumeMounts"])
        .iter()
        .enumerate()
    {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = object::text(mount, &["name"]);
        if !volumes.iter().any(|volume| volume == name) {
            errors.push(FieldError::not_found(&format!("{path}.name"), &name.into()));
        }
        let target = object::text(mount, &["mountPath"]);
        let field = format!("{path}.mountPath");
        if target.is_empty() {
            errors.push(FieldError::required(&field, ""));
        } else if paths.contains(&target) {
            errors.push(FieldError::invalid(
                &field,
                &target.into(),
                "must be unique",
            ));
        }
        paths.push(target);
    }
    validate_probes(container, path, errors);
    validate_resources(container, path, errors);
}

fn validate_probes(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(kind).and_then(Value::as_object) else {
            continue;
        };
        let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
        let count = handlers
            .iter()
            .filter(|one| probe.contains_key(**one))
            .count();
        let field = format!("{path}.{kind}");
        match count {
            0 => errors.push(FieldError::required(&field, "must specify a handler type")),
            1 => {}
            _ => errors.push(FieldError::forbidden(
                &field,
                "may not specify more than 1 handler type",
            )),
        }
    }
}

/// A request must not exceed its limit.
fn validate_resources(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    use crate::apiserver::schema::quantity::thousandths;
    let requests = object::at(container, &["resources", "requests"]).and_then(Value::as_object);
    for (name, request) in requests.into_iter().flatten() {
        let limit = object::text(container, &["resources", "limits", name]);
        let request = request.as_str().unwrap_or_default();
        if let (Some(wanted), Some(most)) = (thousandths(request), thousandths(limit))
            && wanted > most
        {
            let field = format!("{path}.resources.requests");
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(&field, &request.into(), &detail));
        }
    }
}

/// A name that must be a label and the only one of its kind.
fn check_name(name: &str, field: &str, seen: &mut Vec<String>, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !is_dns_label(name) {
        errors.push(FieldError::invalid(field, &name.into(), DNS_LABEL));
    } else if seen.iter().any(|one| one == name) {
        errors.push(FieldError::duplicate(field, &name.into()));
    }
    seen.push(name.to_owned());
}

/// A port number that must be there.
pub(super) fn check_port(value: &Value, key: &str, path: &str, errors: &mut Vec<FieldError>) {
    let field = format!("{path}.{key}");
    match value.get(key) {
        None => errors.push(FieldError::required(&field, "")),
        Some(number)
            if number
                .as_i64()
                .is_some_and(|port| (1..=65535).contains(&port)) => {}
        Some(number) => {
            let detail = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(&field, number, detail));
        }
    }
}

/// A word that must be one of a few.
pub(super) fn check_choice(
    value: &Value,
    key: &str,
    allowed: &[&str],
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let word = object::text(value, &[key]);
    if !word.is_empty() && !allowed.contains(&word) {
        let allowed: Vec<Value> = allowed.iter().map(|one| json!(one)).collect();
        let field = format!("{path}.{key}");
        errors.push(FieldError::not_supported(&field, &word.into(), &allowed));
    }
}

/// Of a pod's spec only images, the deadline, new tolerations and the binding may change.
fn validate_change(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let mask = |spec: &Value, is_bound: bool| {
        let mut spec = spec.clone();
        let map = object::map(&mut spec);
        for key in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
        ] {
            map.remove(key);
        }
        map.remove("schedulingGates");
        if !is_bound {
            map.remove("nodeName");
        }
        for list in ["containers", "initContainers"] {
            let items = map.get_mut(list).and_then(Value::as_array_mut);
            for container in items.into_iter().flatten() {
                object::map(container).remove("image");
            }
        }
        spec
    };
    let is_bound = !object::text(old, &["nodeName"]).is_empty();
    if mask(new, is_bound) != mask(old, is_bound) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to \
             be set to 1 if it was previously negative)",
        ));
    }
}
