//! The envelope of configuration and the settings of the mesh.

use lateen_model::mesh::{AccessLogEncoding, Mesh, OutboundPolicy};
use lateen_model::{Body, ObjectRef, Resource, ResourceName, Source};

use super::message;
use super::number::{positive_duration, wire_duration};
use super::wire::{Fault, Wire, missing, nonempty, optional, required, wire_enum};

impl Wire for Resource {
    type Message = message::Resource;

    fn to_wire(&self) -> message::Resource {
        let ResourceName(name) = &self.name;
        message::Resource {
            name: name.clone(),
            source: Some(self.source.to_wire()),
            body: Some(match &self.body {
                Body::Mesh(mesh) => message::Body::Mesh(mesh.to_wire()),
                Body::Proxy(proxy) => message::Body::Proxy(proxy.to_wire()),
                Body::Service(service) => message::Body::Service(service.to_wire()),
                Body::VirtualService(rules) => message::Body::VirtualService(rules.to_wire()),
                Body::DestinationRule(rule) => message::Body::DestinationRule(rule.to_wire()),
                Body::Gateway(gateway) => message::Body::Gateway(gateway.to_wire()),
            }),
        }
    }

    fn from_wire(wire: message::Resource) -> Result<Self, Fault> {
        Ok(Self {
            name: ResourceName(nonempty(wire.name, "name")?),
            source: required(wire.source, "source")?,
            // No body is also what a kind that is not known here looks like.
            body: Body::from_wire(wire.body.ok_or_else(|| missing().at("body"))?)?,
        })
    }
}

/// Reads a body; it has no message of its own, being one of several.
trait FromWire: Sized {
    fn from_wire(body: message::Body) -> Result<Self, Fault>;
}

impl FromWire for Body {
    fn from_wire(body: message::Body) -> Result<Self, Fault> {
        fn read<T: Wire>(
            message: T::Message,
            part: &str,
            body: impl FnOnce(T) -> Body,
        ) -> Result<Body, Fault> {
            T::from_wire(message).map(body).map_err(|f| f.at(part))
        }
        match body {
            message::Body::Mesh(m) => read(m, "mesh", Self::Mesh),
            message::Body::Proxy(m) => read(m, "proxy", Self::Proxy),
            message::Body::Service(m) => read(m, "service", Self::Service),
            message::Body::VirtualService(m) => read(m, "virtual_service", Self::VirtualService),
            message::Body::DestinationRule(m) => read(m, "destination_rule", Self::DestinationRule),
            message::Body::Gateway(m) => read(m, "gateway", Self::Gateway),
        }
    }
}

impl Wire for Source {
    type Message = message::Source;

    fn to_wire(&self) -> message::Source {
        message::Source {
            kind: self.object.kind.clone(),
            namespace: self.object.namespace.clone(),
            name: self.object.name.clone(),
            generation: self.generation,
            created: self.created,
        }
    }

    fn from_wire(wire: message::Source) -> Result<Self, Fault> {
        Ok(Self {
            object: ObjectRef {
                kind: wire.kind,
                namespace: wire.namespace,
                name: wire.name,
            },
            generation: wire.generation,
            created: wire.created,
        })
    }
}

wire_enum!(outbound_to_wire, outbound, OutboundPolicy { AllowAny = 1, RegistryOnly = 2 });
wire_enum!(encoding_to_wire, encoding, AccessLogEncoding { Text = 1, Json = 2 });

impl Wire for Mesh {
    type Message = message::Mesh;

    fn to_wire(&self) -> message::Mesh {
        message::Mesh {
            cluster_domain: self.cluster_domain.clone(),
            root_namespace: self.root_namespace.clone(),
            trust_domain: self.trust_domain.clone(),
            outbound_policy: outbound_to_wire(self.outbound_policy),
            access_log_file: self.access_log_file.clone(),
            access_log_encoding: encoding_to_wire(self.access_log_encoding),
            protocol_detection_timeout_ms: self.protocol_detection_timeout_ms,
            default_retries: Some(self.default_retries.to_wire()),
            connect_timeout: Some(wire_duration(self.connect_timeout)),
            locality: Some(self.locality.to_wire()),
            dns_refresh_rate: Some(wire_duration(self.dns_refresh_rate)),
        }
    }

    /// What older control planes did not say takes its default.
    fn from_wire(wire: message::Mesh) -> Result<Self, Fault> {
        let default = Self::default();
        let connect_timeout = wire
            .connect_timeout
            .map(|nanoseconds| positive_duration(nanoseconds, "connect_timeout"));
        let dns_refresh_rate = wire
            .dns_refresh_rate
            .map(|nanoseconds| positive_duration(nanoseconds, "dns_refresh_rate"));
        Ok(Self {
            cluster_domain: nonempty(wire.cluster_domain, "cluster_domain")?,
            root_namespace: nonempty(wire.root_namespace, "root_namespace")?,
            trust_domain: nonempty(wire.trust_domain, "trust_domain")?,
            outbound_policy: outbound(wire.outbound_policy, "outbound_policy")?,
            access_log_file: wire.access_log_file,
            access_log_encoding: encoding(wire.access_log_encoding, "access_log_encoding")?,
            protocol_detection_timeout_ms: wire.protocol_detection_timeout_ms,
            default_retries: optional(wire.default_retries, "default_retries")?
                .unwrap_or(default.default_retries),
            connect_timeout: connect_timeout
                .transpose()?
                .unwrap_or(default.connect_timeout),
            locality: optional(wire.locality, "locality")?.unwrap_or(default.locality),
            dns_refresh_rate: dns_refresh_rate
                .transpose()?
                .unwrap_or(default.dns_refresh_rate),
        })
    }
}
