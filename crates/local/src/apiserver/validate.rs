//! What is refused at the door: errors name the field, the value and the rule, as Kubernetes words
//! them. Built-in types are checked for the essentials that other parts rely on.

mod error;
mod meta;
mod names;
mod pods;
mod services;
mod workloads;

pub(crate) use error::FieldError;
pub(crate) use names::{is_dns_label, is_dns_subdomain};

use serde_json::Value;

use super::call::Call;
use super::schema::{Schema, structural};
use super::{crd, object};

/// All that is wrong with a new object, or with a change.
pub(crate) fn validate(call: &Call, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(call, new, old);
    if let Schema::Structural(schema) = &call.version().schema {
        errors.extend(structural::validate(new, schema));
        return errors;
    }
    if call.subresource == "status" {
        return errors;
    }
    let resource = &call.resource;
    let specific = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pods::validate(new, old),
        ("", "services") => services::validate(new, old),
        ("", "configmaps" | "secrets") => validate_data(new, old),
        ("apps", _) | ("batch", "jobs" | "cronjobs") | ("", "replicationcontrollers") => {
            workloads::validate(&resource.plural, new, old)
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd::validate(new, old),
        _ => Vec::new(),
    };
    errors.extend(specific);
    errors
}

/// Config maps and secrets: keys are file names, an immutable one stays as it is.
fn validate_data(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["data", "binaryData"] {
        for key in new
            .get(list)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|map| map.keys())
        {
            let is_file_name = !key.is_empty()
                && key.len() <= 253
                && !matches!(key.as_str(), "." | "..")
                && key
                    .chars()
                    .all(|one| one.is_ascii_alphanumeric() || "-_.".contains(one));
            if !is_file_name {
                let detail = "a valid config key must consist of alphanumeric characters, '-', \
                              '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex \
                              used for validation is '[-._a-zA-Z0-9]+')";
                let path = format!("{list}[{key}]");
                errors.push(FieldError::invalid(&path, &key.as_str().into(), detail));
            }
        }
    }
    if let Some(old) = old {
        let is_immutable = old.get("immutable").is_some_and(|flag| flag == true);
        for field in ["data", "binaryData", "immutable"] {
            if is_immutable && new.get(field) != old.get(field) {
                let detail = "field is immutable when `immutable` is set";
                errors.push(FieldError::forbidden(field, detail));
            }
        }
        let kind = |value| object::text(value, &["type"]);
        if kind(new) != kind(old) {
            errors.push(FieldError::immutable("type", &kind(new).into()));
        }
    }
    errors
}
