//! Rules that route traffic.

use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, L4Match, StringMatch, TcpRule, TlsMatch, TlsRule,
    ValueMatch, VirtualService, WeightedDestination,
};

use super::http::{rules, wire_rules};
use super::message;
use super::wire::{
    Fault, Wire, host, list, missing, nonempty, nonempty_list, optional, optional_port, patterns,
    read_list, required, wire_list, wire_patterns,
};

impl Wire for VirtualService {
    type Message = message::VirtualService;

    fn to_wire(&self) -> message::VirtualService {
        message::VirtualService {
            namespace: self.namespace.clone(),
            hosts: wire_patterns(&self.hosts),
            gateways: wire_list(&self.gateways),
            export_to: Some(self.export_to.to_wire()),
            http: wire_list(&self.http),
            tls: wire_list(&self.tls),
            tcp: wire_list(&self.tcp),
        }
    }

    fn from_wire(wire: message::VirtualService) -> Result<Self, Fault> {
        Ok(Self {
            namespace: nonempty(wire.namespace, "namespace")?,
            hosts: patterns(wire.hosts, "hosts")?,
            gateways: nonempty_list(list(wire.gateways, "gateways")?, "gateways")?,
            export_to: required(wire.export_to, "export_to")?,
            http: list(wire.http, "http")?,
            tls: list(wire.tls, "tls")?,
            tcp: list(wire.tcp, "tcp")?,
        })
    }
}

impl Wire for GatewayRef {
    type Message = message::GatewayRef;

    fn to_wire(&self) -> message::GatewayRef {
        let to = match self {
            Self::Mesh => message::GatewayRefTo::Mesh(message::Unit {}),
            Self::Gateway { namespace, name } => {
                message::GatewayRefTo::Gateway(message::GatewayName {
                    namespace: namespace.clone(),
                    name: name.clone(),
                })
            }
        };
        message::GatewayRef { to: Some(to) }
    }

    fn from_wire(wire: message::GatewayRef) -> Result<Self, Fault> {
        match wire.to.ok_or_else(missing)? {
            message::GatewayRefTo::Mesh(message::Unit {}) => Ok(Self::Mesh),
            message::GatewayRefTo::Gateway(gateway) => Ok(Self::Gateway {
                namespace: nonempty(gateway.namespace, "namespace")?,
                name: nonempty(gateway.name, "name")?,
            }),
        }
    }
}

impl Wire for HttpMatch {
    type Message = message::HttpMatch;

    fn to_wire(&self) -> message::HttpMatch {
        message::HttpMatch {
            name: self.name.clone(),
            uri: self.uri.as_ref().map(Wire::to_wire),
            ignore_uri_case: self.ignore_uri_case,
            scheme: self.scheme.as_ref().map(Wire::to_wire),
            method: self.method.as_ref().map(Wire::to_wire),
            authority: self.authority.as_ref().map(Wire::to_wire),
            headers: wire_named(&self.headers),
            without_headers: wire_named(&self.without_headers),
            query_params: wire_named(&self.query_params),
            port: self.port.map(u32::from),
            source_labels: self.source_labels.clone(),
            source_namespace: self.source_namespace.clone(),
            gateways: wire_list(&self.gateways),
        }
    }

    fn from_wire(wire: message::HttpMatch) -> Result<Self, Fault> {
        Ok(Self {
            name: wire.name,
            uri: optional(wire.uri, "uri")?,
            ignore_uri_case: wire.ignore_uri_case,
            scheme: optional(wire.scheme, "scheme")?,
            method: optional(wire.method, "method")?,
            authority: optional(wire.authority, "authority")?,
            headers: read_list(wire.headers, "headers", named)?,
            without_headers: read_list(wire.without_headers, "without_headers", named)?,
            query_params: read_list(wire.query_params, "query_params", named)?,
            port: optional_port(wire.port, "port")?,
            source_labels: wire.source_labels,
            source_namespace: wire.source_namespace,
            gateways: list(wire.gateways, "gateways")?,
        })
    }
}

fn wire_named(conditions: &[(String, ValueMatch)]) -> Vec<message::NamedMatch> {
    conditions
        .iter()
        .map(|(name, value)| message::NamedMatch {
            name: name.clone(),
            kind: Some(match value {
                ValueMatch::Present => message::NamedMatchKind::Present(message::Unit {}),
                ValueMatch::Value(value) => message::NamedMatchKind::Value(value.to_wire()),
            }),
        })
        .collect()
}

fn named(wire: message::NamedMatch) -> Result<(String, ValueMatch), Fault> {
    let value = match wire.kind.ok_or_else(missing)? {
        message::NamedMatchKind::Present(message::Unit {}) => ValueMatch::Present,
        message::NamedMatchKind::Value(value) => ValueMatch::Value(StringMatch::from_wire(value)?),
    };
    Ok((nonempty(wire.name, "name")?, value))
}

impl Wire for StringMatch {
    type Message = message::StringMatch;

    fn to_wire(&self) -> message::StringMatch {
        message::StringMatch {
            kind: Some(match self {
                Self::Exact(text) => message::StringMatchKind::Exact(text.clone()),
                Self::Prefix(text) => message::StringMatchKind::Prefix(text.clone()),
                Self::Regex(text) => message::StringMatchKind::Regex(text.clone()),
            }),
        }
    }

    fn from_wire(wire: message::StringMatch) -> Result<Self, Fault> {
        Ok(match wire.kind.ok_or_else(missing)? {
            message::StringMatchKind::Exact(text) => Self::Exact(text),
            message::StringMatchKind::Prefix(text) => Self::Prefix(text),
            message::StringMatchKind::Regex(text) => Self::Regex(text),
        })
    }
}

impl Wire for WeightedDestination {
    type Message = message::WeightedDestination;

    fn to_wire(&self) -> message::WeightedDestination {
        message::WeightedDestination {
            destination: Some(self.destination.to_wire()),
            weight: self.weight,
            headers: wire_rules(&self.headers),
        }
    }

    fn from_wire(wire: message::WeightedDestination) -> Result<Self, Fault> {
        Ok(Self {
            destination: required(wire.destination, "destination")?,
            weight: wire.weight,
            headers: rules(wire.headers)?,
        })
    }
}

impl Wire for Destination {
    type Message = message::Destination;

    fn to_wire(&self) -> message::Destination {
        message::Destination {
            host: self.host.as_str().to_owned(),
            subset: self.subset.clone(),
            port: self.port.map(u32::from),
        }
    }

    fn from_wire(wire: message::Destination) -> Result<Self, Fault> {
        Ok(Self {
            host: host(&wire.host, "host")?,
            subset: wire.subset,
            port: optional_port(wire.port, "port")?,
        })
    }
}

impl Wire for TlsRule {
    type Message = message::TlsRule;

    fn to_wire(&self) -> message::TlsRule {
        message::TlsRule {
            matches: wire_list(&self.matches),
            route: wire_list(&self.route),
        }
    }

    fn from_wire(wire: message::TlsRule) -> Result<Self, Fault> {
        Ok(Self {
            matches: nonempty_list(list(wire.matches, "matches")?, "matches")?,
            route: nonempty_list(list(wire.route, "route")?, "route")?,
        })
    }
}

impl Wire for TcpRule {
    type Message = message::TcpRule;

    fn to_wire(&self) -> message::TcpRule {
        message::TcpRule {
            matches: wire_list(&self.matches),
            route: wire_list(&self.route),
        }
    }

    fn from_wire(wire: message::TcpRule) -> Result<Self, Fault> {
        Ok(Self {
            matches: list(wire.matches, "matches")?,
            route: nonempty_list(list(wire.route, "route")?, "route")?,
        })
    }
}

impl Wire for TlsMatch {
    type Message = message::TlsMatch;

    fn to_wire(&self) -> message::TlsMatch {
        message::TlsMatch {
            sni_hosts: wire_patterns(&self.sni_hosts),
            l4: Some(self.l4.to_wire()),
        }
    }

    fn from_wire(wire: message::TlsMatch) -> Result<Self, Fault> {
        Ok(Self {
            sni_hosts: nonempty_list(patterns(wire.sni_hosts, "sni_hosts")?, "sni_hosts")?,
            l4: required(wire.l4, "l4")?,
        })
    }
}

impl Wire for L4Match {
    type Message = message::L4Match;

    fn to_wire(&self) -> message::L4Match {
        message::L4Match {
            destination_subnets: wire_list(&self.destination_subnets),
            port: self.port.map(u32::from),
            source_labels: self.source_labels.clone(),
            source_namespace: self.source_namespace.clone(),
            gateways: wire_list(&self.gateways),
        }
    }

    fn from_wire(wire: message::L4Match) -> Result<Self, Fault> {
        Ok(Self {
            destination_subnets: list(wire.destination_subnets, "destination_subnets")?,
            port: optional_port(wire.port, "port")?,
            source_labels: wire.source_labels,
            source_namespace: wire.source_namespace,
            gateways: list(wire.gateways, "gateways")?,
        })
    }
}
