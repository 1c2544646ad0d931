//! The store: what a change costs, what it keeps, and what it never touches.

use std::sync::Arc;

use lateen_decide::{Cluster, ClusterId, Plan, RouteTable, Store, Upstream};
use lateen_model::http::HttpAction;
use lateen_model::service::{DnsEndpoint, Resolution, ServiceKey};
use lateen_model::{Body, Host, Labels, Protocol, ResourceName};

use crate::world::{
    World, decide, destination_rule, entry, exact, get, rule, uri, virtual_service, weighted,
};

fn table(plan: &Plan, port: u16) -> Arc<RouteTable> {
    let found = plan.outbound(([203, 0, 113, 1], port).into());
    found.http.clone().expect("the port has HTTP services")
}

fn cluster<'p>(plan: &'p Plan, name: &str) -> &'p Arc<Cluster> {
    let mut clusters = plan.clusters();
    clusters
        .find(|one| one.name.contains(name))
        .expect("the cluster exists")
}

fn addresses(cluster: &Cluster) -> Vec<String> {
    match &cluster.upstream {
        Upstream::Endpoints(set) => set
            .ready()
            .iter()
            .map(|one| one.address.to_string())
            .collect(),
        Upstream::OriginalDst | Upstream::Dynamic(_) | Upstream::BlackHole => Vec::new(),
    }
}

#[test]
fn an_empty_store_passes_everything_through() {
    let mut store = Store::new();
    let plan = store.compile();
    let address = ([1, 1, 1, 1], 80).into();
    let (cluster, _) = plan.outbound(address).tcp.decide(address, || 0);
    assert_eq!(cluster, ClusterId::PASSTHROUGH);
    assert!(plan.proxy().is_none());
    assert!(plan.listeners().is_empty());
}

#[test]
fn without_a_change_the_plan_is_the_same() {
    let mut world = World::sidecar();
    world.http("reviews", 9080);
    let before = world.plan();
    assert!(Arc::ptr_eq(&before, &world.plan()));
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    let changed = world.plan();
    assert!(!Arc::ptr_eq(&before, &changed));
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    assert!(Arc::ptr_eq(&changed, &world.plan()));
}

#[test]
fn a_change_of_endpoints_keeps_tables_other_clusters_ids_and_loads() {
    let mut world = World::sidecar();
    world.http("reviews", 9080).http("ratings", 9080);
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    let before = world.plan();
    let Upstream::Endpoints(set) = &cluster(&before, "reviews").upstream else {
        panic!("endpoints");
    };
    set.ready()[0].load.begin();
    world.endpoints(
        "reviews",
        &[9080],
        &[("10.1.0.1", "v1"), ("10.1.0.2", "v1")],
    );
    let after = world.plan();
    assert!(Arc::ptr_eq(&table(&before, 9080), &table(&after, 9080)));
    assert!(Arc::ptr_eq(
        cluster(&before, "ratings"),
        cluster(&after, "ratings")
    ));
    assert_eq!(
        cluster(&before, "reviews").id,
        cluster(&after, "reviews").id
    );
    let Upstream::Endpoints(set) = &cluster(&after, "reviews").upstream else {
        panic!("endpoints");
    };
    let active: Vec<_> = set.ready().iter().map(|one| one.load.active()).collect();
    assert_eq!(active, [1, 0]);
}

#[test]
fn a_change_of_one_virtual_service_keeps_the_tables_of_other_ports_and_all_clusters() {
    let mut world = World::sidecar();
    world.http("reviews", 9080).http("other", 7000);
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    let before = world.plan();
    world.routes(
        "one",
        virtual_service(&["reviews"], vec![rule(vec![], "reviews")]),
    );
    let after = world.plan();
    assert!(Arc::ptr_eq(&table(&before, 7000), &table(&after, 7000)));
    assert!(!Arc::ptr_eq(&table(&before, 9080), &table(&after, 9080)));
    assert!(Arc::ptr_eq(
        cluster(&before, "reviews"),
        cluster(&after, "reviews")
    ));
}

#[test]
fn a_subset_that_appears_needs_no_new_table() {
    let mut world = World::sidecar();
    world.http("reviews", 9080);
    world.routes(
        "one",
        virtual_service(&["reviews"], vec![rule(vec![], "reviews/v1")]),
    );
    let request = get("reviews", "/");
    let before = world.plan();
    assert_eq!(
        decide(&before, &table(&before, 9080), &request, 0),
        "503 NC"
    );
    world.rules("dr", destination_rule("reviews", "default", &["v1"]));
    let after = world.plan();
    assert!(Arc::ptr_eq(&table(&before, 9080), &table(&after, 9080)));
    let subset = "outbound|9080|v1|reviews.default.svc.cluster.local";
    assert_eq!(decide(&after, &table(&after, 9080), &request, 0), subset);
}

#[test]
fn what_is_removed_is_gone_and_what_comes_back_works() {
    let mut world = World::sidecar();
    world.http("reviews", 9080).http("ratings", 9080);
    let ratings = "outbound|9080||ratings.default.svc.cluster.local";
    let reviews = "outbound|9080||reviews.default.svc.cluster.local";
    let name = ResourceName("VirtualService/default/one".into());
    let routes = virtual_service(&["reviews"], vec![rule(vec![], "ratings")]);
    for _ in 0..3 {
        world.routes("one", routes.clone());
        assert_eq!(world.ask(9080, &get("reviews", "/")), ratings);
        world.store.remove(&name);
        assert_eq!(world.ask(9080, &get("reviews", "/")), reviews);
    }
    world.store.remove(&name);
    world.store.remove(&ResourceName(
        "Service/default/ratings.default.svc.cluster.local".into(),
    ));
    assert_eq!(world.ask(9080, &get("ratings", "/")), "PassthroughCluster");
}

#[test]
fn rules_that_were_overshadowed_for_a_while_find_their_clusters_again() {
    let mut world = World::sidecar();
    world.http("reviews", 9080);
    world.rules("dr", destination_rule("reviews", "default", &["v1"]));
    let to = |target: &str| virtual_service(&["reviews"], vec![rule(vec![], target)]);
    world.routes("younger", to("reviews/v1"));
    let subset = "outbound|9080|v1|reviews.default.svc.cluster.local";
    assert_eq!(world.ask(9080, &get("reviews", "/")), subset);
    let body = Body::VirtualService(to("reviews"));
    let mut older = world.resource("VirtualService", "default", "older", body);
    older.source.created = 0;
    let name = older.name.clone();
    world.store.apply(older).expect("the resource is valid");
    assert_ne!(world.ask(9080, &get("reviews", "/")), subset);
    world.store.remove(&name);
    assert_eq!(world.ask(9080, &get("reviews", "/")), subset);
}

#[test]
fn the_same_resource_again_changes_nothing() {
    let mut world = World::sidecar();
    world.http("reviews", 9080);
    let routes = virtual_service(&["reviews"], vec![rule(vec![], "reviews")]);
    let body = Body::VirtualService(routes);
    let resource = world.resource("VirtualService", "default", "one", body);
    world
        .store
        .apply(resource.clone())
        .expect("the resource is valid");
    let before = world.plan();
    world.store.apply(resource).expect("the resource is valid");
    assert!(Arc::ptr_eq(&before, &world.plan()));
}

#[test]
fn endpoints_may_come_before_their_service_and_go_after_it() {
    let mut world = World::sidecar();
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    world.plan();
    world.http("reviews", 9080);
    assert_eq!(
        addresses(cluster(&world.plan(), "reviews")),
        ["10.1.0.1:9080"]
    );
    world.store.remove_endpoints(&ServiceKey {
        namespace: "default".into(),
        host: Host::new("reviews.default.svc.cluster.local"),
    });
    assert_eq!(
        addresses(cluster(&world.plan(), "reviews")),
        Vec::<String>::new()
    );
}

#[test]
fn a_change_of_endpoints_and_rules_at_once_shows_both() {
    let mut world = World::sidecar();
    world.http("reviews", 9080);
    world.plan();
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    let rules = vec![rule(vec![uri(exact("/only"))], "reviews")];
    world.routes("one", virtual_service(&["reviews"], rules));
    let plan = world.plan();
    assert_eq!(addresses(cluster(&plan, "reviews")), ["10.1.0.1:9080"]);
    assert_eq!(world.ask(9080, &get("reviews", "/")), "404 NR");
}

#[test]
fn names_are_looked_up_while_a_service_needs_them() {
    let mut world = World::sidecar();
    let named = |name: &str| DnsEndpoint {
        name: name.into(),
        ports: vec![(80, 8080)],
        labels: Labels::new(),
        weight: 1,
        locality: String::new(),
    };
    let names = Resolution::Dns(vec![named("one.example"), named("10.9.9.9")]);
    world.service(entry("ext.com", &[(80, Protocol::Http)], names));
    let plan = world.plan();
    assert_eq!(
        world.store.dns_names().iter().collect::<Vec<_>>(),
        ["one.example"]
    );
    assert_eq!(addresses(cluster(&plan, "ext.com")), ["10.9.9.9:8080"]);
    let found = vec![
        "10.8.0.2".parse().expect("an address"),
        "10.8.0.1".parse().expect("one"),
    ];
    world.store.set_dns("one.example", found.clone());
    let plan = world.plan();
    let all = ["10.8.0.1:8080", "10.8.0.2:8080", "10.9.9.9:8080"];
    assert_eq!(addresses(cluster(&plan, "ext.com")), all);
    world.store.set_dns("one.example", found);
    assert!(Arc::ptr_eq(&plan, &world.plan()));
    world
        .store
        .remove(&ResourceName("Service/default/ext.com".into()));
    world.plan();
    assert!(world.store.dns_names().is_empty());
}

#[test]
fn an_id_names_one_cluster_for_ever() {
    let mut world = World::sidecar();
    world.http("reviews", 9080);
    world.rules("dr", destination_rule("reviews", "default", &["v1", "v2"]));
    let to_subset = |subset: &str| {
        let mut one = rule(vec![], "x");
        one.action = HttpAction::Route(vec![weighted(&format!("reviews/{subset}"), 1)]);
        virtual_service(&["reviews"], vec![one])
    };
    world.routes("one", to_subset("v1"));
    let first = cluster(&world.plan(), "|v1|").id;
    world.routes("one", to_subset("v2"));
    let plan = world.plan();
    assert!(plan.cluster(first).is_none());
    assert_ne!(cluster(&plan, "|v2|").id, first);
}
