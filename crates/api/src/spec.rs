//! What users write: the `spec` of every kind of Istio's API, typed.
//!
//! These types carry no judgement. The CRD schemas are generated from them (see [`crate::crd`]),
//! the shape of an object is checked against those schemas, and the meaning of what then
//! deserialises is checked by [`mod@crate::validate`] and given by [`mod@crate::lower`]. The first line
//! of each comment is what `kubectl explain` shows.

pub mod common;
pub mod destination_rule;
pub mod duration;
pub mod envoy_filter;
pub mod extension;
pub mod gateway;
pub mod proxy_config;
pub mod security;
pub mod service_entry;
pub mod sidecar;
pub mod telemetry;
pub mod tls;
pub mod traffic_policy;
pub mod virtual_service;
pub mod workload;
