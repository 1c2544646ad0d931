//! Endpoints of services: the resource that changes most, hence small and of its own type.

use serde::Serialize;

use crate::service::ServiceKey;
use crate::{Address, Labels};

/// Every endpoint of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The service that they serve.
    pub service: ServiceKey,
    /// The endpoints, in order of address.
    pub endpoints: Vec<Endpoint>,
}

/// One address that serves a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Pairs of service port and the port on this address, which means nothing for a socket of the
    /// file system.
    pub ports: Vec<(u16, u16)>,
    /// Labels of the workload, for subsets.
    pub labels: Labels,
    /// Relative weight; at least 1.
    pub weight: u32,
    /// Whether it takes requests.
    pub health: Health,
    /// `region/zone/subzone`; parts may be missing.
    pub locality: String,
    /// Whether its proxy takes mutual TLS.
    pub is_meshed: bool,
    /// The service account of its workload, for the check of its identity; empty if unknown.
    pub service_account: String,
    /// Its name below that of a headless service (`mysql-0`); empty if it has none.
    pub hostname: String,
}

/// Whether an endpoint takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// Takes requests.
    Ready,
    /// Going away: finishes what it has, takes nothing new.
    Draining,
    /// Takes nothing.
    NotReady,
}
