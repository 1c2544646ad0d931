use lateen_model::balancer::Algorithm;
use lateen_model::endpoint::Health;
use lateen_model::gateway::{Certificate, ClientCa, ServerTls, ServerTlsMode, TlsVersion};
use lateen_model::route::{GatewayRef, HttpMatch, StringMatch, ValueMatch, VirtualService};
use lateen_model::service::{Resolution, Service};
use lateen_model::{Host, HostPattern, Protocol};
use serde_json::json;

use super::*;
use crate::yaml;

fn object(text: &str) -> Value {
    yaml::value(text).unwrap()
}

fn lowered(text: &str) -> Lowered {
    lower(&object(text), &Settings::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Lowers a spec of the networking group in namespace `shop`.
fn spec(kind: &str, spec: &str) -> Lowered {
    let object = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": object(spec),
    });
    lower(&object, &Settings::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn virtual_service(text: &str) -> VirtualService {
    match spec("VirtualService", text).resources.pop().unwrap().body {
        Body::VirtualService(routes) => routes,
        other => panic!("{other:?}"),
    }
}

fn services(lowered: &Lowered) -> Vec<&Service> {
    let bodies = lowered.resources.iter().map(|resource| &resource.body);
    bodies
        .map(|body| match body {
            Body::Service(service) => service,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_resource_names_its_object_and_its_age() {
    let lowered = lowered(
        "
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: g, namespace: edge, generation: 7, creationTimestamp: '2024-02-29T12:34:56Z'}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
",
    );
    let resource = &lowered.resources[0];
    assert_eq!(resource.name.0, "Gateway/edge/g");
    assert_eq!(resource.source.object.to_string(), "Gateway/edge/g");
    assert_eq!(
        (resource.source.generation, resource.source.created),
        (7, 1_709_210_096)
    );
}

#[test]
fn what_is_invalid_is_refused_with_its_fields() {
    let text = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: x, namespace: shop}, spec: {hosts: [a], http: [{}]}}";
    let error = lower(&object(text), &Settings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "VirtualService/shop/x is invalid: spec.http[0]: needs one of route, redirect and directResponse"
    );
    let unknown = lower(
        &json!({"apiVersion": "v1", "kind": "Pod"}),
        &Settings::default(),
    );
    assert!(matches!(unknown, Err(Error::UnknownKind { .. })));
}

#[test]
fn names_of_routes_are_expanded_by_the_namespace_of_the_rule() {
    let routes = virtual_service(
        "{hosts: [reviews, '*.example.com', reviews.prod], gateways: [mesh, g, ns/h, ./i, k.n.svc.cluster.local],
          exportTo: ['.'], http: [{route: [{destination: {host: Reviews, subset: v1, port: {number: 9080}}}]}]}",
    );
    let hosts: Vec<String> = routes.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(
        hosts,
        [
            "reviews.shop.svc.cluster.local",
            "*.example.com",
            "reviews.prod"
        ]
    );
    let gateways: Vec<String> = routes
        .gateways
        .iter()
        .map(|gateway| match gateway {
            GatewayRef::Mesh => "mesh".to_owned(),
            GatewayRef::Gateway { namespace, name } => format!("{namespace}/{name}"),
        })
        .collect();
    assert_eq!(gateways, ["mesh", "shop/g", "ns/h", "shop/i", "n/k"]);
    assert_eq!(routes.export_to, ExportTo::Namespaces(vec!["shop".into()]));
    let destination = &routes.http[0].destinations()[0].destination;
    assert_eq!(destination.host.as_str(), "reviews.shop.svc.cluster.local");
    assert_eq!(
        (destination.subset.as_deref(), destination.port),
        (Some("v1"), Some(9080))
    );
    assert_eq!(
        virtual_service("{hosts: [a], http: [{route: [{destination: {host: a}}]}]}").gateways,
        [GatewayRef::Mesh]
    );
}

#[test]
fn weights_of_zero_are_left_out_unless_there_is_one_destination() {
    let weights = |route: &str| -> Vec<u32> {
        let routes = virtual_service(&format!("{{hosts: [a], http: [{{route: [{route}]}}]}}"));
        routes.http[0]
            .destinations()
            .iter()
            .map(|entry| entry.weight)
            .collect()
    };
    assert_eq!(weights("{destination: {host: a}}"), [0]);
    assert_eq!(
        weights(
            "{destination: {host: a}, weight: 75}, {destination: {host: b}}, {destination: {host: c}, weight: 25}"
        ),
        [75, 25]
    );
}

#[test]
fn conditions_are_kept_as_they_are_meant() {
    let routes = virtual_service(
        "
hosts: [a]
http:
- name: first
  match:
  - name: m
    uri: {prefix: /A}
    ignoreUriCase: true
    method: {exact: GET}
    authority: {regex: '.*'}
    headers: {End-User: {exact: jason}, x-any: {}, x-star: {regex: '*'}}
    withoutHeaders: {x-none: {}}
    queryParams: {Q: {prefix: a}}
    port: 80
    sourceLabels: {app: web}
    sourceNamespace: shop
    gateways: [mesh]
  - uri: {}
  route: [{destination: {host: a}}]
",
    );
    let exact = |text: &str| StringMatch::Exact(text.into());
    let expected = HttpMatch {
        name: "m".into(),
        uri: Some(StringMatch::Prefix("/A".into())),
        ignore_uri_case: true,
        scheme: None,
        method: Some(exact("GET")),
        authority: Some(StringMatch::Regex(".*".into())),
        headers: vec![
            ("end-user".into(), ValueMatch::Value(exact("jason"))),
            ("x-any".into(), ValueMatch::Present),
            ("x-star".into(), ValueMatch::Present),
        ],
        without_headers: vec![("x-none".into(), ValueMatch::Present)],
        query_params: vec![(
            "Q".into(),
            ValueMatch::Value(StringMatch::Prefix("a".into())),
        )],
        port: Some(80),
        source_labels: [("app".to_owned(), "web".to_owned())].into(),
        source_namespace: Some("shop".into()),
        gateways: vec![GatewayRef::Mesh],
    };
    assert_eq!(routes.http[0].matches, [expected, HttpMatch::default()]);
    assert_eq!(routes.http[0].name, "first");
}

#[test]
fn rules_for_tls_and_tcp_are_lowered() {
    let routes = virtual_service(
        "
hosts: [a.example.com, '*.b.example', short]
tls:
- match: [{sniHosts: [a.example.com, '*.b.example', short], port: 443, destinationSubnets: [10.0.0.0/8, 192.0.2.1]}]
  route: [{destination: {host: a}}]
tcp:
- match: [{port: 3306}]
  route: [{destination: {host: db, port: {number: 3307}}}]
",
    );
    let tls = &routes.tls[0].matches[0];
    assert_eq!(
        tls.sni_hosts,
        [
            HostPattern::Exact(Host::new("a.example.com")),
            HostPattern::Suffix(".b.example".into()),
            HostPattern::Exact(Host::new("short")),
        ],
        "server names are compared as clients send them"
    );
    assert_eq!(
        tls.l4.destination_subnets,
        [
            "10.0.0.0/8".parse().unwrap(),
            "192.0.2.1/32".parse().unwrap()
        ]
    );
    assert_eq!(routes.tcp[0].matches[0].port, Some(3306));
    assert_eq!(routes.tcp[0].route[0].destination.port, Some(3307));
}

#[test]
fn what_is_not_in_effect_is_listed_by_its_path() {
    let lowered = spec(
        "VirtualService",
        "{hosts: [a], http: [
           {match: [{uri: {exact: /a}}, {statPrefix: x}], route: [{destination: {host: a}}]},
           {match: [{headers: {'@request.auth.claims.sub': {exact: x}}}], route: [{destination: {host: a}}]}],
         gateways: [g]}",
    );
    assert_eq!(
        lowered.unsupported,
        [
            "spec.http[0].match[1].statPrefix",
            "spec.http[1].match[0].headers[@request.auth.claims.sub]",
        ]
    );
    let policy = "{tls: {mode: DISABLE}, loadBalancer: {simple: RANDOM, zoneAwareLbSetting: {}, backendUtilization: {}},
                   retryBudget: {percent: 5, budgetInterval: 1s}, tunnel: {targetHost: a.com, targetPort: 80}}";
    let lowered = spec(
        "DestinationRule",
        &format!(
            "{{host: a, trafficPolicy: {policy}, subsets: [{{name: v1, trafficPolicy:
               {{proxyProtocol: {{version: V1}}, portLevelSettings: [{{port: {{number: 80}}, tls: {{mode: SIMPLE}}}}]}}}}]}}"
        ),
    );
    assert_eq!(
        lowered.unsupported,
        [
            "spec.subsets[0].trafficPolicy.portLevelSettings[0].tls",
            "spec.subsets[0].trafficPolicy.proxyProtocol",
            "spec.trafficPolicy.loadBalancer.backendUtilization",
            "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting",
            "spec.trafficPolicy.retryBudget.budgetInterval",
            "spec.trafficPolicy.tunnel",
        ]
    );
}

#[test]
fn a_delegate_has_a_resource_without_hosts() {
    let delegate = spec(
        "VirtualService",
        "{http: [{route: [{destination: {host: a}}]}]}",
    );
    assert_eq!(delegate.unsupported, [""; 0]);
    let Body::VirtualService(routes) = &delegate.resources[0].body else {
        panic!()
    };
    assert_eq!((routes.hosts.len(), routes.http.len()), (0, 1));
}

#[test]
fn kinds_without_resources_yield_none() {
    let telemetry = json!({
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {},
    });
    let telemetry = lower(&telemetry, &Settings::default()).unwrap();
    assert_eq!(
        (telemetry.resources.len(), telemetry.unsupported),
        (0, vec!["spec".to_owned()])
    );
    let entry = spec("WorkloadEntry", "{address: 10.0.0.1}");
    assert_eq!(entry, Lowered::default());
}

#[test]
fn a_destination_rule_keeps_subsets_and_the_blocks_that_override() {
    let lowered = spec(
        "DestinationRule",
        "
host: reviews
workloadSelector: {matchLabels: {app: web}}
trafficPolicy:
  loadBalancer: {simple: RANDOM}
  portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}, {port: {number: 81}, tls: {mode: DISABLE}}]
subsets:
- {name: v1, labels: {version: v1}}
- {name: all, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}, connectionPool: {tcp: {}}}}
- {name: old, trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}}
",
    );
    assert_eq!(lowered.unsupported, [""; 0]);
    let algorithm = |policy: &lateen_model::destination::PortPolicy| {
        let balancer = policy.load_balancer.as_ref();
        balancer.map(|balancer| balancer.algorithm.clone())
    };
    let Body::DestinationRule(rule) = &lowered.resources[0].body else {
        panic!()
    };
    assert_eq!(rule.host.to_string(), "reviews.shop.svc.cluster.local");
    assert_eq!(
        rule.workload_selector,
        Some([("app".to_owned(), "web".to_owned())].into())
    );
    assert_eq!(
        algorithm(&rule.policy.port_default),
        Some(Algorithm::Random)
    );
    let ports: Vec<_> = rule
        .policy
        .ports
        .iter()
        .map(|(n, p)| (*n, algorithm(p)))
        .collect();
    assert_eq!(ports, [(80, Some(Algorithm::RoundRobin)), (81, None)]);
    let subsets: Vec<_> = rule
        .subsets
        .iter()
        .map(|s| {
            (
                s.name.as_str(),
                s.labels.len(),
                algorithm(&s.policy.port_default),
            )
        })
        .collect();
    assert_eq!(
        subsets,
        [
            ("v1", 1, None),
            ("all", 0, Some(Algorithm::Passthrough)),
            ("old", 0, Some(Algorithm::LeastRequest)),
        ]
    );
}

#[test]
fn a_gateway_serves_its_hosts_and_never_opens_tls_as_plaintext() {
    let lowered = spec(
        "Gateway",
        "
selector: {istio: ingressgateway}
servers:
- {port: {number: 80, name: http, protocol: http}, hosts: ['*', ./a.com, 'ns/*.b.com', '*/c.com'], tls: {httpsRedirect: true}}
- {port: {number: 443, name: https, protocol: HTTPS}, hosts: [d.com], tls: {mode: SIMPLE, credentialName: c}}
- {port: {number: 8443, name: tls, protocol: TLS}, hosts: [e.com], tls: {mode: PASSTHROUGH}, bind: 127.0.0.1}
- {port: {number: 9443, name: mesh, protocol: TLS}, hosts: [f.com], tls: {mode: ISTIO_MUTUAL}}
",
    );
    assert_eq!(lowered.unsupported, ["spec.servers[3].tls.mode"]);
    let Body::Gateway(gateway) = &lowered.resources[0].body else {
        panic!()
    };
    assert_eq!(gateway.selector["istio"], "ingressgateway");
    let [http, https, tls] = &gateway.servers[..] else {
        panic!("{:?}", gateway.servers)
    };
    assert_eq!(
        (http.port, http.protocol, http.https_redirect),
        (80, Protocol::Http, true)
    );
    let hosts: Vec<_> = http
        .hosts
        .iter()
        .map(|h| (h.namespace.as_deref(), h.host.to_string()))
        .collect();
    assert_eq!(
        hosts,
        [
            (None, "*".to_owned()),
            (Some("shop"), "a.com".to_owned()),
            (Some("ns"), "*.b.com".to_owned()),
            (None, "c.com".to_owned()),
        ]
    );
    assert_eq!(http.tls, None);
    assert_eq!(
        https.tls,
        Some(ServerTls {
            mode: ServerTlsMode::Simple,
            certificates: vec![Certificate::Secret("c".into())],
            ..ServerTls::default()
        })
    );
    assert_eq!(tls.tls, Some(ServerTls::default()));
    assert_eq!(
        (tls.port, tls.protocol, tls.bind.as_str()),
        (8443, Protocol::Tls, "127.0.0.1")
    );
}

#[test]
fn the_tls_of_a_server_is_kept_with_where_its_certificates_are() {
    let lowered = spec(
        "Gateway",
        "
servers:
- {port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.com], tls: {mode: MUTUAL, credentialName: 'kubernetes://c', minProtocolVersion: TLSV1_3, subjectAltNames: [me]}}
- {port: {number: 443, name: b, protocol: HTTPS}, hosts: [b.com], tls: {mode: OPTIONAL_MUTUAL, credentialNames: [rsa, ecdsa], caCertCredentialName: clients}}
- {port: {number: 443, name: c, protocol: TLS}, hosts: [c.com], tls: {mode: MUTUAL, serverCertificate: /c, privateKey: /k, caCertificates: /ca, caCrl: /crl, cipherSuites: [AES128-SHA]}}
- {port: {number: 443, name: d, protocol: TLS}, hosts: [d.com], tls: {mode: SIMPLE, tlsCertificates: [{serverCertificate: /c, privateKey: /k}]}}
- {port: {number: 443, name: e, protocol: TLS}, hosts: [e.com], tls: {mode: AUTO_PASSTHROUGH}}
",
    );
    assert!(lowered.unsupported.is_empty(), "{:?}", lowered.unsupported);
    let Body::Gateway(gateway) = &lowered.resources[0].body else {
        panic!()
    };
    let tls: Vec<_> = gateway.servers.iter().map(|s| s.tls.clone()).collect();
    let file = Certificate::Files {
        chain: "/c".into(),
        private_key: "/k".into(),
    };
    let secret = |name: &str| Certificate::Secret(name.into());
    let expected = [
        ServerTls {
            mode: ServerTlsMode::Mutual,
            certificates: vec![secret("c")],
            client_ca: Some(ClientCa::Secret("c-cacert".into())),
            subject_alt_names: vec!["me".into()],
            min_version: TlsVersion::V1_3,
            ..ServerTls::default()
        },
        ServerTls {
            mode: ServerTlsMode::OptionalMutual,
            certificates: vec![secret("rsa"), secret("ecdsa")],
            client_ca: Some(ClientCa::Secret("clients".into())),
            ..ServerTls::default()
        },
        ServerTls {
            mode: ServerTlsMode::Mutual,
            certificates: vec![file.clone()],
            client_ca: Some(ClientCa::File("/ca".into())),
            ca_crl: "/crl".into(),
            cipher_suites: vec!["AES128-SHA".into()],
            ..ServerTls::default()
        },
        ServerTls {
            mode: ServerTlsMode::Simple,
            certificates: vec![file],
            ..ServerTls::default()
        },
        ServerTls {
            mode: ServerTlsMode::AutoPassthrough,
            ..ServerTls::default()
        },
    ];
    assert_eq!(tls, expected.map(Some));
}

#[test]
fn a_static_service_entry_yields_a_service_and_endpoints_per_host() {
    let lowered = spec(
        "ServiceEntry",
        "
hosts: [a.example.com, b.example.com]
addresses: [192.0.2.0/24]
location: MESH_INTERNAL
resolution: STATIC
exportTo: ['~']
ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 81, name: web}]
endpoints:
- {address: 10.0.0.2, weight: 3, labels: {version: v1, security.istio.io/tlsMode: istio}, locality: r/z, serviceAccount: sa}
- {address: 10.0.0.1, ports: {http: 9090}}
",
    );
    let names: Vec<&str> = lowered
        .resources
        .iter()
        .map(|r| r.name.0.as_str())
        .collect();
    assert_eq!(
        names,
        ["Service/shop/a.example.com", "Service/shop/b.example.com"]
    );
    let service = services(&lowered)[0];
    assert_eq!(service.resolution, Resolution::Endpoints);
    assert_eq!(service.export_to, ExportTo::Nobody);
    assert!(!service.is_external);
    let protocols: Vec<Protocol> = service.ports.iter().map(|p| p.protocol).collect();
    assert_eq!(protocols, [Protocol::Http, Protocol::Unknown]);
    let endpoints = &lowered.endpoints[1];
    assert_eq!(endpoints.service.to_string(), "shop/b.example.com");
    let [first, second] = &endpoints.endpoints[..] else {
        panic!("{endpoints:?}")
    };
    assert_eq!(
        (first.address.to_string(), &first.ports[..]),
        ("10.0.0.1".into(), &[(80, 9090), (81, 81)][..])
    );
    assert_eq!((first.weight, first.is_meshed), (1, false));
    assert_eq!(
        (second.weight, second.is_meshed, &second.ports[..]),
        (3, true, &[(80, 8080), (81, 81)][..])
    );
    assert_eq!(
        (second.locality.as_str(), second.service_account.as_str()),
        ("r/z", "sa")
    );
}

#[test]
fn a_socket_of_the_file_system_is_an_endpoint_of_a_static_entry() {
    let lowered = spec(
        "ServiceEntry",
        "{hosts: [a.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}],
          endpoints: [{address: 'unix:///run/app.sock'}, {address: 'unix://@app'}]}",
    );
    assert_eq!(lowered.unsupported, [""; 0]);
    let endpoints = lowered.endpoints[0].endpoints.iter();
    let addresses: Vec<String> = endpoints.map(|one| one.address.to_string()).collect();
    assert_eq!(addresses, ["unix:///run/app.sock", "unix://@app"]);
}

#[test]
fn dns_entries_look_up_their_endpoints_or_their_host() {
    let of = |text: &str| {
        let lowered = spec(
            "ServiceEntry",
            &format!("{{ports: [{{number: 443, name: https, protocol: HTTPS}}], {text}}}"),
        );
        services(&lowered)[0].resolution.clone()
    };
    let Resolution::Dns(names) = of("hosts: [A.com.], resolution: DNS") else {
        panic!()
    };
    assert_eq!(
        (names[0].name.as_str(), &names[0].ports[..]),
        ("a.com", &[(443, 443)][..])
    );
    let Resolution::DnsRoundRobin(names) = of(
        "hosts: ['*.a.com'], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.com, ports: {https: 8443}, locality: r/z}]",
    ) else {
        panic!()
    };
    assert_eq!(
        (names[0].name.as_str(), &names[0].ports[..]),
        ("b.com", &[(443, 8443)][..])
    );
    assert_eq!(names[0].locality, "r/z");
    assert_eq!(of("hosts: [a.com]"), Resolution::OriginalDst);
}

#[test]
fn hosts_that_are_looked_up_one_by_one_have_ports() {
    let lowered = spec(
        "ServiceEntry",
        "{hosts: ['*.a.com'], resolution: DYNAMIC_DNS,
          ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}]}",
    );
    assert_eq!(
        services(&lowered)[0].resolution,
        Resolution::DynamicDns(vec![(443, 8443)])
    );
    assert_eq!(lowered.unsupported, [""; 0]);
}

#[test]
fn allocated_addresses_are_kept_beside_those_that_the_user_gave() {
    let entry = object(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: x, namespace: shop}
spec: {hosts: [a.com, b.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
status: {addresses: [{value: 240.240.0.1, host: a.com}, {value: 240.240.0.2, host: b.com}]}
",
    );
    let lowered = lower(&entry, &Settings::default()).unwrap();
    let service = &services(&lowered)[1];
    assert_eq!(service.addresses, []);
    let allocated = "240.240.0.2/32".parse::<ipnet::IpNet>().unwrap();
    assert_eq!(service.allocated, [allocated]);
}

#[test]
fn an_address_is_allocated_for_hosts_that_the_mesh_resolves() {
    let hosts = |spec: &str, labels: &Value| {
        let entry = json!({"metadata": {"labels": labels}, "spec": object(spec)});
        hosts_without_address(&entry)
    };
    let none = json!({});
    assert_eq!(
        hosts("{hosts: [a.com, '*.b.com'], resolution: DNS}", &none),
        ["a.com"]
    );
    assert_eq!(
        hosts("{hosts: [a.com], resolution: STATIC}", &none),
        ["a.com"]
    );
    assert_eq!(hosts("{hosts: [a.com]}", &none), [""; 0]);
    assert_eq!(
        hosts("{hosts: ['*.b.com'], resolution: DYNAMIC_DNS}", &none),
        ["*.b.com"]
    );
    let own = "{hosts: [a.com], resolution: DNS, addresses: [10.0.0.1]}";
    assert_eq!(hosts(own, &none), [""; 0]);
    let refuses = json!({"networking.istio.io/enable-autoallocate-ip": "false"});
    assert_eq!(
        hosts("{hosts: [a.com], resolution: DNS}", &refuses),
        [""; 0]
    );
}

#[test]
fn a_selector_takes_workloads_as_endpoints() {
    let entry = object(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: x, namespace: shop}
spec: {hosts: [vm.com], location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {app: vm}}, ports: [{number: 80, name: http, targetPort: 8080}]}
",
    );
    let vm = workload_entry(&object(
        "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm1, namespace: shop, labels: {security.istio.io/tlsMode: istio}}
spec: {address: 10.9.9.9, labels: {app: vm}, serviceAccount: vm, ports: {http: 7070}}
status: {conditions: [{type: Healthy, status: 'False'}]}
",
    ))
    .unwrap();
    let without = lower(&entry, &Settings::default()).unwrap();
    assert_eq!(
        without.selector,
        Some([("app".to_owned(), "vm".to_owned())].into())
    );
    assert!(without.endpoints[0].endpoints.is_empty());
    let with = lower_with(&entry, &Settings::default(), &[vm]).unwrap();
    let endpoint = &with.endpoints[0].endpoints[0];
    assert_eq!(
        (endpoint.health, endpoint.is_meshed),
        (Health::NotReady, true)
    );
    assert_eq!(endpoint.ports, [(80, 7070)]);
}

#[test]
fn defaults_of_the_mesh_say_who_sees_what() {
    let settings = Settings {
        cluster_domain: "example.org".into(),
        default_virtual_service_export_to: vec![".".into()],
        ..Settings::default()
    };
    let text = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: x, namespace: shop}, spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}}";
    let lowered = lower(&object(text), &settings).unwrap();
    let Body::VirtualService(routes) = &lowered.resources[0].body else {
        panic!()
    };
    assert_eq!(routes.export_to, ExportTo::Namespaces(vec!["shop".into()]));
    assert_eq!(routes.hosts[0].to_string(), "a.shop.svc.example.org");
}
