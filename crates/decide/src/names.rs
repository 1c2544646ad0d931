//! What host names stand for, as a sidecar tells its application, with Istio's rules.
//!
//! | Asked for | Is |
//! |---|---|
//! | a service's host | its virtual addresses |
//! | `name`, `name.namespace`, `name.namespace.svc` | the same, as workloads of this namespace say it |
//! | a headless service | the addresses of its endpoints that take requests |
//! | `pod.service.namespace.svc.domain` | the endpoint of that name |
//! | what a ServiceEntry's wildcard covers | the addresses of the longest one |
//! | another name for a service | that service |
//!
//! A name without any address is unknown here: whoever asks is sent elsewhere.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::Host;
use lateen_model::endpoint::{Endpoints, Health};
use lateen_model::proxy::Proxy;
use lateen_model::service::{Registry as Origin, Resolution, Service, ServiceKey};

use crate::hosts::FixedMap;
use crate::registry::Registry;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name that it is another one of, if a user said so (ExternalName).
    pub alias: Option<Host>,
    /// The addresses of both families; at least one.
    pub addresses: Vec<IpAddr>,
}

/// The names of a registry.
#[derive(Debug, Default)]
pub(crate) struct Names {
    registry: Arc<Registry>,
    /// Hosts of services whose host is a wildcard, by what follows the asterisk.
    wildcards: FixedMap<Box<str>, Host>,
    /// `.svc.` and the cluster's domain.
    services: String,
    namespace: String,
}

/// The endpoints of headless services, by name and address.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    of: FixedMap<ServiceKey, Arc<[Pod]>>,
}

/// An endpoint's name below its service (empty if it has none), and its address.
type Pod = (Box<str>, IpAddr);

// === impl Names ===

impl Names {
    /// The names for a proxy; none if it answers no DNS.
    pub(crate) fn new(registry: &Arc<Registry>, domain: &str, proxy: &Proxy) -> Arc<Self> {
        if !proxy.answers_dns {
            return Arc::default();
        }
        let hosts = registry.services().iter().map(|one| &one.body.key.host);
        let wildcards = hosts.filter_map(|host| {
            let suffix = host.as_str().strip_prefix('*')?;
            Some((suffix.into(), host.clone()))
        });
        Arc::new(Self {
            wildcards: wildcards.collect(),
            services: format!(".svc.{domain}"),
            namespace: proxy.namespace.clone(),
            registry: Arc::clone(registry),
        })
    }

    /// The endpoints of every headless service, of which those are taken over that did not change.
    pub(crate) fn pods(
        &self,
        last: &Pods,
        endpoints: &HashMap<ServiceKey, Endpoints>,
        has_changed: impl Fn(&ServiceKey) -> bool,
    ) -> Arc<Pods> {
        let services = self.registry.services().iter().map(|one| &one.body);
        let headless = services.filter(|service| is_headless(service));
        let of = headless.filter_map(|service| {
            let key = &service.key;
            let known = last.of.get(key).filter(|_| !has_changed(key));
            let pods = match known {
                Some(known) => Arc::clone(known),
                None => pods(endpoints.get(key)?),
            };
            Some((key.clone(), pods))
        });
        Arc::new(Pods { of: of.collect() })
    }

    pub(crate) fn find(&self, name: &str, pods: &Pods) -> Option<Named> {
        let service = self.service(name);
        if let Some(service) = service {
            return self.named(service, pods);
        }
        self.pod(name, pods).or_else(|| {
            let host = self.wildcard(name)?;
            self.named(&self.registry.get(host)?.body, pods)
        })
    }

    /// The service of a host or of one of its short forms.
    fn service(&self, name: &str) -> Option<&Service> {
        let exact = self.registry.get(&Host::new(name));
        if let Some(exact) = exact.filter(|_| !name.starts_with('*')) {
            return Some(&exact.body);
        }
        let Self {
            services,
            namespace,
            ..
        } = self;
        let long = match name.split('.').count() {
            1 => format!("{name}.{namespace}{services}"),
            2 => format!("{name}{services}"),
            3 => format!("{}{services}", name.strip_suffix(".svc")?),
            _ => return None,
        };
        let service = &self.registry.get(&Host::new(&long))?.body;
        (service.registry == Origin::Kubernetes).then_some(service)
    }

    /// The longest wildcard that covers a name. One stands for at least one character.
    fn wildcard(&self, name: &str) -> Option<&Host> {
        if self.wildcards.is_empty() {
            return None;
        }
        let mut suffixes = name.char_indices().skip(1).map(|(at, _)| &name[at..]);
        let longest = suffixes.find_map(|suffix| self.wildcards.get(suffix));
        longest.or_else(|| self.wildcards.get("").filter(|_| !name.is_empty()))
    }

    /// A pod of a headless service by its own name.
    fn pod(&self, name: &str, pods: &Pods) -> Option<Named> {
        let (hostname, service) = name.split_once('.')?;
        let service = &self.registry.get(&Host::new(service))?.body;
        let all = pods.of.get(&service.key)?.iter();
        let own = all.filter(|(name, _)| &**name == hostname);
        let addresses: Vec<IpAddr> = own.map(|(_, address)| *address).collect();
        (!addresses.is_empty()).then_some(Named {
            alias: None,
            addresses,
        })
    }

    fn named(&self, service: &Service, pods: &Pods) -> Option<Named> {
        let alias = match &service.resolution {
            Resolution::Alias(target) => Some(target.clone()),
            Resolution::Endpoints
            | Resolution::Dns(_)
            | Resolution::DnsRoundRobin(_)
            | Resolution::DynamicDns(_)
            | Resolution::OriginalDst => None,
        };
        let service = match alias {
            Some(_) => &self.registry.resolve(&service.key.host)?.body,
            None => service,
        };
        let single = |net: &&ipnet::IpNet| net.prefix_len() == net.max_prefix_len();
        let own = service.addresses.iter().filter(single);
        let mut addresses: Vec<IpAddr> = own.map(ipnet::IpNet::addr).collect();
        if let Some(pods) = pods.of.get(&service.key) {
            addresses.extend(pods.iter().map(|(_, address)| *address));
        }
        (!addresses.is_empty()).then_some(Named { alias, addresses })
    }
}

/// The endpoints that take requests.
fn pods(endpoints: &Endpoints) -> Arc<[Pod]> {
    let ready = endpoints.endpoints.iter();
    let ready = ready.filter(|endpoint| endpoint.health == Health::Ready);
    ready
        .filter_map(|endpoint| Some((endpoint.hostname.as_str().into(), endpoint.address.ip()?)))
        .collect()
}

/// Answers whether a service's name stands for its endpoints.
fn is_headless(service: &Service) -> bool {
    service.registry == Origin::Kubernetes
        && service.addresses.is_empty()
        && service.resolution == Resolution::OriginalDst
}
