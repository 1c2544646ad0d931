//! What holds for every choice, whatever the endpoints and the policy.

use std::time::Duration;

use lateen_model::Percent;
use lateen_model::balancer::Warmup;
use lateen_model::pool::OutlierDetection;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};

use super::*;
use crate::outlier::Detection;

const NOW: Millis = Millis(1_000);

fn member(byte: u8) -> Given {
    Given {
        weight: u32::from(byte % 3),
        health: match byte >> 2 & 3 {
            0 => Health::NotReady,
            1 => Health::Draining,
            _ => Health::Ready,
        },
        place: (byte >> 4 & 3 > 0).then(|| Place {
            priority: u32::from(byte >> 4 & 3) * 5,
            pool: u32::from(byte >> 6 & 1),
            share: u32::from(byte >> 6 & 1) * 3 + 1,
        }),
    }
}

fn balancer(byte: u8) -> LoadBalancer {
    LoadBalancer {
        algorithm: match byte % 5 {
            0 => Algorithm::LeastRequest,
            1 => Algorithm::RoundRobin,
            2 => Algorithm::Random,
            3 => hashed(HashTable::Ring { minimum_size: 64 }),
            _ => hashed(HashTable::Maglev { table_size: 251 }),
        },
        locality: None,
        warmup: (byte >= 128).then_some(Warmup {
            duration: Duration::from_secs(10),
            minimum: Percent::from_millionths(100_000),
            aggression_millis: 1000,
        }),
    }
}

fn detection(min_health: u8) -> Detection {
    Detection::new(&OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_errors: 0,
        splits_local_origin: false,
        consecutive_local_origin: 5,
        error_codes: Vec::new(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: Percent::ALL,
        min_health: Percent::from_millionths(u32::from(min_health % 4) * 250_000),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_choice_takes_requests_and_is_new_and_in_if_that_can_be(
        members in vec(any::<u8>(), 0..12),
        fails in vec(any::<bool>(), 12),
        tried in vec(0..12_usize, 0..4),
        kind in any::<u8>(),
        min_health in any::<u8>(),
        hash in any::<Option<u64>>(),
        seeks_other_localities in any::<bool>(),
        bits in vec(any::<u64>(), 1..8),
    ) {
        let all: Vec<_> = members.iter().map(|byte| member(*byte)).collect();
        let mut cluster = cluster_of(balancer(kind), &all);
        cluster.policy.outlier_detection = Some(detection(min_health));
        for index in (0..all.len()).filter(|index| fails[*index]) {
            cluster.record(endpoint(&cluster, index), Outcome::Failed, NOW);
        }
        let tried: Vec<_> = tried.into_iter().map(address).collect();
        let context = Pick { now: NOW, hash, tried: &tried, host: None, seeks_other_localities };
        let mut bits = bits.iter().cycle().copied();
        let picked = cluster.pick(&context, &mut 0, || bits.next().unwrap_or(0));
        let told = cluster.explain(NOW);
        let takes: Vec<_> = told.iter().filter(|(_, why)| why.is_none()).collect();
        let is_ready = |one: &Endpoint| one.health == Health::Ready && one.priority.is_some();
        let in_all = told.iter().filter(|(one, _)| is_ready(one));
        let healthy = in_all.filter(|(one, _)| !one.status.is_ejected(NOW)).count();
        let Some(picked) = picked else {
            // Only if nobody is in, and the threshold does not say panic.
            assert_eq!((healthy, takes.len()), (0, 0));
            return Ok(());
        };
        assert!(is_ready(picked));
        let why = told.iter().find(|(one, _)| one.address == picked.address);
        let is_told = why.is_some_and(|(_, why)| why.is_none());
        assert!(is_told || seeks_other_localities, "{why:?}");
        if cluster.hash_policy().is_none() && tried.contains(&picked.address) {
            // Everybody else of its priority was tried too, or is out.
            let same = takes.iter().filter(|(one, _)| one.priority == picked.priority);
            assert!(same.clone().all(|(one, _)| tried.contains(&one.address)));
        }
    }
}
