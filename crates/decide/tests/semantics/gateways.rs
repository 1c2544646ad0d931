//! Gateways: what listens where, and how VirtualServices merge there.

use std::net::SocketAddr;

use lateen_decide::tls::{Choice, Ended};
use lateen_decide::{Pick, Plan, Serve};
use lateen_model::Protocol;
use lateen_model::gateway::{ServerTls, ServerTlsMode};
use lateen_model::route::{HttpMatch, L4Match, TcpRule, TlsMatch, TlsRule};
use lateen_model::service::{ExportTo, Resolution};

use crate::request::Request;
use crate::world::{
    World, exact, gateway, gateway_ref, get, pattern, prefix, rule, server, service, to, uri,
    virtual_service,
};

const PAGE: &str = "outbound|9080||productpage.default.svc.cluster.local";
const REVIEWS: &str = "outbound|9080||reviews.default.svc.cluster.local";

fn edge() -> World {
    let mut world = World::gateway();
    world.http("productpage", 9080).http("reviews", 9080);
    world
}

/// A VirtualService of the Gateway `edge`.
fn bound(
    hosts: &[&str],
    http: Vec<lateen_model::http::HttpRule>,
) -> lateen_model::route::VirtualService {
    let mut routes = virtual_service(hosts, http);
    routes.gateways = vec![gateway_ref("edge")];
    routes
}

#[test]
fn a_server_listens_on_the_target_port_of_the_gateways_service() {
    let mut world = edge();
    world.edge(gateway(
        "edge",
        vec![server(80, &["*"]), server(9000, &["*"])],
    ));
    world.routes(
        "one",
        bound(&["bookinfo.local"], vec![rule(vec![], "productpage")]),
    );
    let request = get("bookinfo.local", "/");
    assert_eq!(world.ask_edge(8080, &request), PAGE);
    assert_eq!(world.ask_edge(80, &request), "nothing listens");
    // A number that no Service exposes is the listening port itself.
    assert_eq!(world.ask_edge(9000, &request), PAGE);
    let plan = world.plan();
    let ports: Vec<_> = plan
        .listeners()
        .iter()
        .map(|one| (one.port, one.server_port))
        .collect();
    assert_eq!(ports, [(8080, 80), (9000, 9000)]);
}

#[test]
fn an_unknown_host_and_an_unknown_path_are_answered_404() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["bookinfo.local"])]));
    let rules = vec![rule(vec![uri(exact("/productpage"))], "productpage")];
    world.routes("one", bound(&["bookinfo.local"], rules));
    assert_eq!(
        world.ask_edge(8080, &get("Bookinfo.local:8080", "/productpage")),
        PAGE
    );
    assert_eq!(
        world.ask_edge(8080, &get("bookinfo.local", "/other")),
        "404 NR"
    );
    assert_eq!(
        world.ask_edge(8080, &get("other.local", "/productpage")),
        "404 NR"
    );
}

#[test]
fn a_gateway_without_virtual_services_answers_404() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["*"])]));
    assert_eq!(world.ask_edge(8080, &get("a", "/")), "404 NR");
}

#[test]
fn a_gateway_that_selects_other_proxies_does_not_concern_this_one() {
    let mut world = edge();
    let mut other = gateway("edge", vec![server(80, &["*"])]);
    other.selector.insert("app".into(), "other".into());
    world.edge(other);
    world.routes("one", bound(&["*"], vec![rule(vec![], "productpage")]));
    assert_eq!(world.ask_edge(8080, &get("a", "/")), "nothing listens");
}

#[test]
fn the_narrower_host_of_server_and_virtual_service_is_served() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["*.foo.com"])]));
    world.routes(
        "one",
        bound(&["a.foo.com", "b.com"], vec![rule(vec![], "productpage")]),
    );
    world.routes("two", bound(&["*"], vec![rule(vec![], "reviews")]));
    assert_eq!(world.ask_edge(8080, &get("a.foo.com", "/")), PAGE);
    assert_eq!(world.ask_edge(8080, &get("x.foo.com", "/")), REVIEWS);
    assert_eq!(world.ask_edge(8080, &get("b.com", "/")), "404 NR");
    assert_eq!(world.ask_edge(8080, &get("foo.com", "/")), "404 NR");
}

#[test]
fn a_namespace_before_the_host_admits_virtual_services_of_it_alone() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["other/a.com", "b.com"])]));
    let routes = bound(&["a.com", "b.com"], vec![rule(vec![], "productpage")]);
    let mut foreign = routes.clone();
    foreign.namespace = "other".into();
    world.routes("one", routes);
    assert_eq!(world.ask_edge(8080, &get("a.com", "/")), "404 NR");
    assert_eq!(world.ask_edge(8080, &get("b.com", "/")), PAGE);
    world.routes("two", foreign);
    assert_eq!(world.ask_edge(8080, &get("a.com", "/")), PAGE);
}

#[test]
fn virtual_services_for_one_host_merge_by_age_with_what_takes_everything_last() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["*"])]));
    let older = vec![
        rule(vec![uri(prefix("/a"))], "productpage"),
        rule(vec![], "productpage"),
        rule(vec![uri(exact("/never"))], "unknown"),
    ];
    let younger = vec![
        rule(vec![uri(exact("/a/b"))], "reviews"),
        rule(vec![uri(exact("/c"))], "reviews"),
        rule(vec![uri(prefix("/"))], "reviews"),
    ];
    world.routes("older", bound(&["a.com"], older));
    world.routes("younger", bound(&["a.com"], younger));
    for (path, expected) in [
        ("/a/b", PAGE),
        ("/c", REVIEWS),
        ("/never", PAGE),
        ("/else", PAGE),
    ] {
        assert_eq!(
            world.ask_edge(8080, &get("a.com", path)),
            expected,
            "{path}"
        );
    }
}

#[test]
fn two_gateways_on_one_port_share_the_listener() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["a.com"])]));
    world.edge(gateway("second", vec![server(80, &["b.com"])]));
    world.routes("one", bound(&["*"], vec![rule(vec![], "productpage")]));
    let mut second = bound(&["*"], vec![rule(vec![], "reviews")]);
    second.gateways = vec![gateway_ref("second")];
    world.routes("two", second);
    assert_eq!(world.ask_edge(8080, &get("a.com", "/")), PAGE);
    assert_eq!(world.ask_edge(8080, &get("b.com", "/")), REVIEWS);
    assert_eq!(world.plan().listeners().len(), 1);
}

#[test]
fn the_port_of_a_match_is_that_of_the_server() {
    let mut world = edge();
    world.edge(gateway(
        "edge",
        vec![server(80, &["*"]), server(9000, &["*"])],
    ));
    let on_80 = HttpMatch {
        port: Some(80),
        ..HttpMatch::default()
    };
    let rules = vec![rule(vec![on_80], "productpage"), rule(vec![], "reviews")];
    world.routes("one", bound(&["*"], rules));
    assert_eq!(world.ask_edge(8080, &get("a", "/")), PAGE);
    assert_eq!(world.ask_edge(9000, &get("a", "/")), REVIEWS);
}

#[test]
fn a_match_for_the_mesh_alone_is_not_there_at_a_gateway() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["*"])]));
    let in_mesh = HttpMatch {
        gateways: vec![lateen_model::route::GatewayRef::Mesh],
        ..HttpMatch::default()
    };
    let rules = vec![rule(vec![in_mesh], "reviews"), rule(vec![], "productpage")];
    world.routes("one", bound(&["*"], rules));
    assert_eq!(world.ask_edge(8080, &get("a", "/")), PAGE);
}

#[test]
fn a_server_may_redirect_everything_to_https_even_without_rules() {
    let mut world = edge();
    let mut redirecting = server(80, &["a.com", "*.b.com"]);
    redirecting.https_redirect = true;
    world.edge(gateway("edge", vec![redirecting]));
    world.routes("one", bound(&["a.com"], vec![rule(vec![], "productpage")]));
    assert_eq!(world.ask_edge(8080, &get("a.com", "/")), "301");
    assert_eq!(world.ask_edge(8080, &get("x.b.com", "/")), "301");
    assert_eq!(world.ask_edge(8080, &get("c.com", "/")), "404 NR");
    let secure = Request {
        scheme: "https".into(),
        ..get("a.com", "/")
    };
    assert_eq!(world.ask_edge(8080, &secure), PAGE);
}

#[test]
fn a_virtual_service_that_is_not_exported_to_the_gateway_is_not_served() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["*"])]));
    let mut private = bound(&["*"], vec![rule(vec![], "productpage")]);
    private.export_to = ExportTo::Namespaces(vec!["default".into()]);
    world.routes("one", private);
    assert_eq!(world.ask_edge(8080, &get("a", "/")), "404 NR");
}

#[test]
fn a_destination_without_port_gets_that_of_the_server() {
    let mut world = edge();
    let two = [(80, Protocol::Http), (81, Protocol::Http)];
    world.service(service("two", "default", &two));
    world.edge(gateway("edge", vec![server(80, &["*"])]));
    world.routes("one", bound(&["*"], vec![rule(vec![], "two")]));
    let expected = "outbound|80||two.default.svc.cluster.local";
    assert_eq!(world.ask_edge(8080, &get("a", "/")), expected);
}

#[test]
fn a_headless_service_is_balanced_since_nobody_dials_its_pods_here() {
    let mut world = edge();
    let mut headless = service("db", "default", &[(80, Protocol::Http)]);
    headless.resolution = Resolution::OriginalDst;
    world.service(headless);
    world.endpoints("db", &[80], &[("10.1.0.1", "v1")]);
    world.edge(gateway("edge", vec![server(80, &["*"])]));
    world.routes("one", bound(&["*"], vec![rule(vec![], "db")]));
    let plan = world.plan();
    let cluster = plan.clusters().find(|one| one.name.contains("db.default"));
    let picked = cluster.and_then(|one| one.pick(&Pick::default(), &mut 0, || 0));
    let address = picked.map(|endpoint| endpoint.address.to_string());
    assert_eq!(address.as_deref(), Some("10.1.0.1:80"));
}

#[test]
fn the_older_of_two_protocols_on_one_port_is_served() {
    let mut world = edge();
    world.edge(gateway("edge", vec![server(80, &["*"])]));
    let mut bytes = server(80, &["*"]);
    bytes.protocol = Protocol::Tcp;
    world.edge(gateway("bytes", vec![bytes]));
    world.routes("one", bound(&["*"], vec![rule(vec![], "productpage")]));
    assert_eq!(world.ask_edge(8080, &get("a", "/")), PAGE);
    let plan = world.plan();
    let (object, text) = &plan.notices()[0];
    assert_eq!(object.name, "bytes");
    assert!(text.contains("Gateway/default/edge"), "{text}");
}

#[test]
fn a_server_that_cannot_be_served_says_so_and_harms_no_other() {
    let mut world = edge();
    let mut https = server(443, &["*"]);
    https.protocol = Protocol::Https;
    let mut bound_to_name = server(81, &["*"]);
    bound_to_name.bind = "unix:///x".into();
    world.edge(gateway(
        "edge",
        vec![https, bound_to_name, server(80, &["*"])],
    ));
    let plan = world.plan();
    assert_eq!(plan.listeners().len(), 1);
    let texts: Vec<_> = plan
        .notices()
        .iter()
        .map(|(_, text)| text.as_str())
        .collect();
    for port in ["port 443", "port 81"] {
        assert!(texts.iter().any(|text| text.contains(port)), "{texts:?}");
    }
}

#[test]
fn tcp_servers_take_the_first_rule_for_their_port() {
    let mut world = edge();
    let mut bytes = server(31400, &["*"]);
    bytes.protocol = Protocol::Tcp;
    world.edge(gateway("edge", vec![bytes]));
    let mut routes = bound(&["*"], vec![]);
    let on = |port| L4Match {
        port: Some(port),
        ..L4Match::default()
    };
    routes.tcp = vec![
        TcpRule {
            matches: vec![on(1)],
            route: vec![to("reviews:9080")],
        },
        TcpRule {
            matches: vec![on(2), on(31400)],
            route: vec![to("productpage:9080")],
        },
    ];
    world.routes("one", routes);
    let plan = world.plan();
    let local = SocketAddr::from(([10, 0, 0, 1], 31400));
    let Some(Serve::Tcp(route)) = plan.gateway(local).map(|one| &one.serve) else {
        panic!("a TCP listener");
    };
    let (cluster, route) = route.decide(local, || 0);
    assert_eq!(plan.cluster(cluster).map(|one| &*one.name), Some(PAGE));
    assert_eq!((route.origin.rule, route.origin.block), (1, 1));
}

#[test]
fn tls_servers_pass_through_by_the_server_name() {
    passes_through(Protocol::Tls);
}

#[test]
fn https_servers_that_pass_through_do_so_too() {
    passes_through(Protocol::Https);
}

fn passes_through(protocol: Protocol) {
    let mut world = edge();
    let mut tls = server(443, &["*.foo.com"]);
    tls.protocol = protocol;
    world.edge(gateway("edge", vec![tls]));
    let mut routes = bound(&["*.foo.com", "b.com"], vec![]);
    let asked = |names: &[&str]| TlsMatch {
        sni_hosts: names.iter().map(|name| pattern(name, "default")).collect(),
        l4: L4Match::default(),
    };
    routes.tls = vec![
        TlsRule {
            matches: vec![asked(&["*.foo.com"])],
            route: vec![to("reviews:9080")],
        },
        TlsRule {
            matches: vec![asked(&["a.foo.com", "b.com"])],
            route: vec![to("productpage:9080")],
        },
    ];
    world.routes("one", routes);
    let plan = world.plan();
    let local = SocketAddr::from(([10, 0, 0, 1], 443));
    let Some(Serve::Tls(table)) = plan.gateway(local).map(|one| &one.serve) else {
        panic!("a TLS listener");
    };
    let find = |name: &str| {
        let Choice::Passed(table) = table.choose(Some(name.as_bytes()))? else {
            panic!("{name} is not passed through");
        };
        let (cluster, _) = table.decide(name.as_bytes(), local, || 0)?;
        plan.cluster(cluster).map(|one| one.name.to_string())
    };
    assert_eq!(find("A.foo.com").as_deref(), Some(PAGE));
    assert_eq!(find("x.foo.com").as_deref(), Some(REVIEWS));
    assert_eq!(find("b.com"), None);
    assert_eq!(find(""), None);
}

/// A server of port 443 that ends TLS.
fn ending(name: &str, hosts: &[&str], protocol: Protocol) -> lateen_model::gateway::Server {
    let mut ending = server(443, hosts);
    ending.port_name = name.into();
    ending.protocol = protocol;
    ending.tls = Some(ServerTls {
        mode: ServerTlsMode::Simple,
        ..ServerTls::default()
    });
    ending
}

fn choose(plan: &Plan, name: &str) -> Option<String> {
    let local = SocketAddr::from(([10, 0, 0, 1], 443));
    let Some(Serve::Tls(table)) = plan.gateway(local).map(|one| &one.serve) else {
        panic!("a TLS listener");
    };
    match table.choose(Some(name.as_bytes()))? {
        Choice::Ended(server) => Some(server.name.to_string()),
        Choice::Mesh(_) => Some("mesh".into()),
        Choice::Passed(_) => Some("passed".into()),
    }
}

#[test]
fn a_host_that_an_older_tls_server_has_makes_the_later_one_be_ignored() {
    let mut world = edge();
    let servers = vec![
        ending("one", &["a.com", "*.b.com"], Protocol::Https),
        ending("two", &["c.com", "a.com"], Protocol::Https),
    ];
    world.edge(gateway("edge", servers));
    let plan = world.plan();
    let one = Some("https.443.one.edge.default".to_owned());
    assert_eq!(choose(&plan, "a.com"), one);
    assert_eq!(choose(&plan, "x.b.com"), one);
    assert_eq!(choose(&plan, "c.com"), None);
    let (object, notice) = &plan.notices()[0];
    assert_eq!(object.name, "edge");
    assert!(
        notice.contains("a.com") && notice.contains("ignored"),
        "{notice}"
    );
}

#[test]
fn an_https_server_without_a_virtual_service_opens_and_has_no_route() {
    let mut world = edge();
    let secure = ending("one", &["a.com"], Protocol::Https);
    world.edge(gateway("edge", vec![secure]));
    let plan = world.plan();
    let server = plan.all_terminated()[0];
    let Ended::Http(table) = &server.serve else {
        panic!("requests are served");
    };
    let request = get("a.com", "/");
    assert_eq!(crate::world::decide(&plan, table, &request, 0), "404 NR");
}

#[test]
fn a_server_keeps_its_id_until_it_ends_tls_in_another_way() {
    let mut world = edge();
    let secure = ending("one", &["a.com"], Protocol::Https);
    world.edge(gateway("edge", vec![secure.clone()]));
    let id = world.plan().all_terminated()[0].id;
    world.routes("one", bound(&["a.com"], vec![rule(vec![], "reviews:9080")]));
    assert_eq!(world.plan().all_terminated()[0].id, id);
    let mut mutual = secure;
    mutual.tls.as_mut().expect("TLS").mode = ServerTlsMode::Mutual;
    world.edge(gateway("edge", vec![mutual]));
    let plan = world.plan();
    assert_ne!(plan.all_terminated()[0].id, id);
    assert!(plan.terminated(id).is_none());
}

#[test]
fn a_tls_server_without_tcp_rules_is_ignored_with_a_notice() {
    let mut world = edge();
    world.edge(gateway(
        "edge",
        vec![ending("one", &["a.com"], Protocol::Tls)],
    ));
    let plan = world.plan();
    assert!(plan.listeners().is_empty());
    let notices: Vec<_> = plan.notices().iter().map(|(_, text)| text).collect();
    assert!(notices[0].contains("`tcp` rules"), "{notices:?}");
}

#[test]
fn auto_passthrough_leads_to_the_ports_and_subsets_of_services_within_its_hosts() {
    let mut world = edge();
    let mut taking = ending("one", &["*.cluster.local"], Protocol::Tls);
    taking.tls.as_mut().expect("TLS").mode = ServerTlsMode::AutoPassthrough;
    world.edge(gateway("edge", vec![taking]));
    let plan = world.plan();
    let name = "outbound_.9080_._.reviews.default.svc.cluster.local";
    assert_eq!(choose(&plan, name).as_deref(), Some("mesh"));
    for name in [
        "outbound_.9081_._.reviews.default.svc.cluster.local",
        "outbound_.9080_.v1_.reviews.default.svc.cluster.local",
        "reviews.default.svc.cluster.local",
    ] {
        assert_eq!(choose(&plan, name), None, "{name}");
    }
}
