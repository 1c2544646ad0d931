//! The index as a value: objects as the API server sends them in, decoded resources out.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use lateen_model::endpoint::{Endpoints, Health};
use lateen_model::proxy::{Proxy, Role};
use lateen_model::service::{Resolution, Service as ModelService};
use lateen_model::workload::Workload;
use lateen_xds::proto;
use proptest::prelude::*;
use serde_json::json;

use super::*;

mod scoping;

fn index() -> Index {
    let place = Place {
        cluster: "Kubernetes".into(),
        revision: "default".into(),
        mesh_source: ObjectRef {
            kind: "ConfigMap".into(),
            namespace: "istio-system".into(),
            name: "istio".into(),
        },
    };
    Index::new(place, MeshConfig::new("cluster.local", "istio-system"))
}

fn with(inputs: impl IntoIterator<Item = Input>) -> Index {
    let mut index = index();
    for input in inputs {
        index.apply(input);
    }
    index.settle();
    index
}

fn service(value: Value) -> Input {
    let object: core::Service = serde_json::from_value(value).unwrap();
    Input::Service(Key::of(&object.metadata), Service::read(&object))
}

fn pod(value: Value) -> Input {
    let object: core::Pod = serde_json::from_value(value).unwrap();
    Input::Pod(Key::of(&object.metadata), Pod::read(&object))
}

fn slice(value: Value) -> Input {
    let object: EndpointSlice = serde_json::from_value(value).unwrap();
    Input::Slice(Key::of(&object.metadata), Slice::read(&object).unwrap())
}

fn istio(kind: &str, name: &str, created: &str, spec: &Value) -> Input {
    Input::Istio(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": { "name": name, "namespace": "default", "creationTimestamp": created },
        "spec": spec,
    }))
}

fn reviews() -> Input {
    service(json!({
        "metadata": { "name": "reviews", "namespace": "default",
                      "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": {
            "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
            "selector": { "app": "reviews" },
            "ports": [
                { "name": "http", "port": 80, "targetPort": "web" },
                { "name": "udp", "port": 53, "protocol": "UDP" },
            ],
        },
    }))
}

fn reviews_pod(name: &str, address: &str, version: &str) -> Input {
    pod(json!({
        "metadata": {
            "name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "app": "reviews", "version": version,
                        "security.istio.io/tlsMode": "istio", "pod-template-hash": "abc" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                                  "name": format!("reviews-{version}-abc"), "controller": true }],
        },
        "spec": {
            "serviceAccountName": "bookinfo-reviews", "nodeName": "n1",
            "containers": [{ "name": "reviews",
                             "ports": [{ "name": "web", "containerPort": 9080 }] }],
            "initContainers": [{ "name": "istio-proxy", "restartPolicy": "Always",
                                 "args": ["sidecar"] }],
        },
        "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
                    "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
}

fn reviews_slice(name: &str, endpoints: &[(&str, &str, Value)]) -> Input {
    let endpoints = endpoints.iter().map(|(address, pod, conditions)| {
        json!({
            "addresses": [address],
            "conditions": conditions,
            "targetRef": { "kind": "Pod", "name": pod, "namespace": "default" },
        })
    });
    slice(json!({
        "metadata": { "name": name, "namespace": "default",
                      "labels": { "kubernetes.io/service-name": "reviews" } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 9080, "protocol": "TCP" }],
        "endpoints": endpoints.collect::<Vec<_>>(),
    }))
}

fn ready() -> Value {
    json!({ "ready": true, "serving": true, "terminating": false })
}

fn bookinfo() -> Vec<Input> {
    vec![
        reviews(),
        reviews_pod("reviews-v1-1", "10.244.0.4", "v1"),
        reviews_pod("reviews-v2-1", "10.244.0.5", "v2"),
        reviews_slice(
            "reviews-x",
            &[
                ("10.244.0.4", "reviews-v1-1", ready()),
                ("10.244.0.5", "reviews-v2-1", ready()),
            ],
        ),
        Input::Node("n1".into(), "r1/z1".into()),
        istio(
            "VirtualService",
            "reviews",
            "2026-01-01T00:00:00Z",
            &json!({
                "hosts": ["reviews"],
                "http": [{ "route": [
                    { "destination": { "host": "reviews", "subset": "v1" }, "weight": 75 },
                    { "destination": { "host": "reviews", "subset": "v2" }, "weight": 25 },
                ] }],
            }),
        ),
        istio(
            "DestinationRule",
            "reviews",
            "2026-01-01T00:00:00Z",
            &json!({ "host": "reviews", "subsets": [
                { "name": "v1", "labels": { "version": "v1" } },
                { "name": "v2", "labels": { "version": "v2" } },
            ] }),
        ),
    ]
}

const REVIEWS: &str = "default/reviews.default.svc.cluster.local";

fn find<'a>(index: &'a Index, kind: Kind, name: &str) -> Option<&'a Output> {
    let name = OutputName {
        kind,
        name: name.into(),
    };
    index.snapshot().remove(&name)
}

fn endpoints(index: &Index, name: &str) -> Endpoints {
    let output = find(index, Kind::Endpoints, name).unwrap();
    proto::decode_endpoints(name, &output.bytes).unwrap()
}

fn body(index: &Index, name: &str) -> Body {
    let output = find(index, Kind::Config, name).unwrap();
    proto::decode_resource(name, &output.bytes).unwrap().body
}

fn proxy(index: &Index, name: &str) -> Proxy {
    match body(index, name) {
        Body::Proxy(proxy) => proxy,
        other => panic!("{other:?}"),
    }
}

fn model_service(index: &Index, name: &str) -> ModelService {
    match body(index, name) {
        Body::Service(service) => service,
        other => panic!("{other:?}"),
    }
}

fn workload(index: &Index, address: &str) -> Workload {
    let output = find(index, Kind::Workload, address).unwrap();
    proto::decode_workload(address, &output.bytes).unwrap()
}

fn names(changes: &[Change]) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Set { kind, name, .. } => format!("{kind} {name}"),
        Change::Remove { kind, name } => format!("gone {kind} {name}"),
        Change::View { name, .. } => format!("view {name}"),
    };
    changes.iter().map(name).collect()
}

#[test]
fn endpoints_carry_what_their_pods_and_nodes_say() {
    let index = with(bookinfo());
    let endpoints = endpoints(&index, REVIEWS);
    assert_eq!(endpoints.endpoints.len(), 2);
    let first = &endpoints.endpoints[0];
    assert_eq!(first.address.to_string(), "10.244.0.4");
    assert_eq!(first.ports, [(80, 9080)]);
    assert_eq!(first.labels["version"], "v1");
    assert_eq!(first.locality, "r1/z1");
    assert_eq!(first.service_account, "bookinfo-reviews");
    assert!(first.is_meshed);
}

#[test]
fn conditions_of_an_endpoint_become_its_health() {
    let condition = |ready: bool, serving: bool, terminating: bool| json!({ "ready": ready, "serving": serving, "terminating": terminating });
    for (conditions, health) in [
        (condition(true, true, false), Health::Ready),
        (condition(false, true, true), Health::Draining),
        (condition(false, false, true), Health::NotReady),
        (condition(false, false, false), Health::NotReady),
        (json!({}), Health::Ready),
        (json!({ "ready": false }), Health::NotReady),
    ] {
        let index = with([
            reviews(),
            reviews_pod("p", "10.244.0.4", "v1"),
            reviews_slice("s", &[("10.244.0.4", "p", conditions.clone())]),
        ]);
        assert_eq!(
            endpoints(&index, REVIEWS).endpoints[0].health,
            health,
            "{conditions}"
        );
    }
}

#[test]
fn an_endpoint_waits_for_its_pod() {
    let mut index = with([
        reviews(),
        reviews_slice("s", &[("10.244.0.4", "p", ready())]),
    ]);
    assert!(endpoints(&index, REVIEWS).endpoints.is_empty());
    index.apply(reviews_pod("p", "10.244.0.4", "v1"));
    index.settle();
    assert_eq!(endpoints(&index, REVIEWS).endpoints.len(), 1);
}

#[test]
fn an_endpoint_without_a_pod_needs_none() {
    let manual = slice(json!({
        "metadata": { "name": "s", "namespace": "default",
                      "labels": { "kubernetes.io/service-name": "reviews" } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8000 }],
        "endpoints": [{ "addresses": ["192.168.1.1"], "zone": "z9" }],
    }));
    let index = with([reviews(), manual]);
    let endpoints = endpoints(&index, REVIEWS);
    assert_eq!(endpoints.endpoints[0].ports, [(80, 8000)]);
    assert_eq!(endpoints.endpoints[0].locality, "/z9");
}

#[test]
fn an_address_in_two_slices_is_one_endpoint_with_the_better_health() {
    let index = with([
        reviews(),
        reviews_pod("p", "10.244.0.4", "v1"),
        reviews_slice("a", &[("10.244.0.4", "p", json!({ "ready": false }))]),
        reviews_slice("b", &[("10.244.0.4", "p", ready())]),
    ]);
    let endpoints = endpoints(&index, REVIEWS);
    assert_eq!(endpoints.endpoints.len(), 1);
    assert_eq!(endpoints.endpoints[0].health, Health::Ready);
    assert_eq!(endpoints.endpoints[0].ports, [(80, 9080)]);
}

#[test]
fn headless_services_and_external_names_lead_where_kubernetes_leads() {
    let headless = service(json!({
        "metadata": { "name": "db", "namespace": "default" },
        "spec": { "clusterIP": "None", "clusterIPs": ["None"], "selector": { "app": "db" },
                  "ports": [{ "name": "tcp", "port": 5432 }] },
    }));
    let external = service(json!({
        "metadata": { "name": "out", "namespace": "default" },
        "spec": { "type": "ExternalName", "externalName": "example.com" },
    }));
    let index = with([headless, external]);
    let db = model_service(&index, "Service/default/db.default.svc.cluster.local");
    assert_eq!(db.resolution, Resolution::OriginalDst);
    assert!(
        find(
            &index,
            Kind::Endpoints,
            "default/db.default.svc.cluster.local"
        )
        .is_some()
    );
    let out = model_service(&index, "Service/default/out.default.svc.cluster.local");
    assert!(matches!(out.resolution, Resolution::Alias(_)));
    assert!(
        find(
            &index,
            Kind::Endpoints,
            "default/out.default.svc.cluster.local"
        )
        .is_none()
    );
}

#[test]
fn pods_of_a_stateful_set_keep_their_names_and_a_proxy_is_told_that_it_answers_dns() {
    let pod = |name: &str, address: &str, environment: Value| {
        pod(json!({
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "containers": [{ "name": "db" }, { "name": "istio-proxy",
                                      "args": ["sidecar"], "env": environment }] },
            "status": { "phase": "Running", "podIP": address },
        }))
    };
    let endpoint = |name: &str, address: &str| {
        json!({ "addresses": [address], "hostname": name, "conditions": ready(),
                "targetRef": { "kind": "Pod", "name": name } })
    };
    let index = with([
        service(json!({
            "metadata": { "name": "db", "namespace": "default" },
            "spec": { "clusterIP": "None", "selector": { "app": "db" },
                      "ports": [{ "name": "tcp", "port": 5432 }] },
        })),
        pod(
            "db-0",
            "10.244.0.4",
            json!([{ "name": "ISTIO_META_DNS_CAPTURE", "value": "true" }]),
        ),
        pod("db-1", "10.244.0.5", json!([])),
        slice(json!({
            "metadata": { "name": "db-x", "namespace": "default",
                          "labels": { "kubernetes.io/service-name": "db" } },
            "addressType": "IPv4",
            "ports": [{ "name": "tcp", "port": 5432, "protocol": "TCP" }],
            "endpoints": [endpoint("db-0", "10.244.0.4"), endpoint("db-1", "10.244.0.5")],
        })),
    ]);
    let endpoints = endpoints(&index, "default/db.default.svc.cluster.local");
    let names: Vec<_> = endpoints
        .endpoints
        .iter()
        .map(|one| &*one.hostname)
        .collect();
    assert_eq!(names, ["db-0", "db-1"]);
    assert!(proxy(&index, "Proxy/default/db-0").answers_dns);
    assert!(!proxy(&index, "Proxy/default/db-1").answers_dns);
}

#[test]
fn a_proxy_is_told_its_ports_by_name_and_of_the_oldest_service() {
    let younger = service(json!({
        "metadata": { "name": "a-second", "namespace": "default",
                      "creationTimestamp": "2026-02-01T00:00:00Z" },
        "spec": { "clusterIP": "10.96.0.8", "selector": { "version": "v1" },
                  "ports": [{ "name": "grpc", "port": 81, "targetPort": 9080 },
                            { "name": "tcp-admin", "port": 82, "targetPort": 9999 }] },
    }));
    let mut inputs = bookinfo();
    inputs.push(younger);
    let index = with(inputs);
    let proxy = proxy(&index, "Proxy/default/reviews-v1-1");
    assert_eq!(proxy.role, Role::Sidecar);
    assert_eq!(
        proxy.addresses,
        ["10.244.0.4".parse::<std::net::IpAddr>().unwrap()]
    );
    let ports: Vec<_> = proxy
        .inbound
        .iter()
        .map(|port| (port.port, port.service.host.as_str(), port.service_port))
        .collect();
    let (reviews, second) = (
        &REVIEWS["default/".len()..],
        "a-second.default.svc.cluster.local",
    );
    assert_eq!(ports, [(9080, reviews, 80), (9999, second, 82)]);
    assert!(proxy.gateway_ports.is_empty());
}

#[test]
fn a_gateway_is_told_the_ports_behind_its_service() {
    let gateway = pod(json!({
        "metadata": { "name": "gw-1", "namespace": "default", "labels": { "istio": "ingressgateway" } },
        "spec": { "containers": [{ "name": "istio-proxy", "args": ["gateway"] }] },
        "status": { "phase": "Running", "podIP": "10.244.0.9" },
    }));
    let service = service(json!({
        "metadata": { "name": "gw", "namespace": "default" },
        "spec": { "clusterIP": "10.96.0.9", "selector": { "istio": "ingressgateway" },
                  "ports": [{ "name": "http2", "port": 80, "targetPort": 8080 },
                            { "name": "https", "port": 443, "targetPort": 8443 }] },
    }));
    let object = istio(
        "Gateway",
        "g",
        "2026-01-01T00:00:00Z",
        &json!({ "selector": { "istio": "ingressgateway" }, "servers": [
            { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] }
        ] }),
    );
    let index = with([gateway, service, object]);
    let proxy = proxy(&index, "Proxy/default/gw-1");
    assert_eq!(proxy.role, Role::Gateway);
    assert_eq!(proxy.gateway_ports, [(80, 8080), (443, 8443)]);
    let audience = &find(&index, Kind::Config, "Gateway/default/g")
        .unwrap()
        .audience;
    assert_eq!(audience.role, Some(Role::Gateway));
    assert_eq!(audience.labels["istio"], "ingressgateway");
}

#[test]
fn who_lives_at_an_address_is_known_until_it_ends() {
    let mut index = with(bookinfo());
    let first = workload(&index, "10.244.0.4");
    assert_eq!(
        (first.workload.as_str(), first.node.as_str()),
        ("reviews-v1", "n1")
    );
    assert_eq!(
        (first.app.as_str(), first.version.as_str()),
        ("reviews", "v1")
    );
    // A new pod gets the address while the old one is still listed.
    let mut younger = reviews_pod("reviews-v3-1", "10.244.0.4", "v3");
    if let Input::Pod(_, pod) = &mut younger {
        pod.source.created += 60;
    }
    index.apply(younger);
    index.settle();
    assert_eq!(workload(&index, "10.244.0.4").version, "v3");
    index.delete(InputKind::Pod, Key::new("default", "reviews-v3-1"));
    index.settle();
    assert_eq!(workload(&index, "10.244.0.4").version, "v1");
    index.delete(InputKind::Pod, Key::new("default", "reviews-v1-1"));
    index.settle();
    assert!(find(&index, Kind::Workload, "10.244.0.4").is_none());
}

#[test]
fn a_workload_entry_does_not_rename_the_pod_at_its_address() {
    let entry = |name: &str, address: &str| {
        let spec = json!({ "address": address, "serviceAccount": "admin" });
        istio("WorkloadEntry", name, "2025-01-01T00:00:00Z", &spec)
    };
    let mut index = with([entry("forged", "10.244.0.9"), entry("vm", "192.0.2.1")]);
    assert_eq!(workload(&index, "10.244.0.9").service_account, "admin");
    index.apply(reviews_pod("reviews-1", "10.244.0.9", "v1"));
    index.settle();
    let known = workload(&index, "10.244.0.9");
    assert_eq!(known.pod, "reviews-1");
    assert_eq!(known.service_account, "bookinfo-reviews");
    assert_eq!(workload(&index, "192.0.2.1").pod, "vm");
}

#[test]
fn nothing_is_kept_of_pods_and_slices_that_went() {
    let mut index = with(bookinfo());
    for input in bookinfo() {
        let (kind, key) = key(&input);
        index.delete(kind, key);
    }
    index.settle();
    assert!(index.services_of.is_empty(), "{:?}", index.services_of);
    assert!(index.slices_of.is_empty(), "{:?}", index.slices_of);
}

#[test]
fn a_change_of_one_object_changes_one_name() {
    let mut index = with(bookinfo());
    for input in bookinfo() {
        index.apply(input);
    }
    assert_eq!(names(&index.settle()), [""; 0]);
    index.apply(istio(
        "VirtualService",
        "reviews",
        "2026-01-01T00:00:00Z",
        &json!({ "hosts": ["reviews"], "http": [
            { "route": [{ "destination": { "host": "reviews" } }] }
        ] }),
    ));
    assert_eq!(
        names(&index.settle()),
        ["config VirtualService/default/reviews"]
    );
    let object = Key::new("default", "reviews");
    let kind =
        InputKind::Istio(lateen_api::Kind::find("networking.istio.io", "VirtualService").unwrap());
    index.delete(kind, object);
    assert_eq!(
        names(&index.settle()),
        ["gone config VirtualService/default/reviews"]
    );
}

#[test]
fn a_bad_object_is_not_in_effect_and_changes_nothing_else() {
    let mut index = with(bookinfo());
    let before: Vec<_> = index.snapshot().into_keys().collect();
    let bad = istio(
        "VirtualService",
        "bad",
        "2026-01-01T00:00:00Z",
        &json!({ "hosts": ["a"] }),
    );
    index.apply(bad);
    assert_eq!(names(&index.settle()), [""; 0]);
    assert_eq!(index.snapshot().into_keys().collect::<Vec<_>>(), before);
    let object = ObjectRef {
        kind: "VirtualService".into(),
        namespace: "default".into(),
        name: "bad".into(),
    };
    assert!(!index.verdict(&object).unwrap().errors.is_empty());
    assert!(index.take_judged().contains(&object));
    // The good object that becomes bad is taken out of effect, not kept half.
    index.apply(istio(
        "VirtualService",
        "reviews",
        "2026-01-01T00:00:00Z",
        &json!({ "hosts": [] }),
    ));
    assert_eq!(
        names(&index.settle()),
        ["gone config VirtualService/default/reviews"]
    );
}

fn entry(name: &str, created: &str, port: u16) -> Input {
    istio(
        "ServiceEntry",
        name,
        created,
        &json!({
            "hosts": ["example.com"], "resolution": "DNS",
            "ports": [{ "number": port, "name": "http", "protocol": "HTTP" }],
        }),
    )
}

#[test]
fn of_two_entries_for_one_host_the_older_counts_until_it_goes() {
    let name = "Service/default/example.com";
    let mut index = with([
        entry("b", "2026-01-01T00:00:00Z", 80),
        entry("a", "2026-02-01T00:00:00Z", 81),
    ]);
    assert_eq!(model_service(&index, name).ports[0].number, 80);
    let kind =
        InputKind::Istio(lateen_api::Kind::find("networking.istio.io", "ServiceEntry").unwrap());
    index.delete(kind, Key::new("default", "b"));
    assert_eq!(names(&index.settle()), [format!("config {name}")]);
    assert_eq!(model_service(&index, name).ports[0].number, 81);
}

#[test]
fn an_entry_that_selects_workloads_follows_pods_and_their_proxies_learn_its_port() {
    let entry = istio(
        "ServiceEntry",
        "se",
        "2026-01-01T00:00:00Z",
        &json!({
            "hosts": ["se.internal"], "resolution": "STATIC", "location": "MESH_INTERNAL",
            "ports": [{ "number": 80, "name": "http", "protocol": "HTTP", "targetPort": 7000 }],
            "workloadSelector": { "labels": { "app": "reviews" } },
        }),
    );
    let mut index = with([entry, reviews_pod("p", "10.244.0.4", "v1")]);
    let found = endpoints(&index, "default/se.internal");
    assert_eq!(found.endpoints[0].ports, [(80, 7000)]);
    assert_eq!(proxy(&index, "Proxy/default/p").inbound[0].port, 7000);
    index.delete(InputKind::Pod, Key::new("default", "p"));
    index.settle();
    assert!(
        endpoints(&index, "default/se.internal")
            .endpoints
            .is_empty()
    );
}

#[test]
fn objects_of_another_revision_are_not_ours() {
    let mut object = bookinfo().remove(5);
    if let Input::Istio(value) = &mut object {
        value["metadata"]["labels"] = json!({ "istio.io/rev": "canary" });
    }
    let index = with([object]);
    assert!(find(&index, Kind::Config, "VirtualService/default/reviews").is_none());
}

#[test]
fn settings_of_the_mesh_reach_every_object_that_has_defaults_in_them() {
    let mut index = with(bookinfo());
    let mesh = MeshConfig::new("cluster.local", "istio-system");
    index.set_mesh(mesh.clone());
    assert_eq!(names(&index.settle()), [""; 0]);
    index.set_mesh(
        mesh.read("defaultServiceExportTo: ['.']\naccessLogFile: /dev/stdout")
            .unwrap(),
    );
    let changed = names(&index.settle());
    assert!(
        changed.contains(&"config Mesh/istio-system/istio".to_owned()),
        "{changed:?}"
    );
    assert!(
        changed.contains(&format!("config Service/{REVIEWS}")),
        "{changed:?}"
    );
    let audience = &find(&index, Kind::Endpoints, REVIEWS).unwrap().audience;
    assert_eq!(audience.namespaces, Some(vec!["default".to_owned()]));
}

#[test]
fn rules_go_to_the_kind_of_proxy_that_they_are_for() {
    let rules = |name: &str, gateways: Value| {
        istio(
            "VirtualService",
            name,
            "2026-01-01T00:00:00Z",
            &json!({ "hosts": ["a.example.com"], "gateways": gateways, "http": [
                { "route": [{ "destination": { "host": "reviews" } }] }
            ] }),
        )
    };
    let index = with([
        rules("mesh", json!([])),
        rules("edge", json!(["gw"])),
        rules("both", json!(["mesh", "gw"])),
    ]);
    let role = |name: &str| {
        let name = format!("VirtualService/default/{name}");
        find(&index, Kind::Config, &name).unwrap().audience.role
    };
    assert_eq!(role("mesh"), Some(Role::Sidecar));
    assert_eq!(role("edge"), Some(Role::Gateway));
    assert_eq!(role("both"), None);
}

#[test]
fn a_service_entry_without_addresses_is_given_some_and_keeps_them() {
    let external = || {
        istio(
            "ServiceEntry",
            "external",
            "2026-01-01T00:00:00Z",
            &json!({
                "hosts": ["a.com"], "resolution": "DNS",
                "ports": [{ "number": 443, "name": "tls", "protocol": "TLS" }],
            }),
        )
    };
    let object = ObjectRef {
        kind: "ServiceEntry".into(),
        namespace: "default".into(),
        name: "external".into(),
    };
    let mut index = with([external()]);
    let recorded = |index: &Index| index.verdict(&object).unwrap().addresses.clone();
    let given = recorded(&index).expect("an address");
    let name = "Service/default/a.com";
    assert_eq!(model_service(&index, name).addresses, []);
    let address = given[0]["value"].as_str().unwrap();
    let addresses = model_service(&index, name).allocated;
    assert_eq!(addresses[0].addr().to_string(), address);
    // What the API server brings back changes nothing.
    let Input::Istio(mut value) = external() else {
        panic!("it is one");
    };
    value["status"] = json!({ "addresses": given });
    index.apply(Input::Istio(value));
    index.settle();
    assert_eq!(recorded(&index), None);
    assert_eq!(model_service(&index, name).allocated, addresses);
}

#[test]
fn a_pod_takes_nothing_new_from_the_moment_that_its_deletion_is_known() {
    let mut index = with(bookinfo());
    let health = |index: &Index| -> Vec<Health> {
        let all = endpoints(index, REVIEWS).endpoints;
        all.iter().map(|endpoint| endpoint.health).collect()
    };
    assert_eq!(health(&index), [Health::Ready, Health::Ready]);
    let Input::Pod(key, mut pod) = reviews_pod("reviews-v1-1", "10.244.0.4", "v1") else {
        panic!("it is one");
    };
    pod.is_deleting = true;
    index.apply(Input::Pod(key, pod));
    let changed = names(&index.settle());
    assert!(
        changed.contains(&format!("endpoints {REVIEWS}")),
        "{changed:?}"
    );
    assert_eq!(health(&index), [Health::Draining, Health::Ready]);
}

#[test]
fn a_service_selects_workload_entries_beside_pods() {
    let entry =
        |name: &str, spec: Value| istio("WorkloadEntry", name, "2026-01-01T00:00:00Z", &spec);
    let mut index = with(bookinfo());
    let vm = json!({
        "address": "10.9.0.1", "labels": { "app": "reviews", "version": "v9" },
        "ports": { "web": 9999 }, "weight": 7, "locality": "r/z", "serviceAccount": "vm",
    });
    index.apply(entry("vm", vm));
    index.apply(entry(
        "named",
        json!({ "address": "vm.com", "labels": { "app": "reviews" } }),
    ));
    index.apply(entry(
        "other",
        json!({ "address": "10.9.0.2", "labels": { "app": "ratings" } }),
    ));
    index.apply(entry(
        "socket",
        json!({ "address": "unix:///run/vm.sock", "labels": { "app": "reviews" } }),
    ));
    index.settle();
    let all = endpoints(&index, REVIEWS).endpoints;
    assert_eq!(all.len(), 4);
    assert_eq!(all[3].address.to_string(), "unix:///run/vm.sock");
    let vm = &all[0];
    assert_eq!(vm.address.to_string(), "10.9.0.1");
    assert_eq!((&vm.ports[..], vm.weight), (&[(80, 9999)][..], 7));
    assert_eq!(
        (vm.locality.as_str(), vm.service_account.as_str()),
        ("r/z", "vm")
    );
    assert_eq!(vm.labels["version"], "v9");
    let labels = json!({ "app": "reviews" });
    for (port, count) in [(0, 3), (1, 4)] {
        let spec = json!({ "address": "10.9.0.1", "labels": labels, "ports": { "web": port } });
        index.apply(entry("vm", spec));
        index.settle();
        assert_eq!(endpoints(&index, REVIEWS).endpoints.len(), count);
    }
    let kind = lateen_api::KINDS
        .iter()
        .find(|kind| kind.kind == "WorkloadEntry");
    index.delete(InputKind::Istio(kind.unwrap()), Key::new("default", "vm"));
    index.settle();
    assert_eq!(endpoints(&index, REVIEWS).endpoints.len(), 3);
}

/// One event of a history: an object of the pool is applied in one of two states, or deleted.
fn history() -> impl Strategy<Value = Vec<(usize, u8)>> {
    proptest::collection::vec((0..pool(0).len(), 0..3u8), 0..40)
}

/// Objects that depend on each other, in two states each.
fn pool(state: u8) -> Vec<Input> {
    let version = if state == 0 { "v1" } else { "v2" };
    let mut pool = vec![
        reviews(),
        reviews_pod("p1", "10.244.0.4", version),
        reviews_pod(
            "p2",
            if state == 0 {
                "10.244.0.5"
            } else {
                "10.244.0.4"
            },
            "v2",
        ),
        reviews_slice("s1", &[("10.244.0.4", "p1", ready())]),
        reviews_slice(
            "s2",
            &[("10.244.0.5", if state == 0 { "p2" } else { "p1" }, ready())],
        ),
        Input::Node("n1".into(), format!("r/{version}")),
        istio(
            "Sidecar",
            "sc",
            "2026-01-01T00:00:00Z",
            &json!({
                "workloadSelector": { "labels": { "version": "v2" } },
                "egress": [{ "hosts": [format!("{version}/*"), "./root.com".to_owned()] }],
                "ingress": [{ "port": { "number": 8080 + u16::from(state), "protocol": "HTTP", "name": "a" } }],
                "outboundTrafficPolicy": { "mode": if state == 0 { "ALLOW_ANY" } else { "REGISTRY_ONLY" } },
            }),
        ),
        istio(
            "VirtualService",
            "root",
            "2026-01-01T00:00:00Z",
            &json!({
                "hosts": ["root.com"],
                "exportTo": if state == 0 { json!(["."]) } else { json!(["*"]) },
                "http": [{ "delegate": { "name": "part" } }],
            }),
        ),
        istio(
            "VirtualService",
            "part",
            "2026-01-01T00:00:00Z",
            &json!({ "http": [{ "route": [{ "destination": { "host": version } }] }] }),
        ),
        entry("e1", "2026-01-01T00:00:00Z", 80 + u16::from(state)),
        entry("e2", "2026-01-02T00:00:00Z", 90),
        istio(
            "WorkloadEntry",
            "we",
            "2026-01-01T00:00:00Z",
            &json!({ "address": "10.0.0.1", "labels": { "app": "reviews", "version": version } }),
        ),
        istio(
            "ServiceEntry",
            "se",
            "2026-01-01T00:00:00Z",
            &json!({
                "hosts": ["se.internal"], "resolution": "STATIC",
                "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
                "workloadSelector": { "labels": { "version": version } },
            }),
        ),
    ];
    if state == 1 {
        pool[0] = service(json!({
            "metadata": { "name": "reviews", "namespace": "default" },
            "spec": { "clusterIP": "10.96.0.7", "selector": { "version": "v2" },
                      "ports": [{ "name": "http", "port": 81, "targetPort": 9080 }] },
        }));
    }
    pool
}

fn key(input: &Input) -> (InputKind, Key) {
    match input {
        Input::Service(key, _) => (InputKind::Service, key.clone()),
        Input::Slice(key, _) => (InputKind::Slice, key.clone()),
        Input::Pod(key, _) => (InputKind::Pod, key.clone()),
        Input::Node(name, _) => (InputKind::Node, Key::new("", name)),
        Input::Namespace(name, _) => (InputKind::Namespace, Key::new("", name)),
        Input::Istio(value) => {
            let object = Object(value);
            let key = Key::new(object.namespace(), object.name());
            (InputKind::Istio(object.istio_kind().unwrap()), key)
        }
    }
}

fn play(index: &mut Index, (object, state): (usize, u8)) {
    let input = pool(state.min(1)).remove(object);
    if state == 2 {
        let (kind, key) = key(&input);
        index.delete(kind, key);
    } else {
        index.apply(input);
    }
}

fn owned(index: &Index) -> BTreeMap<OutputName, Output> {
    index
        .snapshot()
        .into_iter()
        .map(|(name, output)| (name, output.clone()))
        .collect()
}

proptest! {
    /// Whatever the order of events of different objects, and however often the index settled in
    /// between, what is in effect depends on the last state of each object only; and what was
    /// reported as changed adds up to it.
    #[test]
    fn any_order_of_the_same_events_gives_the_same_snapshot(
        events in history(),
        settle in proptest::collection::vec(any::<bool>(), 40),
        seed in any::<u64>(),
    ) {
        let mut stepwise = index();
        let mut published = BTreeMap::new();
        let mut views = BTreeMap::new();
        let mut publish = |changes: Vec<Change>| for change in changes {
            match change {
                Change::Set { kind, name, bytes, audience } => {
                    published.insert((kind, name), (bytes, audience));
                }
                Change::Remove { kind, name } => {
                    published.remove(&(kind, name));
                }
                Change::View { name, view, .. } => {
                    views.insert(name, view);
                }
            }
        };
        for (event, settles) in events.iter().zip(settle) {
            play(&mut stepwise, *event);
            if settles {
                publish(stepwise.settle());
            }
        }
        publish(stepwise.settle());

        // Only the last event of each object, in another order, settled once.
        let last: BTreeMap<usize, u8> = events.iter().copied().collect();
        let mut last: Vec<_> = last.into_iter().collect();
        last.sort_by_key(|(object, _)| (*object as u64 + 1).wrapping_mul(seed | 1));
        let mut at_once = index();
        for event in last {
            play(&mut at_once, event);
        }
        let changes = at_once.settle();

        prop_assert_eq!(owned(&stepwise), owned(&at_once));
        views.retain(|_, view| view.is_some());
        let mut views_at_once = BTreeMap::new();
        for change in changes {
            if let Change::View { name, view, .. } = change && view.is_some() {
                views_at_once.insert(name, view);
            }
        }
        prop_assert_eq!(views, views_at_once);
        let published: BTreeMap<_, _> = published
            .into_iter()
            .map(|((kind, name), value)| (OutputName { kind, name }, value))
            .collect();
        let effective: BTreeMap<_, _> = owned(&stepwise)
            .into_iter()
            .map(|(name, output)| (name, (output.bytes, output.audience)))
            .collect();
        prop_assert_eq!(published, effective);
    }
}
