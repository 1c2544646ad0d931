//! Kubernetes Services as the mesh sees them.
//!
//! The client of the Kubernetes API copies what is needed into [`Spec`], so that this crate needs
//! none of Kubernetes' types.

use std::net::IpAddr;

use ipnet::IpNet;
use lateen_model::service::{Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{Body, Host, Protocol, Resource, ResourceName, Source};

use crate::lower::{Settings, export_to};

/// The annotation that says who may see a Service.
pub const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// A Kubernetes Service, reduced to what routing needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spec {
    /// Kind, namespace, name, generation and age.
    pub source: Source,
    /// The annotation [`EXPORT_TO`], if there is one.
    pub export_to: Option<String>,
    /// Where the service's name leads.
    pub target: Target,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// Where the name of a Service leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To these cluster IPs (types ClusterIP, NodePort, LoadBalancer).
    ClusterIps(Vec<IpAddr>),
    /// To the pods themselves: cluster IP `None`.
    Headless,
    /// To another name (type ExternalName).
    ExternalName(String),
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The name; may be empty.
    pub name: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
    /// Whether the transport is TCP; UDP and SCTP are not captured.
    pub is_tcp: bool,
}

/// The host of a Service.
pub fn host(name: &str, namespace: &str, settings: &Settings) -> Host {
    Host::new(&format!(
        "{name}.{namespace}.svc.{}",
        settings.cluster_domain
    ))
}

/// Lowers a Service. Its endpoints come from its EndpointSlices.
pub fn lower(spec: &Spec, settings: &Settings) -> Resource {
    let object = &spec.source.object;
    let key = ServiceKey {
        namespace: object.namespace.clone(),
        host: host(&object.name, &object.namespace, settings),
    };
    let ports = spec.ports.iter().map(|port| ServicePort {
        number: port.number,
        name: port.name.clone(),
        protocol: if port.is_tcp {
            Protocol::select(port.number, &port.name, port.app_protocol.as_deref())
        } else {
            Protocol::Udp
        },
    });
    let (addresses, resolution) = match &spec.target {
        Target::ClusterIps(ips) => (
            ips.iter().copied().map(IpNet::from).collect(),
            Resolution::Endpoints,
        ),
        Target::Headless => (Vec::new(), Resolution::OriginalDst),
        Target::ExternalName(name) => (Vec::new(), Resolution::Alias(Host::new(name))),
    };
    Resource {
        name: ResourceName(format!("Service/{key}")),
        source: spec.source.clone(),
        body: Body::Service(Service {
            registry: Registry::Kubernetes,
            addresses,
            ports: ports.collect(),
            resolution,
            is_external: false,
            allocated: Vec::new(),
            export_to: visibility(spec, settings),
            key,
        }),
    }
}

fn visibility(spec: &Spec, settings: &Settings) -> lateen_model::service::ExportTo {
    let entries = spec
        .export_to
        .as_deref()
        .unwrap_or("")
        .split(',')
        .map(str::trim);
    let list: Vec<String> = entries
        .filter(|e| !e.is_empty())
        .map(str::to_owned)
        .collect();
    export_to(
        &list,
        &settings.default_service_export_to,
        &spec.source.object.namespace,
    )
}

impl Default for Target {
    fn default() -> Self {
        Self::ClusterIps(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use lateen_model::ObjectRef;
    use lateen_model::service::ExportTo;

    use super::*;

    fn spec() -> Spec {
        let port = |number, name: &str, app_protocol: Option<&str>, is_tcp| Port {
            number,
            name: name.into(),
            app_protocol: app_protocol.map(Into::into),
            is_tcp,
        };
        Spec {
            source: Source {
                object: ObjectRef {
                    kind: "Service".into(),
                    namespace: "shop".into(),
                    name: "cart".into(),
                },
                ..Source::default()
            },
            target: Target::ClusterIps(vec![IpAddr::from([10, 96, 0, 7])]),
            ports: vec![
                port(80, "http", None, true),
                port(81, "web", Some("kubernetes.io/h2c"), true),
                port(53, "dns", None, false),
            ],
            ..Spec::default()
        }
    }

    fn lowered(spec: &Spec) -> Service {
        match lower(spec, &Settings::default()).body {
            Body::Service(service) => service,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_service_has_its_full_name_its_addresses_and_the_protocols_of_its_ports() {
        let resource = lower(&spec(), &Settings::default());
        assert_eq!(resource.name.0, "Service/shop/cart.shop.svc.cluster.local");
        let service = lowered(&spec());
        assert_eq!(service.addresses, ["10.96.0.7/32".parse().unwrap()]);
        let protocols: Vec<Protocol> = service.ports.iter().map(|p| p.protocol).collect();
        assert_eq!(protocols, [Protocol::Http, Protocol::Http2, Protocol::Udp]);
        assert_eq!(service.resolution, Resolution::Endpoints);
    }

    #[test]
    fn headless_services_lead_to_the_dialled_address_and_external_names_to_another_host() {
        let headless = Spec {
            target: Target::Headless,
            ..spec()
        };
        assert_eq!(lowered(&headless).resolution, Resolution::OriginalDst);
        let external = Spec {
            target: Target::ExternalName("Example.com.".into()),
            ..spec()
        };
        assert_eq!(
            lowered(&external).resolution,
            Resolution::Alias(Host::new("example.com"))
        );
    }

    #[test]
    fn the_annotation_says_who_may_see_a_service() {
        let with = |text: &str| {
            lowered(&Spec {
                export_to: Some(text.into()),
                ..spec()
            })
            .export_to
        };
        assert_eq!(with("~"), ExportTo::Nobody);
        assert_eq!(with(""), ExportTo::All);
        assert_eq!(
            with(". , b"),
            ExportTo::Namespaces(vec!["b".into(), "shop".into()])
        );
    }
}
