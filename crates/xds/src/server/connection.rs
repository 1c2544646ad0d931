//! One proxy's stream as a value: what it has, what it asked for, and what it refused. Sans-io:
//! requests and the cache in, responses out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::cache::{Cache, Logged, Viewer};
use super::identity::{Account, Identity};
use super::secrets::{self, Answer, Denial};
use crate::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Payload, Rejection, Rejections, Resource,
    RpcStatus,
};
use crate::version::Version;
use crate::{Error, Kind, Node};

/// The longest error of a NACK that is kept.
const MAX_ERROR: usize = 1024;

/// Names of one type that a proxy may ask for, and the longest of them. A gateway to the internet asks
/// who lives at each address that it sees; whoever reaches the port could fill the memory without.
const MAX_NAMES: usize = 64 << 10;
const MAX_NAME: usize = 512;

/// A resource that a proxy refused, until it is changed, removed or accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in the proxy's words.
    pub error: String,
    /// The version that was refused.
    pub version: Version,
    /// When it was refused.
    pub since: Instant,
}

/// How one subscription of a proxy stands.
#[derive(Debug, Clone)]
pub struct SubscriptionStatus {
    /// The type.
    pub kind: Kind,
    /// Subscribed to all resources.
    pub is_wildcard: bool,
    /// Number of names subscribed to.
    pub names: usize,
    /// Number of resources that the proxy has.
    pub resources: usize,
    /// The version of the whole configuration when a response was last sent; nothing if none was.
    pub sent: Option<u64>,
    /// The version of the last response that was answered.
    pub answered: Option<u64>,
    /// When the response that waits for its answer was sent.
    pub waiting_since: Option<Instant>,
    /// What the proxy refused, by name.
    pub refused: BTreeMap<String, Refusal>,
}

/// The stream of one proxy.
#[derive(Debug)]
pub(super) struct Connection {
    node: Node,
    viewer: Viewer,
    identity: Option<Identity>,
    /// Secrets that were not given since somebody last looked here.
    denials: Vec<(Arc<str>, Denial)>,
    subscriptions: BTreeMap<Kind, Subscription>,
    /// The line of the log up to which changes are in `pending`.
    read: u64,
    nonces: u64,
}

/// What an ACK or NACK said, for counters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// Nothing was answered (a subscription, or an answer to an old response).
    Nothing,
    /// Everything of a response was accepted.
    Ack { kind: Kind, sent: Instant },
    /// Something of it was refused.
    Nack { kind: Kind, sent: Instant },
}

#[derive(Debug, Default)]
struct Subscription {
    is_wildcard: bool,
    names: BTreeSet<Arc<str>>,
    /// What the proxy has; no version if it named one that cannot be read.
    has: HashMap<Arc<str>, Option<Version>>,
    pending: Pending,
    /// Names just asked for, which are answered even if they do not exist.
    asked: BTreeSet<Arc<str>>,
    /// A response is due even if it is empty, so that the proxy knows it has everything.
    is_owed_response: bool,
    in_flight: Option<InFlight>,
    sent: Option<u64>,
    answered: Option<u64>,
    refused: BTreeMap<String, Refusal>,
}

#[derive(Debug)]
enum Pending {
    Names(BTreeSet<Arc<str>>),
    All,
}

/// What there is under a name.
enum Found<'a> {
    Is(Version, &'a Bytes),
    /// Nobody knows yet.
    Waits,
    Absent(Option<Denial>),
}

#[derive(Debug)]
struct InFlight {
    nonce: String,
    version: u64,
    sent: Instant,
    resources: BTreeMap<Arc<str>, Version>,
}

// === impl Pending ===

impl Default for Pending {
    fn default() -> Self {
        Self::Names(BTreeSet::new())
    }
}

impl Pending {
    fn insert(&mut self, name: Arc<str>) {
        match self {
            Self::Names(names) => {
                names.insert(name);
            }
            Self::All => {}
        }
    }

    fn remove(&mut self, name: &str) {
        match self {
            Self::Names(names) => {
                names.remove(name);
            }
            Self::All => {}
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Names(names) => names.is_empty(),
            Self::All => false,
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Opens the connection with the first request of its stream, which names the node. Whoever
    /// has proven an identity must be who the node says.
    pub(super) fn open(
        first: &mut DeltaDiscoveryRequest,
        identity: Option<Identity>,
    ) -> Result<Self, Error> {
        let node = first.node.take().ok_or_else(|| Error::Node {
            id: String::new(),
            why: "the first request of a stream must carry the node".into(),
        })?;
        let node = Node::from_wire(node)?;
        if let Some(identity) = &identity {
            identity.admits(&node)?;
        }
        let mut viewer = Viewer::new(&node);
        viewer.account = identity.as_ref().map(|identity| identity.account.clone());
        Ok(Self {
            viewer,
            node,
            identity,
            denials: Vec::new(),
            subscriptions: BTreeMap::new(),
            read: 0,
            nonces: 0,
        })
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Who the proxy has proven to be.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The Secrets that it asks for and might be given, with the account that asks.
    pub(super) fn wanted_secrets(&self) -> impl Iterator<Item = (&Arc<str>, &Account)> {
        let names = self.subscriptions.get(&Kind::Secret);
        names
            .into_iter()
            .flat_map(|subscription| &subscription.names)
            .filter_map(|name| Some((name, secrets::claimant(name, &self.viewer).ok()?)))
    }

    /// The Secrets that were not given since this was asked last, and why.
    pub(super) fn take_denials(&mut self) -> Vec<(Arc<str>, Denial)> {
        std::mem::take(&mut self.denials)
    }

    /// Takes a request.
    pub(super) fn receive(&mut self, request: DeltaDiscoveryRequest, now: Instant) -> Answered {
        let Some(kind) = Kind::from_type_url(&request.type_url) else {
            // Clients of other resources (gRPC, Envoy) get nothing, rather than an error that
            // would make them reconnect for ever.
            tracing::debug!(node = %self.node.id, type_url = %request.type_url, "unknown type");
            return Answered::Nothing;
        };
        let is_first = !self.subscriptions.contains_key(&kind);
        let subscription = self.subscriptions.entry(kind).or_default();
        if is_first {
            subscription.seed(&request);
        }
        // In this order a request that has a name in both lists asks for it anew.
        subscription.unsubscribe(request.resource_names_unsubscribe);
        subscription.subscribe(kind, request.resource_names_subscribe);
        subscription.answer(kind, &request.response_nonce, request.error_detail, now)
    }

    /// The next response, if there is one to send now.
    pub(super) fn respond(
        &mut self,
        cache: &Cache,
        now: Instant,
    ) -> Option<DeltaDiscoveryResponse> {
        self.read_log(cache);
        for (kind, subscription) in &mut self.subscriptions {
            let denials = &mut self.denials;
            let response = subscription.respond(*kind, cache, &self.viewer, denials);
            if let Some(mut response) = response {
                self.nonces += 1;
                response.nonce = self.nonces.to_string();
                response.system_version_info = cache.end().to_string();
                subscription.start(&response, cache.end(), now);
                return Some(response);
            }
        }
        None
    }

    fn read_log(&mut self, cache: &Cache) {
        let Some(log) = cache.log_since(self.read) else {
            for subscription in self.subscriptions.values_mut() {
                subscription.pending = Pending::All;
            }
            self.read = cache.end();
            return;
        };
        for logged in log {
            match logged {
                Logged::Resource(kind, name) => {
                    if let Some(subscription) = self.subscriptions.get_mut(kind)
                        && (subscription.is_wildcard || subscription.names.contains(name))
                    {
                        subscription.pending.insert(name.clone());
                    }
                }
                Logged::Viewer(pod) if **pod == self.viewer.pod => {
                    for subscription in self.subscriptions.values_mut() {
                        subscription.pending = Pending::All;
                    }
                }
                Logged::Account(account) if self.viewer.account.as_ref() == Some(account) => {
                    if let Some(subscription) = self.subscriptions.get_mut(&Kind::Secret) {
                        subscription.pending = Pending::All;
                    }
                }
                Logged::Viewer(_) | Logged::Account(_) => {}
            }
        }
        self.read = cache.end();
    }

    /// Answers whether the proxy refuses anything.
    pub(super) fn has_refusals(&self) -> bool {
        let mut subscriptions = self.subscriptions.values();
        subscriptions.any(|subscription| !subscription.refused.is_empty())
    }

    pub(super) fn status(&self) -> Vec<SubscriptionStatus> {
        let status = |(kind, subscription): (&Kind, &Subscription)| SubscriptionStatus {
            kind: *kind,
            is_wildcard: subscription.is_wildcard,
            names: subscription.names.len(),
            resources: subscription.has.len(),
            sent: subscription.sent,
            answered: subscription.answered,
            waiting_since: subscription.in_flight.as_ref().map(|flight| flight.sent),
            refused: subscription.refused.clone(),
        };
        self.subscriptions.iter().map(status).collect()
    }
}

// === impl Subscription ===

impl Subscription {
    /// Takes what the client has from an earlier stream. A first request without names is the old
    /// way to ask for everything.
    fn seed(&mut self, first: &DeltaDiscoveryRequest) {
        self.has = first
            .initial_resource_versions
            .iter()
            .map(|(name, version)| (name.as_str().into(), version.parse().ok()))
            .collect();
        if first.resource_names_subscribe.is_empty()
            && first.resource_names_unsubscribe.is_empty()
            && first.response_nonce.is_empty()
        {
            self.subscribe_all();
        }
    }

    fn subscribe_all(&mut self) {
        self.is_wildcard = true;
        self.is_owed_response = true;
        self.pending = Pending::All;
    }

    fn subscribe(&mut self, kind: Kind, names: Vec<String>) {
        let limit = match kind {
            Kind::Secret => secrets::MAX_NAMES,
            Kind::Config | Kind::Endpoints | Kind::Workload => MAX_NAMES,
        };
        let mut too_many = 0_usize;
        for name in names {
            if name == "*" {
                self.subscribe_all();
                continue;
            }
            // What waits for an answer is limited as well: a client need not take any.
            if name.len() > MAX_NAME || self.asked.len() > limit {
                too_many += 1;
                continue;
            }
            let name: Arc<str> = name.into();
            self.asked.insert(name.clone());
            self.pending.insert(name.clone());
            if self.names.len() < limit || self.names.contains(&name) {
                self.names.insert(name);
            } else {
                too_many += 1; // It is answered as one that does not exist.
            }
        }
        if too_many > 0 {
            tracing::warn!(%kind, too_many, limit, "xds: a proxy asks for too many resources by name");
        }
    }

    fn unsubscribe(&mut self, names: Vec<String>) {
        for name in names {
            if name == "*" {
                self.is_wildcard = false;
                self.has.retain(|name, _| self.names.contains(name));
            } else {
                self.names.remove(name.as_str());
                self.asked.remove(name.as_str());
                if !self.is_wildcard {
                    self.pending.remove(&name);
                    // Asked for again it is sent again.
                    self.has.remove(name.as_str());
                    self.refused.remove(name.as_str());
                }
            }
        }
    }

    /// Takes an ACK or NACK. One that answers anything but the response in flight is stale: it was
    /// under way when the stream had already gone on.
    fn answer(
        &mut self,
        kind: Kind,
        nonce: &str,
        error: Option<RpcStatus>,
        now: Instant,
    ) -> Answered {
        let Some(flight) = self.in_flight.take_if(|flight| flight.nonce == nonce) else {
            return Answered::Nothing;
        };
        self.answered = Some(flight.version);
        for name in flight.resources.keys() {
            self.refused.remove(&**name);
        }
        let sent = flight.sent;
        let Some(error) = error else {
            return Answered::Ack { kind, sent };
        };
        for bad in rejections(&error, &flight) {
            let Some(version) = flight.resources.get(bad.name.as_str()) else {
                continue; // It names something that was not sent.
            };
            let refusal = Refusal {
                error: bad.error.chars().take(MAX_ERROR).collect(),
                version: *version,
                since: now,
            };
            self.refused.insert(bad.name, refusal);
        }
        Answered::Nack { kind, sent }
    }

    fn respond(
        &mut self,
        kind: Kind,
        cache: &Cache,
        viewer: &Viewer,
        denials: &mut Vec<(Arc<str>, Denial)>,
    ) -> Option<DeltaDiscoveryResponse> {
        if self.in_flight.is_some() || (self.pending.is_empty() && !self.is_owed_response) {
            return None;
        }
        let names = match std::mem::take(&mut self.pending) {
            Pending::Names(names) => names,
            Pending::All => cache
                .names(kind)
                .chain(self.has.keys())
                .chain(&self.names)
                .cloned()
                .collect(),
        };
        let asked = std::mem::take(&mut self.asked);
        let mut response = DeltaDiscoveryResponse {
            type_url: kind.type_url().to_owned(),
            ..DeltaDiscoveryResponse::default()
        };
        for name in names {
            let (version, bytes) = match self.find(kind, &name, cache, viewer) {
                Found::Is(version, bytes) => (version, bytes),
                Found::Waits => {
                    if asked.contains(&name) {
                        self.asked.insert(name.clone());
                    }
                    self.pending.insert(name);
                    continue;
                }
                Found::Absent(denial) => {
                    if self.has.remove(&name).is_some() || asked.contains(&name) {
                        self.refused.remove(&*name);
                        response.removed_resources.push(name.to_string());
                        denials.extend(denial.map(|denial| (name, denial)));
                    }
                    continue;
                }
            };
            if self.has.get(&name) == Some(&Some(version)) {
                continue;
            }
            response.resources.push(Resource {
                version: version.to_string(),
                resource: Some(Payload {
                    type_url: kind.type_url().to_owned(),
                    value: bytes.clone(),
                }),
                name: name.to_string(),
            });
            self.has.insert(name, Some(version));
        }
        let is_owed = std::mem::take(&mut self.is_owed_response);
        let is_empty = response.resources.is_empty() && response.removed_resources.is_empty();
        (is_owed || !is_empty).then_some(response)
    }

    /// What there is under a name for this viewer.
    fn find<'a>(&self, kind: Kind, name: &str, cache: &'a Cache, viewer: &Viewer) -> Found<'a> {
        if kind == Kind::Secret {
            // Nobody has all of them: a wildcard means none.
            if !self.names.contains(name) {
                return Found::Absent(None);
            }
            return match cache.secrets().answer(name, viewer) {
                Answer::Waits => Found::Waits,
                Answer::Absent => Found::Absent(None),
                Answer::Denied(denial) => Found::Absent(Some(denial)),
                Answer::Is(sealed) => Found::Is(sealed.version, &sealed.bytes),
            };
        }
        let is_wanted = self.is_wildcard || self.names.contains(name);
        let published = is_wanted.then(|| cache.get(kind, name, viewer)).flatten();
        published.map_or(Found::Absent(None), |published| {
            Found::Is(published.version, &published.bytes)
        })
    }

    fn start(&mut self, response: &DeltaDiscoveryResponse, version: u64, now: Instant) {
        let resources = response.resources.iter().filter_map(|resource| {
            let (name, version) = self.has.get_key_value(resource.name.as_str())?;
            Some((name.clone(), (*version)?))
        });
        self.in_flight = Some(InFlight {
            nonce: response.nonce.clone(),
            version,
            sent: now,
            resources: resources.collect(),
        });
        self.sent = Some(version);
    }
}

/// What a NACK names. One without our details refuses the whole response.
fn rejections(error: &RpcStatus, flight: &InFlight) -> Vec<Rejection> {
    let details = error
        .details
        .iter()
        .filter(|any| any.type_url == Rejections::TYPE_URL)
        .find_map(|any| Rejections::decode(any.value.as_slice()).ok());
    if let Some(details) = details {
        return details.rejected;
    }
    let all = flight.resources.keys().map(|name| Rejection {
        name: name.to_string(),
        error: error.message.clone(),
    });
    all.collect()
}

#[cfg(test)]
mod tests;
