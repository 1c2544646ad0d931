//! The Kubernetes objects that users of a mesh write (Istio's API) and what they mean.
//!
//! It does no I/O and knows no Kubernetes client: objects come in as JSON values, judgements,
//! CRDs and resources of `lateen-model` go out.

pub mod analyze;
pub mod crd;
pub mod kinds;
pub mod lower;
pub mod mesh_config;
pub mod object;
pub mod problem;
mod schema;
pub mod service;
pub mod spec;
pub mod validate;
pub mod workload;
pub mod yaml;

pub use kinds::{KINDS, Kind};
pub use lower::{Lowered, Settings, lower, lower_with};
pub use object::Object;
pub use problem::{Problem, Report, told};
pub use validate::validate;
