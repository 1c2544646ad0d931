//! Whatever stands in an object, and wherever, nothing panics, and what is lowered keeps the
//! model's promises. The webhook, the control plane and the command line all read what anybody may
//! write.

use lateen_api::analyze::{self, Entry, Options, Origin};
use lateen_api::{Settings, lower, validate, yaml};
use lateen_model::Body;
use lateen_model::http::{HttpAction, HttpRule};
use serde_json::{Value, json};

const RICH: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop, labels: {a: b}, annotations: {istio.io/rev: a}, creationTimestamp: '2024-02-29T12:34:56Z', generation: 1}
spec:
  hosts: [a, '*.b.com']
  gateways: [mesh, g]
  exportTo: [.]
  http:
  - match: [{uri: {prefix: /a}, headers: {x: {regex: '.*'}}, port: 80, gateways: [mesh]}, {queryParams: {q: {}}}]
    rewrite: {uri: /}
    retries: {attempts: 2, perTryTimeout: 1s, retryOn: 5xx}
    fault: {delay: {fixedDelay: 1s, percentage: {value: 1.5}}}
    mirror: {host: m}
    corsPolicy: {allowOrigins: [{exact: a}], maxAge: 1s}
    headers: {request: {set: {a: '%REQ(x)%'}, remove: [b]}}
    route: [{destination: {host: a, subset: v1, port: {number: 80}}, weight: 1}, {destination: {host: b}, weight: 3}]
  - redirect: {uri: /x}
  - directResponse: {status: 200, body: {string: x}}
  tls: [{match: [{sniHosts: [x.b.com], destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a}}]}]
  tcp: [{match: [{port: 1}], route: [{destination: {host: a}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a
  trafficPolicy:
    loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}, maglev: {tableSize: 65537}}, localityLbSetting: {distribute: [{from: a/b/*, to: {c/d: 100}}]}}
    connectionPool: {tcp: {maxConnections: 1, idleTimeout: 0s}, http: {http2KeepAlive: {interval: 1s, timeout: 1s}}}
    outlierDetection: {interval: 1s, maxEjectionPercent: 10}
    tls: {mode: SIMPLE, sni: a}
    portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [ns/a.com], tls: {mode: SIMPLE, credentialName: c}, bind: 0.0.0.0}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e}
spec: {hosts: [e.com], addresses: [10.0.0.0/8], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: STATIC, location: MESH_INTERNAL, endpoints: [{address: 10.0.0.1, ports: {http: 1}, weight: 1, labels: {a: b}}]}
status: {addresses: [{value: 240.240.0.1, host: e.com}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s}
spec: {workloadSelector: {labels: {a: b}}, egress: [{port: {number: 1, protocol: HTTP}, hosts: [./*]}], ingress: [{port: {number: 2, protocol: TCP}, defaultEndpoint: '127.0.0.1:1'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, annotations: {istio.io/dry-run: 'true'}}
spec: {selector: {matchLabels: {a: b}}, rules: [{from: [{source: {ipBlocks: [10.0.0.0/8]}}], to: [{operation: {ports: ['80']}}], when: [{key: source.ip, values: [10.0.0.1]}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {selector: {a: b}, ports: [{port: 80, name: http, targetPort: web, protocol: TCP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop, labels: {a: b}, annotations: {sidecar.istio.io/inject: 'true'}}
spec: {containers: [{name: c, securityContext: {runAsUser: 1}}]}
status: {phase: Running}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
";

/// What is put in the place of every value.
fn intruders() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(65_536),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("*"),
        json!("/"),
        json!("\u{0}é%("),
        json!("a".repeat(300)),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": {}}),
    ]
}

/// Every place in a value, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(child, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, child) in list.iter().enumerate() {
                places(child, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn promises_hold(object: &Value) {
    let report = validate(object);
    let lowered = lower(object, &Settings::default());
    assert_eq!(report.is_valid(), lowered.is_ok(), "{object}");
    for resource in lowered.into_iter().flat_map(|lowered| lowered.resources) {
        if let Body::VirtualService(routes) = resource.body {
            let names_hosts = object["spec"]["hosts"]
                .as_array()
                .is_some_and(|hosts| !hosts.is_empty());
            assert_eq!(routes.hosts.is_empty(), !names_hosts, "{object}");
            assert!(!routes.gateways.is_empty(), "{object}");
            assert!(routes.http.iter().all(does_something), "{object}");
            assert!(
                routes.tls.iter().all(|rule| !rule.matches.is_empty()),
                "{object}"
            );
        }
    }
}

/// What proxies rely on.
fn does_something(rule: &HttpRule) -> bool {
    match &rule.action {
        HttpAction::Route(route) => !route.is_empty(),
        HttpAction::Redirect(redirect) => matches!(redirect.code, 301 | 302 | 303 | 307 | 308),
        HttpAction::DirectResponse(response) => (200..=600).contains(&response.status),
        HttpAction::Delegate { namespace, name } => !namespace.is_empty() && !name.is_empty(),
    }
}

#[test]
fn no_value_anywhere_makes_anything_panic() {
    let objects: Vec<Value> = yaml::documents(RICH)
        .unwrap()
        .into_iter()
        .map(|document| document.value)
        .collect();
    let entry = |value: &Value| Entry {
        value: value.clone(),
        origin: Origin::Cluster,
    };
    let options = Options {
        all_namespaces: true,
        ..Options::default()
    };
    for (index, object) in objects.iter().enumerate() {
        assert!(
            index > 5 || validate(object).is_valid(),
            "{}",
            validate(object)
        );
        let mut found = Vec::new();
        places(object, "", &mut found);
        for place in found {
            for intruder in intruders() {
                let mut changed = object.clone();
                *changed.pointer_mut(&place).unwrap() = intruder;
                if index <= 5 && changed["kind"] == object["kind"] {
                    promises_hold(&changed);
                }
                // Beside Kubernetes' objects, which are cheap to read.
                let mut entries: Vec<Entry> = objects[6..].iter().map(entry).collect();
                entries.insert(0, entry(&changed));
                analyze::analyze(&entries, &options, &|_| Vec::new());
            }
        }
    }
}

fn object(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": { "name": "a", "namespace": "shop" },
        "spec": spec,
    })
}

fn list(count: usize, entry: impl Fn(usize) -> Value) -> Vec<Value> {
    (0..count).map(entry).collect()
}

fn large_routes() -> Vec<(Value, bool)> {
    let route = json!([{ "destination": { "host": "a" } }]);
    let http = json!([{ "route": route }]);
    let hosts = |entry: &dyn Fn(usize) -> String| {
        let hosts = list(100_000, |i| entry(i).into());
        object("VirtualService", &json!({ "hosts": hosts, "http": http }))
    };
    let rule = |part: usize| {
        let block = |i: usize| json!({ "uri": { "exact": format!("/{part}{i}") } });
        json!({ "match": list(30_000, block), "route": route })
    };
    let rules = json!({ "hosts": ["a"], "http": [rule(1), rule(2)] });
    let names = list(40_000, |i| format!("h{i}.a").into());
    let tls = json!([{ "match": [{ "sniHosts": names }], "route": route }]);
    let namespaces = list(100_000, |i| format!("n{i}").into());
    let exported = json!({ "hosts": ["a"], "http": http, "exportTo": namespaces });
    vec![
        (hosts(&|i| format!("h{i}.a")), true),
        (hosts(&|_| "h.a".into()), false),
        (hosts(&|i| format!("*.{}a", "a.".repeat(i % 50))), false),
        (object("VirtualService", &rules), true),
        (
            object("VirtualService", &json!({ "hosts": names, "tls": tls })),
            true,
        ),
        (object("VirtualService", &exported), true),
    ]
}

fn large_others() -> Vec<Value> {
    let subset = |i: usize| json!({ "name": format!("v{i}") });
    let subsets = json!({ "host": "a", "subsets": list(60_000, subset) });
    let share = |i: usize| json!({ "from": format!("r{i}"), "to": { "r": 100 } });
    let balancer = json!({ "localityLbSetting": { "distribute": list(30_000, share) } });
    let shares = json!({ "host": "a", "trafficPolicy": { "loadBalancer": balancer } });
    let server = |i: usize| {
        let port = json!({ "number": 80, "protocol": "HTTP", "name": format!("p{i}") });
        json!({ "port": port, "hosts": ["*"] })
    };
    let servers = json!({ "servers": list(15_000, server) });
    let hosts = list(60_000, |i| format!("./h{i}.a").into());
    vec![
        object("DestinationRule", &subsets),
        object("DestinationRule", &shares),
        object("Gateway", &servers),
        object("Sidecar", &json!({ "egress": [{ "hosts": hosts }] })),
    ]
}

/// Objects of about a megabyte, which is as much as the API server takes. To compare each entry with
/// each other would take minutes, and each pair that is alike a message.
#[test]
fn an_object_of_a_megabyte_keeps_nobody_waiting() {
    let others = large_others().into_iter().map(|object| (object, true));
    for (object, is_valid) in large_routes().into_iter().chain(others) {
        let report = validate(&object);
        assert_eq!(report.is_valid(), is_valid, "{report}");
        assert!(report.to_string().len() < 10_000);
    }
}
