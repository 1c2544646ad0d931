//! Clusters: the destinations that routes name, and what is behind each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lateen_model::balancer::{Algorithm, LoadBalancer};
use lateen_model::destination::PortPolicy;
use lateen_model::endpoint::{Endpoints, Health};
use lateen_model::mesh::Mesh;
use lateen_model::proxy::{Proxy, Role};
use lateen_model::service::{DnsEndpoint, Registry as Origin, Resolution, Service, ServiceKey};
use lateen_model::{Host, Labels, ObjectRef, Protocol, SocketAddress, selects};

use super::locality::Order;
use crate::cluster::endpoints::Place;
use crate::cluster::{
    Cluster, ClusterId, Endpoint, EndpointSet, Load, Policy, ServiceLabels, Upstream,
};
use crate::policies::Policies;
use crate::registry::{Registry, Stored};

/// What names a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClusterKey {
    pub(crate) host: Host,
    /// Empty if none.
    pub(crate) subset: String,
    pub(crate) port: u16,
}

/// Gives ids to destinations: the same one as long as some compilation names it.
#[derive(Debug)]
pub(crate) struct Interner {
    ids: HashMap<ClusterKey, ClusterId>,
    keys: BTreeMap<ClusterId, ClusterKey>,
    /// Those that this compilation names.
    used: HashSet<ClusterId>,
    next: u32,
}

/// Everything about a cluster but its endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) service: Arc<Stored<Service>>,
    key: ClusterKey,
    protocol: Protocol,
    load_balancer: LoadBalancer,
    order: Order,
    policy: Policy,
    /// The labels of the subset.
    labels: Labels,
    source: EndpointSource,
    /// The DestinationRules behind the policy.
    rules: Vec<Arc<ObjectRef>>,
}

/// Where the endpoints of a cluster come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum EndpointSource {
    ControlPlane,
    Dns(Vec<DnsEndpoint>),
    /// The first address of the moment.
    DnsRoundRobin(Vec<DnsEndpoint>),
    /// Of the name that is asked for, at this port.
    Dynamic(u16),
    OriginalDst,
}

/// What a name stands for.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// In order of address.
    pub(crate) all: Vec<IpAddr>,
    /// The one that came first.
    pub(crate) first: Option<IpAddr>,
}

/// What is known about addresses.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) endpoints: HashMap<ServiceKey, Endpoints>,
    pub(crate) dns: HashMap<String, Resolved>,
    /// The load of each address, kept as long as a cluster has it.
    loads: HashMap<SocketAddress, Arc<Load>>,
}

// === impl Interner ===

impl Default for Interner {
    fn default() -> Self {
        Self {
            ids: HashMap::new(),
            keys: BTreeMap::new(),
            used: HashSet::new(),
            next: ClusterId::INBOUND_PASSTHROUGH.0 + 1,
        }
    }
}

impl Interner {
    pub(super) fn begin(&mut self) {
        self.used.clear();
    }

    pub(super) fn end(&mut self) {
        let used = &self.used;
        self.keys.retain(|id, _| used.contains(id));
        self.ids.retain(|_, id| used.contains(id));
    }

    /// The id of a destination.
    pub(super) fn id(&mut self, key: ClusterKey) -> ClusterId {
        let known = self.ids.get(&key).copied();
        let id = known.unwrap_or_else(|| {
            let id = ClusterId(self.next);
            self.next += 1;
            self.keys.insert(id, key.clone());
            self.ids.insert(key, id);
            id
        });
        self.used.insert(id);
        id
    }

    /// Keeps the ids of what is taken as it was. Answers `false` if one is not known any more:
    /// then it cannot be taken so.
    pub(super) fn keep(&mut self, ids: impl IntoIterator<Item = ClusterId>) -> bool {
        ids.into_iter().all(|id| {
            let is_known = id.is_well_known() || self.keys.contains_key(&id);
            if is_known {
                self.used.insert(id);
            }
            is_known
        })
    }

    /// Every destination that the last compilation named.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (ClusterId, &ClusterKey)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }
}

// === impl Spec ===

impl Spec {
    /// Finds what is behind a name; nothing if the service, its port or the subset does not
    /// exist.
    pub(crate) fn resolve(
        key: &ClusterKey,
        registry: &Registry,
        policies: &Policies,
        mesh: &Mesh,
        proxy: &Proxy,
    ) -> Option<Self> {
        let role = proxy.role;
        let service = registry.get(&key.host)?;
        let mut ports = service.body.ports.iter();
        let port = ports.find(|port| port.number == key.port && port.protocol != Protocol::Udp)?;
        let rule = policies.find(&service.body);
        let subset = match key.subset.as_str() {
            "" => None,
            name => Some(rule?.subset(name)?),
        };
        let written = rule.map_or_else(PortPolicy::default, |rule| rule.policy(key.port, subset));
        let retry_budget = rule.and_then(|rule| rule.retry_budget(subset));
        let policy = Policy::new(&written, retry_budget, port.protocol, mesh);
        let load_balancer = written.load_balancer.unwrap_or_default();
        let locality = load_balancer.locality.as_ref().unwrap_or(&mesh.locality);
        let order = Order::new(locality, policy.outlier_detection.is_some(), proxy);
        let source = match &service.body.resolution {
            // Nobody dials the gateway by the address of a pod: it needs the endpoints.
            Resolution::OriginalDst if role == Role::Gateway => EndpointSource::ControlPlane,
            Resolution::OriginalDst => EndpointSource::OriginalDst,
            Resolution::Endpoints
                if load_balancer.algorithm == Algorithm::Passthrough && role == Role::Sidecar =>
            {
                EndpointSource::OriginalDst
            }
            Resolution::Endpoints => EndpointSource::ControlPlane,
            Resolution::Dns(names) => EndpointSource::Dns(names.clone()),
            Resolution::DnsRoundRobin(names) => EndpointSource::DnsRoundRobin(names.clone()),
            Resolution::DynamicDns(ports) => {
                let mut ports = ports.iter();
                let target = ports.find(|(service, _)| *service == key.port);
                EndpointSource::Dynamic(target.map_or(key.port, |(_, target)| *target))
            }
            Resolution::Alias(target) => EndpointSource::Dns(vec![DnsEndpoint {
                name: target.to_string(),
                ports: Vec::new(),
                labels: Labels::new(),
                weight: 1,
                locality: String::new(),
            }]),
        };
        Some(Self {
            key: key.clone(),
            protocol: port.protocol,
            load_balancer,
            order,
            policy,
            labels: subset
                .map(|subset| subset.labels.clone())
                .unwrap_or_default(),
            source,
            rules: rule.map(|rule| rule.objects.clone()).unwrap_or_default(),
            service: Arc::clone(service),
        })
    }

    /// The names that the cluster has to have looked up.
    pub(crate) fn dns_names(&self) -> impl Iterator<Item = &str> {
        let names: &[DnsEndpoint] = match &self.source {
            EndpointSource::Dns(names) | EndpointSource::DnsRoundRobin(names) => names,
            EndpointSource::ControlPlane
            | EndpointSource::Dynamic(_)
            | EndpointSource::OriginalDst => &[],
        };
        let names = names.iter().map(|one| one.name.as_str());
        names.filter(|name| name.parse::<IpAddr>().is_err())
    }

    /// Answers whether only the first address of its names counts.
    pub(crate) fn is_round_robin(&self) -> bool {
        matches!(self.source, EndpointSource::DnsRoundRobin(_))
    }

    /// Answers whether a cluster of this spec is one of the other too.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.service.revision == other.service.revision
            && self.load_balancer == other.load_balancer
            && self.order == other.order
            && self.policy == other.policy
            && self.labels == other.labels
            && self.source == other.source
            && self.rules == other.rules
    }

    /// The cluster as of now; `last` is the same one before, of which what is remembered is taken
    /// over.
    pub(crate) fn build(
        &self,
        id: ClusterId,
        addresses: &mut Addresses,
        last: Option<&Cluster>,
    ) -> Cluster {
        let endpoints = match &self.source {
            EndpointSource::OriginalDst => Err(Upstream::OriginalDst),
            EndpointSource::Dynamic(port) => Err(Upstream::Dynamic(*port)),
            EndpointSource::ControlPlane => Ok(self.members(addresses)),
            EndpointSource::Dns(names) | EndpointSource::DnsRoundRobin(names) => {
                Ok(self.resolved(names, addresses))
            }
        };
        let upstream = endpoints.map_or_else(
            |without| without,
            |mut endpoints| {
                remember(&mut endpoints, last);
                Upstream::Endpoints(EndpointSet::new(endpoints, &self.load_balancer))
            },
        );
        let ClusterKey { host, subset, port } = &self.key;
        Cluster {
            id,
            name: format!("outbound|{port}|{subset}|{host}").into(),
            service: Some(labels_of(&self.service.body)),
            port: *port,
            subset: subset.as_str().into(),
            protocol: self.protocol,
            is_external: self.service.body.is_external,
            load_balancer: self.load_balancer.clone(),
            policy: self.policy.clone(),
            destination_rules: self.rules.as_slice().into(),
            usage: last.map(|last| Arc::clone(&last.usage)).unwrap_or_default(),
            upstream,
        }
    }

    fn members(&self, addresses: &mut Addresses) -> Vec<(Endpoint, Option<Place>)> {
        let Some(known) = addresses.endpoints.get(&self.service.body.key) else {
            return Vec::new();
        };
        let members = known.endpoints.iter();
        members
            .filter(|endpoint| selects(&self.labels, &endpoint.labels))
            .filter_map(|endpoint| {
                let mut ports = endpoint.ports.iter();
                let (_, port) = ports.find(|(service, _)| *service == self.key.port)?;
                let address = endpoint.address.at(*port);
                let place = self.order.place(&endpoint.locality, &endpoint.labels);
                let endpoint = Endpoint {
                    load: load_of(&mut addresses.loads, &address),
                    address,
                    weight: endpoint.weight.max(1),
                    health: endpoint.health,
                    priority: None,
                    is_meshed: endpoint.is_meshed,
                    locality: endpoint.locality.as_str().into(),
                    service_account: endpoint.service_account.as_str().into(),
                    status: Arc::default(),
                };
                Some((endpoint, place))
            })
            .collect()
    }

    fn resolved(
        &self,
        names: &[DnsEndpoint],
        addresses: &mut Addresses,
    ) -> Vec<(Endpoint, Option<Place>)> {
        // Shares are of localities: where none is known they would leave nothing.
        let is_located = names.iter().any(|one| !one.locality.is_empty());
        let order = match &self.order {
            Order::Shares(_) if !is_located => &Order::Flat,
            order @ (Order::Flat | Order::Shares(_) | Order::Near { .. }) => order,
        };
        let mut endpoints = Vec::new();
        for one in names
            .iter()
            .filter(|one| selects(&self.labels, &one.labels))
        {
            let place = order.place(&one.locality, &one.labels);
            let mut ports = one.ports.iter();
            let target = ports.find(|(service, _)| *service == self.key.port);
            let port = target.map_or(self.key.port, |(_, target)| *target);
            let found: &[IpAddr] = match one.name.parse() {
                Ok(address) => &[address],
                Err(_) => match addresses.dns.get(&one.name) {
                    Some(found) if self.is_round_robin() => found.first.as_slice(),
                    Some(found) => &found.all,
                    None => &[],
                },
            };
            for ip in found {
                let address = SocketAddr::new(*ip, port).into();
                let endpoint = Endpoint {
                    load: load_of(&mut addresses.loads, &address),
                    address,
                    weight: one.weight.max(1),
                    health: Health::Ready,
                    priority: None,
                    is_meshed: false,
                    locality: one.locality.as_str().into(),
                    service_account: "".into(),
                    status: Arc::default(),
                };
                endpoints.push((endpoint, place));
            }
        }
        endpoints
    }
}

// === impl Addresses ===

impl Addresses {
    /// Forgets the loads that no cluster has any more.
    pub(crate) fn forget_unused(&mut self) {
        self.loads.retain(|_, load| Arc::strong_count(load) > 1);
    }
}

/// Takes over what was remembered of the same endpoints.
fn remember(endpoints: &mut [(Endpoint, Option<Place>)], last: Option<&Cluster>) {
    let Some(Upstream::Endpoints(known)) = last.map(|last| &last.upstream) else {
        return;
    };
    let known = known.all().iter().map(|one| (&one.address, &one.status));
    let known: HashMap<_, _> = known.collect();
    for (endpoint, _) in endpoints {
        if let Some(status) = known.get(&endpoint.address) {
            endpoint.status = Arc::clone(status);
        }
        if endpoint.health != Health::Ready {
            endpoint.status.forget_ready();
        }
    }
}

fn load_of(loads: &mut HashMap<SocketAddress, Arc<Load>>, address: &SocketAddress) -> Arc<Load> {
    match loads.get(address) {
        Some(load) => Arc::clone(load),
        None => Arc::clone(loads.entry(address.clone()).or_default()),
    }
}

/// The names of a service in metrics: a Kubernetes Service goes by its short name.
pub(crate) fn labels_of(service: &Service) -> ServiceLabels {
    let host = service.key.host.as_str();
    let name = match service.registry {
        Origin::Kubernetes => host.split('.').next().unwrap_or(host),
        Origin::ServiceEntry => host,
    };
    ServiceLabels {
        host: host.into(),
        name: name.into(),
        namespace: service.key.namespace.as_str().into(),
    }
}

/// The clusters that every plan has.
pub(crate) fn well_known(mesh: &Mesh) -> [Cluster; 3] {
    let cluster = |id, name: &str, upstream| Cluster {
        id,
        name: name.into(),
        service: None,
        port: 0,
        subset: "".into(),
        protocol: Protocol::Unknown,
        is_external: false,
        load_balancer: LoadBalancer {
            algorithm: Algorithm::Passthrough,
            ..LoadBalancer::default()
        },
        policy: Policy::plain(Protocol::Unknown, mesh),
        destination_rules: Box::default(),
        usage: Arc::default(),
        upstream,
    };
    [
        cluster(
            ClusterId::PASSTHROUGH,
            "PassthroughCluster",
            Upstream::OriginalDst,
        ),
        cluster(
            ClusterId::BLACK_HOLE,
            "BlackHoleCluster",
            Upstream::BlackHole,
        ),
        cluster(
            ClusterId::INBOUND_PASSTHROUGH,
            "InboundPassthroughCluster",
            Upstream::OriginalDst,
        ),
    ]
}
