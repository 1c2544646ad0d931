//! Delegates: VirtualServices without hosts that others name.

use std::time::Duration;

use lateen_model::http::{HttpAction, HttpRule};
use lateen_model::route::{HttpMatch, ValueMatch, VirtualService};
use lateen_model::service::ExportTo;
use lateen_model::{Body, ResourceName};

use crate::world::{World, exact, get, header, prefix, regex, rule, uri, virtual_service};

const REVIEWS: &str = "outbound|9080||reviews.default.svc.cluster.local";
const RATINGS: &str = "outbound|9080||ratings.default.svc.cluster.local";

fn bookinfo() -> World {
    let mut world = World::sidecar();
    for name in ["reviews", "ratings", "details"] {
        world.http(name, 9080);
    }
    world
}

/// A rule that delegates to `default/sub`.
fn delegating(matches: Vec<HttpMatch>) -> HttpRule {
    HttpRule {
        matches,
        ..HttpRule::new(HttpAction::Delegate {
            namespace: "default".into(),
            name: "sub".into(),
        })
    }
}

fn delegate(rules: Vec<HttpRule>) -> VirtualService {
    virtual_service(&[], rules)
}

fn notices(world: &mut World) -> Vec<String> {
    let plan = world.plan();
    let notices = plan.notices().iter();
    notices
        .map(|(object, text)| format!("{object}: {text}"))
        .collect()
}

#[test]
fn the_rules_of_a_delegate_stand_in_the_place_of_the_rule_that_names_it() {
    let mut world = bookinfo();
    let root = vec![
        delegating(vec![uri(prefix("/api"))]),
        rule(vec![], "details"),
    ];
    world.routes("root", virtual_service(&["reviews"], root));
    let sub = vec![
        rule(vec![uri(prefix("/api/v1"))], "ratings"),
        rule(vec![], "reviews"),
    ];
    world.routes("sub", delegate(sub));
    assert_eq!(world.ask(9080, &get("reviews", "/api/v1/x")), RATINGS);
    assert_eq!(world.ask(9080, &get("reviews", "/api/v2")), REVIEWS);
    let details = "outbound|9080||details.default.svc.cluster.local";
    assert_eq!(world.ask(9080, &get("reviews", "/other")), details);
    assert_eq!(notices(&mut world), [""; 0]);
}

#[test]
fn routes_tell_the_delegate_and_its_rule_and_inherit_what_it_leaves_unset() {
    let mut world = bookinfo();
    let mut root = delegating(vec![]);
    root.name = "root".into();
    root.timeout = Some(Duration::from_secs(1));
    world.routes("root", virtual_service(&["reviews"], vec![root]));
    let mut first = rule(vec![uri(exact("/a"))], "ratings");
    first.name = "first".into();
    first.timeout = Some(Duration::from_secs(2));
    let second = rule(vec![], "ratings");
    world.routes("sub", delegate(vec![first, second]));
    let plan = world.plan();
    let table = plan.outbound(([203, 0, 113, 1], 9080).into()).http.clone();
    let table = table.expect("the port has HTTP services");
    let routes = table.routes().filter(|(host, _)| host.contains("reviews"));
    let told: Vec<_> = routes
        .map(|(_, route)| {
            (
                route.origin.to_string(),
                route.name.to_string(),
                route.policy.timeout,
            )
        })
        .collect();
    let origin = |rule| format!("VirtualService/default/sub rule {rule} match 0");
    let seconds = |number| Some(Duration::from_secs(number));
    assert_eq!(
        told,
        [
            (origin(0), "root-first".into(), seconds(2)),
            (origin(1), "root".into(), seconds(1))
        ]
    );
}

#[test]
fn a_missing_or_hidden_delegate_leaves_its_rule_out_and_says_so() {
    let mut world = bookinfo();
    let root = vec![delegating(vec![uri(prefix("/a"))]), rule(vec![], "reviews")];
    world.routes("root", virtual_service(&["reviews"], root));
    let request = get("reviews", "/a");
    let missing = |world: &mut World| {
        assert_eq!(world.ask(9080, &request), REVIEWS);
        let notices = notices(world);
        let [notice] = &*notices else {
            panic!("{notices:?}");
        };
        assert!(
            notice.contains("VirtualService/default/root: http[0]"),
            "{notice}"
        );
        assert!(notice.contains("default/sub does not exist"), "{notice}");
    };
    missing(&mut world);
    // It appears, is hidden, and goes.
    let mut sub = delegate(vec![rule(vec![], "ratings")]);
    world.routes("sub", sub.clone());
    assert_eq!(world.ask(9080, &request), RATINGS);
    sub.export_to = ExportTo::Nobody;
    world.routes("sub", sub.clone());
    missing(&mut world);
    sub.export_to = ExportTo::Namespaces(vec!["default".into()]);
    world.routes("sub", sub.clone());
    assert_eq!(world.ask(9080, &request), RATINGS);
    world
        .store
        .remove(&ResourceName("VirtualService/default/sub".into()));
    missing(&mut world);
    // One with hosts of its own is no delegate.
    world.routes(
        "sub",
        virtual_service(&["details"], vec![rule(vec![], "ratings")]),
    );
    missing(&mut world);
}

#[test]
fn a_delegate_is_seen_by_its_roots_and_not_by_proxies() {
    let mut world = bookinfo();
    let root = vec![delegating(vec![])];
    let mut root = virtual_service(&["reviews"], root);
    root.namespace = "other".into();
    world.routes("root", root);
    let mut sub = delegate(vec![rule(vec![], "ratings")]);
    sub.export_to = ExportTo::Namespaces(vec!["other".into()]);
    world.routes("sub", sub);
    assert_eq!(world.ask(9080, &get("reviews", "/")), RATINGS);
}

#[test]
fn a_change_of_the_delegate_changes_the_routes_of_its_roots_alone() {
    let mut world = bookinfo();
    world.http("other", 7000);
    world.routes(
        "root",
        virtual_service(&["reviews"], vec![delegating(vec![])]),
    );
    world.routes("sub", delegate(vec![rule(vec![], "ratings")]));
    let before = world.plan();
    let table = |plan: &lateen_decide::Plan| {
        let address = ([203, 0, 113, 1], 7000).into();
        plan.outbound(address).http.clone().expect("HTTP")
    };
    world.routes("sub", delegate(vec![rule(vec![], "reviews")]));
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
    let after = world.plan();
    assert!(std::sync::Arc::ptr_eq(&table(&before), &table(&after)));
    // A change of something else keeps what was put together.
    world.routes(
        "third",
        virtual_service(&["details"], vec![rule(vec![], "ratings")]),
    );
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
}

/// Whether the only rule of a delegate with one block is kept, beside one of its root.
fn is_kept(root: HttpMatch, own: HttpMatch) -> bool {
    let mut world = bookinfo();
    world.routes(
        "root",
        virtual_service(&["reviews"], vec![delegating(vec![root])]),
    );
    world.routes("sub", delegate(vec![rule(vec![own], "ratings")]));
    let notices = notices(&mut world);
    assert!(
        notices
            .iter()
            .all(|one| one.contains("does not lie within")),
        "{notices:?}"
    );
    notices.is_empty()
}

#[test]
fn a_block_that_is_not_narrower_than_that_of_the_root_is_in_conflict() {
    let value = |text: &str| ValueMatch::Value(exact(text));
    for (root, own, kept) in [
        (uri(prefix("/a")), uri(prefix("/a/b")), true),
        (uri(prefix("/a")), uri(exact("/a/b")), true),
        (uri(prefix("/a/b")), uri(prefix("/a")), false),
        (uri(exact("/a")), uri(exact("/a")), true),
        (uri(exact("/a")), uri(exact("/b")), false),
        (uri(exact("/a")), uri(prefix("/a")), false),
        (uri(regex("/a")), uri(regex("/a")), false),
        (uri(prefix("/a")), uri(regex("/a.*")), false),
        (uri(regex("/a.*")), header("x", value("1")), true),
        (header("x", value("1")), header("y", value("1")), true),
        (header("x", value("1")), header("x", value("1")), true),
        (header("x", value("1")), header("x", value("2")), false),
        (
            header("x", ValueMatch::Present),
            header("x", value("2")),
            false,
        ),
    ] {
        let told = format!("{root:?} above {own:?}");
        assert_eq!(is_kept(root, own), kept, "{told}");
    }
}

#[test]
fn conditions_on_ports_sources_and_gateways_must_agree() {
    let block = |port: Option<u16>, label: &str, namespace: Option<&str>| HttpMatch {
        port,
        source_labels: crate::world::labels(&[("app", label)]),
        source_namespace: namespace.map(str::to_owned),
        ..HttpMatch::default()
    };
    let own = block(Some(9080), "client", Some("default"));
    assert!(is_kept(own.clone(), own.clone()));
    assert!(is_kept(block(None, "client", None), own.clone()));
    assert!(!is_kept(block(Some(80), "client", None), own.clone()));
    assert!(!is_kept(block(None, "other", None), own.clone()));
    assert!(!is_kept(block(None, "client", Some("other")), own.clone()));
    let folded = HttpMatch {
        ignore_uri_case: true,
        ..own.clone()
    };
    assert!(!is_kept(folded, own));
}

#[test]
fn a_delegate_does_not_delegate() {
    let mut world = bookinfo();
    world.routes(
        "root",
        virtual_service(&["reviews"], vec![delegating(vec![])]),
    );
    let sub = vec![delegating(vec![]), rule(vec![], "ratings")];
    world.routes("sub", delegate(sub));
    assert_eq!(world.ask(9080, &get("reviews", "/")), RATINGS);
    let told = notices(&mut world).join("\n");
    assert!(
        told.contains("rule http[0] of VirtualService/default/sub"),
        "{told}"
    );
}

#[test]
fn a_bad_delegate_is_refused_alone() {
    let mut world = bookinfo();
    world.routes(
        "root",
        virtual_service(&["reviews"], vec![delegating(vec![])]),
    );
    let bad = delegate(vec![rule(vec![uri(regex("("))], "ratings")]);
    let resource = world.resource(
        "VirtualService",
        "default",
        "sub",
        Body::VirtualService(bad),
    );
    let error = world
        .store
        .apply(resource)
        .expect_err("it cannot be compiled");
    assert!(
        error.to_string().contains("http[0].match[0].uri.regex"),
        "{error}"
    );
    // A VirtualService without a rule that applies is as if it was not there.
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
}
