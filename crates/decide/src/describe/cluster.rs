//! Clusters and their endpoints.

use std::num::NonZeroU32;
use std::time::Duration;

use lateen_model::balancer::{Algorithm, HashKey, HashTable, LoadBalancer};
use lateen_model::endpoint::Health;
use lateen_model::tls::{ClientTls, ClientTlsMode};
use serde_json::{Value, json};

use super::Fields;
use crate::cluster::{
    Cluster, ClusterId, Counted, Endpoint, HttpVersion, IdleTimeout, Limits, Policy, ServiceLabels,
    Upstream,
};
use crate::outlier::Millis;

/// A cluster with the numbers of its endpoints.
pub fn cluster(cluster: &Cluster, now: Millis) -> Value {
    let mut fields = Fields::default();
    fields.set("name", &*cluster.name);
    let is_inbound = cluster.id == ClusterId::INBOUND_PASSTHROUGH;
    fields.set("direction", if is_inbound { "inbound" } else { "outbound" });
    fields.set_if("service", cluster.service.as_ref().map(service));
    if cluster.port != 0 {
        fields.set("port", cluster.port);
    }
    if !cluster.subset.is_empty() {
        fields.set("subset", &*cluster.subset);
    }
    fields.set("protocol", cluster.protocol.as_str());
    fields.set("isExternal", cluster.is_external);
    let kind = match &cluster.upstream {
        Upstream::Endpoints(_) => "ENDPOINTS",
        Upstream::OriginalDst => "ORIGINAL_DST",
        Upstream::Dynamic(_) => "DYNAMIC_DNS",
        Upstream::BlackHole => "BLACK_HOLE",
    };
    fields.set("type", kind);
    if let Upstream::Endpoints(set) = &cluster.upstream {
        let ejected = set.all().iter().filter(|one| one.status.is_ejected(now));
        fields.set(
            "endpoints",
            json!({
                "all": set.all().len(),
                "ready": set.ready().len(),
                "ejected": ejected.count(),
            }),
        );
        fields.set("loadBalancer", load_balancer(&cluster.load_balancer));
    }
    let rules = cluster.destination_rules.iter().map(ToString::to_string);
    fields.set("destinationRules", rules.collect::<Vec<_>>());
    fields.set("policy", policy(&cluster.policy));
    fields.set("inUse", in_use(cluster));
    fields.finish()
}

/// Every endpoint of a cluster.
pub(super) fn endpoints(cluster: &Cluster, now: Millis) -> impl Iterator<Item = Value> {
    let all = match &cluster.upstream {
        Upstream::Endpoints(set) => set.all(),
        Upstream::OriginalDst | Upstream::Dynamic(_) | Upstream::BlackHole => &[],
    };
    all.iter().map(move |one| endpoint(cluster, one, now))
}

/// An endpoint of a cluster.
pub fn endpoint(cluster: &Cluster, endpoint: &Endpoint, now: Millis) -> Value {
    let mut fields = Fields::default();
    fields.set("cluster", &*cluster.name);
    fields.set("address", endpoint.address.to_string());
    let health = match endpoint.health {
        Health::Ready => "HEALTHY",
        Health::Draining => "DRAINING",
        Health::NotReady => "UNHEALTHY",
    };
    fields.set("health", health);
    let is_ejected = endpoint.status.is_ejected(now);
    fields.set("outlier", if is_ejected { "FAILED" } else { "OK" });
    if let Some(until) = endpoint.status.ejected_until().filter(|_| is_ejected) {
        fields.set("ejectedForMillis", until.0.saturating_sub(now.0));
    }
    fields.set("weight", endpoint.weight);
    fields.set("locality", &*endpoint.locality);
    fields.set_if("priority", endpoint.priority);
    fields.set("isMeshed", endpoint.is_meshed);
    if !endpoint.service_account.is_empty() {
        fields.set("serviceAccount", &*endpoint.service_account);
    }
    fields.set("active", endpoint.load.active());
    fields.finish()
}

fn service(service: &ServiceLabels) -> Value {
    json!({
        "host": *service.host,
        "name": *service.name,
        "namespace": *service.namespace,
    })
}

fn load_balancer(balancer: &LoadBalancer) -> Value {
    let mut fields = Fields::default();
    let algorithm = match &balancer.algorithm {
        Algorithm::LeastRequest => "LEAST_REQUEST",
        Algorithm::RoundRobin => "ROUND_ROBIN",
        Algorithm::Random => "RANDOM",
        Algorithm::Passthrough => "PASSTHROUGH",
        Algorithm::ConsistentHash(hash) => {
            let key = match &hash.key {
                HashKey::Header(name) => json!({ "header": name }),
                HashKey::Cookie(cookie) => json!({ "cookie": cookie.name }),
                HashKey::SourceIp => json!("sourceIp"),
                HashKey::QueryParameter(name) => json!({ "queryParameter": name }),
            };
            fields.set("hash", key);
            match hash.table {
                HashTable::Ring { .. } => "RING_HASH",
                HashTable::Maglev { .. } => "MAGLEV",
            }
        }
    };
    fields.set("algorithm", algorithm);
    if let Some(warmup) = &balancer.warmup {
        fields.set("warmup", super::duration(warmup.duration));
    }
    if let Some(locality) = &balancer.locality {
        fields.set("localityIsEnabled", locality.is_enabled);
    }
    fields.finish()
}

/// A timeout as a rule writes it; nothing if it is left to the proxy.
fn written(timeout: IdleTimeout) -> Option<Duration> {
    match timeout {
        IdleTimeout::Default => None,
        IdleTimeout::Never => Some(Duration::ZERO),
        IdleTimeout::After(timeout) => Some(timeout),
    }
}

fn policy(policy: &Policy) -> Value {
    let mut fields = Fields::default();
    fields.set("connectTimeout", super::duration(policy.connect_timeout));
    fields.set_duration("maxConnectionDuration", policy.max_connection_duration);
    fields.set_duration("tcpIdleTimeout", written(policy.tcp_idle_timeout));
    fields.set_duration("httpIdleTimeout", written(policy.http_idle_timeout));
    let per_connection = policy.max_requests_per_connection;
    fields.set_if(
        "maxRequestsPerConnection",
        per_connection.map(NonZeroU32::get),
    );
    let streams = policy.max_concurrent_streams;
    fields.set_if("maxConcurrentStreams", streams.map(NonZeroU32::get));
    let version = match policy.http_version {
        HttpVersion::Http1 => "HTTP/1.1",
        HttpVersion::Http2 => "HTTP/2",
        HttpVersion::Client => "CLIENT",
    };
    fields.set("httpVersion", version);
    fields.set("limits", limits(&policy.limits));
    fields.set("outlierDetection", policy.outlier_detection.is_some());
    fields.set_if("tls", policy.tls.as_ref().map(tls));
    fields.finish()
}

/// What is not limited is left out.
fn limits(limits: &Limits) -> Value {
    let mut fields = Fields::default();
    for (name, limit) in [
        ("maxConnections", limits.max_connections),
        ("maxPendingRequests", limits.max_pending),
        ("maxRequests", limits.max_requests),
        ("maxRetries", limits.max_retries),
    ] {
        fields.set_if(name, Some(limit).filter(|limit| *limit != Limits::NONE));
    }
    let budget = limits.retry_budget.as_ref().map(|budget| {
        json!({
            "percent": budget.percent.to_string(),
            "minRetryConcurrency": budget.min_retry_concurrency,
        })
    });
    fields.set_if("retryBudget", budget);
    fields.finish()
}

fn tls(tls: &ClientTls) -> Value {
    let mode = match tls.mode {
        ClientTlsMode::Disable => "DISABLE",
        ClientTlsMode::Simple => "SIMPLE",
        ClientTlsMode::Mutual => "MUTUAL",
        ClientTlsMode::IstioMutual => "ISTIO_MUTUAL",
    };
    let mut fields = Fields::default();
    fields.set("mode", mode);
    fields.set_if("sni", Some(tls.sni.as_str()).filter(|sni| !sni.is_empty()));
    fields.finish()
}

/// What is counted, which is what is limited.
fn in_use(cluster: &Cluster) -> Value {
    json!({
        "connections": cluster.usage.count(Counted::Connection),
        "pendingRequests": cluster.usage.count(Counted::Pending),
        "requests": cluster.usage.count(Counted::Request),
        "retries": cluster.usage.count(Counted::Retry),
        "ejections": cluster.usage.ejections(),
    })
}
