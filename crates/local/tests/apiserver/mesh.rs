//! The mesh's own definitions and its samples.

use crate::support::Served;

#[test]
fn every_definition_of_the_mesh_is_served_in_every_version() {
    let served = Served::start();
    let definitions = lateen_api::crd::crds();
    assert!(!definitions.is_empty());
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": definitions});
    served.apply(&list.to_string());
    let waiting = served.kubectl("wait --for=condition=established crd --all --timeout=5s");
    assert_eq!(waiting.lines().count(), definitions.len());
    for definition in &definitions {
        let spec = &definition["spec"];
        let (group, plural) = (spec["group"].as_str().unwrap(), &spec["names"]["plural"]);
        for version in spec["versions"].as_array().unwrap() {
            let version = version["name"].as_str().unwrap();
            let list = served.kubectl(&format!(
                "get --raw /apis/{group}/{version}/{}",
                plural.as_str().unwrap()
            ));
            assert!(list.contains("\"items\":[]"), "{list}");
        }
    }
}

#[test]
fn the_samples_of_bookinfo_apply() {
    let served = Served::start();
    let definitions = lateen_api::crd::crds();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": definitions});
    served.apply(&list.to_string());
    let samples = "../../samples/bookinfo";
    for folder in ["platform/kube", "networking"] {
        for entry in std::fs::read_dir(format!("{samples}/{folder}")).unwrap() {
            let path = entry.unwrap().path();
            let yaml = std::fs::read_to_string(&path).unwrap();
            let said = served.apply(&yaml);
            assert!(!said.is_empty(), "{}", path.display());
            // A second time it is what it was, or what another sample made of it.
            served.apply(&yaml);
        }
    }
    let table = served.kubectl("get vs,dr,gw");
    assert!(
        table.contains("virtualservice.networking.istio.io/"),
        "{table}"
    );
}
