//! Envoy's delta discovery protocol (xDS v3) as prost messages: the envelope, never its contents.
//!
//! Written by hand, because generated code would need `protoc` on every build machine and bring
//! hundreds of types of which the protocol uses nine. Field numbers are those of
//! `envoy/service/discovery/v3/discovery.proto`, `envoy/config/core/v3/base.proto` and
//! `google/rpc/status.proto`; fields that neither side reads are left out, which protobuf allows.

use std::collections::HashMap;

use prost_types::{Any, Struct};

/// The full name of the service.
pub const SERVICE: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";

/// The path of the method that both sides speak.
pub const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// What the client sends: subscriptions, ACKs and NACKs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryRequest {
    /// Who asks; only in the first request of a stream.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// The type that the request is about.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names to add to the subscription; `*` for all.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names to remove from it.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// What the client already has; only in the first request for a type on a stream.
    #[prost(map = "string, string", tag = "5")]
    pub initial_resource_versions: HashMap<String, String>,
    /// The response that this answers; empty for a spontaneous request.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Set when something of that response was refused.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<RpcStatus>,
}

/// What the server sends: changed and removed resources.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// The version of the whole configuration, for people who debug.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// What is new or changed.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// The type of them all.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Identifies the response in its ACK.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names that are gone, or were asked for and do not exist.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}

/// One resource with its version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// Changes when the resource does; opaque to clients.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The payload.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Payload>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// A `google.protobuf.Any` whose value is shared: every connection sends the same bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// The type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: bytes::Bytes,
}

/// Who a client is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// `<role>~<address>~<pod>.<namespace>~<domain>`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The name of its workload.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// Istio's keys: `NAMESPACE`, `LABELS`, `ISTIO_VERSION`, …
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
    /// Where it runs.
    #[prost(message, optional, tag = "4")]
    pub locality: Option<Locality>,
    /// The name of the program.
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
}

/// Where a client runs.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Locality {
    /// The region.
    #[prost(string, tag = "1")]
    pub region: String,
    /// The zone in it.
    #[prost(string, tag = "2")]
    pub zone: String,
    /// The part of the zone.
    #[prost(string, tag = "3")]
    pub sub_zone: String,
}

/// `google.rpc.Status`: why something was refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// A gRPC status code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For programs: one [`Rejections`] here.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// What a NACK names: each resource that was refused. The others of the response apply.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rejections {
    /// The refused ones.
    #[prost(message, repeated, tag = "1")]
    pub rejected: Vec<Rejection>,
}

impl Rejections {
    /// The type URL of the detail in a NACK.
    pub const TYPE_URL: &'static str = "type.lateen.dev/lateen.config.v1.Rejections";
}

/// One refused resource.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Rejection {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Why.
    #[prost(string, tag = "2")]
    pub error: String,
}
