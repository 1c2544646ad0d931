//! Services.

use serde_json::Value;

use super::FieldError;
use super::meta::validate_labels;
use super::names::{DNS_LABEL, is_dns_label};
use super::pods::{check_choice, check_port};
use crate::apiserver::object;

pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let kind = object::text(spec, &["type"]);
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    check_choice(spec, "type", &kinds, "spec", &mut errors);
    check_choice(
        spec,
        "sessionAffinity",
        &["ClientIP", "None"],
        "spec",
        &mut errors,
    );
    validate_labels(spec, "spec.selector", &["selector"], &mut errors);
    let address = object::text(spec, &["clusterIP"]);
    let ports = object::items(spec, &["ports"]);
    if kind == "ExternalName" {
        if object::text(spec, &["externalName"]).is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        }
    } else if ports.is_empty() && address != "None" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if address == "None" && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = "may not be set to 'None' for LoadBalancer and NodePort services";
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            &address.into(),
            detail,
        ));
    }
    validate_ports(ports, &mut errors);
    if let Some(old) = old {
        let before = object::text(old, &["spec", "clusterIP"]);
        let was_external = object::text(old, &["spec", "type"]) == "ExternalName";
        if !before.is_empty() && address != before && !was_external && kind != "ExternalName" {
            let field = "spec.clusterIPs[0]";
            let shown = Value::from(vec![Value::from(address)]);
            let detail = "may not change once set";
            errors.push(FieldError::invalid(field, &shown, detail));
        }
    }
    errors
}

fn validate_ports(ports: &[Value], errors: &mut Vec<FieldError>) {
    let (mut names, mut numbers) = (Vec::new(), Vec::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        check_port(port, "port", &path, errors);
        check_choice(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        let name = object::text(port, &["name"]);
        let field = format!("{path}.name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(&field, ""));
            }
        } else if !is_dns_label(name) {
            errors.push(FieldError::invalid(&field, &name.into(), DNS_LABEL));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(&field, &name.into()));
        }
        names.push(name);
        let number = (port["port"].as_i64(), object::text(port, &["protocol"]));
        if numbers.contains(&number) {
            let mut shown = port.clone();
            object::map(&mut shown).retain(|key, _| matches!(key.as_str(), "port" | "protocol"));
            errors.push(FieldError::duplicate(&path, &shown));
        }
        numbers.push(number);
        if let Some(number) = port["targetPort"].as_i64()
            && !(1..=65535).contains(&number)
        {
            let field = format!("{path}.targetPort");
            let detail = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(&field, &number.into(), detail));
        }
    }
}
