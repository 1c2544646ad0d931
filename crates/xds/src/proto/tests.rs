//! Every kind is read as it was written; what is wrong is refused with its path.

use std::collections::BTreeMap;
use std::time::Duration;

use lateen_model::balancer::LocalityLb;
use lateen_model::destination::{DestinationRule, PortPolicy, Subset, TrafficPolicy};
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::gateway::{
    Certificate, ClientCa, Gateway, Server, ServerHost, ServerTls, ServerTlsMode, TlsVersion,
};
use lateen_model::http::{HeaderRules, HttpRule};
use lateen_model::mesh::{AccessLogEncoding, Mesh, OutboundPolicy};
use lateen_model::pool::{ConnectionPool, TcpPool};
use lateen_model::proxy::{InboundPort, Proxy, Role};
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, L4Match, StringMatch, TcpRule, TlsMatch, TlsRule,
    ValueMatch, VirtualService, WeightedDestination,
};
use lateen_model::secret::Secret;
use lateen_model::service::{
    DnsEndpoint, ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort,
};
use lateen_model::workload::Workload;
use lateen_model::{
    Address, Body, Host, HostPattern, Labels, ObjectRef, Protocol, Resource, ResourceName, Source,
};
use prost::Message;

use super::*;

mod policies;
mod rules;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    owned.collect::<BTreeMap<String, String>>()
}

fn key() -> ServiceKey {
    ServiceKey {
        namespace: "default".into(),
        host: Host::new("reviews.default.svc.cluster.local"),
    }
}

fn resource(body: Body) -> Resource {
    Resource {
        name: ResourceName(format!("{}/default/a", body.kind())),
        source: Source {
            object: ObjectRef {
                kind: body.kind().into(),
                namespace: "default".into(),
                name: "a".into(),
            },
            generation: 3,
            created: 1_700_000_000,
        },
        body,
    }
}

fn route() -> Vec<WeightedDestination> {
    vec![WeightedDestination {
        destination: Destination {
            host: key().host,
            subset: Some("v1".into()),
            port: Some(9080),
        },
        weight: 75,
        headers: HeaderRules::default(),
    }]
}

fn rules(gateway: GatewayRef) -> Vec<HttpRule> {
    let mut all = rules::all(&route());
    all[0].name = "r".into();
    all[0].matches = vec![HttpMatch {
        name: "m".into(),
        uri: Some(StringMatch::Prefix("/a".into())),
        ignore_uri_case: true,
        scheme: Some(StringMatch::Exact("https".into())),
        method: Some(StringMatch::Regex("GET|PUT".into())),
        authority: Some(StringMatch::Exact(String::new())),
        headers: vec![("end-user".into(), ValueMatch::Present)],
        without_headers: vec![(
            "x".into(),
            ValueMatch::Value(StringMatch::Exact("y".into())),
        )],
        query_params: vec![("q".into(), ValueMatch::Present)],
        port: Some(80),
        source_labels: labels(&[("app", "b")]),
        source_namespace: Some("c".into()),
        gateways: vec![gateway],
    }];
    all
}

fn virtual_service() -> VirtualService {
    let gateway = GatewayRef::Gateway {
        namespace: "default".into(),
        name: "gw".into(),
    };
    let l4 = L4Match {
        destination_subnets: vec!["10.0.0.0/8".parse().expect("a subnet")],
        port: Some(443),
        source_labels: labels(&[("app", "b")]),
        source_namespace: Some("c".into()),
        gateways: vec![gateway.clone()],
    };
    VirtualService {
        namespace: "default".into(),
        hosts: vec![
            HostPattern::Any,
            HostPattern::Suffix(".example.com".into()),
            HostPattern::Exact(key().host),
        ],
        gateways: vec![GatewayRef::Mesh, gateway.clone()],
        export_to: ExportTo::Namespaces(vec!["default".into()]),
        http: rules(gateway),
        tls: vec![TlsRule {
            matches: vec![TlsMatch {
                sni_hosts: vec![HostPattern::Suffix(".example.com".into())],
                l4: l4.clone(),
            }],
            route: route(),
        }],
        tcp: vec![TcpRule {
            matches: vec![l4],
            route: route(),
        }],
    }
}

fn service(resolution: Resolution, export_to: ExportTo) -> Service {
    Service {
        key: key(),
        registry: Registry::ServiceEntry,
        addresses: vec!["10.96.0.1/32".parse().expect("a subnet")],
        allocated: vec!["240.240.0.1/32".parse().expect("a subnet")],
        ports: vec![ServicePort {
            number: 9080,
            name: "http".into(),
            protocol: Protocol::Http,
        }],
        resolution,
        is_external: true,
        export_to,
    }
}

fn proxy() -> Proxy {
    Proxy {
        role: Role::Gateway,
        name: "p".into(),
        namespace: "default".into(),
        labels: labels(&[("app", "a")]),
        addresses: vec!["10.1.2.3".parse().expect("v4"), "::1".parse().expect("v6")],
        locality: "r/z".into(),
        inbound: ["127.0.0.1".parse(), "unix:///run/app.sock".parse()]
            .map(|address: Result<Address, _>| InboundPort {
                port: 8080,
                protocol: Protocol::Grpc,
                service: key(),
                service_port: 80,
                endpoint: Some(address.expect("an address").at(8081)),
                pool: Some(ConnectionPool {
                    tcp: TcpPool {
                        max_connections: Some(9),
                        ..TcpPool::default()
                    },
                    ..ConnectionPool::default()
                }),
            })
            .into(),
        gateway_ports: vec![(80, 8080)],
        answers_dns: true,
    }
}

fn bodies() -> Vec<Body> {
    let mut bodies = vec![
        Body::Mesh(Mesh {
            outbound_policy: OutboundPolicy::RegistryOnly,
            access_log_encoding: AccessLogEncoding::Json,
            default_retries: rules::retries(),
            connect_timeout: Duration::from_millis(1500),
            dns_refresh_rate: Duration::from_secs(7),
            locality: LocalityLb::default(),
            ..Mesh::default()
        }),
        Body::Proxy(proxy()),
        Body::VirtualService(virtual_service()),
        Body::DestinationRule(DestinationRule {
            namespace: "default".into(),
            host: HostPattern::Exact(key().host),
            export_to: ExportTo::All,
            workload_selector: Some(Labels::new()),
            policy: TrafficPolicy {
                port_default: PortPolicy::default(),
                ports: policies::all(),
                retry_budget: Some(policies::budget()),
            },
            subsets: vec![Subset {
                name: "v1".into(),
                labels: labels(&[("version", "v1")]),
                policy: TrafficPolicy::default(),
            }],
        }),
        Body::Gateway(gateway()),
    ];
    bodies.extend(services().map(Body::Service));
    bodies
}

fn services() -> [Service; 6] {
    let dns = DnsEndpoint {
        name: "example.com".into(),
        ports: vec![(80, 8080)],
        labels: labels(&[("a", "b")]),
        weight: 2,
        locality: "r1/z1".into(),
    };
    [
        service(Resolution::Endpoints, ExportTo::All),
        service(Resolution::Dns(vec![dns.clone()]), ExportTo::Nobody),
        service(Resolution::DnsRoundRobin(vec![dns]), ExportTo::All),
        service(Resolution::DynamicDns(vec![(443, 8443)]), ExportTo::All),
        service(Resolution::OriginalDst, ExportTo::All),
        service(Resolution::Alias(Host::new("b.c")), ExportTo::All),
    ]
}

fn gateway() -> Gateway {
    Gateway {
        namespace: "default".into(),
        name: "a".into(),
        selector: labels(&[("istio", "ingressgateway")]),
        servers: vec![Server {
            name: String::new(),
            port: 80,
            port_name: "http".into(),
            protocol: Protocol::Http,
            bind: String::new(),
            hosts: vec![ServerHost {
                namespace: Some("default".into()),
                host: HostPattern::Any,
            }],
            https_redirect: true,
            tls: Some(ServerTls {
                mode: ServerTlsMode::OptionalMutual,
                certificates: vec![
                    Certificate::Secret("credential".into()),
                    Certificate::Files {
                        chain: "/etc/chain.pem".into(),
                        private_key: "/etc/key.pem".into(),
                    },
                ],
                client_ca: Some(ClientCa::Secret("credential-cacert".into())),
                ca_crl: "/etc/crl.pem".into(),
                subject_alt_names: vec!["client".into()],
                verify_certificate_spki: vec!["spki".into()],
                verify_certificate_hash: vec!["hash".into()],
                min_version: TlsVersion::V1_2,
                max_version: TlsVersion::V1_3,
                cipher_suites: vec!["ECDHE-RSA-AES128-GCM-SHA256".into()],
                ecdh_curves: vec!["X25519".into()],
                insecure_skip_verify: true,
            }),
        }],
    }
}

fn endpoints() -> Endpoints {
    Endpoints {
        service: key(),
        endpoints: ["10.244.0.9", "unix://@app"]
            .map(|address| Endpoint {
                address: address.parse().expect("an address"),
                ports: vec![(80, 8080)],
                labels: labels(&[("version", "v1")]),
                weight: 1,
                health: Health::Draining,
                locality: String::new(),
                is_meshed: true,
                service_account: "bookinfo".into(),
                hostname: "mysql-0".into(),
            })
            .into(),
    }
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    for body in bodies() {
        let resource = resource(body);
        let name = resource.name.0.clone();
        let read = decode_resource(&name, &encode_resource(&resource));
        assert_eq!(read.expect("it was just written"), resource);
    }
    let name = key().to_string();
    let read = decode_endpoints(&name, &encode_endpoints(&endpoints()));
    assert_eq!(read.expect("it was just written"), endpoints());
    let workload = Workload {
        address: "::2".parse().expect("an address"),
        pod: "p".into(),
        namespace: "n".into(),
        workload: "w".into(),
        canonical_service: "s".into(),
        canonical_revision: "r".into(),
        app: "a".into(),
        version: "v".into(),
        service_account: "sa".into(),
        cluster: "Kubernetes".into(),
        node: "node".into(),
    };
    let read = decode_workload("::2", &encode_workload(&workload));
    assert_eq!(read.expect("it was just written"), workload);
}

#[test]
fn a_resource_under_another_name_is_refused() {
    let bytes = encode_resource(&resource(bodies().remove(0)));
    let error = decode_resource("Mesh/x/y", &bytes).expect_err("it has another name");
    assert_eq!(
        (error.name.as_str(), error.at.as_str()),
        ("Mesh/x/y", "name")
    );
}

fn refuse(change: impl FnOnce(&mut message::VirtualService)) -> String {
    let mut wire = resource(Body::VirtualService(virtual_service())).to_wire();
    let Some(message::Body::VirtualService(rules)) = &mut wire.body else {
        panic!("it is one");
    };
    change(rules);
    decode_resource("VirtualService/default/a", &wire.encode_to_vec())
        .expect_err("it is wrong")
        .at
}

#[test]
fn an_error_names_the_part_that_is_wrong() {
    assert_eq!(refuse(|v| v.gateways.clear()), "virtual_service.gateways");
    assert_eq!(
        refuse(|v| v.http[0].route[0].destination = None),
        "virtual_service.http[0].route[0].destination"
    );
    assert_eq!(
        refuse(|v| v.http[0].matches[0].port = Some(70_000)),
        "virtual_service.http[0].matches[0].port"
    );
    assert_eq!(
        refuse(|v| v.http[0].matches[0].headers[0].kind = None),
        "virtual_service.http[0].matches[0].headers[0]"
    );
    assert_eq!(
        refuse(|v| v.tcp[0].matches[0].destination_subnets[0].prefix = 33),
        "virtual_service.tcp[0].matches[0].destination_subnets[0].prefix"
    );
    assert_eq!(
        refuse(|v| v.export_to = Some(message::ExportTo {
            scope: 9,
            namespaces: Vec::new()
        })),
        "virtual_service.export_to.scope"
    );
}

#[test]
fn an_unknown_enum_value_is_refused_and_an_unknown_field_is_not() {
    let mut wire = endpoints().to_wire();
    wire.endpoints[0].health = 77;
    let error = decode_endpoints(&key().to_string(), &wire.encode_to_vec())
        .expect_err("its health is unknown");
    assert_eq!(error.at, "endpoints[0].health");
    let mut bytes = endpoints().to_wire().encode_to_vec();
    bytes.extend_from_slice(&[0xf8, 0x06, 0x01]); // Field 111, a varint.
    assert!(decode_endpoints(&key().to_string(), &bytes).is_ok());
}

#[test]
fn no_damage_makes_the_decoder_panic() {
    for body in bodies() {
        let bytes = encode_resource(&resource(body)).to_vec();
        for i in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[i] ^= flip;
                let _ = decode_resource("x", &damaged);
            }
            let _ = decode_resource("x", &bytes[..i]);
        }
    }
}

/// What a peer writes that does not know the newer fields.
fn without(bytes: &[u8], strip: impl FnOnce(&mut message::Resource)) -> Resource {
    let mut wire = message::Resource::decode(bytes).expect("it was just written");
    strip(&mut wire);
    let name = wire.name.clone();
    decode_resource(&name, &wire.encode_to_vec()).expect("an older peer is understood")
}

#[test]
fn what_an_older_control_plane_does_not_say_takes_its_default() {
    let mesh = resource(Body::Mesh(Mesh {
        default_retries: rules::retries(),
        connect_timeout: Duration::from_secs(1),
        locality: LocalityLb::default(),
        ..Mesh::default()
    }));
    let read = without(&encode_resource(&mesh), |wire| {
        let Some(message::Body::Mesh(mesh)) = &mut wire.body else {
            panic!("it is one");
        };
        mesh.default_retries = None;
        mesh.connect_timeout = None;
        mesh.locality = None;
    });
    assert_eq!(read.body, Body::Mesh(Mesh::default()));

    let mut old = virtual_service();
    old.http = vec![HttpRule::new(
        lateen_model::http::HttpAction::Route(route()),
    )];
    let resource = resource(Body::VirtualService(old));
    let read = without(&encode_resource(&resource), |wire| {
        let Some(message::Body::VirtualService(rules)) = &mut wire.body else {
            panic!("it is one");
        };
        rules.http[0].headers = None;
        rules.http[0].route[0].headers = None;
    });
    assert_eq!(read, resource);
}

#[test]
fn a_secret_comes_back_as_it_was_sent_and_under_its_name_only() {
    let secret = Secret {
        namespace: "istio-system".into(),
        name: "credential".into(),
        chain: b"chain".to_vec(),
        private_key: b"key".to_vec(),
        authorities: b"authorities".to_vec(),
        revoked: b"revoked".to_vec(),
        ocsp_staple: vec![1, 2, 3],
    };
    let bytes = encode_secret(&secret);
    assert_eq!(decode_secret("istio-system/credential", &bytes), Ok(secret));
    let error = decode_secret("other/credential", &bytes).unwrap_err();
    assert_eq!(error.at, "name");
}
