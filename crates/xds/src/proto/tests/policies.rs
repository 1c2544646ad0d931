//! A policy for each load balancer with every block set, and what is refused of them.

use std::time::Duration;

use lateen_model::Percent;
use lateen_model::balancer::{
    Algorithm, ConsistentHash, Distribute, HashCookie, HashKey, HashTable, LoadBalancer,
    LocalityLb, Warmup,
};
use lateen_model::destination::{PortPolicy, RetryBudget};
use lateen_model::pool::{
    ConnectionPool, H2Keepalive, H2Upgrade, HttpPool, OutlierDetection, TcpKeepalive, TcpPool,
};
use lateen_model::tls::{ClientTls, ClientTlsMode};
use prost::Message;

use super::{bodies, decode_resource, encode_resource, message, resource};

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn budget() -> RetryBudget {
    RetryBudget {
        percent: Percent::from_millionths(200_000),
        min_retry_concurrency: 3,
    }
}

fn balancers() -> Vec<LoadBalancer> {
    let hash = |key, table| Algorithm::ConsistentHash(ConsistentHash { key, table });
    let ring = HashTable::Ring { minimum_size: 1024 };
    let maglev = HashTable::Maglev { table_size: 65537 };
    let cookie = HashCookie {
        name: "c".into(),
        path: "/".into(),
        ttl: Some(Duration::ZERO),
        attributes: vec![("SameSite".into(), "Lax".into())],
    };
    let algorithms = [
        Algorithm::LeastRequest,
        Algorithm::RoundRobin,
        Algorithm::Random,
        Algorithm::Passthrough,
        hash(HashKey::Header("user".into()), ring),
        hash(HashKey::Cookie(cookie), maglev),
        hash(HashKey::SourceIp, ring),
        hash(HashKey::QueryParameter("q".into()), ring),
    ];
    let plain = algorithms.map(|algorithm| LoadBalancer {
        algorithm,
        ..LoadBalancer::default()
    });
    let full = LoadBalancer {
        algorithm: Algorithm::RoundRobin,
        locality: Some(LocalityLb {
            is_enabled: true,
            distribute: vec![Distribute {
                from: "a/*".into(),
                to: vec![("a/b/*".into(), 80), ("c".into(), 20)],
            }],
            failover: vec![("a".into(), "b".into())],
            failover_priority: vec!["version=v1".into()],
        }),
        warmup: Some(Warmup {
            duration: second(30),
            minimum: Percent::from_millionths(100_000),
            aggression_millis: 1500,
        }),
    };
    plain.into_iter().chain([full]).collect()
}

fn full() -> PortPolicy {
    PortPolicy {
        load_balancer: None,
        connection_pool: Some(ConnectionPool {
            tcp: TcpPool {
                max_connections: Some(1),
                connect_timeout: Some(second(2)),
                keepalive: Some(TcpKeepalive {
                    probes: Some(3),
                    time: Some(second(4)),
                    interval: Some(second(5)),
                }),
                max_connection_duration: Some(second(6)),
                idle_timeout: Some(Duration::ZERO),
            },
            http: HttpPool {
                max_pending_requests: Some(7),
                max_requests: Some(8),
                max_requests_per_connection: Some(9),
                max_retries: Some(10),
                idle_timeout: Some(second(11)),
                h2_upgrade: H2Upgrade::Always,
                uses_client_protocol: true,
                max_concurrent_streams: Some(12),
                h2_keepalive: Some(H2Keepalive {
                    interval: second(13),
                    timeout: second(14),
                }),
            },
        }),
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: 0,
            consecutive_gateway_errors: 15,
            splits_local_origin: true,
            consecutive_local_origin: 16,
            error_codes: vec![(500, 503), (429, 429)],
            interval: second(17),
            base_ejection_time: second(18),
            max_ejection: Percent::ALL,
            min_health: Percent::from_millionths(190_000),
        }),
        tls: Some(ClientTls {
            mode: ClientTlsMode::Mutual,
            client_certificate: "a".into(),
            private_key: "b".into(),
            ca_certificates: "c".into(),
            ca_crl: "d".into(),
            credential_name: "e".into(),
            sni: "f".into(),
            subject_alt_names: vec!["g".into()],
            insecure_skip_verify: true,
        }),
    }
}

/// A policy for each load balancer, one that says nothing, and one that says everything else.
pub(super) fn all() -> Vec<(u16, PortPolicy)> {
    let balancers = balancers().into_iter().map(|balancer| PortPolicy {
        load_balancer: Some(balancer),
        ..PortPolicy::default()
    });
    let policies = balancers.chain([PortPolicy::default(), full()]);
    (1..).zip(policies).collect()
}

fn refuse(index: usize, change: impl FnOnce(&mut message::PortPolicy)) -> String {
    let rule = bodies()
        .into_iter()
        .find(|body| body.kind() == "DestinationRule")
        .expect("there is one");
    let bytes = encode_resource(&resource(rule));
    let mut wire = message::Resource::decode(bytes).expect("it was just written");
    let Some(message::Body::DestinationRule(rule)) = &mut wire.body else {
        panic!("it is one");
    };
    let policy = rule.policy.as_mut().expect("it has one");
    change(policy.ports[index].policy.as_mut().expect("it has one"));
    let error = decode_resource("DestinationRule/default/a", &wire.encode_to_vec());
    let at = error.expect_err("it is wrong").at;
    let prefix = format!("destination_rule.policy.ports[{index}].policy.");
    at.strip_prefix(&prefix).unwrap_or(&at).to_owned()
}

#[test]
fn tables_of_hashes_are_bounded_because_they_are_memory() {
    let table = |table| {
        refuse(4, |policy| {
            policy.consistent_hash.as_mut().expect("it has one").table = table;
        })
    };
    let ring = |size| Some(message::HashTable::Ring(size));
    assert_eq!(table(ring(0)), "consistent_hash.ring");
    assert_eq!(table(ring(u64::MAX)), "consistent_hash.ring");
    let maglev = Some(message::HashTable::Maglev(5_000_012));
    assert_eq!(table(maglev), "consistent_hash.maglev");
    assert_eq!(table(None), "consistent_hash.table");
}

#[test]
fn a_load_balancer_is_whole_or_refused() {
    assert_eq!(refuse(0, |p| p.load_balancer = Some(9)), "load_balancer");
    assert_eq!(refuse(4, |p| p.load_balancer = None), "load_balancer");
    assert_eq!(refuse(4, |p| p.consistent_hash = None), "consistent_hash");
    assert_eq!(
        refuse(8, |p| {
            p.warmup.as_mut().expect("it has one").aggression_millis = 0;
        }),
        "warmup.aggression_millis"
    );
}

#[test]
fn limits_are_more_than_zero_and_shares_at_most_all() {
    let pool = |change: &dyn Fn(&mut message::HttpPool)| {
        refuse(10, |policy| {
            let pool = policy.connection_pool.as_mut().expect("it has one");
            change(pool.http.as_mut().expect("it has one"));
        })
    };
    assert_eq!(
        pool(&|p| p.max_requests = Some(0)),
        "connection_pool.http.max_requests"
    );
    assert_eq!(
        pool(&|p| p.h2_upgrade = 0),
        "connection_pool.http.h2_upgrade"
    );
    assert_eq!(
        refuse(10, |p| {
            let outliers = p.outlier_detection.as_mut().expect("it has one");
            outliers.max_ejection = 2_000_000;
        }),
        "outlier_detection.max_ejection"
    );
    assert_eq!(
        refuse(10, |p| p.tls.as_mut().expect("it has one").mode = 7),
        "tls.mode"
    );
}
