//! Workloads: what makes pods from a template.

use serde_json::Value;

use super::FieldError;
use super::pods::{check_choice, validate_template};
use crate::apiserver::object;
use crate::apiserver::selector::LabelSelector;

pub(super) fn validate(plural: &str, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    match plural {
        "deployments" | "replicasets" | "statefulsets" | "daemonsets" => {
            validate_replicas(spec, &mut errors);
            validate_selector(spec, &mut errors);
            validate_template(&spec["template"], "spec.template", &mut errors);
            check_choice(
                &spec["template"]["spec"],
                "restartPolicy",
                &["Always"],
                "spec.template.spec",
                &mut errors,
            );
            check_immutable(spec, old, "selector", &mut errors);
            if plural == "statefulsets" {
                validate_stateful_change(spec, old, &mut errors);
            }
        }
        "replicationcontrollers" => {
            validate_replicas(spec, &mut errors);
            validate_template(&spec["template"], "spec.template", &mut errors);
        }
        "jobs" => {
            validate_job(spec, "spec", &mut errors);
            for field in ["selector", "template", "completionMode"] {
                check_immutable(spec, old, field, &mut errors);
            }
        }
        "cronjobs" => {
            if object::text(spec, &["schedule"]).is_empty() {
                errors.push(FieldError::required("spec.schedule", ""));
            }
            let job = &spec["jobTemplate"]["spec"];
            validate_job(job, "spec.jobTemplate.spec", &mut errors);
        }
        _ => {}
    }
    errors
}

fn validate_replicas(spec: &Value, errors: &mut Vec<FieldError>) {
    if let Some(replicas) = spec["replicas"].as_i64().filter(|count| *count < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            "spec.replicas",
            &replicas.into(),
            detail,
        ));
    }
}

fn validate_selector(spec: &Value, errors: &mut Vec<FieldError>) {
    let Some(selector) = spec.get("selector") else {
        errors.push(FieldError::required("spec.selector", ""));
        let detail = "`selector` does not match template `labels`";
        let labels = spec["template"]["metadata"]["labels"].clone();
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            &labels,
            detail,
        ));
        return;
    };
    match LabelSelector::from_value(selector) {
        Err(error) => errors.push(FieldError::invalid("spec.selector", selector, &error)),
        Ok(parsed) if parsed.is_empty() => errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "empty selector is invalid for deployment",
        )),
        Ok(parsed) => {
            let template = &spec["template"];
            if !parsed.matches(template) {
                let labels = &template["metadata"]["labels"];
                let detail = "`selector` does not match template `labels`";
                errors.push(FieldError::invalid(
                    "spec.template.metadata.labels",
                    labels,
                    detail,
                ));
            }
        }
    }
}

fn validate_job(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let template = format!("{path}.template");
    validate_template(&spec["template"], &template, errors);
    let pod = &spec["template"]["spec"];
    // A pod's own default would restart it for ever.
    let policy = object::text(pod, &["restartPolicy"]);
    if matches!(policy, "" | "Always") {
        let field = format!("{template}.spec.restartPolicy");
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.push(FieldError::required(&field, detail));
    }
}

fn check_immutable(spec: &Value, old: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    let Some(old) = old else {
        return;
    };
    let (new, old) = (spec.get(field), old["spec"].get(field));
    if new != old {
        let shown = new.cloned().unwrap_or_default();
        errors.push(FieldError::immutable(&format!("spec.{field}"), &shown));
    }
}

fn validate_stateful_change(spec: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        object::map(&mut spec).retain(|key, _| {
            matches!(
                key.as_str(),
                "serviceName" | "podManagementPolicy" | "volumeClaimTemplates"
            )
        });
        spec
    };
    if old.is_some_and(|old| fixed(spec) != fixed(&old["spec"])) {
        errors.push(FieldError::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
             'minReadySeconds' are forbidden",
        ));
    }
}
