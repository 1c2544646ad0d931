//! Choices among endpoints, counted over many draws whose bits cover all values evenly.

mod any;
mod localities;
mod outliers;
mod warm;

use std::net::SocketAddr;

use lateen_model::SocketAddress;
use lateen_model::balancer::{ConsistentHash, HashTable};
use lateen_model::endpoint::Health;
use lateen_model::mesh::Mesh;

use super::endpoints::Place;
use super::*;
use crate::hash::hash_of;

/// An endpoint as the tests write it.
#[derive(Debug, Clone)]
struct Given {
    weight: u32,
    health: Health,
    place: Option<Place>,
}

const FLAT: Place = Place {
    priority: 0,
    pool: 0,
    share: 1,
};

fn given(weight: u32) -> Given {
    Given {
        weight,
        health: Health::Ready,
        place: Some(FLAT),
    }
}

fn at(priority: u32, health: Health) -> Given {
    Given {
        weight: 1,
        health,
        place: Some(Place { priority, ..FLAT }),
    }
}

fn address(at: usize) -> SocketAddress {
    let last = u8::try_from(at + 1).expect("a few");
    SocketAddr::from(([10, 0, 0, last], 80)).into()
}

fn endpoints(given: &[Given]) -> Vec<(Endpoint, Option<Place>)> {
    let endpoints = given.iter().enumerate().map(|(index, one)| {
        let endpoint = Endpoint {
            address: address(index),
            weight: one.weight,
            health: one.health,
            priority: None,
            is_meshed: false,
            locality: "".into(),
            service_account: "".into(),
            load: Arc::default(),
            status: Arc::default(),
        };
        (endpoint, one.place)
    });
    endpoints.collect()
}

fn cluster_of(load_balancer: LoadBalancer, given: &[Given]) -> Cluster {
    let set = EndpointSet::new(endpoints(given), &load_balancer);
    Cluster {
        id: ClusterId(7),
        name: "outbound|80||a".into(),
        service: None,
        port: 80,
        subset: "".into(),
        protocol: Protocol::Http,
        is_external: false,
        destination_rules: Box::default(),
        load_balancer,
        policy: Policy::plain(Protocol::Http, &Mesh::default()),
        usage: Arc::default(),
        upstream: Upstream::Endpoints(set),
    }
}

fn cluster(algorithm: Algorithm, given: &[Given]) -> Cluster {
    let load_balancer = LoadBalancer {
        algorithm,
        ..LoadBalancer::default()
    };
    cluster_of(load_balancer, given)
}

fn equal(algorithm: Algorithm, number: usize) -> Cluster {
    cluster(algorithm, &vec![given(1); number])
}

/// The endpoint with this index as it was given.
fn endpoint(cluster: &Cluster, index: usize) -> &Endpoint {
    let Upstream::Endpoints(set) = &cluster.upstream else {
        panic!("it has endpoints");
    };
    let mut all = set.all().iter();
    all.find(|one| one.address == address(index))
        .expect("it was given")
}

/// How often each endpoint is picked in a number of turns, and last how often none is.
fn counts(cluster: &Cluster, context: &Pick<'_>, turns: u32) -> Vec<u32> {
    let Upstream::Endpoints(set) = &cluster.upstream else {
        panic!("it has endpoints");
    };
    let mut counts = vec![0; set.all().len() + 1];
    let (mut rotation, mut state) = (0, 0_u64);
    for _ in 0..turns {
        let picked = cluster.pick(context, &mut rotation, || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            hash_of(&state.to_le_bytes())
        });
        let index =
            (0..set.all().len()).find(|at| picked.is_some_and(|it| it.address == address(*at)));
        counts[index.unwrap_or(set.all().len())] += 1;
    }
    counts
}

fn plain(cluster: &Cluster, turns: u32) -> Vec<u32> {
    counts(cluster, &Pick::default(), turns)
}

#[track_caller]
fn assert_near(counts: &[u32], expected: &[u32], apart: u32) {
    let is_near = counts.len() == expected.len()
        && counts
            .iter()
            .zip(expected)
            .all(|(count, expected)| count.abs_diff(*expected) <= apart);
    assert!(is_near, "{counts:?} is not about {expected:?}");
}

#[test]
fn nobody_ready_is_nobody_picked() {
    let all = [at(0, Health::Draining), at(0, Health::NotReady)];
    let cluster = cluster(Algorithm::LeastRequest, &all);
    assert_eq!(plain(&cluster, 10), [0, 0, 10]);
    assert_eq!(plain(&equal(Algorithm::Random, 0), 10), [10]);
}

#[test]
fn the_less_busy_of_two_is_always_found() {
    let cluster = equal(Algorithm::LeastRequest, 2);
    endpoint(&cluster, 0).load.begin();
    assert_eq!(plain(&cluster, 100), [0, 100, 0]);
    endpoint(&cluster, 0).load.end();
    assert_eq!(endpoint(&cluster, 0).load.active(), 0);
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let cluster_of = |weights: &[u32]| {
        let all: Vec<_> = weights.iter().map(|weight| given(*weight)).collect();
        cluster(Algorithm::RoundRobin, &all)
    };
    assert_eq!(plain(&cluster_of(&[1, 1, 1]), 300), [100, 100, 100, 0]);
    assert_near(&plain(&cluster_of(&[1, 3]), 4000), &[1000, 3000, 0], 2);
}

#[test]
fn random_choices_follow_the_weights() {
    for algorithm in [Algorithm::Random, Algorithm::LeastRequest] {
        let cluster = cluster(algorithm, &[given(1), given(3), given(4)]);
        assert_near(&plain(&cluster, 8000), &[1000, 3000, 4000, 0], 130);
    }
}

#[test]
fn draining_endpoints_do_not_disturb_equal_weights() {
    let mut all = [given(5), given(1), given(1)];
    all[0].health = Health::Draining;
    let cluster = cluster(Algorithm::RoundRobin, &all);
    assert_eq!(plain(&cluster, 100), [0, 50, 50, 0]);
}

#[test]
fn where_earlier_attempts_went_is_avoided_if_others_will_do() {
    for algorithm in [
        Algorithm::LeastRequest,
        Algorithm::RoundRobin,
        Algorithm::Random,
    ] {
        let cluster = equal(algorithm.clone(), 3);
        // The one that is left is the busiest.
        endpoint(&cluster, 2).load.begin();
        let tried = [address(0), address(1)];
        let context = Pick {
            tried: &tried,
            ..Pick::default()
        };
        assert_eq!(
            counts(&cluster, &context, 50),
            [0, 0, 50, 0],
            "{algorithm:?}"
        );
        let single = equal(algorithm, 1);
        assert_eq!(counts(&single, &context, 50), [50, 0]);
    }
}

fn hashed(table: HashTable) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash {
        key: HashKey::SourceIp,
        table,
    })
}

#[test]
fn a_hash_always_finds_the_same_endpoint_and_without_one_all_are_found() {
    for table in [
        HashTable::Ring { minimum_size: 1024 },
        HashTable::Maglev { table_size: 65_537 },
    ] {
        let cluster = equal(hashed(table), 4);
        assert_eq!(cluster.hash_policy(), Some(&HashKey::SourceIp));
        let owners = (0..100_u8).map(|client| {
            let context = Pick {
                hash: Some(hash_of(&[client])),
                // Where it was tried it stays.
                tried: &[address(0), address(1)],
                ..Pick::default()
            };
            let counts = counts(&cluster, &context, 10);
            let owner = counts.iter().position(|count| *count == 10);
            owner.expect("always the same")
        });
        let mut owners: Vec<_> = owners.collect();
        owners.sort_unstable();
        owners.dedup();
        assert_eq!(owners, [0, 1, 2, 3]);
        assert_near(&plain(&cluster, 4000), &[1000, 1000, 1000, 1000, 0], 180);
    }
    assert_eq!(equal(Algorithm::Random, 2).hash_policy(), None);
}

#[test]
fn tables_follow_the_weights_of_endpoints_and_pools() {
    let place = |pool, share| {
        Some(Place {
            pool,
            share,
            ..FLAT
        })
    };
    let mut all = [given(1), given(3), given(1)];
    all[0].place = place(0, 20);
    all[1].place = place(0, 20);
    all[2].place = place(1, 80);
    let cluster = cluster(hashed(HashTable::Maglev { table_size: 65_537 }), &all);
    assert_near(&plain(&cluster, 10_000), &[500, 1500, 8000, 0], 150);
}

#[test]
fn limits_of_the_policy_are_asked_for_by_permits() {
    let mut cluster = equal(Algorithm::Random, 1);
    cluster.policy.limits.max_requests = 1;
    let first = cluster.permit(Counted::Request);
    assert!(first.is_some());
    assert!(cluster.permit(Counted::Request).is_none());
    assert!(cluster.permit(Counted::Connection).is_some());
    drop(first);
    assert!(cluster.permit(Counted::Request).is_some());
}
