use serde_json::Map;

use super::*;

/// Every node of a schema with its path.
fn walk(node: &Value, path: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    let map = node
        .as_object()
        .unwrap_or_else(|| panic!("{path} is no object: {node}"));
    visit(path, map);
    if let Some(properties) = map.get("properties") {
        for (name, child) in properties.as_object().unwrap() {
            walk(child, &format!("{path}.{name}"), visit);
        }
    }
    if let Some(items) = map.get("items") {
        walk(items, &format!("{path}[]"), visit);
    }
    if let Some(values) = map.get("additionalProperties") {
        walk(values, &format!("{path}{{}}"), visit);
    }
}

fn schema_of(kind: &str) -> Value {
    let kind = KINDS.iter().find(|k| k.kind == kind).unwrap();
    crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn every_schema_is_structural() {
    // What Kubernetes knows of JSON Schema, without the keywords that a structural schema may
    // only use below a logical combination.
    let known = [
        "type",
        "description",
        "properties",
        "items",
        "additionalProperties",
        "required",
        "enum",
        "format",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "pattern",
        "x-kubernetes-preserve-unknown-fields",
    ];
    let types = ["object", "array", "string", "integer", "number", "boolean"];
    let formats = ["int32", "int64", "double", "byte", "date-time"];
    for kind in &KINDS {
        let schema = schema_of(kind.kind);
        walk(&schema, kind.kind, &mut |path, map| {
            for keyword in map.keys() {
                assert!(known.contains(&keyword.as_str()), "{path}: {keyword}");
            }
            let kind = map["type"]
                .as_str()
                .unwrap_or_else(|| panic!("{path}: {:?}", map["type"]));
            assert!(types.contains(&kind), "{path}: {kind}");
            if let Some(format) = map.get("format") {
                assert!(
                    formats.contains(&format.as_str().unwrap()),
                    "{path}: {format}"
                );
            }
            assert!(
                !(map.contains_key("properties") && map.contains_key("additionalProperties")),
                "{path}"
            );
            assert_eq!(kind == "array", map.contains_key("items"), "{path}");
            assert!(
                map.get("enum")
                    .is_none_or(|e| !e.as_array().unwrap().is_empty()),
                "{path}"
            );
        });
    }
}

#[test]
fn every_field_is_described() {
    for kind in &KINDS {
        walk(kind.spec_schema(), kind.kind, &mut |path, map| {
            let is_element = path.ends_with("[]") || path.ends_with("{}");
            assert!(is_element || map.contains_key("description"), "{path}");
        });
    }
}

#[test]
fn versions_are_all_served_and_one_is_stored() {
    for crd in crds() {
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert!(versions.iter().all(|v| v["served"] == true));
        assert_eq!(versions.iter().filter(|v| v["storage"] == true).count(), 1);
        assert!(
            versions
                .iter()
                .all(|v| v["subresources"]["status"].is_object())
        );
    }
    assert_eq!(crds().len(), 15);
}

#[test]
fn durations_are_strings_and_enums_are_enums_of_strings() {
    let schema = schema_of("VirtualService");
    let rule = &schema["properties"]["spec"]["properties"]["http"]["items"]["properties"];
    assert_eq!(rule["timeout"]["type"], "string");
    assert_eq!(
        rule["redirect"]["properties"]["derivePort"]["enum"],
        json!(["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"])
    );
    let destination = &rule["route"]["items"];
    assert_eq!(destination["required"], json!(["destination"]));
    assert_eq!(
        destination["properties"]["destination"]["required"],
        json!(["host"])
    );
    assert_eq!(destination["properties"]["weight"]["format"], "int32");
    assert_eq!(
        rule["match"]["items"]["properties"]["port"]["maximum"],
        json!(u32::MAX)
    );
}
