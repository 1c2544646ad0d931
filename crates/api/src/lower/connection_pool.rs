//! Lowers limits of connections and requests, and when endpoints are taken out for a while.

use std::time::Duration;

use lateen_model::Percent;
use lateen_model::pool::{
    ConnectionPool, H2Keepalive, H2Upgrade, HttpPool, OutlierDetection, TcpKeepalive, TcpPool,
};

use super::{duration, percent};
use crate::spec::duration::Duration as Text;
use crate::spec::traffic_policy as spec;
use crate::validate::status_range;

/// Lowers limits that were checked.
pub(crate) fn connection_pool(spec: &spec::ConnectionPool) -> ConnectionPool {
    ConnectionPool {
        tcp: spec.tcp.as_ref().map(tcp).unwrap_or_default(),
        http: spec.http.as_ref().map(http).unwrap_or_default(),
    }
}

/// A limit; 0 is as good as unset.
fn limit(number: Option<i32>) -> Option<u32> {
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number > 0)
}

fn tcp(spec: &spec::TcpPool) -> TcpPool {
    TcpPool {
        max_connections: limit(spec.max_connections),
        connect_timeout: duration(spec.connect_timeout.as_ref()),
        keepalive: spec.tcp_keepalive.as_ref().map(keepalive),
        max_connection_duration: duration(spec.max_connection_duration.as_ref()),
        idle_timeout: duration(spec.idle_timeout.clone().map(Text).as_ref()),
    }
}

/// Also for the mesh's own setting.
fn keepalive(spec: &spec::TcpKeepalive) -> TcpKeepalive {
    TcpKeepalive {
        probes: spec.probes.filter(|probes| *probes > 0),
        time: duration(spec.time.as_ref()),
        interval: duration(spec.interval.as_ref()),
    }
}

fn http(spec: &spec::HttpPool) -> HttpPool {
    let h2_keepalive = spec.http2_keep_alive.as_ref().and_then(|keepalive| {
        Some(H2Keepalive {
            interval: duration(keepalive.interval.as_ref())?,
            timeout: duration(keepalive.timeout.as_ref())?,
        })
    });
    HttpPool {
        max_pending_requests: limit(spec.http1_max_pending_requests),
        max_requests: limit(spec.http2_max_requests),
        max_requests_per_connection: limit(spec.max_requests_per_connection),
        max_retries: limit(spec.max_retries),
        idle_timeout: duration(spec.idle_timeout.as_ref()),
        h2_upgrade: match spec.h2_upgrade_policy {
            None | Some(spec::H2UpgradePolicy::Default) => H2Upgrade::Default,
            Some(spec::H2UpgradePolicy::DoNotUpgrade) => H2Upgrade::Never,
            Some(spec::H2UpgradePolicy::Upgrade) => H2Upgrade::Always,
        },
        uses_client_protocol: spec.use_client_protocol,
        max_concurrent_streams: limit(spec.max_concurrent_streams),
        h2_keepalive,
    }
}

/// A block that is there turns detection on; the counters that it leaves out are Istio's.
pub(super) fn outlier_detection(spec: &spec::OutlierDetection) -> OutlierDetection {
    let share = |percentage: Option<i32>| percentage.map(|p| percent(f64::from(p)));
    let codes = spec.outlier_detection_http_error_codes.iter();
    OutlierDetection {
        consecutive_5xx: spec.consecutive_5xx_errors.unwrap_or(5),
        consecutive_gateway_errors: spec.consecutive_gateway_errors.unwrap_or(0),
        splits_local_origin: spec.split_external_local_origin_errors,
        consecutive_local_origin: spec.consecutive_local_origin_failures.unwrap_or(5),
        error_codes: codes.filter_map(|text| status_range(text).ok()).collect(),
        interval: duration(spec.interval.as_ref()).unwrap_or(Duration::from_secs(10)),
        base_ejection_time: duration(spec.base_ejection_time.as_ref())
            .unwrap_or(Duration::from_secs(30)),
        // 0 is as good as unset here, too.
        max_ejection: share(spec.max_ejection_percent)
            .filter(|share| *share != Percent::ZERO)
            .unwrap_or(Percent::from_millionths(100_000)),
        min_health: share(spec.min_health_percent).unwrap_or(Percent::ZERO),
    }
}
