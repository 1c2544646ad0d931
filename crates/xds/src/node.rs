//! Who a proxy is: the node of its first request, in Istio's notation.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lateen_model::Labels;
use lateen_model::proxy::Role;
use prost_types::value::Kind as ValueKind;
use prost_types::{Struct, Value};

use crate::{Error, discovery};

/// Identifies a proxy: `<role>~<address>~<pod>.<namespace>~<namespace>.svc.<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// `sidecar` or `router`.
    pub role: Role,
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The domain in which short names live, such as `default.svc.cluster.local`.
    pub domain: String,
}

/// A proxy with what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// The name of its workload, `<canonical service>.<namespace>` in Istio.
    pub cluster: String,
    /// The program's version (`ISTIO_VERSION` in the metadata).
    pub version: String,
    /// Labels of its pod (`LABELS`).
    pub labels: Labels,
    /// The service account (`SERVICE_ACCOUNT`).
    pub service_account: String,
    /// Other text values of the metadata, by Istio's keys.
    pub metadata: BTreeMap<String, String>,
    /// `region/zone/subzone`; empty if unknown.
    pub locality: String,
}

// === impl NodeId ===

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Sidecar => "sidecar",
            Role::Gateway => "router",
        };
        write!(
            f,
            "{role}~{}~{}.{}~{}",
            self.address, self.name, self.namespace, self.domain
        )
    }
}

impl FromStr for NodeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |why: &str| Error::Node {
            id: text.chars().take(200).collect(),
            why: why.to_owned(),
        };
        let parts: Vec<&str> = text.split('~').collect();
        let [role, address, name, domain] = parts[..] else {
            return Err(fail("it must have four parts separated by `~`"));
        };
        let role = match role {
            "sidecar" => Role::Sidecar,
            "router" => Role::Gateway,
            _ => return Err(fail("its first part must be `sidecar` or `router`")),
        };
        let address = address
            .parse()
            .map_err(|_| fail("its second part must be an IP address"))?;
        // A pod's name may contain dots, a namespace may not.
        let (name, namespace) = name
            .rsplit_once('.')
            .filter(|(name, namespace)| !name.is_empty() && !namespace.is_empty())
            .ok_or_else(|| fail("its third part must be `<pod>.<namespace>`"))?;
        Ok(Self {
            role,
            address,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            domain: domain.to_owned(),
        })
    }
}

// === impl Node ===

impl Node {
    /// A node that says nothing about itself but its identity.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            cluster: String::new(),
            version: String::new(),
            labels: Labels::new(),
            service_account: String::new(),
            metadata: BTreeMap::new(),
            locality: String::new(),
        }
    }

    /// Writes the node for the wire.
    pub fn to_wire(&self) -> discovery::Node {
        let mut fields: BTreeMap<String, Value> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect();
        fields.insert("NAME".into(), text(&self.id.name));
        fields.insert("NAMESPACE".into(), text(&self.id.namespace));
        fields.insert("ISTIO_VERSION".into(), text(&self.version));
        fields.insert("SERVICE_ACCOUNT".into(), text(&self.service_account));
        let labels = self.labels.iter().map(|(k, v)| (k.clone(), text(v)));
        let labels = Struct {
            fields: labels.collect(),
        };
        let labels = Value {
            kind: Some(ValueKind::StructValue(labels)),
        };
        fields.insert("LABELS".into(), labels);
        let mut parts = self.locality.split('/').map(str::to_owned);
        discovery::Node {
            id: self.id.to_string(),
            cluster: self.cluster.clone(),
            metadata: Some(Struct { fields }),
            locality: Some(discovery::Locality {
                region: parts.next().unwrap_or_default(),
                zone: parts.next().unwrap_or_default(),
                sub_zone: parts.next().unwrap_or_default(),
            }),
            user_agent_name: "lateen-proxy".into(),
        }
    }

    /// Reads a node from the wire. Metadata that is not text is skipped: it belongs to others.
    pub fn from_wire(wire: discovery::Node) -> Result<Self, Error> {
        let mut node = Self::new(wire.id.parse()?);
        node.cluster = wire.cluster;
        if let Some(place) = wire.locality {
            let joined = format!("{}/{}/{}", place.region, place.zone, place.sub_zone);
            joined.trim_end_matches('/').clone_into(&mut node.locality);
        }
        for (key, value) in wire.metadata.unwrap_or_default().fields {
            match (key.as_str(), value.kind) {
                ("ISTIO_VERSION", Some(ValueKind::StringValue(text))) => node.version = text,
                ("SERVICE_ACCOUNT", Some(ValueKind::StringValue(text))) => {
                    node.service_account = text;
                }
                ("NAME" | "NAMESPACE", _) => {} // The identity has them.
                ("LABELS", Some(ValueKind::StructValue(labels))) => {
                    for (key, value) in labels.fields {
                        if let Some(ValueKind::StringValue(text)) = value.kind {
                            node.labels.insert(key, text);
                        }
                    }
                }
                (_, Some(ValueKind::StringValue(text))) => {
                    node.metadata.insert(key, text);
                }
                _ => {}
            }
        }
        Ok(node)
    }
}

fn text(value: &str) -> Value {
    Value {
        kind: Some(ValueKind::StringValue(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> NodeId {
        NodeId {
            role: Role::Gateway,
            address: "10.244.0.7".parse().expect("an address"),
            name: "a.b".into(),
            namespace: "istio-system".into(),
            domain: "istio-system.svc.cluster.local".into(),
        }
    }

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let text = id().to_string();
        assert_eq!(
            text,
            "router~10.244.0.7~a.b.istio-system~istio-system.svc.cluster.local"
        );
        assert_eq!(text.parse::<NodeId>().expect("it was just written"), id());
    }

    #[test]
    fn a_malformed_identity_says_which_part_is_wrong() {
        for (text, part) in [
            ("", "four parts"),
            ("waypoint~1.1.1.1~a.b~c", "first part"),
            ("sidecar~host~a.b~c", "second part"),
            ("sidecar~1.1.1.1~a~c", "third part"),
        ] {
            let error = text.parse::<NodeId>().expect_err("it is malformed");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_node_is_read_as_it_was_written() {
        let mut node = Node::new(id());
        node.labels.insert("app".into(), "x".into());
        node.locality = "r/z".into();
        node.version = "0.1.0".into();
        node.metadata.insert("CLUSTER_ID".into(), "k".into());
        assert_eq!(Node::from_wire(node.to_wire()).expect("valid"), node);
    }
}
