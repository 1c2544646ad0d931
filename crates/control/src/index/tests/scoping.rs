//! What Sidecars and delegation do to who is told what.

use lateen_model::Protocol;
use lateen_model::mesh::OutboundPolicy;
use lateen_model::proxy::InboundPort;
use lateen_xds::server::{Audience, Subject, View};

use super::*;

const AGE: &str = "2026-01-01T00:00:00Z";

/// An object of the networking group in any namespace.
fn object(kind: &str, namespace: &str, name: &str, created: &str, spec: &Value) -> Input {
    Input::Istio(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": { "name": name, "namespace": namespace, "creationTimestamp": created },
        "spec": spec,
    }))
}

fn sidecar(namespace: &str, name: &str, created: &str, spec: &Value) -> Input {
    object("Sidecar", namespace, name, created, spec)
}

fn cluster_service(namespace: &str, name: &str) -> Input {
    service(json!({
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "clusterIP": "10.96.0.9", "ports": [{ "name": "http", "port": 80 }] },
    }))
}

/// What the pod `p1` of the namespace `default` was last told to see.
fn view(changes: &[Change]) -> Option<View> {
    let views = changes.iter().filter_map(|change| match change {
        Change::View { name, view, .. } if name == "p1" => Some(view.clone()),
        _ => None,
    });
    views.last().expect("its view is told")
}

/// The hosts that a proxy with this view sees of services.
fn seen(index: &Index, view: Option<&View>) -> Vec<String> {
    let scope = view.and_then(|view| view.scope.as_deref());
    let is_seen = |output: &Output| match (&output.audience.subject, scope) {
        (Some(subject @ Subject::Service { .. }), Some(scope)) => scope.sees(subject),
        (Some(Subject::Service { .. }), None) => true,
        _ => false,
    };
    let snapshot = index.snapshot();
    let services = snapshot
        .iter()
        .filter(|(name, output)| name.kind == Kind::Config && is_seen(output));
    let host = |name: &OutputName| name.name.rsplit('/').next().unwrap().to_owned();
    services.map(|(name, _)| host(name)).collect()
}

fn mesh() -> Vec<Input> {
    vec![
        reviews_pod("p1", "10.244.0.4", "v1"),
        reviews(),
        cluster_service("other", "a"),
        cluster_service("other", "b"),
    ]
}

/// Applies everything; what `p1` sees of services then.
fn seen_with(more: impl IntoIterator<Item = Input>) -> Vec<String> {
    let mut index = index();
    for input in mesh().into_iter().chain(more) {
        index.apply(input);
    }
    let changes = index.settle();
    seen(&index, view(&changes).as_ref())
}

fn egress(hosts: &[&str]) -> Value {
    json!({ "egress": [{ "hosts": hosts }] })
}

const ALL: [&str; 3] = [
    "reviews.default.svc.cluster.local",
    "a.other.svc.cluster.local",
    "b.other.svc.cluster.local",
];

#[test]
fn without_a_sidecar_every_service_is_seen() {
    assert_eq!(seen_with([]), ALL);
}

#[test]
fn a_sidecar_shows_what_it_imports() {
    let seen = |hosts: &[&str]| seen_with([sidecar("default", "s", AGE, &egress(hosts))]);
    assert_eq!(seen(&["./*"]), ALL[..1]);
    assert_eq!(seen(&["other/a.other.svc.cluster.local"]), ALL[1..2]);
    assert_eq!(seen(&["*/*", "~other/b.other.svc.cluster.local"]), ALL[..2]);
    assert_eq!(seen(&["~/*"]), [""; 0]);
}

#[test]
fn the_most_specific_sidecar_is_in_effect_and_the_oldest_of_several() {
    let old = "2020-01-01T00:00:00Z";
    let selecting = |labels: Value, hosts: &[&str]| {
        let mut spec = egress(hosts);
        spec["workloadSelector"] = json!({ "labels": labels });
        spec
    };
    let root = || sidecar("istio-system", "root", old, &egress(&["~/*"]));
    assert_eq!(seen_with([root()]), [""; 0]);
    let own = || sidecar("default", "own", AGE, &egress(&["./*"]));
    assert_eq!(seen_with([root(), own()]), ALL[..1]);
    let older = sidecar("default", "older", old, &egress(&["other/*"]));
    assert_eq!(seen_with([root(), own(), older]), ALL[1..]);
    let chosen = selecting(json!({ "app": "reviews" }), &["*/*"]);
    let chosen = sidecar("default", "chosen", AGE, &chosen);
    assert_eq!(seen_with([root(), own(), chosen]), ALL);
    let others = selecting(json!({ "app": "ratings" }), &["*/*"]);
    let others = sidecar("default", "others", old, &others);
    assert_eq!(seen_with([own(), others]), ALL[..1]);
    // One of the root namespace that selects is for workloads there.
    let foreign = selecting(json!({ "app": "reviews" }), &["~/*"]);
    let foreign = sidecar("istio-system", "foreign", old, &foreign);
    assert_eq!(seen_with([foreign]), ALL);
}

fn routes(namespace: &str, name: &str, spec: &Value) -> Input {
    object("VirtualService", namespace, name, AGE, spec)
}

fn rule(destination: &str) -> Value {
    json!({ "route": [{ "destination": { "host": destination } }] })
}

#[test]
fn services_that_imported_rules_send_requests_to_are_seen() {
    let own = || sidecar("default", "own", AGE, &egress(&["./*"]));
    let mut mirrored = rule("reviews");
    mirrored["mirror"] = json!({ "host": "b.other.svc.cluster.local" });
    let spec = json!({ "hosts": ["reviews"], "http": [rule("a.other.svc.cluster.local")] });
    assert_eq!(seen_with([own(), routes("default", "r", &spec)]), ALL[..2]);
    let spec = json!({ "hosts": ["reviews"], "http": [mirrored] });
    assert_eq!(
        seen_with([own(), routes("default", "r", &spec)]),
        [ALL[0], ALL[2]]
    );
    // Rules of another namespace, for gateways, or not exported here are not imported.
    let to_a = || vec![rule("a.other.svc.cluster.local")];
    let spec = json!({ "hosts": ["reviews.default.svc.cluster.local"], "http": to_a() });
    assert_eq!(seen_with([own(), routes("third", "r", &spec)]), ALL[..1]);
    let spec = json!({ "hosts": ["reviews"], "gateways": ["g"], "http": to_a() });
    assert_eq!(seen_with([own(), routes("default", "r", &spec)]), ALL[..1]);
    let delegating = json!({ "hosts": ["reviews"], "http": [{ "delegate": { "name": "d" } }] });
    let delegate = json!({ "http": to_a() });
    assert_eq!(
        seen_with([
            own(),
            routes("default", "r", &delegating),
            routes("default", "d", &delegate)
        ]),
        ALL[..2]
    );
}

#[test]
fn a_change_of_rules_or_of_a_sidecar_is_told_to_the_pods_that_it_concerns() {
    let mut index = with(mesh());
    index.apply(sidecar("default", "own", AGE, &egress(&["./*"])));
    let changes = index.settle();
    assert_eq!(seen(&index, view(&changes).as_ref()), ALL[..1]);
    let spec = json!({ "hosts": ["reviews"], "http": [rule("a.other.svc.cluster.local")] });
    index.apply(routes("default", "r", &spec));
    let changes = index.settle();
    assert_eq!(seen(&index, view(&changes).as_ref()), ALL[..2]);
    // Rules that are not imported change nothing.
    index.apply(routes("third", "r", &spec));
    assert!(!names(&index.settle()).contains(&"view p1".to_owned()));
    let kind = lateen_api::KINDS.iter().find(|kind| kind.kind == "Sidecar");
    index.delete(InputKind::Istio(kind.unwrap()), Key::new("default", "own"));
    let changes = index.settle();
    assert_eq!(seen(&index, view(&changes).as_ref()), ALL);
}

#[test]
fn a_gateway_has_no_sidecar() {
    let mut index = index();
    index.apply(sidecar("default", "own", AGE, &egress(&["~/*"])));
    let Input::Pod(key, mut gateway) = reviews_pod("p1", "10.244.0.4", "v1") else {
        panic!("it is one");
    };
    gateway.role = Some(Role::Gateway);
    index.apply(Input::Pod(key, gateway));
    assert_eq!(view(&index.settle()).unwrap().scope, None);
}

#[test]
fn limits_of_a_sidecar_hold_for_the_ports_of_services_too_and_those_of_a_port_first() {
    let limits = |index: &Index| -> Vec<_> {
        let inbound = proxy(index, "Proxy/default/p1").inbound.into_iter();
        let most = |one: InboundPort| (one.port, one.pool.and_then(|it| it.tcp.max_connections));
        inbound.map(most).collect()
    };
    let mut index = with(mesh());
    assert_eq!(limits(&index), [(9080, None)]);
    let most = |number: u32| json!({ "tcp": { "maxConnections": number } });
    let whole = json!({ "inboundConnectionPool": most(9) });
    index.apply(sidecar("default", "own", AGE, &whole));
    index.settle();
    assert_eq!(limits(&index), [(9080, Some(9))]);
    let listed = json!({ "inboundConnectionPool": most(9), "ingress": [
        { "port": { "number": 81, "protocol": "HTTP", "name": "a" } },
        { "port": { "number": 82, "protocol": "HTTP", "name": "b" }, "connectionPool": most(3) },
    ] });
    index.apply(sidecar("default", "own", AGE, &listed));
    index.settle();
    assert_eq!(limits(&index), [(81, Some(9)), (82, Some(3))]);
}

#[test]
fn ports_of_a_sidecar_replace_those_of_services() {
    let ports = |index: &Index| -> Vec<_> {
        let inbound = proxy(index, "Proxy/default/p1").inbound.into_iter();
        let port = |one: InboundPort| {
            let service = one.service.host.as_str().to_owned();
            let endpoint = one.endpoint.map(|endpoint| endpoint.to_string());
            (one.port, one.protocol, service, one.service_port, endpoint)
        };
        inbound.map(port).collect()
    };
    let mut index = with(mesh());
    let service = || ALL[0].to_owned();
    let of_services = [(9080, Protocol::Http, service(), 80, None)];
    assert_eq!(ports(&index), of_services);
    let listener = |number: u16, protocol: &str, endpoint: &str| {
        json!({ "port": { "number": number, "protocol": protocol, "name": "a" },
                "defaultEndpoint": endpoint })
    };
    let ingress =
        |listeners: Value| sidecar("default", "own", AGE, &json!({ "ingress": listeners }));
    index.apply(ingress(json!([listener(9080, "GRPC", "127.0.0.1:8080")])));
    index.settle();
    let local = Some("127.0.0.1:8080".to_owned());
    assert_eq!(
        ports(&index),
        [(9080, Protocol::Grpc, service(), 80, local)]
    );
    index.apply(ingress(json!([
        listener(7000, "TCP", "0.0.0.0:7001"),
        listener(7002, "HTTP", ""),
        listener(7003, "HTTP", "unix:///run/app.sock")
    ])));
    index.settle();
    let own = Some("10.244.0.4:7001".to_owned());
    let socket = Some("unix:///run/app.sock".to_owned());
    assert_eq!(
        ports(&index),
        [
            (7000, Protocol::Tcp, service(), 7000, own),
            (7002, Protocol::Http, service(), 7002, None),
            (7003, Protocol::Http, service(), 7003, socket)
        ]
    );
    let kind = lateen_api::KINDS.iter().find(|kind| kind.kind == "Sidecar");
    index.delete(InputKind::Istio(kind.unwrap()), Key::new("default", "own"));
    index.settle();
    assert_eq!(ports(&index), of_services);
}

#[test]
fn a_workload_without_a_service_serves_the_ports_of_its_sidecar_under_its_own_name() {
    let listener = json!({ "port": { "number": 7000, "protocol": "HTTP", "name": "a" } });
    let spec = json!({ "ingress": [listener] });
    let index = with([
        reviews_pod("p1", "10.244.0.4", "v1"),
        sidecar("default", "own", AGE, &spec),
    ]);
    let inbound = proxy(&index, "Proxy/default/p1").inbound;
    assert_eq!(
        inbound[0].service.to_string(),
        "default/reviews-v1.default.svc.cluster.local"
    );
}

#[test]
fn an_outbound_policy_of_a_sidecar_is_told_to_its_proxies_in_place_of_the_meshs() {
    let mut index = with(mesh());
    let name = "Mesh/default/Sidecar.own";
    let mut spec = egress(&["*/*"]);
    spec["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
    index.apply(sidecar("default", "own", AGE, &spec));
    let view = view(&index.settle()).unwrap();
    let scope = view.scope.unwrap();
    let Body::Mesh(settings) = body(&index, name) else {
        panic!("it is one");
    };
    assert_eq!(settings.outbound_policy, OutboundPolicy::RegistryOnly);
    let sees = |name: &str| {
        let output = find(&index, Kind::Config, name).unwrap();
        scope.sees(output.audience.subject.as_ref().unwrap())
    };
    assert!(sees(name) && !sees("Mesh/istio-system/istio"));
    let origin = index.origin(&config_name(name)).unwrap();
    assert_eq!(origin.to_string(), "Sidecar/default/own");
}

#[test]
fn a_delegate_is_told_to_everybody_who_is_told_of_rules_that_delegate_to_it() {
    let delegate = json!({ "http": [rule("reviews")] });
    let root = |gateways: Value, export_to: Value| {
        json!({
            "hosts": ["a.com"], "gateways": gateways, "exportTo": export_to,
            "http": [{ "delegate": { "name": "part", "namespace": "default" } }],
        })
    };
    let mut index = with([routes("default", "part", &delegate)]);
    let audience = |index: &Index| {
        let output = find(index, Kind::Config, "VirtualService/default/part").unwrap();
        let Audience {
            role,
            namespaces,
            subject,
            ..
        } = &output.audience;
        assert_eq!(*subject, None);
        (*role, namespaces.clone())
    };
    let namespaces = |list: &[&str]| Some(list.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(audience(&index), (None, namespaces(&[])));
    index.apply(routes("x", "one", &root(json!(["g"]), json!(["."]))));
    let changed = names(&index.settle());
    assert!(
        changed.contains(&"config VirtualService/default/part".to_owned()),
        "{changed:?}"
    );
    assert_eq!(audience(&index), (Some(Role::Gateway), namespaces(&["x"])));
    index.apply(routes("y", "two", &root(json!(["mesh"]), json!(["."]))));
    index.settle();
    assert_eq!(audience(&index), (None, namespaces(&["x", "y"])));
    index.apply(routes("z", "three", &root(json!(["mesh"]), json!(["*"]))));
    index.settle();
    assert_eq!(audience(&index), (None, None));
    let kind = lateen_api::KINDS
        .iter()
        .find(|kind| kind.kind == "VirtualService");
    for (namespace, name) in [("x", "one"), ("z", "three")] {
        index.delete(InputKind::Istio(kind.unwrap()), Key::new(namespace, name));
    }
    index.settle();
    assert_eq!(audience(&index), (Some(Role::Sidecar), namespaces(&["y"])));
}
