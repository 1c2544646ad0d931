use std::time::Duration;

use lateen_model::balancer::{
    Algorithm, ConsistentHash, Distribute, HashCookie, HashKey, HashTable, LoadBalancer,
    LocalityLb, Warmup,
};
use lateen_model::destination::{RetryBudget, TrafficPolicy};
use lateen_model::pool::{
    ConnectionPool, H2Keepalive, H2Upgrade, HttpPool, OutlierDetection, TcpKeepalive, TcpPool,
};
use lateen_model::tls::ClientTlsMode;
use lateen_model::{Body, Percent};
use serde_json::json;

use crate::lower::{Error, Lowered, Settings, lower};
use crate::yaml;

fn try_policy(text: &str) -> Result<Lowered, Error> {
    let object = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"host": "a", "trafficPolicy": yaml::value(text).unwrap()},
    });
    lower(&object, &Settings::default())
}

fn policy(text: &str) -> TrafficPolicy {
    let mut lowered = try_policy(text).unwrap_or_else(|error| panic!("{error}"));
    match lowered.resources.pop().unwrap().body {
        Body::DestinationRule(rule) => rule.policy,
        other => panic!("{other:?}"),
    }
}

fn balancer(text: &str) -> LoadBalancer {
    let policy = policy(&format!("{{loadBalancer: {text}}}"));
    policy.port_default.load_balancer.unwrap()
}

fn pool(text: &str) -> ConnectionPool {
    let policy = policy(&format!("{{connectionPool: {text}}}"));
    policy.port_default.connection_pool.unwrap()
}

fn outliers(text: &str) -> OutlierDetection {
    let policy = policy(&format!("{{outlierDetection: {text}}}"));
    policy.port_default.outlier_detection.unwrap()
}

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn share(percentage: u32) -> Percent {
    Percent::from_millionths(percentage * 10_000)
}

#[test]
fn a_hash_is_of_a_header_a_cookie_an_address_or_a_parameter() {
    let key = |text: &str| match balancer(&format!("{{consistentHash: {text}}}")).algorithm {
        Algorithm::ConsistentHash(hash) => hash.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        key("{httpHeaderName: X-User}"),
        HashKey::Header("x-user".into())
    );
    assert_eq!(key("{useSourceIp: true}"), HashKey::SourceIp);
    assert_eq!(
        key("{httpQueryParameterName: Q}"),
        HashKey::QueryParameter("Q".into())
    );
    let cookie = |ttl, path: &str, attributes| {
        HashKey::Cookie(HashCookie {
            name: "c".into(),
            path: path.into(),
            ttl,
            attributes,
        })
    };
    assert_eq!(
        key("{httpCookie: {name: c}}"),
        cookie(None, "", Vec::new()),
        "without a life no cookie is made"
    );
    assert_eq!(
        key(
            "{httpCookie: {name: c, path: /p, ttl: 0s, attributes: [{name: SameSite, value: Lax}]}}"
        ),
        cookie(
            Some(Duration::ZERO),
            "/p",
            vec![("SameSite".into(), "Lax".into())]
        )
    );
    assert_eq!(
        balancer("{consistentHash: {}}").algorithm,
        Algorithm::Random,
        "there is nothing to hash"
    );
}

#[test]
fn tables_of_hashes_have_istios_sizes() {
    let table = |text: &str| {
        let text = format!("{{consistentHash: {{useSourceIp: true{text}}}}}");
        match balancer(&text).algorithm {
            Algorithm::ConsistentHash(ConsistentHash { table, .. }) => table,
            other => panic!("{other:?}"),
        }
    };
    let ring = |minimum_size| HashTable::Ring { minimum_size };
    assert_eq!(table(""), ring(1024));
    assert_eq!(table(", ringHash: {}"), ring(1024));
    assert_eq!(table(", ringHash: {minimumRingSize: 7}"), ring(7));
    assert_eq!(table(", minimumRingSize: 8"), ring(8));
    assert_eq!(table(", minimumRingSize: 99999999999"), ring(8 << 20));
    assert_eq!(
        table(", maglev: {tableSize: 101}"),
        HashTable::Maglev { table_size: 101 }
    );
}

#[test]
fn a_locality_setting_is_on_unless_it_says_otherwise() {
    let locality = |text: &str| {
        let text = format!("{{localityLbSetting: {text}}}");
        balancer(&text).locality.unwrap()
    };
    assert_eq!(
        locality("{distribute: [{from: a/*, to: {a/b/*: 80, c: 20}}], failoverPriority: [x, y=z]}"),
        LocalityLb {
            is_enabled: true,
            distribute: vec![Distribute {
                from: "a/*".into(),
                to: vec![("a/b/*".into(), 80), ("c".into(), 20)],
            }],
            failover: Vec::new(),
            failover_priority: vec!["x".into(), "y=z".into()],
        }
    );
    let failover = locality("{enabled: false, failover: [{from: a, to: b}]}");
    assert!(!failover.is_enabled);
    assert_eq!(failover.failover, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(balancer("{simple: RANDOM}").locality, None);
}

#[test]
fn new_endpoints_warm_up_from_a_tenth_where_weights_can_grow() {
    let warmup = |minimum, aggression_millis| Warmup {
        duration: Duration::from_secs(60),
        minimum,
        aggression_millis,
    };
    assert_eq!(
        balancer("{warmup: {duration: 60s}}").warmup,
        Some(warmup(share(10), 1000))
    );
    assert_eq!(
        balancer(
            "{simple: ROUND_ROBIN, warmup: {duration: 1m, minimumPercent: 0, aggression: 1.5}}"
        )
        .warmup,
        Some(warmup(Percent::ZERO, 1500))
    );
    assert_eq!(
        balancer("{warmupDurationSecs: 60s}").warmup,
        Some(warmup(share(10), 1000))
    );
    let random = balancer("{simple: RANDOM, warmup: {duration: 60s}}");
    assert_eq!(random.warmup, None);
}

#[test]
fn limits_of_connections_are_kept_and_zero_is_none() {
    assert_eq!(
        pool(
            "{tcp: {maxConnections: 1, connectTimeout: 2s, maxConnectionDuration: 3s, idleTimeout: 0s,
               tcpKeepalive: {probes: 4, time: 5s, interval: 6s}}}"
        ),
        ConnectionPool {
            tcp: TcpPool {
                max_connections: Some(1),
                connect_timeout: Some(second(2)),
                keepalive: Some(TcpKeepalive {
                    probes: Some(4),
                    time: Some(second(5)),
                    interval: Some(second(6)),
                }),
                max_connection_duration: Some(second(3)),
                idle_timeout: Some(Duration::ZERO),
            },
            http: HttpPool::default(),
        }
    );
    assert_eq!(
        pool("{tcp: {maxConnections: 0, tcpKeepalive: {}}}").tcp,
        TcpPool {
            keepalive: Some(TcpKeepalive::default()),
            ..TcpPool::default()
        }
    );
}

#[test]
fn limits_of_requests_are_kept_and_zero_is_none() {
    assert_eq!(
        pool(
            "{http: {http1MaxPendingRequests: 1, http2MaxRequests: 2, maxRequestsPerConnection: 3, maxRetries: 4,
               idleTimeout: 5s, h2UpgradePolicy: DO_NOT_UPGRADE, useClientProtocol: true,
               maxConcurrentStreams: 6, http2KeepAlive: {interval: 7s, timeout: 8s}}}"
        )
        .http,
        HttpPool {
            max_pending_requests: Some(1),
            max_requests: Some(2),
            max_requests_per_connection: Some(3),
            max_retries: Some(4),
            idle_timeout: Some(second(5)),
            h2_upgrade: H2Upgrade::Never,
            uses_client_protocol: true,
            max_concurrent_streams: Some(6),
            h2_keepalive: Some(H2Keepalive {
                interval: Duration::from_secs(7),
                timeout: Duration::from_secs(8),
            }),
        }
    );
    assert_eq!(
        pool(
            "{http: {http1MaxPendingRequests: 0, http2MaxRequests: 0, maxRequestsPerConnection: 0, maxRetries: 0,
               maxConcurrentStreams: 0, h2UpgradePolicy: DEFAULT}}"
        )
        .http,
        HttpPool::default()
    );
    assert_eq!(
        pool("{http: {h2UpgradePolicy: UPGRADE}}").http.h2_upgrade,
        H2Upgrade::Always
    );
}

#[test]
fn outlier_detection_that_says_nothing_has_istios_numbers() {
    let default = OutlierDetection {
        consecutive_5xx: 5,
        consecutive_gateway_errors: 0,
        splits_local_origin: false,
        consecutive_local_origin: 5,
        error_codes: Vec::new(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: share(10),
        min_health: Percent::ZERO,
    };
    assert_eq!(outliers("{}"), default);
    // Deprecated, and ignored as by Istio.
    assert_eq!(outliers("{consecutiveErrors: 1}"), default);
}

#[test]
fn a_detector_of_zero_is_off() {
    let off = outliers("{consecutive5xxErrors: 0, maxEjectionPercent: 0}");
    assert_eq!((off.consecutive_5xx, off.max_ejection), (0, share(10)));
    assert_eq!(
        outliers(
            "{consecutive5xxErrors: 1, consecutiveGatewayErrors: 2, splitExternalLocalOriginErrors: true,
              consecutiveLocalOriginFailures: 3, interval: 4s, baseEjectionTime: 5s, maxEjectionPercent: 60,
              minHealthPercent: 70, outlierDetectionHttpErrorCodes: ['429', 5xx, '400-403']}"
        ),
        OutlierDetection {
            consecutive_5xx: 1,
            consecutive_gateway_errors: 2,
            splits_local_origin: true,
            consecutive_local_origin: 3,
            error_codes: vec![(429, 429), (500, 599), (400, 403)],
            interval: Duration::from_secs(4),
            base_ejection_time: Duration::from_secs(5),
            max_ejection: share(60),
            min_health: share(70),
        }
    );
    for wrong in ["often", "99", "503-500", "xx", "9xx", ""] {
        let text = format!("{{outlierDetection: {{outlierDetectionHttpErrorCodes: ['{wrong}']}}}}");
        let error = try_policy(&text).unwrap_err().to_string();
        assert!(error.contains("is not a status"), "{error}");
    }
}

#[test]
fn tls_is_kept_and_without_a_mode_it_is_off() {
    let lowered = policy(
        "{tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /a, caCrl: /r, sni: s,
           subjectAltNames: [n]}}",
    );
    let tls = lowered.port_default.tls.unwrap();
    assert_eq!(tls.mode, ClientTlsMode::Mutual);
    assert_eq!(
        [
            tls.client_certificate,
            tls.private_key,
            tls.ca_certificates,
            tls.ca_crl,
            tls.sni
        ],
        ["/c", "/k", "/a", "/r", "s"]
    );
    assert_eq!(tls.subject_alt_names, ["n"]);
    let off = policy("{tls: {sni: s}}").port_default.tls.unwrap();
    assert_eq!(off.mode, ClientTlsMode::Disable);
    assert_eq!(policy("{outlierDetection: {}}").port_default.tls, None);
}

#[test]
fn a_retry_budget_takes_what_it_leaves_out_from_envoy() {
    let budget = |text: &str| policy(&format!("{{retryBudget: {text}}}")).retry_budget;
    assert_eq!(
        budget("{}"),
        Some(RetryBudget {
            percent: share(20),
            min_retry_concurrency: 3,
        })
    );
    assert_eq!(
        budget("{percent: 50, minRetryConcurrency: 0}"),
        Some(RetryBudget {
            percent: share(50),
            min_retry_concurrency: 0,
        })
    );
}

#[test]
fn settings_of_a_port_have_all_four_blocks() {
    let policy = policy(
        "{portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}, outlierDetection: {},
           connectionPool: {tcp: {maxConnections: 1}}, tls: {mode: SIMPLE}}]}",
    );
    let (number, settings) = &policy.ports[0];
    assert_eq!(*number, 80);
    assert!(
        settings.load_balancer.is_some()
            && settings.outlier_detection.is_some()
            && settings.connection_pool.is_some()
            && settings.tls.is_some()
    );
}
