//! DestinationRules: which one is for a service, and what it says.

use lateen_decide::{Cluster, Upstream};
use lateen_model::Protocol;
use lateen_model::balancer::Algorithm;
use lateen_model::destination::PortPolicy;
use lateen_model::proxy::Role;
use lateen_model::service::ExportTo;

use crate::world::{
    World, balanced, destination_rule, exact, labels, rule, service, uri, virtual_service,
};

/// A world where every subset of `reviews` is routed to.
fn reviews(world: &mut World) {
    world.http("reviews", 9080);
    let rules = ["v1", "v2"].map(|subset| {
        let path = format!("/{subset}");
        rule(vec![uri(exact(&path))], &format!("reviews/{subset}"))
    });
    let mut rules = rules.to_vec();
    rules.push(rule(vec![], "reviews"));
    world.routes("all", virtual_service(&["reviews"], rules));
}

/// What `read` says of the cluster of a subset; nothing if it does not exist.
fn of<T>(world: &mut World, subset: &str, read: impl Fn(&Cluster) -> T) -> Option<T> {
    let plan = world.plan();
    let name = format!("outbound|9080|{subset}|reviews.default.svc.cluster.local");
    let cluster = plan.clusters().find(|cluster| *cluster.name == *name)?;
    Some(read(cluster))
}

fn balancer(world: &mut World, subset: &str) -> Option<Algorithm> {
    of(world, subset, |cluster| {
        cluster.load_balancer.algorithm.clone()
    })
}

fn addresses(world: &mut World, subset: &str) -> Option<Vec<String>> {
    of(world, subset, |cluster| match &cluster.upstream {
        Upstream::Endpoints(set) => {
            let ready = set.ready().iter();
            ready.map(|endpoint| endpoint.address.to_string()).collect()
        }
        Upstream::OriginalDst | Upstream::Dynamic(_) => vec!["original".to_owned()],
        Upstream::BlackHole => vec!["nowhere".to_owned()],
    })
}

#[test]
fn a_subset_takes_the_endpoints_with_its_labels_and_empty_labels_take_all() {
    let mut world = World::sidecar();
    reviews(&mut world);
    world.endpoints(
        "reviews",
        &[9080],
        &[("10.1.0.1", "v1"), ("10.1.0.2", "v2")],
    );
    let mut subsets = destination_rule("reviews", "default", &["v1", "v2"]);
    subsets.subsets[1].labels.clear();
    world.rules("dr", subsets);
    assert_eq!(
        addresses(&mut world, "v1"),
        Some(vec!["10.1.0.1:9080".into()])
    );
    assert_eq!(addresses(&mut world, "v2").map(|all| all.len()), Some(2));
    assert_eq!(addresses(&mut world, "").map(|all| all.len()), Some(2));
}

#[test]
fn a_subset_that_nobody_defines_does_not_exist_but_one_without_endpoints_does() {
    let mut world = World::sidecar();
    reviews(&mut world);
    world.rules("dr", destination_rule("reviews", "default", &["v1"]));
    assert_eq!(addresses(&mut world, "v1"), Some(vec![]));
    assert_eq!(addresses(&mut world, "v2"), None);
}

#[test]
fn the_clients_namespace_comes_before_the_services_and_that_before_the_root() {
    let mut world = World::new(World::proxy(Role::Sidecar, "client", &[]));
    reviews(&mut world);
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::LeastRequest));
    let host = "reviews.default.svc.cluster.local";
    for (namespace, policy) in [
        ("istio-system", Algorithm::Random),
        ("default", Algorithm::RoundRobin),
        ("client", Algorithm::LeastRequest),
    ] {
        let mut rule = destination_rule(host, namespace, &[]);
        rule.policy = balanced(policy.clone());
        world.rules("dr", rule);
        assert_eq!(balancer(&mut world, ""), Some(policy), "{namespace}");
    }
    let mut elsewhere = destination_rule(host, "elsewhere", &["v1"]);
    elsewhere.policy = balanced(Algorithm::Random);
    world.rules("dr", elsewhere);
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::LeastRequest));
}

#[test]
fn nothing_is_inherited_between_namespaces() {
    let mut world = World::new(World::proxy(Role::Sidecar, "client", &[]));
    reviews(&mut world);
    let host = "reviews.default.svc.cluster.local";
    world.rules("dr", destination_rule(host, "default", &["v1"]));
    assert!(addresses(&mut world, "v1").is_some());
    let mut own = destination_rule("*.svc.cluster.local", "client", &[]);
    own.policy = balanced(Algorithm::Random);
    world.rules("dr", own);
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::Random));
    assert_eq!(addresses(&mut world, "v1"), None);
}

#[test]
fn a_proxy_of_the_root_namespace_prefers_only_its_private_rules() {
    let mut world = World::new(World::proxy(Role::Sidecar, "istio-system", &[]));
    reviews(&mut world);
    let host = "reviews.default.svc.cluster.local";
    let mut of_service = destination_rule(host, "default", &[]);
    of_service.policy = balanced(Algorithm::RoundRobin);
    let mut of_root = destination_rule(host, "istio-system", &[]);
    of_root.policy = balanced(Algorithm::Random);
    world.rules("dr", of_service).rules("dr", of_root.clone());
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::RoundRobin));
    of_root.export_to = ExportTo::Namespaces(vec!["istio-system".into()]);
    world.rules("dr", of_root);
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::Random));
}

#[test]
fn an_exact_host_comes_before_the_longest_wildcard() {
    let mut world = World::sidecar();
    reviews(&mut world);
    for (host, policy) in [
        ("*", Algorithm::Random),
        ("*.cluster.local", Algorithm::RoundRobin),
        ("*.default.svc.cluster.local", Algorithm::Random),
        ("reviews", Algorithm::RoundRobin),
    ] {
        let mut rule = destination_rule(host, "default", &[]);
        rule.policy = balanced(policy.clone());
        world.rules(host, rule);
        assert_eq!(balancer(&mut world, ""), Some(policy), "{host}");
    }
}

#[test]
fn rules_for_one_host_merge_their_subsets_and_the_oldest_policy_stays() {
    let mut world = World::sidecar();
    reviews(&mut world);
    world.endpoints(
        "reviews",
        &[9080],
        &[("10.1.0.1", "v1"), ("10.1.0.2", "v2")],
    );
    let older = destination_rule("reviews", "default", &["v1"]);
    let mut younger = destination_rule("reviews", "default", &["v1", "v2"]);
    younger.subsets[0].labels = labels(&[("version", "v2")]);
    younger.policy = balanced(Algorithm::Random);
    let mut youngest = destination_rule("reviews", "default", &[]);
    youngest.policy = balanced(Algorithm::RoundRobin);
    world
        .rules("a", older)
        .rules("b", younger)
        .rules("c", youngest);
    assert_eq!(
        addresses(&mut world, "v1"),
        Some(vec!["10.1.0.1:9080".into()])
    );
    assert_eq!(
        addresses(&mut world, "v2"),
        Some(vec!["10.1.0.2:9080".into()])
    );
    // The oldest that has a policy at all.
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::Random));
}

#[test]
fn rules_that_are_exported_differently_do_not_merge() {
    let mut world = World::sidecar();
    reviews(&mut world);
    let older = destination_rule("reviews", "default", &["v1"]);
    let mut younger = destination_rule("reviews", "default", &["v2"]);
    younger.export_to = ExportTo::Namespaces(vec!["default".into()]);
    world.rules("a", older).rules("b", younger);
    assert!(addresses(&mut world, "v1").is_some());
    assert!(addresses(&mut world, "v2").is_none());
}

#[test]
fn a_rule_that_selects_the_workload_wins() {
    let mut world = World::sidecar();
    reviews(&mut world);
    let mut general = destination_rule("reviews", "default", &[]);
    general.policy = balanced(Algorithm::Random);
    let mut selecting = destination_rule("reviews", "default", &[]);
    selecting.policy = balanced(Algorithm::RoundRobin);
    selecting.workload_selector = Some(labels(&[("app", "other")]));
    world.rules("a", general).rules("b", selecting.clone());
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::Random));
    selecting.workload_selector = Some(labels(&[("app", "client")]));
    world.rules("b", selecting);
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::RoundRobin));
}

#[test]
fn a_subset_overrides_by_block_and_a_port_replaces_all_blocks() {
    let mut world = World::sidecar();
    reviews(&mut world);
    let mut rule = destination_rule("reviews", "default", &["v1", "v2"]);
    rule.policy = balanced(Algorithm::Random);
    rule.subsets[0].policy = balanced(Algorithm::RoundRobin);
    world.rules("dr", rule.clone());
    assert_eq!(balancer(&mut world, "v1"), Some(Algorithm::RoundRobin));
    assert_eq!(balancer(&mut world, "v2"), Some(Algorithm::Random));
    // The entry for the port sets nothing: the block goes back to its default.
    rule.policy.ports = vec![(9080, PortPolicy::default())];
    world.rules("dr", rule.clone());
    assert_eq!(balancer(&mut world, ""), Some(Algorithm::LeastRequest));
    assert_eq!(balancer(&mut world, "v1"), Some(Algorithm::RoundRobin));
    rule.subsets[0].policy.ports = vec![(9080, PortPolicy::default())];
    world.rules("dr", rule);
    assert_eq!(balancer(&mut world, "v1"), Some(Algorithm::LeastRequest));
}

#[test]
fn passthrough_goes_where_the_client_was_going() {
    let mut world = World::sidecar();
    reviews(&mut world);
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    let mut rule = destination_rule("reviews", "default", &[]);
    rule.policy = balanced(Algorithm::Passthrough);
    world.rules("dr", rule);
    assert_eq!(addresses(&mut world, ""), Some(vec!["original".into()]));
}

#[test]
fn an_endpoint_without_the_port_is_not_one() {
    let mut world = World::sidecar();
    let two = [(9080, Protocol::Http), (9081, Protocol::Http)];
    world.service(service("reviews", "default", &two));
    world.endpoints("reviews", &[9081], &[("10.1.0.1", "v1")]);
    assert_eq!(addresses(&mut world, ""), Some(vec![]));
}
