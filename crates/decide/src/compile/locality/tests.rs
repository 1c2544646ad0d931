//! Istio's orders of localities.

use lateen_model::balancer::Distribute;
use lateen_model::proxy::Role;

use super::*;

fn proxy(locality: &str) -> Proxy {
    Proxy {
        role: Role::Sidecar,
        name: "pod".into(),
        namespace: "default".into(),
        labels: Labels::from([("version".into(), "v1".into())]),
        addresses: Vec::new(),
        locality: locality.into(),
        inbound: Vec::new(),
        gateway_ports: Vec::new(),
        answers_dns: false,
    }
}

fn enabled() -> LocalityLb {
    LocalityLb {
        is_enabled: true,
        ..LocalityLb::default()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs.map(|(a, b)| ((*a).into(), (*b).into())).collect()
}

const LOCALITIES: [&str; 6] = ["r1/z1/s1", "r1/z1/s2", "r1/z2/s1", "r2/z1/s1", "r3", ""];

/// The priority of each locality for a proxy in the first.
fn priorities(setting: &LocalityLb, has_detection: bool) -> Vec<u32> {
    let order = Order::new(setting, has_detection, &proxy(LOCALITIES[0]));
    let places = LOCALITIES.iter();
    let places = places.map(|locality| order.place(locality, &Labels::new()));
    places
        .map(|place| place.expect("a place").priority)
        .collect()
}

#[test]
fn without_outlier_detection_or_switched_off_all_are_alike() {
    assert_eq!(priorities(&enabled(), false), [0; 6]);
    assert_eq!(priorities(&LocalityLb::default(), true), [0; 6]);
}

#[test]
fn nearer_ones_go_first() {
    assert_eq!(priorities(&enabled(), true), [0, 1, 2, 3, 3, 3]);
}

#[test]
fn a_region_that_takes_over_goes_before_other_ones() {
    let setting = LocalityLb {
        failover: pairs(&[("r9", "r8"), ("r1", "r3")]),
        ..enabled()
    };
    assert_eq!(priorities(&setting, true), [0, 1, 2, 4, 3, 4]);
}

#[test]
fn labels_count_as_long_as_all_before_agree() {
    let setting = LocalityLb {
        failover_priority: vec![
            "topology.kubernetes.io/region".into(),
            "version".into(),
            "stage=prod".into(),
        ],
        ..enabled()
    };
    let order = Order::new(&setting, true, &proxy("r1/z1/s1"));
    let priority = |locality: &str, labels: &[(&str, &str)]| {
        let labels = pairs(labels).into_iter().collect();
        order.place(locality, &labels).map(|place| place.priority)
    };
    let all = [("version", "v1"), ("stage", "prod")];
    assert_eq!(priority("r1/z9", &all), Some(0));
    assert_eq!(priority("r1", &[("version", "v1")]), Some(5));
    assert_eq!(priority("r1", &[("stage", "prod")]), Some(10));
    assert_eq!(priority("r2", &all), Some(15));
}

#[test]
fn labels_and_regions_together_order_first_by_labels() {
    let setting = LocalityLb {
        failover_priority: vec!["version".into()],
        failover: pairs(&[("r1", "r3")]),
        ..enabled()
    };
    let order = Order::new(&setting, true, &proxy("r1/z1/s1"));
    let same = Labels::from([("version".into(), "v1".into())]);
    let place = |locality, labels| order.place(locality, labels).map(|place| place.priority);
    assert_eq!(place("r3", &same), Some(3));
    assert_eq!(place("r1/z1/s1", &Labels::new()), Some(5));
}

#[test]
fn shares_are_those_of_the_first_origin_that_is_the_proxys_and_others_get_nothing() {
    let shares = |to: &[(&str, u32)]| {
        let to = to.iter().map(|(to, share)| ((*to).into(), *share));
        to.collect()
    };
    let setting = LocalityLb {
        distribute: vec![
            Distribute {
                from: "r2/*".into(),
                to: shares(&[("r2", 100)]),
            },
            Distribute {
                from: "r1/z1/*".into(),
                to: shares(&[("r1/z1/*", 80), ("r2/*", 20)]),
            },
            Distribute {
                from: "*".into(),
                to: shares(&[("r3", 100)]),
            },
        ],
        ..enabled()
    };
    let order = Order::new(&setting, false, &proxy("r1/z1/s1"));
    let places = LOCALITIES.map(|locality| {
        let place = order.place(locality, &Labels::new());
        place.map(|place| (place.priority, place.pool, place.share))
    });
    let [near, far] = [Some((0, 0, 80)), Some((0, 1, 20))];
    assert_eq!(places, [near, near, None, far, None, None]);
}
