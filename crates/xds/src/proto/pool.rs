//! Limits of connections and requests, and when endpoints are taken out for a while.

use lateen_model::pool::{
    ConnectionPool, H2Keepalive, H2Upgrade, HttpPool, OutlierDetection, TcpKeepalive, TcpPool,
};

use super::message;
use super::number::{
    optional_duration, percent, positive, positive_duration, status, wire_duration,
    wire_optional_duration,
};
use super::wire::{Fault, Wire, optional, read_list, wire_enum};

wire_enum!(
    upgrade_to_wire,
    upgrade,
    H2Upgrade {
        Default = 1,
        Never = 2,
        Always = 3,
    }
);

impl Wire for ConnectionPool {
    type Message = message::ConnectionPool;

    fn to_wire(&self) -> message::ConnectionPool {
        message::ConnectionPool {
            tcp: Some(self.tcp.to_wire()),
            http: Some(self.http.to_wire()),
        }
    }

    fn from_wire(wire: message::ConnectionPool) -> Result<Self, Fault> {
        Ok(Self {
            tcp: optional(wire.tcp, "tcp")?.unwrap_or_default(),
            http: optional(wire.http, "http")?.unwrap_or_default(),
        })
    }
}

impl Wire for TcpPool {
    type Message = message::TcpPool;

    fn to_wire(&self) -> message::TcpPool {
        message::TcpPool {
            max_connections: self.max_connections,
            connect_timeout: wire_optional_duration(self.connect_timeout),
            keepalive: self.keepalive.as_ref().map(Wire::to_wire),
            max_connection_duration: wire_optional_duration(self.max_connection_duration),
            idle_timeout: wire_optional_duration(self.idle_timeout),
        }
    }

    fn from_wire(wire: message::TcpPool) -> Result<Self, Fault> {
        Ok(Self {
            max_connections: positive(wire.max_connections, "max_connections")?,
            connect_timeout: optional_duration(wire.connect_timeout),
            keepalive: optional(wire.keepalive, "keepalive")?,
            max_connection_duration: optional_duration(wire.max_connection_duration),
            idle_timeout: optional_duration(wire.idle_timeout),
        })
    }
}

impl Wire for TcpKeepalive {
    type Message = message::TcpKeepalive;

    fn to_wire(&self) -> message::TcpKeepalive {
        message::TcpKeepalive {
            probes: self.probes,
            time: wire_optional_duration(self.time),
            interval: wire_optional_duration(self.interval),
        }
    }

    fn from_wire(wire: message::TcpKeepalive) -> Result<Self, Fault> {
        Ok(Self {
            probes: wire.probes,
            time: optional_duration(wire.time),
            interval: optional_duration(wire.interval),
        })
    }
}

impl Wire for HttpPool {
    type Message = message::HttpPool;

    fn to_wire(&self) -> message::HttpPool {
        message::HttpPool {
            max_pending_requests: self.max_pending_requests,
            max_requests: self.max_requests,
            max_requests_per_connection: self.max_requests_per_connection,
            max_retries: self.max_retries,
            idle_timeout: wire_optional_duration(self.idle_timeout),
            h2_upgrade: upgrade_to_wire(self.h2_upgrade),
            uses_client_protocol: self.uses_client_protocol,
            max_concurrent_streams: self.max_concurrent_streams,
            h2_keepalive: self.h2_keepalive.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(wire: message::HttpPool) -> Result<Self, Fault> {
        Ok(Self {
            max_pending_requests: positive(wire.max_pending_requests, "max_pending_requests")?,
            max_requests: positive(wire.max_requests, "max_requests")?,
            max_requests_per_connection: positive(
                wire.max_requests_per_connection,
                "max_requests_per_connection",
            )?,
            max_retries: positive(wire.max_retries, "max_retries")?,
            idle_timeout: optional_duration(wire.idle_timeout),
            h2_upgrade: upgrade(wire.h2_upgrade, "h2_upgrade")?,
            uses_client_protocol: wire.uses_client_protocol,
            max_concurrent_streams: positive(
                wire.max_concurrent_streams,
                "max_concurrent_streams",
            )?,
            h2_keepalive: optional(wire.h2_keepalive, "h2_keepalive")?,
        })
    }
}

impl Wire for H2Keepalive {
    type Message = message::H2Keepalive;

    fn to_wire(&self) -> message::H2Keepalive {
        message::H2Keepalive {
            interval: wire_duration(self.interval),
            timeout: wire_duration(self.timeout),
        }
    }

    fn from_wire(wire: message::H2Keepalive) -> Result<Self, Fault> {
        Ok(Self {
            interval: positive_duration(wire.interval, "interval")?,
            timeout: positive_duration(wire.timeout, "timeout")?,
        })
    }
}

impl Wire for OutlierDetection {
    type Message = message::OutlierDetection;

    fn to_wire(&self) -> message::OutlierDetection {
        let codes = self
            .error_codes
            .iter()
            .map(|(first, last)| message::StatusRange {
                first: u32::from(*first),
                last: u32::from(*last),
            });
        message::OutlierDetection {
            consecutive_5xx: self.consecutive_5xx,
            consecutive_gateway_errors: self.consecutive_gateway_errors,
            splits_local_origin: self.splits_local_origin,
            consecutive_local_origin: self.consecutive_local_origin,
            error_codes: codes.collect(),
            interval: wire_duration(self.interval),
            base_ejection_time: wire_duration(self.base_ejection_time),
            max_ejection: self.max_ejection.millionths(),
            min_health: self.min_health.millionths(),
        }
    }

    fn from_wire(wire: message::OutlierDetection) -> Result<Self, Fault> {
        Ok(Self {
            consecutive_5xx: wire.consecutive_5xx,
            consecutive_gateway_errors: wire.consecutive_gateway_errors,
            splits_local_origin: wire.splits_local_origin,
            consecutive_local_origin: wire.consecutive_local_origin,
            error_codes: read_list(wire.error_codes, "error_codes", |range| {
                Ok((status(range.first, "first")?, status(range.last, "last")?))
            })?,
            interval: positive_duration(wire.interval, "interval")?,
            base_ejection_time: positive_duration(wire.base_ejection_time, "base_ejection_time")?,
            max_ejection: percent(wire.max_ejection, "max_ejection")?,
            min_health: percent(wire.min_health, "min_health")?,
        })
    }
}
