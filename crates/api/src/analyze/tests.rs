use super::*;

mod credentials;

const BOOKINFO: &str = include_str!("../../../../samples/bookinfo/platform/kube/bookinfo.yaml");
const GATEWAY: &str = include_str!("../../../../samples/bookinfo/networking/bookinfo-gateway.yaml");
const ALL: &str = include_str!("../../../../samples/bookinfo/networking/destination-rule-all.yaml");
const ALL_MTLS: &str =
    include_str!("../../../../samples/bookinfo/networking/destination-rule-all-mtls.yaml");
const ALL_V1: &str =
    include_str!("../../../../samples/bookinfo/networking/virtual-service-all-v1.yaml");
const SPLIT: &str =
    include_str!("../../../../samples/bookinfo/networking/virtual-service-reviews-80-20.yaml");
const QUARTER: &str =
    include_str!("../../../../samples/bookinfo/networking/virtual-service-reviews-75-25.yaml");

/// The messages about files, beside what an installation has.
fn messages(files: &[&str]) -> Vec<Message> {
    let options = Options::default();
    let mut entries = installation(&options);
    for (index, text) in files.iter().enumerate() {
        entries.extend(read(&format!("{index}.yaml"), text).unwrap());
    }
    analyze(&entries, &options, &no_flaw)
}

/// Judges of nothing.
fn no_flaw(_: &credential::Credential<'_>) -> Vec<credential::Flaw> {
    Vec::new()
}

/// As `code place`, of the last file only.
fn found(files: &[&str]) -> Vec<String> {
    let last = format!("{}.yaml:", files.len() - 1);
    let messages = messages(files);
    let of_last = messages.iter().filter(|m| m.reference.starts_with(&last));
    of_last
        .map(|m| format!("{} {}", m.code.id, m.field))
        .collect()
}

/// Objects of the networking group without the parts that are always the same.
fn networking(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}\n---\n"
    )
}

#[test]
fn bookinfo_has_no_problem() {
    assert_eq!(messages(&[BOOKINFO]), []);
    assert_eq!(messages(&[BOOKINFO, GATEWAY]), []);
    for routes in [SPLIT, QUARTER, ALL_V1] {
        assert_eq!(messages(&[BOOKINFO, ALL, routes]), []);
    }
    let mutual = messages(&[BOOKINFO, ALL_MTLS]);
    assert!(mutual.iter().all(|m| m.code.id != "IST0173"), "{mutual:?}");
}

#[test]
fn subsets_that_are_prepared_but_select_no_pods_are_warnings_until_they_are_used() {
    let rule = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings}
spec:
  host: ratings
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";
    let unused: Vec<String> = messages(&[BOOKINFO, rule])
        .iter()
        .map(ToString::to_string)
        .collect();
    let text =
        "[IST0173] (DestinationRule default/ratings 1.yaml:9) the subset \"v2\" selects no pods";
    assert_eq!(unused, [format!("Warning {text}")]);
    let route = networking(
        "VirtualService",
        "ratings",
        "{hosts: [ratings], http: [{route: [{destination: {host: ratings, subset: v2}}]}]}",
    );
    let used = messages(&[BOOKINFO, rule, &route]);
    let errors: Vec<&Message> = used.iter().filter(|m| m.level == Level::Error).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), format!("Error {text}"));
}

#[test]
fn the_scenarios_own_gateway_and_routes_have_no_problem() {
    let own = GATEWAY.replace("\"*\"", "bookinfo.local");
    assert_eq!(messages(&[BOOKINFO, &own]), []);
}

#[test]
fn older_versions_and_flow_style_are_understood() {
    let text = "
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: bookinfo-gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [\"bookinfo.local\"]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: bookinfo}
spec:
  hosts: [bookinfo.local]
  gateways: [bookinfo-gateway]
  http:
  - match:
    - uri: {exact: /productpage}
    - uri: {prefix: /api/v1/products}
    route:
    - destination: {host: productpage, port: {number: 9080}}
";
    assert_eq!(messages(&[BOOKINFO, text]), []);
}

#[test]
fn hosts_subsets_ports_and_gateways_must_exist() {
    let routes = networking(
        "VirtualService",
        "x",
        "{hosts: [reviews], gateways: [mesh, bookinfo-gatewax], http: [{route: [
           {destination: {host: revews}, weight: 1},
           {destination: {host: reviews, subset: v9}, weight: 1},
           {destination: {host: reviews, port: {number: 80}}, weight: 1}],
           mirror: {host: nowhere.example.com}}]}",
    );
    let messages = messages(&[BOOKINFO, GATEWAY, ALL, &routes]);
    let texts: Vec<String> = messages
        .iter()
        .filter(|m| m.reference.starts_with("3.yaml") && m.level == Level::Error)
        .map(|m| format!("{} {} {}", m.code.id, m.field, m.text))
        .collect();
    assert_eq!(
        texts,
        [
            "IST0101 spec.gateways[1] the gateway default/bookinfo-gatewax does not exist; did you mean \"bookinfo-gateway\"?",
            "IST0101 spec.http[0].mirror.host the host \"nowhere.example.com\" does not exist",
            "IST0101 spec.http[0].route[0].destination.host the host \"revews\" (revews.default.svc.cluster.local) does not exist; did you mean reviews.default.svc.cluster.local?",
            "IST0101 spec.http[0].route[1].destination.subset the subset \"v9\" of \"reviews\" does not exist; did you mean \"v1\"?",
            "IST0101 spec.http[0].route[2].destination.port.number the service \"reviews\" has no port 80; it has 9080",
        ]
    );
}

#[test]
fn a_port_is_needed_where_there_are_several() {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: two}, spec: {ports: [{name: http-a, port: 80}, {name: http-b, port: 81}]}}\n---\n";
    let routes = networking(
        "VirtualService",
        "x",
        "{hosts: [two], http: [{route: [{destination: {host: two}}]}]}",
    );
    assert_eq!(
        found(&[&format!("{service}{routes}")]),
        ["IST0112 spec.http[0].route[0].destination"]
    );
}

#[test]
fn service_entries_are_hosts_too_and_delegates_must_exist() {
    let entry = networking(
        "ServiceEntry",
        "x",
        "{hosts: ['*.example.com', api.org], addresses: [192.0.2.1], ports: [{number: 443, name: tls, protocol: TLS}]}",
    );
    let routes = networking(
        "VirtualService",
        "y",
        "{hosts: [a.example.com], tls: [{match: [{sniHosts: [a.example.com]}], route: [{destination: {host: a.example.com}}, {destination: {host: api.org, port: {number: 443}}, weight: 1}]}], http: [{match: [{uri: {prefix: /x}}], delegate: {name: gone}}]}",
    );
    assert_eq!(
        found(&[&format!("{entry}{routes}")]),
        ["IST0101 spec.http[0].delegate"]
    );
}

#[test]
fn rules_of_single_objects_are_reported_with_their_lines() {
    let text = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
    - route:
        - destination:
            host: reviews
          weight: -1
    - route:
        - destination: {host: reviews}
      match: [{statPrefix: a}]
";
    let messages = messages(&[BOOKINFO, text]);
    let lines: Vec<String> = messages.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "Error [IST0106] (VirtualService default/reviews 1.yaml:12) spec.http[0].route[0].weight: -1 is negative"
        ]
    );
    let fixed = text.replace("-1", "1");
    let codes: Vec<String> = found(&[BOOKINFO, &fixed]);
    assert_eq!(
        codes,
        [
            "IST0130 spec.http[1]",
            "IST0133 spec.http[1].match[0].statPrefix"
        ]
    );
}

#[test]
fn what_is_no_object_or_no_kind_of_the_mesh_is_reported() {
    assert_eq!(found(&["a: b"]), ["IST0106 "]);
    let text = networking("VirtualServise", "x", "{}");
    assert_eq!(found(&[&text]), ["IST0106 kind"]);
}

#[test]
fn namespaces_and_pods_without_injection_are_noted() {
    let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: plain}}
- {apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}
- {apiVersion: v1, kind: Namespace, metadata: {name: both, labels: {istio-injection: enabled, istio.io/rev: a}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
- {apiVersion: v1, kind: Pod, metadata: {name: bare, namespace: shop}, spec: {containers: [{name: app}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: meshed, namespace: shop}, spec: {initContainers: [{name: istio-proxy}], containers: [{name: app}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: no, namespace: shop, labels: {sidecar.istio.io/inject: 'false'}}, spec: {containers: [{name: app}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: host, namespace: shop}, spec: {hostNetwork: true, containers: [{name: app}]}}
";
    let all: Vec<String> = messages(&[text])
        .iter()
        .map(|m| format!("{} {} {}", m.code.id, m.origin(), m.reference))
        .collect();
    assert_eq!(
        all,
        [
            "IST0103 Pod shop/bare 0.yaml:9",
            "IST0123 Namespace both 0.yaml:7",
            "IST0102 Namespace plain 0.yaml:5",
        ]
    );
}

#[test]
fn the_proxys_user_is_told_once_and_only_where_a_proxy_is() {
    let owned = |kind: &str, name: &str| {
        format!(
            "namespace: shop, ownerReferences: [{{apiVersion: v1, kind: {kind}, name: {name}, controller: true}}]"
        )
    };
    let pod = "{containers: [{name: app, securityContext: {runAsUser: 1337}}]}";
    let text = format!(
        "
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: Namespace, metadata: {{name: shop, labels: {{istio-injection: enabled}}}}}}
- {{apiVersion: v1, kind: Namespace, metadata: {{name: plain, labels: {{istio-injection: disabled}}}}}}
- {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web, namespace: shop}}, spec: {{template: {{spec: {pod}}}}}}}
- {{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: web-1, {}}}, spec: {{template: {{spec: {pod}}}}}}}
- {{apiVersion: v1, kind: Pod, metadata: {{name: web-1-a, {}, labels: {{sidecar.istio.io/inject: 'false'}}}}, spec: {pod}}}
- {{apiVersion: v1, kind: Pod, metadata: {{name: bare, namespace: plain}}, spec: {pod}}}
- {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: istiod, namespace: istio-system}}, spec: {{template: {{spec: {pod}}}}}}}
- {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: far, namespace: elsewhere}}, spec: {{template: {{spec: {pod}}}}}}}
",
        owned("Deployment", "web"),
        owned("ReplicaSet", "web-1"),
    );
    let all: Vec<String> = messages(&[&text])
        .iter()
        .filter(|m| m.code.id == "IST0144")
        .map(Message::origin)
        .collect();
    assert_eq!(all, ["Deployment elsewhere/far", "Deployment shop/web"]);
}

#[test]
fn a_host_that_is_empty_is_one_fault() {
    let route = networking(
        "VirtualService",
        "r",
        "{hosts: [reviews], http: [{route: [{destination: {host: ''}}]}]}",
    );
    assert_eq!(
        found(&[BOOKINFO, &route]),
        ["IST0106 spec.http[0].route[0].destination.host"]
    );
    let rule = networking("DestinationRule", "r", "{host: ''}");
    assert_eq!(found(&[BOOKINFO, &rule]), ["IST0106 spec.host"]);
}

#[test]
fn names_of_ports_tell_their_protocol() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: x}
spec:
  ports:
  - {name: web, port: 80}
  - {name: http-a, port: 81}
  - {name: db, port: 3306}
  - {name: dns, port: 5353, protocol: UDP}
  - {name: api, port: 82, appProtocol: grpc}
---
apiVersion: v1
kind: Service
metadata: {name: y}
spec: {type: ExternalName, externalName: example.com, ports: [{name: tcp, port: 80}]}
";
    assert_eq!(
        found(&[text]),
        ["IST0150 spec.ports[0].name", "IST0118 spec.ports[0].name"]
    );
}

#[test]
fn services_in_front_of_one_deployment_agree_about_its_ports() {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec: {template: {metadata: {labels: {app: a}}, spec: {containers: [{name: app}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: one}
spec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: two}
spec: {selector: {app: a}, ports: [{name: tcp, port: 80, targetPort: 8081}, {name: http, port: 90, targetPort: 8080}]}
";
    assert_eq!(found(&[text]), ["IST0116 ", "IST0137 "]);
}

#[test]
fn sidecars_use_only_one_virtual_service_of_a_host() {
    let routes = |name: &str, more: &str| {
        networking(
            "VirtualService",
            name,
            &format!(
                "{{hosts: [reviews], {more} http: [{{route: [{{destination: {{host: reviews}}}}]}}]}}"
            ),
        )
    };
    let two = [
        routes("a", ""),
        routes("b", "gateways: [mesh, bookinfo-gateway],"),
    ]
    .concat();
    assert_eq!(
        found(&[BOOKINFO, GATEWAY, &two]),
        ["IST0109 spec.hosts[0]", "IST0109 spec.hosts[0]"]
    );
    let elsewhere = routes("b", "")
        .replace("name: b", "name: b, namespace: other")
        .replace(
            "hosts: [reviews]",
            "hosts: [reviews.default.svc.cluster.local], exportTo: [.]",
        );
    let private = routes("a", "exportTo: [.],");
    let both = format!("{private}{elsewhere}").replace(
        "destination: {host: reviews}",
        "destination: {host: reviews.default.svc.cluster.local}",
    );
    assert_eq!(found(&[BOOKINFO, &both]), [""; 0]);
}

#[test]
fn gateways_select_proxies_serve_hosts_and_do_not_conflict() {
    let gateway = |name: &str, selector: &str, port: u16, host: &str| {
        networking(
            "Gateway",
            name,
            &format!(
                "{{selector: {{istio: {selector}}}, servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['{host}']}}]}}"
            ),
        )
    };
    assert_eq!(
        found(&[&gateway("a", "missing", 80, "*")]),
        ["IST0101 spec.selector"]
    );
    assert_eq!(
        found(&[&gateway("a", "ingressgateway", 8080, "*")]),
        ["IST0162 spec.servers[0].port.number"]
    );
    let two = [
        gateway("a", "ingressgateway", 80, "a.com"),
        gateway("b", "ingressgateway", 80, "a.com"),
    ];
    assert_eq!(
        found(&[&two.concat()]),
        ["IST0145 spec.servers[0]", "IST0145 spec.servers[0]"]
    );
    let apart = [
        gateway("a", "ingressgateway", 80, "a.com"),
        gateway("b", "ingressgateway", 80, "b.com"),
    ];
    assert_eq!(found(&[&apart.concat()]), [""; 0]);
    let routes = networking(
        "VirtualService",
        "x",
        "{hosts: [b.com], gateways: [a], http: [{route: [{destination: {host: reviews}}]}]}",
    );
    let not_served = format!(
        "{}{routes}",
        gateway("a", "ingressgateway", 80, "other/b.com")
    );
    assert_eq!(found(&[BOOKINFO, &not_served]), ["IST0132 spec.hosts"]);
    let served = format!("{}{routes}", gateway("a", "ingressgateway", 80, "./*.com"));
    assert_eq!(found(&[BOOKINFO, &served]), [""; 0]);
}

#[test]
fn routes_by_claims_need_somebody_who_checks_tokens() {
    let routes = GATEWAY.replace(
        "            exact: /productpage",
        "            exact: /productpage\n          headers: {'@request.auth.claims.sub': {exact: a}}",
    );
    assert!(found(&[BOOKINFO, &routes]).contains(&"IST0149 spec.http[0].match[0]".to_owned()));
    let policy = "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: x, namespace: istio-system}, spec: {selector: {matchLabels: {istio: ingressgateway}}, jwtRules: [{issuer: a}]}}";
    let with = found(&[policy, BOOKINFO, &routes]);
    assert!(
        !with.iter().any(|line| line.starts_with("IST0149")),
        "{with:?}"
    );
}

#[test]
fn destination_rules_are_for_hosts_that_exist() {
    let rule = networking("DestinationRule", "x", "{host: nowhere}");
    assert_eq!(found(&[BOOKINFO, &rule]), ["IST0174 spec.host"]);
    let wild = networking(
        "DestinationRule",
        "x",
        "{host: '*.default.svc.cluster.local'}",
    );
    assert_eq!(found(&[BOOKINFO, &wild]), [""; 0]);
}

#[test]
fn service_entries_do_not_contradict_each_other_and_have_addresses_for_tcp() {
    let entry = |name: &str, protocol: &str| {
        networking(
            "ServiceEntry",
            name,
            &format!(
                "{{hosts: [a.com], ports: [{{number: 80, name: http, protocol: {protocol}}}], resolution: DNS}}"
            ),
        )
    };
    let two = [entry("a", "HTTP"), entry("b", "TLS")].concat();
    assert_eq!(
        found(&[&two]),
        [
            "IST0177 spec.ports[0].protocol",
            "IST0177 spec.ports[0].protocol"
        ]
    );
    assert_eq!(found(&[&entry("a", "TCP")]), ["IST0134 spec.addresses"]);
}

#[test]
fn one_sidecar_and_one_telemetry_apply_to_a_workload() {
    let sidecar = |name: &str, selector: &str| {
        networking(
            "Sidecar",
            name,
            &format!("{{{selector} egress: [{{hosts: ['./*']}}]}}"),
        )
    };
    let codes = |text: &str| -> Vec<String> {
        found(&[BOOKINFO, text])
            .into_iter()
            .filter(|line| !line.starts_with("IST0133"))
            .collect()
    };
    let both = [sidecar("a", ""), sidecar("b", "")].concat();
    assert_eq!(codes(&both), ["IST0111 spec", "IST0111 spec"]);
    let overlapping = [
        sidecar("a", "workloadSelector: {labels: {app: reviews}},"),
        sidecar("b", "workloadSelector: {labels: {version: v1}},"),
    ];
    assert_eq!(
        codes(&overlapping.concat()),
        ["IST0110 spec", "IST0110 spec"]
    );
    let lost = sidecar("a", "workloadSelector: {labels: {app: gone}},");
    assert_eq!(codes(&lost), ["IST0101 spec.workloadSelector.labels"]);
    let telemetry = "{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: NAME}, spec: {accessLogging: [{}]}}\n---\n";
    let two = [
        telemetry.replace("NAME", "a"),
        telemetry.replace("NAME", "b"),
    ]
    .concat();
    assert_eq!(
        codes(&two),
        [
            "IST0160 spec",
            "IST0160 spec",
            "IST0157 spec.accessLogging[0]",
            "IST0157 spec.accessLogging[0]"
        ]
    );
}

#[test]
fn policies_that_select_nothing_are_noted() {
    let policy = |app: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: x}}, spec: {{selector: {{matchLabels: {{app: {app}}}}}}}}}"
        )
    };
    assert_eq!(
        found(&[BOOKINFO, &policy("gone")]),
        ["IST0127 spec.selector.matchLabels", "IST0133 spec"]
    );
    assert_eq!(found(&[BOOKINFO, &policy("reviews")]), ["IST0133 spec"]);
}

#[test]
fn patches_that_do_nothing_or_depend_on_others_are_noted() {
    let filter = |apply_to: &str, operation: &str, more: &str| {
        let text = format!(
            "{{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {{name: x}}, spec: {{{more} configPatches: [{{applyTo: {apply_to}, patch: {{operation: {operation}, value: {{a: b}}}}}}]}}}}"
        );
        let mut codes = found(&[&text]);
        codes.retain(|line| !line.starts_with("IST0133"));
        codes
            .first()
            .map(|line| line[..7].to_owned())
            .unwrap_or_default()
    };
    assert_eq!(filter("CLUSTER", "REPLACE", ""), "IST0152");
    assert_eq!(filter("HTTP_ROUTE", "ADD", ""), "IST0153");
    assert_eq!(filter("HTTP_ROUTE", "REMOVE", ""), "IST0154");
    assert_eq!(filter("HTTP_FILTER", "INSERT_BEFORE", ""), "IST0151");
    assert_eq!(filter("HTTP_FILTER", "INSERT_BEFORE", "priority: 1,"), "");
}

#[test]
fn annotations_are_known_at_their_place_and_valid() {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  annotations:
    sidecar.istio.io/proxyCPU: 10m
    example.com/other: x
spec:
  template:
    metadata:
      annotations:
        sidecar.istio.io/injct: 'true'
        sidecar.istio.io/inject: 'true'
        traffic.sidecar.istio.io/excludeOutboundPorts: '80,http'
        traffic.sidecar.istio.io/includeOutboundIPRanges: 10.0.0.0/8,fd00::/8
        inject.istio.io/templates: sidecar
";
    let lines: Vec<String> = messages(&[text])
        .iter()
        .map(|m| format!("{} {} {}", m.code.id, m.reference, m.field))
        .collect();
    assert_eq!(
        lines,
        [
            "IST0107 0.yaml:7 metadata.annotations[sidecar.istio.io/proxyCPU]",
            "IST0108 0.yaml:13 spec.template.metadata.annotations[sidecar.istio.io/injct]",
            "IST0125 0.yaml:15 spec.template.metadata.annotations[traffic.sidecar.istio.io/excludeOutboundPorts]",
            "IST0135 0.yaml:14 spec.template.metadata.annotations[sidecar.istio.io/inject]",
            "IST0136 0.yaml:17 spec.template.metadata.annotations[inject.istio.io/templates]",
        ]
    );
}

#[test]
fn only_wanted_namespaces_are_reported_and_files_hide_the_clusters_objects() {
    let options = Options {
        namespace: "shop".into(),
        ..Options::default()
    };
    let object = |namespace: &str, host: &str| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "x", "namespace": namespace}, "spec": {"host": host},
        })
    };
    let cluster = |value| Entry {
        value,
        origin: Origin::Cluster,
    };
    let live = vec![
        cluster(object("shop", "gone")),
        cluster(object("other", "gone")),
    ];
    assert_eq!(analyze(&live, &options, &no_flaw).len(), 1);
    let everywhere = Options {
        all_namespaces: true,
        ..options.clone()
    };
    assert_eq!(analyze(&live, &everywhere, &no_flaw).len(), 2);
    let mut both = live.clone();
    let fixed = networking("DestinationRule", "x", "{host: gone, trafficPolicy: {}}");
    both.extend(read("a.yaml", &fixed).unwrap());
    let codes: Vec<&str> = analyze(&both, &options, &no_flaw)
        .iter()
        .map(|m| m.code.id)
        .collect();
    assert_eq!(codes, ["IST0106", "IST0174"]);
}

#[test]
fn messages_are_suppressed_by_annotation_and_by_rule() {
    let text = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: x, annotations: {galley.istio.io/analyze-suppress: 'IST0101, IST0174'}}, spec: {host: gone}}";
    assert_eq!(messages(&[text]), []);
    let found = messages(&[&networking("DestinationRule", "x", "{host: gone}")]);
    let covers = |text: &str| output::Suppression::parse(text).unwrap().covers(&found[0]);
    assert!(covers("IST0174=DestinationRule x.default"));
    assert!(covers("IST01*=* *.default"));
    assert!(covers("*=DestinationRule *"));
    assert!(!covers("IST0101=DestinationRule x.default"));
    assert!(!covers("IST0174=DestinationRule y.default"));
    assert!(output::Suppression::parse("IST0101").is_err());
}

#[test]
fn messages_are_written_as_lines_and_as_json() {
    let found = messages(&[&networking("DestinationRule", "x", "{host: gone}")]);
    assert_eq!(
        output::log(&found, Level::Info),
        "Warning [IST0174] (DestinationRule default/x 0.yaml:1) the host \"gone\" (gone.default.svc.cluster.local) does not exist\n"
    );
    assert_eq!(output::log(&found, Level::Error), "");
    let json = output::json(&found, Level::Info);
    assert_eq!(json[0]["code"], "IST0174");
    assert_eq!(json[0]["level"], "Warning");
    assert_eq!(json[0]["origin"], "DestinationRule default/x");
    assert_eq!(json[0]["reference"], "0.yaml:1");
    let options = Options::default();
    assert!(output::all_well(&options, true).ends_with("analyzing namespace: default."));
}

#[test]
fn every_sample_is_valid() {
    let folder = "../../samples/bookinfo/networking";
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let found = messages(&[BOOKINFO, ALL, GATEWAY, &text]);
        let errors: Vec<String> = found
            .iter()
            .filter(|m| m.code.id == "IST0106" || m.code.id == "IST0101")
            .map(ToString::to_string)
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        count += 1;
    }
    assert!(count >= 15, "{count} samples");
}
