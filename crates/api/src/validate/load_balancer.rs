//! Rules of load balancers.

use std::collections::BTreeSet;

use super::names;
use super::overlap::Prefixes;
use crate::problem::{Path, Report};
use crate::spec::traffic_policy::{
    ConsistentHash, Distribute, Failover, HttpCookie, LoadBalancer, LocalityLb, SimpleLb, Warmup,
    ZoneAwareLb,
};

/// Tables of Maglev must be smaller than this.
const MAX_MAGLEV: u64 = 5_000_011;
/// The largest ring; a larger minimum means this one.
pub(crate) const MAX_RING: u64 = 8 << 20;
/// Labels that failover by locality handles itself.
const TOPOLOGY: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

/// Checks how endpoints are chosen.
pub(super) fn check(
    balancer: &LoadBalancer,
    has_outlier_detection: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    if balancer.simple.is_some() && balancer.consistent_hash.is_some() {
        report.error(path, "set only one of simple and consistentHash");
    }
    if balancer.simple == Some(SimpleLb::LeastConn) {
        report.warn(
            &path.field("simple"),
            "LEAST_CONN is deprecated; use LEAST_REQUEST",
        );
    }
    if let Some(hash) = &balancer.consistent_hash {
        consistent_hash(hash, &path.field("consistentHash"), report);
    }
    if balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some() {
        report.error(
            path,
            "set only one of localityLbSetting and zoneAwareLbSetting",
        );
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        locality_setting(
            locality,
            has_outlier_detection,
            &path.field("localityLbSetting"),
            report,
        );
    }
    if let Some(zone) = &balancer.zone_aware_lb_setting {
        zone_aware(zone, &path.field("zoneAwareLbSetting"), report);
    }
    if balancer.warmup.is_some() && balancer.warmup_duration_secs.is_some() {
        report.error(
            path,
            "set only one of warmup and warmupDurationSecs (deprecated)",
        );
    }
    let seconds = balancer.warmup_duration_secs.as_ref();
    names::optional_duration(seconds, &path.field("warmupDurationSecs"), report);
    if let Some(value) = &balancer.warmup {
        warmup(value, &path.field("warmup"), report);
    }
    let is_weighted = balancer.consistent_hash.is_none()
        && !matches!(
            balancer.simple,
            Some(SimpleLb::Random | SimpleLb::Passthrough)
        );
    if (balancer.warmup.is_some() || seconds.is_some()) && !is_weighted {
        report.warn(
            path,
            "warmup is for ROUND_ROBIN and LEAST_REQUEST; it does nothing here",
        );
    }
}

fn consistent_hash(hash: &ConsistentHash, path: &Path<'_>, report: &mut Report) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip.is_some(),
        hash.http_query_parameter_name.is_some(),
    ];
    if keys.into_iter().filter(|is_set| *is_set).count() > 1 {
        report.error(
            path,
            "set only one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName",
        );
    }
    if let Some(cookie) = &hash.http_cookie {
        http_cookie(cookie, &path.field("httpCookie"), report);
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        report.error(path, "set only one of ringHash and maglev");
    }
    let has_table = hash.ring_hash.is_some() || hash.maglev.is_some();
    if hash.minimum_ring_size.is_some_and(|size| size > 0) && has_table {
        report.error(
            &path.field("minimumRingSize"),
            "is deprecated and must not be set beside ringHash or maglev",
        );
    }
    let ring = hash.ring_hash.as_ref();
    let ring = ring.and_then(|ring| ring.minimum_ring_size);
    if let Some(size) = ring
        .or(hash.minimum_ring_size)
        .filter(|size| *size > MAX_RING)
    {
        report.warn(
            path,
            format!("a ring of {size} points is too large; it will have {MAX_RING}"),
        );
    }
    if let Some(maglev) = &hash.maglev {
        let path = path.field("maglev.tableSize");
        let size = maglev.table_size.unwrap_or(0);
        if size == 0 {
            report.error(&path, "must be a prime number greater than 0");
        } else if size >= MAX_MAGLEV {
            report.error(
                &path,
                format!("{size} is too large: less than {MAX_MAGLEV}"),
            );
        } else if !is_prime(size) {
            report.error(&path, format!("{size} is not a prime number"));
        }
    }
}

fn is_prime(number: u64) -> bool {
    let root = number.isqrt();
    number > 1 && (2..=root).all(|divisor| !number.is_multiple_of(divisor))
}

fn http_cookie(cookie: &HttpCookie, path: &Path<'_>, report: &mut Report) {
    if cookie.name.is_empty() {
        report.error(&path.field("name"), "must not be empty");
    }
    if let Some(ttl) = &cookie.ttl {
        report.check(&path.field("ttl"), names::duration_or_zero(ttl));
    }
    let attributes = path.field("attributes");
    let mut seen = BTreeSet::new();
    for (index, attribute) in cookie.attributes.iter().enumerate() {
        let path = attributes.index(index);
        let path = path.field("name");
        if attribute.name.is_empty() {
            report.error(&path, "must not be empty");
        } else if !seen.insert(&attribute.name) {
            report.error(&path, format!("{:?} is set twice", attribute.name));
        }
    }
}

pub(crate) fn locality_setting(
    setting: &LocalityLb,
    has_outlier_detection: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    if !setting.distribute.is_empty() && !setting.failover.is_empty() {
        report.error(path, "set only one of distribute and failover");
    }
    if !setting.failover.is_empty() {
        topology_labels(
            &setting.failover_priority,
            &path.field("failoverPriority"),
            report,
        );
        if !has_outlier_detection {
            report.warn(
                &path.field("failover"),
                "does nothing without outlierDetection, which finds out that a locality failed",
            );
        }
    }
    distribute(&setting.distribute, &path.field("distribute"), report);
    failover(&setting.failover, &path.field("failover"), report);
}

fn topology_labels(labels: &[String], path: &Path<'_>, report: &mut Report) {
    for (index, entry) in labels.iter().enumerate() {
        let key = entry.split('=').next().unwrap_or(entry);
        if TOPOLOGY.contains(&key) {
            report.error(
                &path.index(index),
                format!("{key} must not be used beside failover"),
            );
        }
    }
}

fn distribute(list: &[Distribute], path: &Path<'_>, report: &mut Report) {
    let mut sources = Earlier::default();
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        locality(&entry.from, &mut sources, &path.field("from"), report);
        let to = path.field("to");
        let mut sum: u64 = 0;
        let mut targets = Earlier::default();
        for (target, weight) in &entry.to {
            let path = to.key(target);
            locality(target, &mut targets, &path, report);
            if !(1..=100).contains(weight) {
                report.error(&path, format!("{weight} is not between 1 and 100"));
            }
            sum += u64::from(*weight);
        }
        if sum != 100 {
            report.error(&to, format!("the shares add up to {sum}, not to 100"));
        }
    }
}

/// Localities that stand before another.
#[derive(Default)]
struct Earlier<'a> {
    texts: Vec<&'a str>,
    places: Prefixes,
}

/// A locality `region/zone/subzone`, whose last part may be `*`, that overlaps with no earlier one.
fn locality<'a>(text: &'a str, earlier: &mut Earlier<'a>, path: &Path<'_>, report: &mut Report) {
    let parts: Vec<&str> = text.split('/').collect();
    let (last, inner) = match parts.split_last() {
        Some((last, inner)) => (*last, inner),
        None => ("", &[][..]),
    };
    let is_well_formed = parts.len() <= 3
        && !last.is_empty()
        && inner
            .iter()
            .all(|part| !part.is_empty() && !part.contains('*'))
        && (last == "*" || !last.contains('*'));
    if !is_well_formed {
        return report.error(
            path,
            format!("{text:?} is not a locality: region/zone/subzone, of which the last may be *"),
        );
    }
    // A locality covers everything below it, whether it ends with `*` or not.
    let mut place = text.strip_suffix('*').unwrap_or(text).to_owned();
    if !place.is_empty() && !place.ends_with('/') {
        place.push('/');
    }
    let other = earlier.places.of(&place);
    if let Some(other) = other.or_else(|| earlier.places.longer(&place)) {
        let other = earlier.texts[other];
        report.error(path, format!("{text:?} overlaps with {other:?}"));
    }
    earlier.places.insert(place, earlier.texts.len());
    earlier.texts.push(text);
}

fn failover(list: &[Failover], path: &Path<'_>, report: &mut Report) {
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        if entry.from == entry.to {
            report.error(&path, format!("{:?} fails over to itself", entry.from));
        }
        for (field, region) in [("from", &entry.from), ("to", &entry.to)] {
            if region.contains(['/', '*']) {
                report.error(
                    &path.field(field),
                    format!("{region:?} must be a region, without / and *"),
                );
            }
        }
    }
}

fn zone_aware(setting: &ZoneAwareLb, path: &Path<'_>, report: &mut Report) {
    // Zones are divided by themselves, so these labels are never for priorities.
    topology_labels(
        &setting.failover_priority,
        &path.field("failoverPriority"),
        report,
    );
    failover(&setting.failover, &path.field("failover"), report);
}

fn warmup(warmup: &Warmup, path: &Path<'_>, report: &mut Report) {
    match &warmup.duration {
        Some(duration) => {
            report.check(&path.field("duration"), names::duration(duration));
        }
        None => report.error(&path.field("duration"), "is required"),
    }
    if let Some(percent) = warmup.minimum_percent.filter(|p| *p > 100.0) {
        report.error(
            &path.field("minimumPercent"),
            format!("{percent} is more than 100"),
        );
    }
    if let Some(aggression) = warmup.aggression.filter(|a| *a <= 0.0) {
        report.error(
            &path.field("aggression"),
            format!("{aggression} is not greater than 0"),
        );
    }
}
