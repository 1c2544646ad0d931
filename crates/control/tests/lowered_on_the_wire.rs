//! Whatever an object says that is accepted, proxies can read what comes of it: the bounds of
//! validation lie within those of the protocol.

use lateen_api::{Settings, lower, yaml};
use lateen_model::ResourceName;
use lateen_xds::proto;
use serde_json::{Value, json};

/// Every field of routes, policies and services that reaches a proxy.
const OBJECTS: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec:
  hosts: [a, '*.b.com']
  gateways: [mesh, g]
  exportTo: [.]
  http:
  - name: n
    match: [{uri: {prefix: /a}, headers: {x: {regex: '.*'}}, queryParams: {q: {}}, port: 80, gateways: [mesh]}]
    rewrite: {uri: /, authority: b}
    timeout: 1s
    retries: {attempts: 2, perTryTimeout: 1s, retryOn: '5xx,503', backoff: 1ms, retryRemoteLocalities: true}
    fault: {delay: {fixedDelay: 1s, percentage: {value: 1.5}}, abort: {grpcStatus: UNAVAILABLE, percentage: {value: 1}}}
    mirrors: [{destination: {host: m, port: {number: 1}}, percentage: {value: 1}}]
    corsPolicy: {allowOrigins: [{exact: a}], allowMethods: [GET], maxAge: 1s, unmatchedPreflights: IGNORE}
    headers: {request: {set: {a: '%REQ(x)%'}, add: {c: d}, remove: [b]}}
    route:
    - {destination: {host: a, subset: v1, port: {number: 80}}, weight: 1, headers: {response: {set: {x: y}}}}
    - {destination: {host: b}, weight: 3}
  - rewrite: {uriRegexRewrite: {match: a, rewrite: b}}
    fault: {abort: {httpStatus: 500}}
    mirror: {host: m}
    mirrorPercentage: {value: 3}
    route: [{destination: {host: a}}]
  - {match: [{uri: {prefix: /p}}], redirect: {prefixRewrite: /x, port: 80, scheme: https, redirectCode: 308}}
  - {redirect: {uri: /x, authority: b, derivePort: FROM_REQUEST_PORT}}
  - directResponse: {status: 200, body: {bytes: YQ==}}
  - delegate: {name: d, namespace: e}
  tls: [{match: [{sniHosts: [x.b.com], destinationSubnets: [10.0.0.0/8], port: 1}], route: [{destination: {host: a}}]}]
  tcp: [{match: [{port: 1, sourceNamespace: x}], route: [{destination: {host: a}, weight: 1}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec:
  host: a
  trafficPolicy:
    loadBalancer:
      consistentHash: {httpCookie: {name: c, path: /, ttl: 0s, attributes: [{name: a, value: b}]}, maglev: {tableSize: 65537}}
      localityLbSetting: {distribute: [{from: a/b/*, to: {c/d: 100}}], failoverPriority: [a]}
    connectionPool:
      tcp: {maxConnections: 1, connectTimeout: 1s, idleTimeout: 0s, maxConnectionDuration: 1s, tcpKeepalive: {probes: 1, time: 1s, interval: 1s}}
      http: {http1MaxPendingRequests: 1, http2MaxRequests: 1, maxRequestsPerConnection: 1, maxRetries: 1, idleTimeout: 1s, h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 1, http2KeepAlive: {interval: 1s, timeout: 1s}}
    outlierDetection: {consecutive5xxErrors: 1, consecutiveGatewayErrors: 1, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 1, interval: 1s, baseEjectionTime: 1s, maxEjectionPercent: 10, minHealthPercent: 1, outlierDetectionHttpErrorCodes: [5xx]}
    tls: {mode: SIMPLE, sni: a, subjectAltNames: [b]}
    retryBudget: {percent: 10, minRetryConcurrency: 1}
    portLevelSettings:
    - {port: {number: 80}, loadBalancer: {consistentHash: {httpHeaderName: x, ringHash: {minimumRingSize: 7}}}}
    - {port: {number: 81}, loadBalancer: {consistentHash: {httpQueryParameterName: x, minimumRingSize: 7}, localityLbSetting: {failover: [{from: a, to: b}]}}}
    - {port: {number: 82}, loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 1s, minimumPercent: 1, aggression: 1.5}}}
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {warmupDurationSecs: 1s}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [ns/a.com], tls: {httpsRedirect: true}, bind: 0.0.0.0}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e, namespace: shop}
spec: {hosts: [e.com], addresses: [10.0.0.0/8], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: STATIC, location: MESH_INTERNAL, endpoints: [{address: 10.0.0.1, ports: {http: 1}, weight: 1, labels: {a: b}}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: d, namespace: shop}
spec: {hosts: [e.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, endpoints: [{address: f.com, ports: {http: 1}, weight: 1}]}
";

/// What is put in the place of every value.
fn intruders() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(17),
        json!(700),
        json!(65_536),
        json!(i32::MAX),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(0.000_1),
        json!(1e300),
        json!(""),
        json!("*"),
        json!("/"),
        json!("0s"),
        json!("87600000h"),
        json!("a".repeat(300)),
        json!([]),
        json!([""]),
        json!([{}]),
        json!({}),
        json!({"": ""}),
        json!({"": {}}),
    ]
}

/// The JSON pointers of everything in a value.
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

/// Answers whether the object was accepted.
fn is_read_as_it_was_written(object: &Value) -> bool {
    let Ok(lowered) = lower(object, &Settings::default()) else {
        return false;
    };
    for resource in lowered.resources {
        let ResourceName(name) = &resource.name;
        let read = proto::decode_resource(name, &proto::encode_resource(&resource));
        let error = read.as_ref().err();
        assert!(read.as_ref() == Ok(&resource), "{error:?} {object}");
    }
    for endpoints in lowered.endpoints {
        let name = endpoints.service.to_string();
        let read = proto::decode_endpoints(&name, &proto::encode_endpoints(&endpoints));
        let error = read.as_ref().err();
        assert!(read.as_ref() == Ok(&endpoints), "{error:?} {object}");
    }
    true
}

#[test]
fn what_is_accepted_is_read_by_proxies_as_it_was_written() {
    for document in yaml::documents(OBJECTS).expect("it is YAML") {
        let object = document.value;
        assert!(is_read_as_it_was_written(&object), "{object}");
        let mut found = Vec::new();
        places(&object["spec"], "/spec", &mut found);
        for place in found {
            for intruder in intruders() {
                let mut changed = object.clone();
                *changed.pointer_mut(&place).expect("it was found there") = intruder;
                is_read_as_it_was_written(&changed);
            }
        }
    }
}
