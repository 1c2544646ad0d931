//! The names of a cluster and what they stand for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt as _;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Every name of the cluster's domain, and the reverse names of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    domain: String,
    names: HashMap<String, Records>,
}

/// What a name stands for. A name without records exists as well: it has names below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// Addresses.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Ports and the names that serve them.
    pub(super) services: BTreeSet<(u16, String)>,
    /// Another name for the same.
    pub(super) alias: Option<String>,
    /// The name of an address.
    pub(super) pointer: Option<String>,
}

/// What the zone knows of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It exists.
    Records(Records),
    /// It would be in the zone and is not.
    Nothing,
    /// It is somebody else's.
    Elsewhere,
}

// === impl Zone ===

impl Zone {
    /// A zone without services; `domain` is `cluster.local` as a rule.
    pub(super) fn new(domain: &str) -> Self {
        let mut zone = Self {
            domain: domain.trim_matches('.').to_ascii_lowercase(),
            names: HashMap::new(),
        };
        for part in ["svc", "pod"] {
            let name = format!("{part}.{}", zone.domain);
            zone.records(&name);
        }
        // The version of the specification that is followed, as it demands to be told.
        zone.records(&format!("dns-version.{}", zone.domain));
        zone
    }

    /// The domain, without dots at its ends.
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// Adds the names of services and of their endpoints.
    pub(super) fn fill<S, E>(&mut self, services: &[S], slices: &[E])
    where
        S: AsRef<Service>,
        E: AsRef<EndpointSlice>,
    {
        let mut by_service: BTreeMap<(String, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices.iter().map(AsRef::as_ref) {
            if let Some(name) = slice.labels().get(SERVICE_NAME) {
                let key = (slice.namespace().unwrap_or_default(), name.as_str());
                by_service.entry(key).or_default().push(slice);
            }
        }
        for service in services.iter().map(AsRef::as_ref) {
            let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
            let slices = by_service.get(&(namespace.clone(), name.as_str()));
            let fqdn = format!("{name}.{namespace}.svc.{}", self.domain);
            self.service(&fqdn, service, slices.map_or(&[], Vec::as_slice));
        }
    }

    /// What is known of a name, given in lower case and without its last dot.
    pub(super) fn find(&self, name: &str) -> Found {
        if let Some(records) = self.names.get(name) {
            return Found::Records(records.clone());
        }
        if let Some(address) = self.pod(name) {
            let addresses = BTreeSet::from([IpAddr::V4(address)]);
            return Found::Records(Records {
                addresses,
                ..Records::default()
            });
        }
        let is_below = |zone: &str| {
            name == zone
                || name
                    .strip_suffix(zone)
                    .is_some_and(|rest| rest.ends_with('.'))
        };
        let is_own_reverse = ["244.10.in-addr.arpa", "96.10.in-addr.arpa"]
            .iter()
            .any(|zone| is_below(zone));
        if is_below(&self.domain) || is_own_reverse {
            Found::Nothing
        } else {
            Found::Elsewhere
        }
    }

    fn service(&mut self, fqdn: &str, service: &Service, slices: &[&EndpointSlice]) {
        let Some(spec) = &service.spec else { return };
        if spec.type_.as_deref() == Some("ExternalName") {
            self.records(fqdn).alias = spec
                .external_name
                .as_deref()
                .map(|name| name.trim_end_matches('.').to_ascii_lowercase());
            return;
        }
        let cluster_ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let addresses: BTreeSet<IpAddr> =
            cluster_ips.filter_map(|text| text.parse().ok()).collect();
        if addresses.is_empty() {
            self.headless(fqdn, slices);
            return;
        }
        for address in &addresses {
            self.records(&reverse(*address)).pointer = Some(fqdn.to_owned());
        }
        self.records(fqdn).addresses = addresses;
        for port in spec.ports.iter().flatten() {
            let (Some(name), Ok(number)) = (&port.name, u16::try_from(port.port)) else {
                continue;
            };
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            self.port(fqdn, name, protocol, number, fqdn);
        }
    }

    /// A headless service stands for its endpoints: for those that are ready, or for all where the
    /// service publishes all (its slices say ready then).
    fn headless(&mut self, fqdn: &str, slices: &[&EndpointSlice]) {
        self.records(fqdn);
        for slice in slices {
            let ready = slice.endpoints.iter().filter(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                conditions
                    .and_then(|conditions| conditions.ready)
                    .unwrap_or(true)
            });
            for endpoint in ready {
                for address in endpoint
                    .addresses
                    .iter()
                    .filter_map(|text| text.parse::<IpAddr>().ok())
                {
                    let own = format!("{}.{fqdn}", hostname(endpoint, address));
                    self.records(fqdn).addresses.insert(address);
                    self.records(&own).addresses.insert(address);
                    self.records(&reverse(address)).pointer = Some(own.clone());
                    for port in slice.ports.iter().flatten() {
                        let number = port.port.and_then(|port| u16::try_from(port).ok());
                        let (Some(name), Some(number)) = (&port.name, number) else {
                            continue;
                        };
                        let protocol = port.protocol.as_deref().unwrap_or("TCP");
                        self.port(fqdn, name, protocol, number, &own);
                    }
                }
            }
        }
    }

    fn port(&mut self, fqdn: &str, name: &str, protocol: &str, number: u16, target: &str) {
        if name.is_empty() {
            return;
        }
        let name = format!("_{name}._{}.{fqdn}", protocol.to_ascii_lowercase());
        self.records(&name)
            .services
            .insert((number, target.to_owned()));
    }

    /// The records of a name, which exists from now on, as do all names above it.
    fn records(&mut self, name: &str) -> &mut Records {
        let mut above = name;
        while let Some((_, parent)) = above.split_once('.') {
            if parent.len() < self.domain.len() {
                break;
            }
            self.names.entry(parent.to_owned()).or_default();
            above = parent;
        }
        self.names.entry(name.to_owned()).or_default()
    }

    /// `10-244-0-3.<namespace>.pod.<domain>` is 10.244.0.3, whether or not such a pod exists.
    fn pod(&self, name: &str) -> Option<Ipv4Addr> {
        let rest = name.strip_suffix(&self.domain)?.strip_suffix(".pod.")?;
        let (address, namespace) = rest.split_once('.')?;
        if namespace.contains('.') {
            return None;
        }
        address.replace('-', ".").parse().ok()
    }
}

/// The name of an endpoint below its headless service.
fn hostname(endpoint: &Endpoint, address: IpAddr) -> String {
    match &endpoint.hostname {
        Some(name) => name.to_ascii_lowercase(),
        None => address.to_string().replace(['.', ':'], "-"),
    }
}

/// The name under which an address is asked for (RFC 1035, 3.5; RFC 3596, 2.5).
pub(super) fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => reverse_v6(address),
    }
}

fn reverse_v6(address: Ipv6Addr) -> String {
    let mut name = String::new();
    for byte in address.octets().into_iter().rev() {
        for nibble in [byte & 15, byte >> 4] {
            name.extend(char::from_digit(u32::from(nibble), 16));
            name.push('.');
        }
    }
    name + "ip6.arpa"
}
