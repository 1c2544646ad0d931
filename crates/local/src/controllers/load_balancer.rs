//! Services of type LoadBalancer: what is to be published, and under which addresses it is.
//!
//! This module publishes nothing: whoever can open ports on the host takes the other end of the
//! channel.
//!
//! ```text
//! controllers                                   publisher
//!   Services ──► Wanted (the complete list, latest only) ──► opens and closes ports
//!   status.loadBalancer, an event ◄── Report (per Service) ◄── addresses, or why not
//! ```
//!
//! ```
//! use lateen_local::controllers::load_balancer;
//!
//! let (for_options, mut publisher) = load_balancer::channel();
//! // The publisher waits with `publisher.changed().await`, then looks at everything wanted.
//! assert!(publisher.wanted().is_empty());
//! # drop(for_options);
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, PortStatus, Service};
use kube::ResourceExt as _;
use tokio::sync::{mpsc, watch};

use super::objects::Key;
use super::queue::{self, Again};
use super::{Context, Error, meta};

const COMPONENT: &str = "service-controller";

/// A Service, by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What is to be published of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The Service's uid: one that was deleted and made anew is another.
    pub uid: String,
    /// Its addresses within the cluster, to which connections are to be brought.
    pub cluster_ips: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// A port to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The port's name; empty if it has none.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The Service's port, which is also the wished port outside.
    pub port: u16,
    /// The port on the node's own address.
    pub node_port: Option<u16>,
}

/// What became of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The Service.
    pub name: Name,
    /// Its uid, as it was wanted.
    pub uid: String,
    /// Where it is published; empty takes the addresses away.
    pub addresses: Vec<Address>,
    /// What went wrong, for an event; nothing if all is well.
    pub problem: Option<String>,
}

/// An address under which a Service is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Ports in order of the Service's: the port outside, the protocol, and why it could not be
    /// opened, as one CamelCase word with a prefix (`lateen.dev/AddressInUse`).
    pub ports: Vec<(u16, String, Option<String>)>,
}

/// The controllers' end, for [`super::Options`].
#[derive(Debug)]
pub struct LoadBalancer {
    wanted: watch::Sender<BTreeMap<Name, Wanted>>,
    reports: mpsc::UnboundedReceiver<Report>,
}

/// The publisher's end.
#[derive(Debug)]
pub struct Publisher {
    wanted: watch::Receiver<BTreeMap<Name, Wanted>>,
    reports: mpsc::UnboundedSender<Report>,
}

/// Makes both ends.
pub fn channel() -> (LoadBalancer, Publisher) {
    let (wanted, watched) = watch::channel(BTreeMap::new());
    let (reporter, reports) = mpsc::unbounded_channel();
    let publisher = Publisher {
        wanted: watched,
        reports: reporter,
    };
    (LoadBalancer { wanted, reports }, publisher)
}

// === impl Publisher ===

impl Publisher {
    /// Waits until something else is wanted; answers `false` when the controllers have ended.
    pub async fn changed(&mut self) -> bool {
        self.wanted.changed().await.is_ok()
    }

    /// Everything that is wanted now, by Service.
    pub fn wanted(&mut self) -> BTreeMap<Name, Wanted> {
        self.wanted.borrow_and_update().clone()
    }

    /// Tells what became of a Service.
    pub fn report(&self, report: Report) {
        // Without controllers nobody writes the status any more.
        let _ = self.reports.send(report);
    }
}

/// Keeps both directions, for ever.
pub(super) async fn run(context: Context, load_balancer: LoadBalancer) {
    let LoadBalancer {
        wanted,
        mut reports,
    } = load_balancer;
    let (adder, queue) = queue::queue::<Key>("load_balancer");
    context.services.synced().await;
    let changes = adder.clone();
    let known = context.services.clone();
    context.services.listen(move |change| {
        if let Some(service) = change.latest() {
            changes.add(Key::of(service.as_ref()));
        }
        let all = known.all();
        let next: BTreeMap<_, _> = all.iter().filter_map(|service| wish(service)).collect();
        wanted.send_if_modified(|current| {
            let is_new = *current != next;
            *current = next;
            is_new
        });
    });
    let (latest, told) = watch::channel(BTreeMap::<Name, Report>::new());
    let reporting = context.clone();
    let receive = async move {
        while let Some(report) = reports.recv().await {
            let key = Key::new(report.name.namespace.clone(), report.name.name.clone());
            if latest.borrow().get(&report.name) != Some(&report) {
                tell(&reporting, &key, &report);
            }
            latest.send_modify(|all| {
                all.insert(report.name.clone(), report);
            });
            adder.add(key);
        }
        // Nobody publishes any more; what is written stays until the end.
        std::future::pending::<()>().await;
    };
    let write = queue.run(move |key| {
        let name = Name {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let report = told.borrow().get(&name).cloned();
        reconcile(context.clone(), key, report)
    });
    tokio::join!(receive, write);
}

/// What is to be published of a Service; nothing if it is of another type or being deleted.
fn wish(service: &Service) -> Option<(Name, Wanted)> {
    if !is_load_balancer(service) || meta::is_terminating(service) {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
    let cluster_ips: Vec<IpAddr> = match spec.cluster_ips {
        Some(_) => listed.filter_map(|ip| ip.parse().ok()).collect(),
        None => spec
            .cluster_ip
            .iter()
            .filter_map(|ip| ip.parse().ok())
            .collect(),
    };
    let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: number(port.port)?,
            node_port: port.node_port.and_then(number),
        })
    });
    let wanted = Wanted {
        uid: meta::uid(service).into(),
        ports: ports.collect(),
        cluster_ips,
    };
    let name = Name {
        namespace: service.namespace().unwrap_or_default(),
        name: service.name_any(),
    };
    Some((name, wanted))
}

fn is_load_balancer(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
        // Another implementation's, by its class.
        && spec.is_some_and(|spec| spec.load_balancer_class.is_none())
}

async fn reconcile(context: Context, key: Key, report: Option<Report>) -> Result<Again, Error> {
    let Some(service) = context.services.get(&key) else {
        return Ok(Again::Never);
    };
    let is_published = is_load_balancer(&service) && !meta::is_terminating(service.as_ref());
    let known = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.clone());
    let known = known.unwrap_or_default();
    let wished = match &report {
        // Nobody has told anything yet: what is written may be from before a restart.
        None if is_published => return Ok(Again::Never),
        // The report may be about a Service of the same name before.
        Some(report) if is_published && report.uid == meta::uid(service.as_ref()) => {
            ingress(report)
        }
        _ => None,
    };
    if known.ingress.clone().unwrap_or_default() == wished.clone().unwrap_or_default() {
        return Ok(Again::Never);
    }
    let mut updated = Service::clone(&service);
    let status = updated.status.get_or_insert_default();
    status.load_balancer = Some(LoadBalancerStatus { ingress: wished });
    match context.services.replace_status(&updated).await {
        Err(error) if error.is_not_found() => Ok(Again::Never),
        result => result.map(|_| Again::Never),
    }
}

/// Records what became of a Service.
fn tell(context: &Context, key: &Key, report: &Report) {
    let Some(service) = context.services.get(key) else {
        return;
    };
    if let Some(problem) = &report.problem {
        let reason = "SyncLoadBalancerFailed";
        context
            .recorder
            .warning(COMPONENT, service.as_ref(), reason, problem.clone());
    } else if !report.addresses.is_empty() {
        let message = "Ensured load balancer";
        context
            .recorder
            .normal(COMPONENT, service.as_ref(), "EnsuredLoadBalancer", message);
    }
}

fn ingress(report: &Report) -> Option<Vec<LoadBalancerIngress>> {
    let addresses = report.addresses.iter().map(|address| LoadBalancerIngress {
        ip: Some(address.ip.to_string()),
        ip_mode: Some("Proxy".into()),
        ports: Some(address.ports.iter().map(port_status).collect()),
        ..LoadBalancerIngress::default()
    });
    Some(addresses.collect()).filter(|ingress: &Vec<_>| !ingress.is_empty())
}

fn port_status((port, protocol, error): &(u16, String, Option<String>)) -> PortStatus {
    PortStatus {
        port: (*port).into(),
        protocol: protocol.clone(),
        error: error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

    use super::*;

    fn service(kind: &str) -> Service {
        let mut service = Service {
            spec: Some(ServiceSpec {
                type_: Some(kind.into()),
                cluster_ips: Some(vec!["10.96.0.7".into()]),
                ports: Some(vec![ServicePort {
                    port: 80,
                    node_port: Some(31000),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        };
        service.metadata.namespace = Some("istio-system".into());
        service.metadata.name = Some("istio-ingressgateway".into());
        service
    }

    #[test]
    fn only_load_balancers_without_a_class_are_published() {
        let (name, wanted) = wish(&service("LoadBalancer")).expect("it is wanted");
        assert_eq!(name.name, "istio-ingressgateway");
        assert_eq!(wanted.ports[0].node_port, Some(31000));
        assert_eq!(wanted.cluster_ips, ["10.96.0.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(wish(&service("ClusterIP")), None);
        let mut foreign = service("LoadBalancer");
        foreign.spec.get_or_insert_default().load_balancer_class = Some("else/where".into());
        assert_eq!(wish(&foreign), None);
    }
}
