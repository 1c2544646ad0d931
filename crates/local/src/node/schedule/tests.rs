#![allow(
    clippy::needless_pass_by_value,
    reason = "values are written in place with json!"
)]

use serde_json::{Value, json};

use super::*;

fn node(spec: Value) -> Node {
    serde_json::from_value(json!({
        "metadata": { "name": "lateen", "labels": {
            "kubernetes.io/hostname": "lateen", "kubernetes.io/os": "linux" } },
        "spec": spec,
        "status": { "allocatable": { "cpu": "2", "memory": "4Gi" } }
    }))
    .unwrap()
}

fn pod(name: &str, mut spec: Value) -> Pod {
    if spec["containers"].is_null() {
        spec["containers"] = json!([]);
    }
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "shop", "uid": name, "labels": { "app": "web" } },
        "spec": spec
    }))
    .unwrap()
}

fn ask(spec: Value, on: &Node, others: Vec<Pod>) -> Result<(), String> {
    let others = others
        .into_iter()
        .map(|pod| (pod.uid().unwrap(), Arc::new(pod)))
        .collect();
    fits(&pod("new", spec), on, &others)
}

#[test]
fn selectors_and_affinity_must_match_the_node() {
    let node = node(json!({}));
    let wants = |key: &str, operator: &str, values: Value| {
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": key, "operator": operator, "values": values }] }] } } } })
    };
    assert_eq!(ask(json!({}), &node, vec![]), Ok(()));
    assert_eq!(
        ask(
            json!({ "nodeSelector": { "kubernetes.io/os": "linux" } }),
            &node,
            vec![]
        ),
        Ok(())
    );
    let error = ask(json!({ "nodeSelector": { "gpu": "yes" } }), &node, vec![]).unwrap_err();
    assert!(error.contains("node affinity/selector"), "{error}");
    assert!(
        ask(
            wants("kubernetes.io/os", "In", json!(["linux"])),
            &node,
            vec![]
        )
        .is_ok()
    );
    assert!(
        ask(
            wants("kubernetes.io/os", "NotIn", json!(["linux"])),
            &node,
            vec![]
        )
        .is_err()
    );
    assert!(ask(wants("gpu", "DoesNotExist", json!(null)), &node, vec![]).is_ok());
}

#[test]
fn taints_must_be_tolerated() {
    let tainted = node(json!({ "taints": [{ "key": "k", "value": "v", "effect": "NoSchedule" }] }));
    let error = ask(json!({}), &tainted, vec![]).unwrap_err();
    assert_eq!(error, "node(s) had untolerated taint {k: v}");
    for toleration in [
        json!({ "key": "k", "value": "v" }),
        json!({ "key": "k", "operator": "Exists" }),
        json!({ "operator": "Exists" }),
    ] {
        assert_eq!(
            ask(json!({ "tolerations": [toleration] }), &tainted, vec![]),
            Ok(())
        );
    }
    let other = json!({ "tolerations": [{ "key": "k", "value": "w" }] });
    assert!(ask(other, &tainted, vec![]).is_err());
    let cordoned = node(json!({ "unschedulable": true }));
    assert_eq!(
        ask(json!({}), &cordoned, vec![]).unwrap_err(),
        "node(s) were unschedulable"
    );
}

#[test]
fn more_than_the_machine_has_does_not_fit() {
    let node = node(json!({}));
    let wants = |resources: Value| {
        json!({ "containers": [{ "name": "a", "resources": { "requests": resources } },
                               { "name": "b", "resources": { "requests": { "cpu": "1" } } }] })
    };
    assert_eq!(
        ask(wants(json!({ "cpu": "1", "memory": "4Gi" })), &node, vec![]),
        Ok(())
    );
    assert_eq!(
        ask(wants(json!({ "cpu": "1100m" })), &node, vec![]).unwrap_err(),
        "Insufficient cpu"
    );
    let gpu = wants(json!({ "example.com/gpu": "1" }));
    assert_eq!(
        ask(gpu, &node, vec![]).unwrap_err(),
        "Insufficient example.com/gpu"
    );
}

#[test]
fn pods_that_want_to_be_apart_are_kept_apart() {
    let node = node(json!({}));
    let term = json!({ "topologyKey": "kubernetes.io/hostname",
        "labelSelector": { "matchLabels": { "app": "web" } } });
    let rule = |kind: &str| {
        json!({ "affinity": { kind: {
            "requiredDuringSchedulingIgnoredDuringExecution": [term.clone()] } } })
    };
    let mut other = pod("other", rule("podAntiAffinity"));
    assert_eq!(
        ask(rule("podAntiAffinity"), &node, vec![other.clone()]),
        Ok(()),
        "not bound yet"
    );
    other.spec.as_mut().unwrap().node_name = Some("lateen".into());
    assert!(ask(rule("podAntiAffinity"), &node, vec![other.clone()]).is_err());
    assert!(
        ask(json!({}), &node, vec![other.clone()]).is_err(),
        "theirs counts, too"
    );
    other.status = Some(serde_json::from_value(json!({ "phase": "Succeeded" })).unwrap());
    assert_eq!(ask(rule("podAntiAffinity"), &node, vec![other]), Ok(()));
    assert_eq!(
        ask(rule("podAffinity"), &node, vec![]),
        Ok(()),
        "the first of its group"
    );
}

#[test]
fn pods_of_others_are_left_alone() {
    assert!(is_waiting(&pod("a", json!({}))));
    assert!(!is_waiting(&pod("a", json!({ "nodeName": "lateen" }))));
    assert!(!is_waiting(&pod("a", json!({ "schedulerName": "mine" }))));
    assert!(!is_waiting(&pod(
        "a",
        json!({ "schedulingGates": [{ "name": "wait" }] })
    )));
}
