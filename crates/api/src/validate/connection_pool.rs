//! Rules of connection pools.

use super::names;
use crate::problem::{Path, Report};
use crate::spec::duration::Duration;
use crate::spec::traffic_policy::{ConnectionPool, H2UpgradePolicy, HttpPool, TcpPool};

/// Checks limits of connections and requests.
pub(super) fn check(pool: &ConnectionPool, path: &Path<'_>, report: &mut Report) {
    if pool.tcp.is_none() && pool.http.is_none() {
        report.error(path, "needs tcp, http or both");
    }
    if let Some(value) = &pool.tcp {
        tcp(value, &path.field("tcp"), report);
    }
    if let Some(value) = &pool.http {
        http(value, &path.field("http"), report);
    }
}

fn tcp(pool: &TcpPool, path: &Path<'_>, report: &mut Report) {
    not_negative("maxConnections", pool.max_connections, path, report);
    let timeout = pool.connect_timeout.as_ref();
    names::optional_duration(timeout, &path.field("connectTimeout"), report);
    let longest = pool.max_connection_duration.as_ref();
    names::optional_duration(longest, &path.field("maxConnectionDuration"), report);
    // Zero turns it off.
    if let Some(idle) = &pool.idle_timeout {
        let idle = Duration(idle.clone());
        report.check(&path.field("idleTimeout"), names::duration_or_zero(&idle));
    }
    if let Some(keepalive) = &pool.tcp_keepalive {
        let path = path.field("tcpKeepalive");
        names::optional_duration(keepalive.time.as_ref(), &path.field("time"), report);
        names::optional_duration(keepalive.interval.as_ref(), &path.field("interval"), report);
    }
}

fn http(pool: &HttpPool, path: &Path<'_>, report: &mut Report) {
    let limits = [
        ("http1MaxPendingRequests", pool.http1_max_pending_requests),
        ("http2MaxRequests", pool.http2_max_requests),
        ("maxRequestsPerConnection", pool.max_requests_per_connection),
        ("maxRetries", pool.max_retries),
        ("maxConcurrentStreams", pool.max_concurrent_streams),
    ];
    for (field, limit) in limits {
        not_negative(field, limit, path, report);
    }
    names::optional_duration(
        pool.idle_timeout.as_ref(),
        &path.field("idleTimeout"),
        report,
    );
    if pool.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade) && pool.use_client_protocol {
        report.error(
            &path.field("useClientProtocol"),
            "contradicts h2UpgradePolicy: UPGRADE, which always uses HTTP/2",
        );
    }
    if let Some(keepalive) = &pool.http2_keep_alive {
        let path = path.field("http2KeepAlive");
        for (field, value) in [
            ("interval", &keepalive.interval),
            ("timeout", &keepalive.timeout),
        ] {
            match value {
                Some(value) => {
                    report.check(&path.field(field), names::duration(value));
                }
                None => report.error(&path.field(field), "is required"),
            }
        }
    }
}

fn not_negative(field: &str, value: Option<i32>, path: &Path<'_>, report: &mut Report) {
    if let Some(value) = value.filter(|value| *value < 0) {
        report.error(&path.field(field), format!("{value} is negative"));
    }
}
