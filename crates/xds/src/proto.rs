//! `lateen.config.v1`: the resources as protobuf, and their strict conversion from and to
//! `lateen-model`.
//!
//! Decoding is strict where a wrong guess would route traffic wrongly: an unknown enum value, a
//! missing part or a number out of range rejects the resource, by name and with the path of the
//! part. Unknown *fields* are skipped, as protobuf does: a newer control plane may say more than an
//! older proxy understands, and marks what must not be skipped with a new enum value.

mod balancer;
mod destination;
mod endpoint;
mod gateway;
mod http;
pub mod message;
mod number;
mod pool;
mod proxy;
mod redirect;
mod resource;
mod retry;
mod route;
mod secret;
mod service;
mod tls;
mod wire;

use bytes::Bytes;
use lateen_model::endpoint::Endpoints;
use lateen_model::secret::Secret;
use lateen_model::workload::Workload;
use lateen_model::{Resource, ResourceName};
use prost::Message;

use self::wire::{Fault, Wire};
use crate::Malformed;

/// Encodes a resource of type [`crate::Kind::Config`].
pub fn encode_resource(resource: &Resource) -> Bytes {
    resource.to_wire().encode_to_vec().into()
}

/// Decodes a resource of type [`crate::Kind::Config`] that the envelope calls `name`.
///
/// # Errors
/// When it is malformed or has another name.
pub fn decode_resource(name: &str, bytes: &[u8]) -> Result<Resource, Malformed> {
    let resource: Resource = decode(name, bytes)?;
    let ResourceName(inner) = &resource.name;
    check_name(name, inner)?;
    Ok(resource)
}

/// Encodes a resource of type [`crate::Kind::Endpoints`]. Its name is that of its service key.
pub fn encode_endpoints(endpoints: &Endpoints) -> Bytes {
    endpoints.to_wire().encode_to_vec().into()
}

/// Decodes a resource of type [`crate::Kind::Endpoints`] that the envelope calls `name`.
///
/// # Errors
/// When it is malformed or has another name.
pub fn decode_endpoints(name: &str, bytes: &[u8]) -> Result<Endpoints, Malformed> {
    let endpoints: Endpoints = decode(name, bytes)?;
    check_name(name, &endpoints.service.to_string())?;
    Ok(endpoints)
}

/// Encodes a resource of type [`crate::Kind::Workload`]. Its name is its address.
pub fn encode_workload(workload: &Workload) -> Bytes {
    workload.to_wire().encode_to_vec().into()
}

/// Decodes a resource of type [`crate::Kind::Workload`] that the envelope calls `name`.
///
/// # Errors
/// When it is malformed or has another name.
pub fn decode_workload(name: &str, bytes: &[u8]) -> Result<Workload, Malformed> {
    let workload: Workload = decode(name, bytes)?;
    check_name(name, &workload.address.to_string())?;
    Ok(workload)
}

/// Encodes a resource of type [`crate::Kind::Secret`]. Its name is [`Secret::key`].
pub fn encode_secret(secret: &Secret) -> Bytes {
    secret.to_wire().encode_to_vec().into()
}

/// Decodes a resource of type [`crate::Kind::Secret`] that the envelope calls `name`.
///
/// # Errors
/// When it is malformed or has another name.
pub fn decode_secret(name: &str, bytes: &[u8]) -> Result<Secret, Malformed> {
    let secret: Secret = decode(name, bytes)?;
    check_name(name, &secret.key())?;
    Ok(secret)
}

fn decode<T: Wire>(name: &str, bytes: &[u8]) -> Result<T, Malformed> {
    let message =
        T::Message::decode(bytes).map_err(|error| Fault::new(error.to_string()).of(name))?;
    T::from_wire(message).map_err(|fault| fault.of(name))
}

fn check_name(envelope: &str, inner: &str) -> Result<(), Malformed> {
    if envelope == inner {
        return Ok(());
    }
    Err(Fault::new(format!("the resource calls itself {inner:?}"))
        .at("name")
        .of(envelope))
}

#[cfg(test)]
mod tests;
