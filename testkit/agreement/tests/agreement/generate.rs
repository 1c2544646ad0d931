//! Meshes and requests, by the dice of a seed.

use lateen_model::proxy::Role;
use lateen_proxy::random::Random;
use lateen_why::Question;
use serde_json::{Map, Value, json};

use crate::observe::field;

/// The pods whose proxies are asked: a sidecar and a gateway.
pub(crate) const CALLERS: [(&str, &str); 2] = [("default", "web"), ("istio-system", "edge")];

/// The services of every mesh, with the name of their port.
const SERVICES: [(&str, &str); 4] = [("a", "http"), ("b", "http-web"), ("c", ""), ("d", "tcp")];
const PORT: u16 = 9080;
/// The Secret of the gateway's certificate.
pub(crate) const CREDENTIAL: &str = "shown";
/// The hosts that a gateway is asked for.
pub(crate) const SECURE_HOSTS: [&str; 4] = [
    "shop.example",
    "a.example",
    "other.example",
    "elsewhere.test",
];
const DOMAIN: &str = "default.svc.cluster.local";

const PATHS: [&str; 8] = [
    "/",
    "/page",
    "/page/1",
    "/Page",
    "/api/v1/x",
    "/api/v2",
    "/x/../page?q=1",
    "/q?v=2",
];
const HEADERS: [(&str, &str); 5] = [
    ("end-user", "jason"),
    ("end-user", "alice"),
    ("x-v", "2"),
    ("cookie", "a=b; user=x"),
    ("origin", "https://a.example"),
];

/// Takes one of a list.
fn one<'l, T>(random: &Random, list: &'l [T]) -> &'l T {
    &list[below(random, list.len())]
}

fn below(random: &Random, end: usize) -> usize {
    usize::try_from(random.next() >> 33).unwrap() % end
}

/// Answers `true` once in `chances`.
fn once_in(random: &Random, chances: usize) -> bool {
    below(random, chances) == 0
}

/// The mark of a rule, `namespace/name/index`, from `VirtualService/namespace/name rule i match j`.
pub(crate) fn tag_of(rule: &str) -> Option<String> {
    let (object, rest) = rule.split_once(" rule ")?;
    let object = object.strip_prefix("VirtualService/")?;
    Some(format!("{object}/{}", rest.split(' ').next()?))
}

/// The mark of the rule that answered by itself: in the body of an answer, the target of a redirect.
pub(crate) fn mark_of(message: &str) -> Option<String> {
    let (head, body) = message.split_once("\r\n\r\n")?;
    let from_target = || {
        field(head, "location")?
            .split_once("/to/")
            .map(|(_, tag)| tag)
    };
    let tag = body.strip_prefix("rule ").or_else(from_target)?;
    // A redirect keeps the query.
    Some(tag.split('?').next()?.to_owned())
}

/// A mesh: services with pods, and rules for them.
pub(crate) fn mesh(random: &Random) -> Vec<Value> {
    let mut objects = vec![
        pod(
            "default",
            "web",
            &json!({ "app": "web", "version": "v1" }),
            "10.244.0.1",
            "sidecar",
        ),
        pod(
            "istio-system",
            "edge",
            &json!({ "istio": "ingressgateway" }),
            "10.244.0.2",
            "router",
        ),
        json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "edge", "namespace": "istio-system" },
            "spec": { "clusterIP": "10.96.1.1", "selector": { "istio": "ingressgateway" },
                "ports": [{ "name": "http2", "port": 80, "targetPort": 8080 },
                    { "name": "https", "port": 443, "targetPort": 8443 }] } }),
    ];
    let policy = *one(random, &["ALLOW_ANY", "REGISTRY_ONLY"]);
    objects.push(json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "istio", "namespace": "istio-system" },
        "data": { "mesh": format!("outboundTrafficPolicy:\n  mode: {policy}\n") } }));
    for (at, (name, port)) in (1..).zip(SERVICES) {
        service(random, at, name, port, &mut objects);
    }
    for (name, _) in SERVICES.iter().filter(|_| !once_in(random, 4)) {
        let object = virtual_service(random, &format!("vs-{name}"), &json!([name]), None);
        objects.push(object);
    }
    if once_in(random, 2) {
        let hosts = json!([*one(random, &["free.example", "*.free.example", "a"])]);
        objects.push(virtual_service(random, "vs-free", &hosts, None));
    }
    edge(random, &mut objects);
    objects
}

fn pod(namespace: &str, name: &str, labels: &Value, address: &str, role: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": { "containers": [{ "name": "istio-proxy", "args": ["proxy", role] }] },
        "status": { "phase": "Running", "podIP": address,
            "conditions": [{ "type": "Ready", "status": "True" }] } })
}

/// A service with pods of some versions, some of which are not ready, and its subsets.
fn service(random: &Random, at: usize, name: &str, port: &str, objects: &mut Vec<Value>) {
    objects.push(json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "clusterIP": format!("10.96.0.{at}"), "selector": { "app": name },
            "ports": [{ "name": port, "port": PORT, "targetPort": 8000 }] } }));
    let mut endpoints = Vec::new();
    for number in 0..=below(random, 4) {
        let version = *one(random, &["v1", "v2"]);
        let address = format!("10.244.{at}.{number}");
        let pod_name = format!("{name}-{number}");
        let labels = json!({ "app": name, "version": version });
        objects.push(pod("default", &pod_name, &labels, &address, "sidecar"));
        endpoints.push(json!({ "addresses": [address],
            "conditions": { "ready": !once_in(random, 3) },
            "targetRef": { "kind": "Pod", "name": pod_name } }));
    }
    objects.push(
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": name, "namespace": "default",
            "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4", "ports": [{ "name": port, "port": 8000 }],
        "endpoints": endpoints }),
    );
    if !once_in(random, 4) {
        let subsets = json!([{ "name": "v1", "labels": { "version": "v1" } },
            { "name": "v2", "labels": { "version": "v2" } }]);
        objects.push(
            json!({ "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "host": name, "subsets": subsets } }),
        );
    }
}

/// The Gateway and its rules.
fn edge(random: &Random, objects: &mut Vec<Value>) {
    let mut server = json!({ "hosts": [*one(random, &["*", "*.example", "shop.example"])],
        "port": { "number": 80, "name": "http", "protocol": "HTTP" } });
    if once_in(random, 6) {
        server["tls"] = json!({ "httpsRedirect": true });
    }
    let mut servers = vec![server];
    servers.extend(secure(random, objects));
    objects.push(
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": { "name": "edge", "namespace": "default" },
        "spec": { "selector": { "istio": "ingressgateway" }, "servers": servers } }),
    );
    for number in 0..=below(random, 2) {
        let hosts = json!([*one(random, &["shop.example", "*.example", "*", "*"])]);
        let name = format!("vs-edge-{number}");
        objects.push(virtual_service(random, &name, &hosts, Some("edge")));
    }
}

/// Servers for TLS: one that ends it, and one that passes it on, with a rule or without.
fn secure(random: &Random, objects: &mut Vec<Value>) -> Vec<Value> {
    let mut servers = Vec::new();
    if !once_in(random, 4) {
        servers.push(
            json!({ "hosts": [*one(random, &["*", "*.example", "shop.example"])],
            "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
            "tls": { "mode": "SIMPLE", "credentialName": CREDENTIAL } }),
        );
    }
    if once_in(random, 2) {
        let host = *one(random, &["a.example", "elsewhere.test"]);
        servers.push(json!({ "hosts": [host],
            "port": { "number": 443, "name": "tls", "protocol": "TLS" },
            "tls": { "mode": "PASSTHROUGH" } }));
        if !once_in(random, 4) {
            let tls = json!([{ "match": [{ "sniHosts": [host] }],
                "route": [destination(random)] }]);
            objects.push(
                json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": { "name": "vs-passed", "namespace": "default" },
                "spec": { "hosts": [host], "gateways": ["edge"], "tls": tls } }),
            );
        }
    }
    servers
}

fn virtual_service(random: &Random, name: &str, hosts: &Value, gateway: Option<&str>) -> Value {
    let rules: Vec<Value> = (0..=below(random, 4))
        .map(|at| rule(random, &format!("default/{name}/{at}")))
        .collect();
    let mut object = json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "hosts": hosts, "http": rules } });
    if let Some(gateway) = gateway {
        object["spec"]["gateways"] = json!([gateway]);
    }
    object
}

fn rule(random: &Random, tag: &str) -> Value {
    let mut rule = Map::new();
    if once_in(random, 2) {
        let blocks = (0..=below(random, 2)).map(|_| block(random));
        rule.insert("match".into(), blocks.collect());
    }
    match below(random, 8) {
        0 => {
            rule.insert("redirect".into(), json!({ "uri": format!("/to/{tag}") }));
            return Value::Object(rule);
        }
        1 => {
            let body = json!({ "string": format!("rule {tag}") });
            rule.insert(
                "directResponse".into(),
                json!({ "status": 418, "body": body }),
            );
            return Value::Object(rule);
        }
        _ => {}
    }
    let mut route = vec![destination(random)];
    if once_in(random, 3) {
        route[0]["weight"] = 0.into();
        let mut other = destination(random);
        other["weight"] = 100.into();
        route.push(other);
    }
    rule.insert("route".into(), route.into());
    rule.insert(
        "headers".into(),
        json!({ "request": { "set": { "x-rule": tag } } }),
    );
    treat(random, &mut rule);
    Value::Object(rule)
}

/// Adds what is done to requests on their way.
fn treat(random: &Random, rule: &mut Map<String, Value>) {
    if once_in(random, 5) {
        let share = *one(random, &[0, 100]);
        let abort = json!({ "httpStatus": 555, "percentage": { "value": share } });
        rule.insert("fault".into(), json!({ "abort": abort }));
    } else if once_in(random, 6) {
        let delay = json!({ "fixedDelay": "0.2s", "percentage": { "value": 100 } });
        rule.insert("fault".into(), json!({ "delay": delay }));
    }
    if once_in(random, 4) {
        let rewrite = one(
            random,
            &[
                json!({ "uri": "/new" }),
                json!({ "authority": "new.example" }),
                json!({ "uri": "/", "authority": "new.example" }),
                json!({ "uriRegexRewrite": { "match": "/api/(v.)", "rewrite": "/\\1" } }),
            ],
        )
        .clone();
        rule.insert("rewrite".into(), rewrite);
    }
    if once_in(random, 5) {
        rule.insert("timeout".into(), "5s".into());
    }
    if once_in(random, 5) {
        let origins =
            json!([{ "exact": *one(random, &["https://a.example", "https://b.example"]) }]);
        let cors = json!({ "allowOrigins": origins, "allowMethods": ["GET"] });
        rule.insert("corsPolicy".into(), cors);
    }
}

fn destination(random: &Random) -> Value {
    let (name, _) = one(random, &SERVICES[..3]);
    let host = match below(random, 12) {
        0 => "missing".to_owned(),
        1..=3 => format!("{name}.{DOMAIN}"),
        // Short names are of the rule's own namespace, which is theirs.
        _ => (*name).to_owned(),
    };
    let mut destination = json!({ "host": host });
    match below(random, 8) {
        0..=1 => destination["subset"] = "v1".into(),
        2..=3 => destination["subset"] = "v2".into(),
        4 => destination["subset"] = "v3".into(),
        _ => {}
    }
    if once_in(random, 4) {
        destination["port"] = json!({ "number": PORT });
    }
    json!({ "destination": destination })
}

/// One block of conditions.
fn block(random: &Random) -> Value {
    let mut block = Map::new();
    if !once_in(random, 3) {
        let uri = one(
            random,
            &[
                json!({ "prefix": "/page" }),
                json!({ "exact": "/page" }),
                json!({ "regex": "/api/v[12].*" }),
                json!({ "prefix": "/" }),
            ],
        )
        .clone();
        block.insert("uri".into(), uri);
    }
    if once_in(random, 3) {
        let value = one(
            random,
            &[
                json!({ "exact": "jason" }),
                json!({ "prefix": "al" }),
                json!({ "regex": "j.*" }),
                json!({}),
            ],
        )
        .clone();
        block.insert("headers".into(), json!({ "end-user": value }));
    }
    if once_in(random, 6) {
        block.insert("withoutHeaders".into(), json!({ "x-v": { "exact": "2" } }));
    }
    if once_in(random, 6) {
        block.insert(
            "method".into(),
            json!({ "exact": *one(random, &["GET", "POST"]) }),
        );
    }
    if once_in(random, 8) {
        block.insert("queryParams".into(), json!({ "v": { "exact": "2" } }));
    }
    if once_in(random, 8) {
        block.insert("ignoreUriCase".into(), true.into());
    }
    if once_in(random, 8) {
        block.insert("port".into(), (*one(random, &[80, PORT])).into());
    }
    if once_in(random, 8) {
        let labels = json!({ "app": *one(random, &["web", "other"]) });
        block.insert("sourceLabels".into(), labels);
    }
    if block.is_empty() {
        block.insert("uri".into(), json!({ "prefix": "/api" }));
    }
    Value::Object(block)
}

/// A request of a caller.
pub(crate) fn question(random: &Random, role: Role) -> Question {
    let host = match role {
        Role::Gateway => *one(random, &SECURE_HOSTS),
        Role::Sidecar => *one(
            random,
            &[
                "a:9080",
                "b.default:9080",
                "c.default.svc.cluster.local:9080",
                "d:9080",
                "free.example",
                "x.free.example",
                "10.96.0.1:9080",
                "unknown.example:9080",
                "a:9080",
                "b:9080",
            ],
        ),
    };
    let (scheme, port) = match role {
        Role::Gateway => *one(
            random,
            &[("http", ""), ("http", ""), ("https", ""), ("http", ":443")],
        ),
        Role::Sidecar => ("http", ""),
    };
    let path = one(random, &PATHS);
    let mut question = Question::new(&format!("{scheme}://{host}{port}{path}")).unwrap();
    for (name, value) in &HEADERS {
        if once_in(random, 4) {
            question = question.with(name, value);
        }
    }
    match below(random, 8) {
        0 => question.method = "POST".into(),
        1 => {
            question.method = "OPTIONS".into();
            question = question.with("access-control-request-method", "GET");
        }
        _ => {}
    }
    if role == Role::Sidecar && once_in(random, 10) {
        question = question.with("host", "b:9080");
    }
    question
}
