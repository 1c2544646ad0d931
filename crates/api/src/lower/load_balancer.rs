//! Lowers how endpoints are chosen.

use std::time::Duration;

use lateen_model::Percent;
use lateen_model::balancer::{
    Algorithm, ConsistentHash, Distribute, HashCookie, HashKey, HashTable, LoadBalancer,
    LocalityLb, Warmup,
};

use super::{duration, percent};
use crate::spec::traffic_policy as spec;
use crate::validate::MAX_RING;

/// Envoy's names for the sizes that a policy leaves out.
const DEFAULT_RING: u64 = 1024;
const DEFAULT_MAGLEV: u64 = 65537;

/// A block that is there overrides one from above even where it names no algorithm.
pub(super) fn load_balancer(spec: &spec::LoadBalancer) -> LoadBalancer {
    use spec::SimpleLb;
    let algorithm = match (&spec.consistent_hash, spec.simple) {
        (Some(hash), _) => consistent_hash(hash),
        (
            None,
            None | Some(SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest),
        ) => Algorithm::LeastRequest,
        (None, Some(SimpleLb::Random)) => Algorithm::Random,
        (None, Some(SimpleLb::RoundRobin)) => Algorithm::RoundRobin,
        (None, Some(SimpleLb::Passthrough)) => Algorithm::Passthrough,
    };
    // The others have no weights that could grow; validation warns.
    let grows = matches!(algorithm, Algorithm::LeastRequest | Algorithm::RoundRobin);
    LoadBalancer {
        algorithm,
        locality: spec.locality_lb_setting.as_ref().map(locality),
        warmup: warmup(spec).filter(|_| grows),
    }
}

/// A hash of nothing spreads requests over the ring at random.
fn consistent_hash(spec: &spec::ConsistentHash) -> Algorithm {
    let header = || spec.http_header_name.as_deref().filter(|n| !n.is_empty());
    let query = || {
        let name = spec.http_query_parameter_name.as_ref();
        name.filter(|name| !name.is_empty())
    };
    let key = if let Some(name) = header() {
        HashKey::Header(name.to_ascii_lowercase())
    } else if let Some(cookie) = &spec.http_cookie {
        HashKey::Cookie(self::cookie(cookie))
    } else if spec.use_source_ip == Some(true) {
        HashKey::SourceIp
    } else if let Some(name) = query() {
        HashKey::QueryParameter(name.clone())
    } else {
        return Algorithm::Random;
    };
    Algorithm::ConsistentHash(ConsistentHash {
        key,
        table: table(spec),
    })
}

fn cookie(spec: &spec::HttpCookie) -> HashCookie {
    let attributes = spec.attributes.iter();
    HashCookie {
        name: spec.name.clone(),
        path: spec.path.clone().unwrap_or_default(),
        ttl: duration(spec.ttl.as_ref()),
        attributes: attributes
            .map(|attribute| (attribute.name.clone(), attribute.value.clone()))
            .collect(),
    }
}

fn table(spec: &spec::ConsistentHash) -> HashTable {
    if let Some(maglev) = &spec.maglev {
        return HashTable::Maglev {
            table_size: maglev
                .table_size
                .filter(|size| *size > 0)
                .unwrap_or(DEFAULT_MAGLEV),
        };
    }
    let ring = spec.ring_hash.as_ref();
    let size = ring
        .and_then(|ring| ring.minimum_ring_size)
        .or(spec.minimum_ring_size)
        .filter(|size| *size > 0);
    HashTable::Ring {
        minimum_size: size.unwrap_or(DEFAULT_RING).min(MAX_RING),
    }
}

/// Also for the mesh's own setting.
pub(crate) fn locality(spec: &spec::LocalityLb) -> LocalityLb {
    let distribute = spec.distribute.iter().map(|entry| Distribute {
        from: entry.from.clone(),
        to: entry.to.iter().map(|(to, w)| (to.clone(), *w)).collect(),
    });
    // Endpoints that have no region are not in one that is called nothing.
    let is_named = |entry: &&spec::Failover| !entry.from.is_empty() && !entry.to.is_empty();
    let failover = spec.failover.iter().filter(is_named);
    LocalityLb {
        is_enabled: spec.enabled.unwrap_or(true),
        distribute: distribute.collect(),
        failover: failover
            .map(|entry| (entry.from.clone(), entry.to.clone()))
            .collect(),
        failover_priority: spec.failover_priority.clone(),
    }
}

fn warmup(spec: &spec::LoadBalancer) -> Option<Warmup> {
    let default = |duration: Duration| Warmup {
        duration,
        minimum: Percent::from_millionths(100_000),
        aggression_millis: 1000,
    };
    let Some(warmup) = &spec.warmup else {
        return duration(spec.warmup_duration_secs.as_ref()).map(default);
    };
    let mut lowered = default(duration(warmup.duration.as_ref())?);
    if let Some(minimum) = warmup.minimum_percent {
        lowered.minimum = percent(minimum);
    }
    if let Some(aggression) = warmup.aggression {
        lowered.aggression_millis = super::rounded(aggression * 1000.0).max(1);
    }
    Some(lowered)
}
