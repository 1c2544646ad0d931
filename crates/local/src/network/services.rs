//! Service addresses: what kube-proxy does on other nodes, as one nftables table.
//!
//! It is for callers without a sidecar (a sidecar picks endpoints itself) and for the cluster's own
//! processes. Services and their endpoints become a complete [`Table`], put in place atomically
//! whenever one of them changes: packets see the old table or the new one.
//!
//! ```text
//! prerouting, output: (address, protocol, port) ─ map ─► chain of the port ─► dnat to a random endpoint
//! filter before that: (address, protocol, port) of ports without endpoints ─► refused at once
//! postrouting:        a pod that reached itself through a service ─► masquerade
//! ```
//!
//! `sessionAffinity` is not honoured: every connection picks anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt as _};
use lateen_capture::nft::{
    Base, Chain, ChainKind, Element, Family, Field, Hook, Ip, Match, Protocol, Rule, Set,
    Statement, Table, Value, Verdict,
};

const TABLE: &str = "lateen-services";
/// The map of ports that have endpoints, and that of those that have none.
const SERVED: &str = "ports";
const REFUSED: &str = "ports-without-endpoints";
const TO_ITSELF: &str = "to-itself";
const REFUSE: &str = "refuse";
/// Changes that come together make one table; short, since callers wait for it.
const SETTLE: Duration = Duration::from_millis(10);
/// Before destination translation: what has no endpoint is refused under its own address.
const BEFORE_TRANSLATION: i32 = -110;
/// Links services to their slices.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A port of a service, and where its connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Translation {
    /// `namespace/name:port`, for people who read the rules.
    pub(crate) what: String,
    /// The cluster addresses of the service.
    pub(crate) addresses: Vec<IpAddr>,
    /// TCP, UDP or SCTP.
    pub(crate) protocol: Protocol,
    /// The port of the service.
    pub(crate) port: u16,
    /// The endpoints that take connections.
    pub(crate) endpoints: Vec<SocketAddr>,
}

/// Keeps the table of the network namespace of `nft` like the services of `client`, for ever.
pub(crate) async fn run(client: Client, mut nft: lateen_capture::nft::Connection) {
    let (services, services_writer) = reflector::store();
    let (slices, slices_writer) = reflector::store();
    let config = || watcher::Config::default().any_semantic();
    let service_changes = reflector(
        services_writer,
        watcher(Api::<Service>::all(client.clone()), config()),
    );
    let slice_changes = reflector(
        slices_writer,
        watcher(Api::<EndpointSlice>::all(client), config()),
    );
    let changes = stream::select(
        service_changes
            .default_backoff()
            .map(|event| event.map(drop)),
        slice_changes.default_backoff().map(|event| event.map(drop)),
    );
    let mut changes = std::pin::pin!(changes);
    let mut current = Vec::new();
    while let Some(change) = changes.next().await {
        if let Err(error) = change {
            tracing::warn!(%error, "watching services and endpoints");
            continue;
        }
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                () = &mut settled => break,
                more = changes.next() => if more.is_none() { break },
            }
        }
        let wanted = translations(&services.state(), &slices.state());
        if wanted == current {
            continue;
        }
        match nft.replace(&table(&wanted)) {
            Ok(()) => current = wanted,
            Err(error) => tracing::error!(%error, "service addresses cannot be translated"),
        }
    }
}

/// What every service port translates to.
pub(crate) fn translations<S, E>(services: &[S], slices: &[E]) -> Vec<Translation>
where
    S: AsRef<Service>,
    E: AsRef<EndpointSlice>,
{
    let mut by_service: BTreeMap<(String, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().map(AsRef::as_ref) {
        if let Some(name) = slice.labels().get(SERVICE_NAME) {
            let namespace = slice.namespace().unwrap_or_default();
            by_service.entry((namespace, name)).or_default().push(slice);
        }
    }
    let mut list = Vec::new();
    for service in services.iter().map(AsRef::as_ref) {
        let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
        let none = Vec::new();
        let slices = by_service
            .get(&(namespace.clone(), name.as_str()))
            .unwrap_or(&none);
        list.extend(of_service(service, &format!("{namespace}/{name}"), slices));
    }
    list.sort_by(|a, b| a.what.cmp(&b.what));
    list
}

fn of_service(service: &Service, what: &str, slices: &[&EndpointSlice]) -> Vec<Translation> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let addresses: Vec<IpAddr> = spec
        .cluster_ips
        .iter()
        .flatten()
        .chain(&spec.cluster_ip)
        .filter_map(|address| address.parse().ok())
        .collect::<BTreeSet<IpAddr>>()
        .into_iter()
        .collect();
    if addresses.is_empty() {
        return Vec::new();
    }
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let protocol = match port.protocol.as_deref().unwrap_or("TCP") {
                "TCP" => Protocol::Tcp,
                "UDP" => Protocol::Udp,
                "SCTP" => Protocol::Sctp,
                _ => return None,
            };
            let number = u16::try_from(port.port).ok()?;
            let name = port.name.as_deref().unwrap_or_default();
            Some(Translation {
                what: format!("{what}:{number}/{protocol}"),
                addresses: addresses.clone(),
                protocol,
                port: number,
                endpoints: endpoints(slices, name),
            })
        })
        .collect()
}

/// The addresses that serve the port of this name: the ready ones, and only if there is none, those
/// that still serve while they go away.
fn endpoints(slices: &[&EndpointSlice], port_name: &str) -> Vec<SocketAddr> {
    let mut ready = Vec::new();
    let mut leaving = Vec::new();
    for slice in slices {
        let port = slice
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref().unwrap_or_default() == port_name)
            .and_then(|port| port.port)
            .and_then(|port| u16::try_from(port).ok());
        let Some(port) = port else { continue };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            let is_ready = conditions
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true);
            let serves = conditions
                .and_then(|conditions| conditions.serving)
                .unwrap_or(is_ready);
            let list = match (is_ready, serves) {
                (true, _) => &mut ready,
                (false, true) => &mut leaving,
                (false, false) => continue,
            };
            let addresses = endpoint
                .addresses
                .iter()
                .filter_map(|text| text.parse::<IpAddr>().ok());
            list.extend(addresses.map(|address| SocketAddr::new(address, port)));
        }
    }
    let mut list = if ready.is_empty() { leaving } else { ready };
    list.sort_unstable();
    list.dedup();
    list
}

/// The table for IPv4, which is what pods of a local cluster have.
pub(crate) fn table(translations: &[Translation]) -> Table {
    let mut ports = Ports::new();
    for translation in translations {
        ports.add(translation);
    }
    let hairpin = Rule::new()
        .when(Match::IsTranslated)
        .when(Match::In {
            fields: both_addresses(),
            set: TO_ITSELF.into(),
        })
        .then(Statement::Masquerade)
        .because("a pod that reaches itself through a service");
    let filter = |hook| Base::new(ChainKind::Filter, hook, BEFORE_TRANSLATION);
    let base = |name: &str, base, rule| Chain::new(name).base(base).rule(rule);
    let mut table = Table::new(Family::Ip, TABLE)
        .set(ports.served)
        .set(ports.refused)
        .set(ports.to_itself)
        .chain(refuse());
    table.chains.extend(ports.chains);
    table
        .chain(base("refused", filter(Hook::Prerouting), dispatch(REFUSED)))
        .chain(base("refused-own", filter(Hook::Output), dispatch(REFUSED)))
        .chain(base("prerouting", Base::nat_prerouting(), dispatch(SERVED)))
        .chain(base("output", Base::nat_output(), dispatch(SERVED)))
        .chain(base("postrouting", Base::nat_postrouting(), hairpin))
}

/// What the ports of all services add to the table.
struct Ports {
    served: Set,
    refused: Set,
    /// Each endpoint with itself.
    to_itself: Set,
    pods: BTreeSet<IpAddr>,
    chains: Vec<Chain>,
}

// === impl Ports ===

impl Ports {
    fn new() -> Self {
        Self {
            served: Set::map(SERVED, port_key()),
            refused: Set::map(REFUSED, port_key()),
            to_itself: Set::of(TO_ITSELF, both_addresses()),
            pods: BTreeSet::new(),
            chains: Vec::new(),
        }
    }

    fn add(&mut self, translation: &Translation) {
        let endpoints = translation.endpoints.iter().copied();
        let endpoints: Vec<SocketAddr> = endpoints.filter(SocketAddr::is_ipv4).collect();
        let chain = format!("port-{}", self.chains.len());
        let addresses = translation.addresses.iter().copied();
        for address in addresses.filter(IpAddr::is_ipv4) {
            let key = vec![
                Value::Address(address),
                Value::Protocol(translation.protocol),
                Value::Port(translation.port),
            ];
            let (map, chain) = if endpoints.is_empty() {
                (&mut self.refused, REFUSE)
            } else {
                (&mut self.served, chain.as_str())
            };
            map.elements.push(Element {
                key,
                verdict: Some(Verdict::Goto(chain.into())),
            });
        }
        if endpoints.is_empty() {
            return;
        }
        for pod in endpoints.iter().map(SocketAddr::ip) {
            if self.pods.insert(pod) {
                self.to_itself.elements.push(Element {
                    key: vec![Value::Address(pod), Value::Address(pod)],
                    verdict: None,
                });
            }
        }
        let to = match endpoints.as_slice() {
            [only] => Statement::Dnat(*only),
            _ => Statement::DnatAny(endpoints),
        };
        let rule = Rule::new()
            .when(Match::Protocol(translation.protocol))
            .then(to)
            .because(translation.what.clone());
        self.chains.push(Chain::new(chain).rule(rule));
    }
}

/// Where ports go that nobody serves.
fn refuse() -> Chain {
    let is_tcp = Match::Protocol(Protocol::Tcp);
    Chain::new(REFUSE)
        .rule(Rule::new().when(is_tcp).then(Statement::RejectWithReset))
        .rule(Rule::new().then(Statement::Reject))
}

/// Sends a packet to the chain that a map has for its destination.
fn dispatch(map: &str) -> Rule {
    Rule::new().then(Statement::Dispatch {
        fields: port_key(),
        map: map.into(),
    })
}

fn port_key() -> Vec<Field> {
    vec![
        Field::DestinationAddress(Ip::V4),
        Field::Protocol,
        Field::DestinationPort,
    ]
}

fn both_addresses() -> Vec<Field> {
    vec![
        Field::SourceAddress(Ip::V4),
        Field::DestinationAddress(Ip::V4),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    struct Object<T>(T);

    impl<T> AsRef<T> for Object<T> {
        fn as_ref(&self) -> &T {
            &self.0
        }
    }

    fn service(cluster_ip: &str) -> Object<Service> {
        let object = json!({
            "metadata": { "namespace": "default", "name": "web" },
            "spec": { "clusterIP": cluster_ip, "ports": [{ "name": "http", "port": 80 }] }
        });
        Object(serde_json::from_value(object).unwrap())
    }

    fn slice(endpoints: Json) -> Object<EndpointSlice> {
        let mut object = json!({
            "metadata": {
                "namespace": "default", "name": "web-1", "labels": { SERVICE_NAME: "web" }
            },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 8080 }]
        });
        object["endpoints"] = endpoints;
        Object(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_port_goes_to_the_ready_endpoints() {
        let endpoints = json!([
            { "addresses": ["10.244.0.3"], "conditions": { "ready": true } },
            { "addresses": ["10.244.0.2"], "conditions": {} },
            { "addresses": ["10.244.0.4"], "conditions": { "ready": false, "serving": true } }
        ]);
        let list = translations(&[service("10.96.0.7")], &[slice(endpoints)]);
        assert_eq!(list.len(), 1);
        let to: Vec<_> = list[0].endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(to, ["10.244.0.2:8080", "10.244.0.3:8080"]);
        assert_eq!(list[0].what, "default/web:80/tcp");
    }

    #[test]
    fn endpoints_that_go_away_serve_while_there_is_no_other() {
        let endpoints = json!([
            { "addresses": ["10.244.0.4"], "conditions": { "ready": false, "serving": true } },
            { "addresses": ["10.244.0.5"], "conditions": { "ready": false, "serving": false } }
        ]);
        let list = translations(&[service("10.96.0.7")], &[slice(endpoints)]);
        assert_eq!(list[0].endpoints, ["10.244.0.4:8080".parse().unwrap()]);
    }

    #[test]
    fn headless_services_are_not_translated() {
        assert_eq!(translations(&[service("None")], &[slice(json!([]))]), []);
    }

    #[test]
    fn ports_without_endpoints_are_refused() {
        let list = translations(&[service("10.96.0.7")], &[slice(json!([]))]);
        let table = table(&list);
        let set = |name: &str| table.sets.iter().find(|set| set.name == name).unwrap();
        assert_eq!(set("ports").elements.len(), 0);
        assert_eq!(set("ports-without-endpoints").elements.len(), 1);
    }
}
