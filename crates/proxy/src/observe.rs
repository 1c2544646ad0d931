//! Being seen: Istio's standard metrics and Envoy's access log.
//!
//! Workers count in cells that only they write ([`metrics`]); the main thread reads them when
//! somebody asks, and only then turns ids into text ([`labels`], [`exposition`]). The access log
//! ([`access_log`]) costs one branch per request when it is off.

pub mod access_log;
pub mod calendar;
pub mod exposition;
pub mod flags;
pub mod histogram;
pub mod labels;
pub mod metrics;
