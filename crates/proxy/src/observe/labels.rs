//! Turns the ids of series into the text of Istio's labels; main thread only.
//!
//! Counters must not move from one workload to another: when an address gets a new tenant, what
//! was counted for the old one is set aside under its labels ([`Directory::set_workload`] tells the
//! caller to do so first).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use lateen_decide::{ClusterId, Plan, ServiceLabels};
use lateen_model::workload::Workload;

use super::metrics::{Key, Reporter, RequestProtocol, Service, Shard};

/// What stands where nothing is known.
const UNKNOWN: &str = "unknown";

/// The labels of a series, in Istio's order. TCP series lack `response_code` and
/// `grpc_response_status`, which are empty here.
pub type LabelValues = [Arc<str>; NAMES.len()];

/// The names of the labels, in Istio's order.
pub const NAMES: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

/// Indexes of the labels that TCP series lack.
pub const HTTP_ONLY: [usize; 2] = [21, 22];

/// Everything that is known about the ids of series.
#[derive(Debug, Default)]
pub struct Directory {
    own_addresses: Vec<IpAddr>,
    own_namespace: String,
    workloads: HashMap<IpAddr, Workload>,
    clusters: HashMap<ClusterId, Known>,
    inbound: Vec<Option<ServiceLabels>>,
}

/// What is known of a cluster, kept after it has gone.
#[derive(Debug)]
struct Known {
    name: Box<str>,
    service: Option<ServiceLabels>,
}

/// The labels of one end.
struct Peer<'a> {
    workload: &'a str,
    namespace: &'a str,
    canonical_service: &'a str,
    canonical_revision: &'a str,
    app: &'a str,
    version: &'a str,
    cluster: &'a str,
}

/// The labels of the service.
struct Destination<'a> {
    host: &'a str,
    name: &'a str,
    namespace: &'a str,
}

// === impl Directory ===

impl Directory {
    /// A directory of a proxy with these addresses in this namespace.
    pub fn new(own_addresses: Vec<IpAddr>, own_namespace: String) -> Self {
        Self {
            own_addresses,
            own_namespace,
            ..Self::default()
        }
    }

    /// Learns the clusters of a plan. Nothing is forgotten: ids are never reused, and series of
    /// clusters that are gone keep their names.
    pub fn learn(&mut self, plan: &Plan) {
        for cluster in plan.clusters() {
            let known = || Known {
                name: cluster.name.clone(),
                service: cluster.service.clone(),
            };
            self.clusters.entry(cluster.id).or_insert_with(known);
        }
    }

    /// Numbers the service of an inbound port.
    pub fn number_inbound(&mut self, service: Option<&ServiceLabels>) -> u32 {
        let found = self
            .inbound
            .iter()
            .position(|known| known.as_ref() == service);
        let index = found.unwrap_or_else(|| {
            self.inbound.push(service.cloned());
            self.inbound.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Who lives at an address.
    pub fn workload(&self, address: IpAddr) -> Option<&Workload> {
        self.workloads.get(&address)
    }

    /// Answers whether this workload would take the place of another with other labels.
    pub fn replaces(&self, workload: &Workload) -> bool {
        self.workloads
            .get(&workload.address)
            .is_some_and(|known| known.pod != workload.pod || known.namespace != workload.namespace)
    }

    /// Learns who lives at an address. Where [`Self::replaces`] says so, the series of the address
    /// must have been set aside before.
    pub fn set_workload(&mut self, workload: Workload) {
        self.workloads.insert(workload.address, workload);
    }

    /// The labels of a series of a worker.
    pub fn values(&self, key: &Key, shard: &Shard) -> LabelValues {
        let own = self.own();
        let peer = Peer::of(self.workloads.get(&key.peer));
        let foreign = match key.service {
            Service::Foreign(host) => shard.foreign_host(host),
            _ => None,
        };
        let service = self.service(key, &own, foreign.as_deref());
        let (reporter, source, destination, policy) = match key.reporter {
            Reporter::Source => ("source", own, peer, UNKNOWN),
            Reporter::Destination => ("destination", peer, own, "none"),
        };
        let protocol = match key.protocol {
            RequestProtocol::Http => "http",
            RequestProtocol::Grpc => "grpc",
            RequestProtocol::Tcp => "tcp",
        };
        let call_status = key.call_status.map(|status| status.to_string());
        let call_status = call_status.unwrap_or_default();
        let code = key.code.to_string();
        let flags = key.flags.to_string();
        let texts: [&str; NAMES.len()] = [
            reporter,
            source.workload,
            source.canonical_service,
            source.canonical_revision,
            source.namespace,
            UNKNOWN, // Principals come with identities.
            source.app,
            source.version,
            source.cluster,
            destination.workload,
            destination.namespace,
            UNKNOWN,
            destination.app,
            destination.version,
            service.host,
            destination.canonical_service,
            destination.canonical_revision,
            service.name,
            service.namespace,
            destination.cluster,
            protocol,
            if key.protocol == RequestProtocol::Tcp {
                ""
            } else {
                &code
            },
            &call_status,
            &flags,
            policy,
        ];
        texts.map(Arc::from)
    }

    fn own(&self) -> Peer<'_> {
        let known = self
            .own_addresses
            .iter()
            .find_map(|address| self.workloads.get(address));
        let mut own = Peer::of(known);
        own.namespace = &self.own_namespace;
        own
    }

    fn service<'a>(
        &'a self,
        key: &Key,
        own: &Peer<'a>,
        foreign: Option<&'a str>,
    ) -> Destination<'a> {
        match key.service {
            Service::Inbound(index) => {
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                let labels = self.inbound.get(index).and_then(Option::as_ref);
                Destination {
                    host: labels.map_or(own.canonical_service, |labels| &labels.host),
                    name: labels.map_or("InboundPassthroughCluster", |labels| &labels.name),
                    namespace: &self.own_namespace,
                }
            }
            Service::Cluster(id) => match self.clusters.get(&id) {
                Some(Known {
                    service: Some(labels),
                    ..
                }) => Destination {
                    host: &labels.host,
                    name: &labels.name,
                    namespace: &labels.namespace,
                },
                Some(known) => Destination {
                    host: UNKNOWN,
                    name: &known.name,
                    namespace: UNKNOWN,
                },
                None => Destination::UNKNOWN,
            },
            Service::Foreign(_) => Destination {
                host: foreign.unwrap_or(UNKNOWN),
                name: "PassthroughCluster",
                namespace: UNKNOWN,
            },
            Service::None => Destination::UNKNOWN,
        }
    }
}

// === impl Peer ===

impl<'a> Peer<'a> {
    fn of(workload: Option<&'a Workload>) -> Self {
        let known = |text: Option<&'a String>| {
            text.map(String::as_str)
                .filter(|text| !text.is_empty())
                .unwrap_or(UNKNOWN)
        };
        Self {
            workload: known(workload.map(|it| &it.workload)),
            namespace: known(workload.map(|it| &it.namespace)),
            canonical_service: known(workload.map(|it| &it.canonical_service)),
            canonical_revision: workload
                .map(|it| it.canonical_revision.as_str())
                .filter(|text| !text.is_empty())
                .unwrap_or("latest"),
            app: known(workload.map(|it| &it.app)),
            version: known(workload.map(|it| &it.version)),
            cluster: known(workload.map(|it| &it.cluster)),
        }
    }
}

// === impl Destination ===

impl Destination<'_> {
    const UNKNOWN: Self = Destination {
        host: UNKNOWN,
        name: UNKNOWN,
        namespace: UNKNOWN,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(address: &str, name: &str) -> Workload {
        Workload {
            address: address.parse().expect("an address"),
            pod: format!("{name}-1"),
            namespace: "default".into(),
            workload: name.into(),
            canonical_service: name.into(),
            canonical_revision: "v1".into(),
            app: name.into(),
            version: String::new(),
            service_account: "default".into(),
            cluster: "Kubernetes".into(),
            node: "n".into(),
        }
    }

    fn value<'a>(values: &'a LabelValues, name: &str) -> &'a str {
        let index = NAMES.iter().position(|known| *known == name);
        &values[index.expect("a label")]
    }

    #[test]
    fn an_unknown_peer_is_unknown_but_its_revision_is_latest() {
        let own: IpAddr = "10.0.0.1".parse().expect("an address");
        let mut directory = Directory::new(vec![own], "shop".into());
        directory.set_workload(workload("10.0.0.1", "cart"));
        let inbound = directory.number_inbound(None);
        let key = Key {
            reporter: Reporter::Destination,
            service: Service::Inbound(inbound),
            peer: "10.0.0.9".parse().expect("an address"),
            protocol: RequestProtocol::Http,
            code: 200,
            call_status: None,
            flags: super::super::flags::Flags::default(),
        };
        let values = directory.values(&key, &Shard::default());
        for (name, expected) in [
            ("reporter", "destination"),
            ("source_workload", "unknown"),
            ("source_canonical_revision", "latest"),
            ("destination_workload", "cart"),
            ("destination_workload_namespace", "shop"),
            ("destination_version", "unknown"),
            ("destination_service", "cart"),
            ("destination_service_name", "InboundPassthroughCluster"),
            ("destination_service_namespace", "shop"),
            ("response_code", "200"),
            ("response_flags", "-"),
            ("connection_security_policy", "none"),
        ] {
            assert_eq!(value(&values, name), expected, "{name}");
        }
        directory.set_workload(workload("10.0.0.9", "page"));
        let values = directory.values(&key, &Shard::default());
        assert_eq!(value(&values, "source_workload"), "page");
    }

    #[test]
    fn a_new_tenant_of_an_address_is_told_from_news_about_the_old_one() {
        let mut directory = Directory::default();
        let first = workload("10.0.0.1", "a");
        assert!(!directory.replaces(&first));
        directory.set_workload(first.clone());
        assert!(!directory.replaces(&first));
        assert!(directory.replaces(&workload("10.0.0.1", "b")));
    }
}
