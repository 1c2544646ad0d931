//! Metadata: the rules that all types share.

use serde_json::Value;

use super::FieldError;
use super::names::{
    DNS_1035_LABEL, DNS_LABEL, DNS_SUBDOMAIN, LABEL_VALUE, PATH_SEGMENT, QUALIFIED_NAME,
    is_dns_1035_label, is_dns_label, is_dns_subdomain, is_label_word, is_path_segment,
    is_qualified_name,
};
use crate::apiserver::call::Call;
use crate::apiserver::object;

/// Annotations may hold this many bytes together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn validate(call: &Call, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.is_none() {
        validate_name(call, new, &mut errors);
    }
    validate_labels(new, "metadata.labels", &["metadata", "labels"], &mut errors);
    validate_annotations(new, &mut errors);
    validate_owners(new, &mut errors);
    if let Some(old) = old {
        validate_finalizers(new, old, &mut errors);
    }
    errors
}

fn validate_name(call: &Call, new: &Value, errors: &mut Vec<FieldError>) {
    let name = object::name(new);
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    }
    let resource = &call.resource;
    let (fits, rule) = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "services") => (is_dns_1035_label(name), DNS_1035_LABEL),
        ("", "namespaces") => (is_dns_label(name), DNS_LABEL),
        ("rbac.authorization.k8s.io", _) => (is_path_segment(name), PATH_SEGMENT),
        _ => (is_dns_subdomain(name), DNS_SUBDOMAIN),
    };
    if !fits {
        errors.push(FieldError::invalid("metadata.name", &name.into(), rule));
    }
}

/// Checks a map of labels at a path.
pub(super) fn validate_labels(
    value: &Value,
    field: &str,
    path: &[&str],
    errors: &mut Vec<FieldError>,
) {
    let labels = object::at(value, path).and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if !is_qualified_name(key) {
            errors.push(FieldError::invalid(
                field,
                &key.as_str().into(),
                QUALIFIED_NAME,
            ));
        }
        if !value.as_str().is_some_and(is_label_word) {
            errors.push(FieldError::invalid(field, value, LABEL_VALUE));
        }
    }
}

fn validate_annotations(new: &Value, errors: &mut Vec<FieldError>) {
    let annotations = object::at(new, &["metadata", "annotations"]).and_then(Value::as_object);
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        // Kubernetes checks the key in lower case.
        if !is_qualified_name(&key.to_ascii_lowercase()) {
            let field = "metadata.annotations";
            errors.push(FieldError::invalid(
                field,
                &key.as_str().into(),
                QUALIFIED_NAME,
            ));
        }
    }
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            MAX_ANNOTATIONS as u64,
        ));
    }
}

fn validate_owners(new: &Value, errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    for (index, owner) in object::items(new, &["metadata", "ownerReferences"])
        .iter()
        .enumerate()
    {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if object::text(owner, &[key]).is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{key}");
                errors.push(FieldError::invalid(&field, &"".into(), "must not be empty"));
            }
        }
        controllers += u32::from(owner["controller"] == true);
    }
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            &controllers.into(),
            "Only one reference can have Controller set to true",
        ));
    }
}

/// Nothing new may hold an object that is going.
fn validate_finalizers(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if !object::is_terminating(old) {
        return;
    }
    let added: Vec<&str> = object::finalizers(new)
        .filter(|name| object::finalizers(old).all(|known| known != *name))
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             {added:?}"
        );
        errors.push(FieldError::forbidden("metadata.finalizers", &detail));
    }
}
