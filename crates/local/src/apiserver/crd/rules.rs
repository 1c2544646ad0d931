//! What a definition must be like.

use regex::Regex;
use serde_json::{Value, json};

use crate::apiserver::object::{items, name, text};
use crate::apiserver::validate::{FieldError, is_dns_label, is_dns_subdomain};

/// All that is wrong with a definition, or with its change.
pub(crate) fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let (group, plural) = (text(spec, &["group"]), text(spec, &["names", "plural"]));
    if !is_dns_subdomain(group) || !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", &group.into(), detail));
    }
    let wanted = format!("{plural}.{group}");
    if name(new) != wanted {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            "metadata.name",
            &name(new).into(),
            detail,
        ));
    }
    for key in ["plural", "singular"] {
        let word = text(spec, &["names", key]);
        if !is_dns_label(word) {
            let detail = "must be a DNS label: lower-case letters, digits and '-'";
            errors.push(FieldError::invalid(
                &format!("spec.names.{key}"),
                &word.into(),
                detail,
            ));
        }
    }
    if text(spec, &["names", "kind"]).is_empty() {
        errors.push(FieldError::required("spec.names.kind", ""));
    }
    let scope = text(spec, &["scope"]);
    if !matches!(scope, "Namespaced" | "Cluster") {
        let allowed = [json!("Cluster"), json!("Namespaced")];
        errors.push(FieldError::not_supported(
            "spec.scope",
            &scope.into(),
            &allowed,
        ));
    }
    if text(spec, &["conversion", "strategy"]) == "Webhook" {
        errors.push(FieldError::forbidden(
            "spec.conversion.strategy",
            "conversion webhooks are not supported by this API server: versions must share one \
             shape (strategy None)",
        ));
    }
    validate_versions(spec, &mut errors);
    if let Some(old) = old {
        for key in ["group", "scope"] {
            if spec[key] != old["spec"][key] {
                errors.push(FieldError::immutable(&format!("spec.{key}"), &spec[key]));
            }
        }
    }
    errors
}

fn validate_versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = items(spec, &["versions"]);
    let count = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if count != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!(count), detail));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let word = text(version, &["name"]);
        if !is_dns_label(word) {
            let detail = "must be a DNS label";
            errors.push(FieldError::invalid(
                &format!("{path}.name"),
                &word.into(),
                detail,
            ));
        }
        let path = format!("{path}.schema.openAPIV3Schema");
        match version["schema"].get("openAPIV3Schema") {
            None => errors.push(FieldError::required(&path, "schemas are required")),
            Some(schema) => {
                if text(schema, &["type"]) != "object" {
                    let detail = "must be object at the root";
                    errors.push(FieldError::invalid(
                        &format!("{path}.type"),
                        &schema["type"],
                        detail,
                    ));
                }
                validate_schema(schema, &path, true, errors);
            }
        }
    }
}

/// A structural schema says of every value what it is.
fn validate_schema(schema: &Value, path: &str, is_root: bool, errors: &mut Vec<FieldError>) {
    let is_untyped = text(schema, &["type"]).is_empty()
        && schema["x-kubernetes-int-or-string"] != true
        && schema["x-kubernetes-preserve-unknown-fields"] != true;
    if is_untyped && !is_root {
        let detail = "must not be empty for specified object fields";
        errors.push(FieldError::required(&format!("{path}.type"), detail));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && let Err(error) = Regex::new(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(
            &format!("{path}.pattern"),
            &pattern.into(),
            &detail,
        ));
    }
    if schema.get("$ref").is_some() {
        errors.push(FieldError::forbidden(
            &format!("{path}.$ref"),
            "references are not supported",
        ));
    }
    for (key, child) in schema["properties"].as_object().into_iter().flatten() {
        // The root's metadata are Kubernetes' own, whatever the schema says.
        if !(is_root && key == "metadata") {
            validate_schema(child, &format!("{path}.properties[{key}]"), false, errors);
        }
    }
    if let Some(child) = schema.get("items").filter(|one| one.is_object()) {
        validate_schema(child, &format!("{path}.items"), false, errors);
    } else if text(schema, &["type"]) == "array" {
        errors.push(FieldError::required(
            &format!("{path}.items"),
            "must be specified",
        ));
    }
    if let Some(child) = schema
        .get("additionalProperties")
        .filter(|one| one.is_object())
    {
        validate_schema(
            child,
            &format!("{path}.additionalProperties"),
            false,
            errors,
        );
    }
}
