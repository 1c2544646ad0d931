//! Lowering: from an object that a user wrote to the resources that proxies are told.
//!
//! An object is checked first, also when the webhook was bypassed: what is invalid is refused as a
//! whole, with the fields that are wrong, and nothing of it reaches a proxy. What is valid but not
//! in effect in this version is listed by path, so that the control plane can say so in `status`;
//! nothing is ignored in silence.
//!
//! ```text
//! VirtualService, DestinationRule, Gateway ──► one Resource of the same name
//! ServiceEntry ──► a Service per host, Endpoints per host if STATIC (workloads selected by labels
//!                  are given by the caller, which knows them)
//! Sidecar ──► what its proxies import
//! ```

mod connection_pool;
mod destination_rule;
mod gateway;
mod http_rule;
pub(crate) mod load_balancer;
pub(crate) mod retries;
mod service_entry;
mod sidecar;
pub(crate) mod unsupported;
mod virtual_service;
pub(crate) mod workload_entry;

use lateen_model::endpoint::Endpoints;
use lateen_model::service::ExportTo;
use lateen_model::{Body, Labels, ObjectRef, Percent, Resource, ResourceName, Source};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::object::Object;
use crate::problem::Report;
use crate::spec::duration::Duration;
use crate::validate;

pub use service_entry::hosts_without_address;
pub use sidecar::{ImportedFrom, ImportedHost, Ingress, Sidecar};
pub use workload_entry::{Workload, workload_entry};

/// What lowering needs to know of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The domain of the cluster's services.
    pub cluster_domain: String,
    /// `exportTo` of Services that say nothing.
    pub default_service_export_to: Vec<String>,
    /// `exportTo` of VirtualServices that say nothing.
    pub default_virtual_service_export_to: Vec<String>,
    /// `exportTo` of DestinationRules that say nothing.
    pub default_destination_rule_export_to: Vec<String>,
}

/// What an object became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lowered {
    /// Resources for proxies.
    pub resources: Vec<Resource>,
    /// Endpoints of the services among them.
    pub endpoints: Vec<Endpoints>,
    /// A ServiceEntry that selects workloads: those of its namespace with these labels are its
    /// endpoints. Lower it again with [`lower_with`] whenever they change.
    pub selector: Option<Labels>,
    /// What a Sidecar says.
    pub sidecar: Option<Sidecar>,
    /// Fields that are set, but not in effect in this version.
    pub unsupported: Vec<String>,
}

/// Why an object was not lowered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The object breaks rules of its kind.
    #[error("{object} is invalid: {report}")]
    Invalid {
        /// The object.
        object: ObjectRef,
        /// What is wrong.
        report: Report,
    },
    /// The kind is not part of Istio's API.
    #[error("{api_version} {kind} is not a kind of the mesh's configuration")]
    UnknownKind {
        /// The object's `apiVersion`.
        api_version: String,
        /// The object's `kind`.
        kind: String,
    },
}

/// The parts that lowering of every kind needs.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) namespace: &'a str,
    pub(crate) source: Source,
}

/// Lowers an object of Istio's API. Kinds without resources of their own (WorkloadEntry, Sidecar,
/// policies) yield none; the fields that are not in effect are listed all the same.
///
/// # Errors
/// If the object is invalid or of a kind that is not Istio's.
pub fn lower(object: &Value, settings: &Settings) -> Result<Lowered, Error> {
    lower_with(object, settings, &[])
}

/// As [`lower`], for a ServiceEntry whose selector selects `workloads`.
///
/// # Errors
/// As [`lower`].
pub fn lower_with(
    object: &Value,
    settings: &Settings,
    workloads: &[Workload],
) -> Result<Lowered, Error> {
    let object = Object(object);
    let Some(kind) = object.istio_kind() else {
        return Err(Error::UnknownKind {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
        });
    };
    let report = validate::check(object);
    if !report.is_valid() {
        return Err(Error::Invalid {
            object: object.reference(),
            report,
        });
    }
    let context = Context {
        settings,
        namespace: object.namespace(),
        source: object.source(),
    };
    let mut lowered = match kind.kind {
        "VirtualService" => virtual_service::lower(&read(object)?, &context),
        "DestinationRule" => destination_rule::lower(&read(object)?, &context),
        "Gateway" => gateway::lower(&read(object)?, &context),
        "Sidecar" => sidecar::lower(&read(object)?),
        "ServiceEntry" => service_entry::lower(&read(object)?, object, &context, workloads),
        _ => Lowered::default(),
    };
    lowered
        .unsupported
        .extend(unsupported::fields(kind, object.0));
    lowered.unsupported.sort();
    lowered.unsupported.dedup();
    Ok(lowered)
}

/// Reads a `spec` whose shape was checked.
fn read<T: DeserializeOwned>(object: Object<'_>) -> Result<T, Error> {
    // The schema is made from the same type, so this fails only where both differ, for example
    // for a number outside of what the type holds.
    T::deserialize(object.spec()).map_err(|error| {
        let mut report = Report::default();
        report.error(&crate::problem::Path::Root("spec"), error.to_string());
        Error::Invalid {
            object: object.reference(),
            report,
        }
    })
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        let all = || vec!["*".to_owned()];
        Self {
            cluster_domain: "cluster.local".into(),
            default_service_export_to: all(),
            default_virtual_service_export_to: all(),
            default_destination_rule_export_to: all(),
        }
    }
}

// === impl Context ===

impl Context<'_> {
    /// The resource of an object that yields one.
    fn resource(&self, body: Body) -> Resource {
        let object = &self.source.object;
        Resource {
            name: ResourceName(format!(
                "{}/{}/{}",
                body.kind(),
                object.namespace,
                object.name
            )),
            source: self.source.clone(),
            body,
        }
    }
}

/// Reads `exportTo`; an empty list means `default`.
pub(crate) fn export_to(list: &[String], default: &[String], namespace: &str) -> ExportTo {
    let list = if list.is_empty() { default } else { list };
    if list.is_empty() || list.iter().any(|entry| entry == "*") {
        return ExportTo::All;
    }
    if list.iter().all(|entry| entry == "~") {
        return ExportTo::Nobody;
    }
    let named = list.iter().filter(|entry| *entry != "~");
    let mut namespaces: Vec<String> = named
        .map(|entry| {
            if entry == "." {
                namespace.to_owned()
            } else {
                entry.clone()
            }
        })
        .collect();
    namespaces.sort();
    namespaces.dedup();
    ExportTo::Namespaces(namespaces)
}

/// A port whose range was checked; 0 (which nothing matches) otherwise.
pub(crate) fn port(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

/// The longest duration: nobody waits longer, and clocks can still count to its end.
const FOREVER: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 24 * 3600);

/// A duration that was checked.
pub(crate) fn duration(spec: Option<&Duration>) -> Option<std::time::Duration> {
    let duration = spec.and_then(|duration| duration.parse().ok());
    duration.map(|duration| duration.min(FOREVER))
}

/// A share of 0.0 to 100.0, to the closest millionth.
pub(crate) fn percent(percentage: f64) -> Percent {
    Percent::from_millionths(rounded(percentage * 10_000.0))
}

/// The closest whole number; what is out of range becomes its end.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "this cast saturates, and makes 0 of what is no number"
)]
pub(crate) fn rounded(number: f64) -> u32 {
    number.round() as u32
}

#[cfg(test)]
mod tests;
