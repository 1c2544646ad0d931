//! Custom types: definitions, their objects, versions, columns and errors.

use crate::support::Served;

/// A definition with three versions of one shape, as Istio's have.
fn definition() -> String {
    let version = |name: &str, storage: bool| {
        format!(
            "
  - name: {name}
    served: true
    storage: {storage}
    subresources: {{status: {{}}}}
    additionalPrinterColumns:
    - {{name: Gateways, type: string, jsonPath: .spec.gateways}}
    - {{name: Hosts, type: string, jsonPath: .spec.hosts}}
    - {{name: Age, type: date, jsonPath: .metadata.creationTimestamp}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [hosts]
            properties:
              hosts: {{type: array, minItems: 1, items: {{type: string}}}}
              gateways: {{type: array, items: {{type: string}}, default: [mesh]}}
              weight: {{type: integer, format: int32, maximum: 100}}
              mode: {{type: string, enum: [A, B]}}
              any: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
              port: {{x-kubernetes-int-or-string: true}}
          status: {{type: object, x-kubernetes-preserve-unknown-fields: true}}"
        )
    };
    format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: virtualservices.networking.istio.io}}
spec:
  group: networking.istio.io
  names:
    plural: virtualservices
    singular: virtualservice
    kind: VirtualService
    shortNames: [vs]
    categories: [istio-io]
  scope: Namespaced
  versions:{}{}{}
",
        version("v1", true),
        version("v1beta1", false),
        version("v1alpha3", false)
    )
}

const OBJECT: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], weight: 3, any: {x: 1}, port: http}
";

fn with_definition() -> Served {
    let served = Served::start();
    served.apply(&definition());
    served.kubectl(
        "wait --for=condition=established crd/virtualservices.networking.istio.io --timeout=5s",
    );
    served
}

#[test]
fn a_definition_is_served_at_once_under_all_of_its_names() {
    let served = with_definition();
    served.apply(OBJECT);
    assert_eq!(
        served.apply(OBJECT),
        "virtualservice.networking.istio.io/reviews unchanged\n"
    );
    for name in ["vs", "virtualservices", "virtualservice", "istio-io"] {
        let table = served.kubectl(&format!("get {name}"));
        let mut lines = table.lines();
        assert!(
            lines
                .next()
                .unwrap()
                .split_whitespace()
                .eq(["NAME", "GATEWAYS", "HOSTS", "AGE"])
        );
        let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(row[..3], ["reviews", "[\"mesh\"]", "[\"reviews\"]"]);
    }
}

#[test]
fn an_object_is_served_in_every_version() {
    let served = with_definition();
    served.apply(OBJECT);
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let found = served.kubectl(&format!(
            "get virtualservices.{version}.networking.istio.io reviews -o jsonpath={{.apiVersion}}"
        ));
        assert_eq!(found, format!("networking.istio.io/{version}"));
    }
}

#[test]
fn objects_that_break_the_schema_are_refused_with_the_field() {
    let served = with_definition();
    for (change, with, complaint) in [
        (
            "weight: 3",
            "weight: 200",
            "spec.weight in body should be less than or equal to 100",
        ),
        (
            "weight: 3",
            "weight: x",
            "spec.weight in body must be of type integer: \"string\"",
        ),
        (
            "weight: 3",
            "mode: C",
            "Unsupported value: \"C\": supported values: \"A\", \"B\"",
        ),
        ("hosts: [reviews],", "", "spec.hosts: Required value"),
        (
            "hosts: [reviews],",
            "hosts: [],",
            "spec.hosts in body should have at least 1 items",
        ),
    ] {
        let error = served.fails("apply -f - --validate=false", &OBJECT.replace(change, with));
        assert!(error.contains(complaint), "{error}");
        assert!(error.contains("\"reviews\" is invalid"), "{error}");
    }
}

#[test]
fn unknown_fields_are_refused_or_pruned_with_a_warning() {
    let served = with_definition();
    let wrong = OBJECT.replace("weight: 3", "weigth: 3");
    let error = served.fails("apply -f -", &wrong);
    assert!(
        error.contains("unknown field") && error.contains("weigth"),
        "{error}"
    );
    served.with_input("apply -f - --validate=false", &wrong);
    let spec = served.kubectl("get vs reviews -o jsonpath={.spec}");
    assert!(
        !spec.contains("weigth") && spec.contains("\"any\":{\"x\":1}"),
        "{spec}"
    );
}

#[test]
fn generation_counts_changes_of_the_spec_and_custom_types_merge_plainly() {
    let served = with_definition();
    served.apply(OBJECT);
    served.kubectl(r#"patch vs reviews --type merge -p '{"spec":{"weight":7}}'"#);
    served.kubectl("annotate vs reviews a=b");
    let found = "get vs reviews -o jsonpath={.spec.weight}-{.metadata.generation}";
    assert_eq!(served.kubectl(found), "7-2");
    let error = served.fails(r#"patch vs reviews -p '{"spec":{"weight":8}}'"#, "");
    assert!(error.contains("application/merge-patch+json"), "{error}");
}

#[test]
fn a_definition_takes_its_objects_with_it() {
    let served = with_definition();
    served.apply(OBJECT);
    served.with_input("delete -f -", &definition());
    assert_eq!(served.kubectl("get crd -o name"), "");
    served.fails("get vs", "");
    served.apply(&definition());
    assert_eq!(served.kubectl("get vs -o name"), "");
}

#[test]
fn a_definition_with_a_taken_short_name_or_a_bad_schema_is_not_served() {
    let served = with_definition();
    let other = definition()
        .replace("virtualservice", "virtualserver")
        .replace("VirtualService", "VirtualServer");
    served.apply(&other);
    let condition =
        "get crd virtualservers.networking.istio.io -o jsonpath={.status.conditions[0].reason}";
    assert_eq!(served.kubectl(condition), "ShortNamesConflict");
    let bad = other.replace(
        "type: array, items: {type: string}, default",
        "type: array, default",
    );
    let error = served.fails("apply -f - --validate=false", &bad);
    assert!(
        error.contains("items: Required value: must be specified"),
        "{error}"
    );
}
