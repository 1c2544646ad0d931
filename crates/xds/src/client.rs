//! The proxy's side: keeps one stream to the control plane and yields what changed.
//!
//! [`Client::next`] is the whole interface: it connects, reconnects with jittered back-off, sends
//! what is to be sent, and returns the next [`Update`]. It never fails, since there is nothing a
//! proxy could do but serve on with what it has; [`Client::status`] tells how things stand. It may
//! be cancelled at any await (all state is in the client), so it belongs in a `select!` loop:
//!
//! ```no_run
//! # use lateen_xds::client::{Client, Settings, Update};
//! # async fn run(settings: Settings) -> Result<(), lateen_xds::Error> {
//! # fn apply(_: &Update) -> Vec<(lateen_xds::client::Name, String)> { Vec::new() }
//! let mut client = Client::new(settings)?;
//! loop {
//!     let update = client.next().await;
//!     let errors = apply(&update);
//!     client.answer(update, errors);
//!     if client.is_synced() { /* the proxy is ready */ }
//! }
//! # }
//! ```

mod backoff;
mod stream;
pub mod tls;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{Instant, Sleep};

use crate::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Rejection};
use crate::{Error, Kind, Node};

pub use backoff::Backoff;
pub use tls::Tls;
pub use update::{Name, Update};

/// Prepares a socket before it connects, for instance with `SO_MARK`, so that a proxy's own
/// traffic is not captured.
pub type PrepareSocket = Arc<dyn Fn(&TcpSocket) -> std::io::Result<()> + Send + Sync>;

/// Where to connect and as whom.
#[derive(Clone)]
pub struct Settings {
    /// `host:port` of the control plane.
    pub address: String,
    /// Who connects.
    pub node: Node,
    /// TLS, and the proof of who connects; plaintext if unset, and no Secrets then.
    pub tls: Option<Tls>,
    /// Called on each socket before it connects.
    pub prepare_socket: Option<PrepareSocket>,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How long one attempt may take.
    pub connect_timeout: Duration,
    /// After how long without a byte the connection is probed, and how long the probe may take.
    pub keepalive: Duration,
}

/// What a proxy has: for each type the version of each resource, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions(pub BTreeMap<Kind, BTreeMap<String, String>>);

/// How things stand with the control plane.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether a stream is open.
    pub is_connected: bool,
    /// Since when that is so.
    pub since: Instant,
    /// Why the last stream or attempt ended; empty at first.
    pub last_error: String,
    /// Attempts that failed since the last stream.
    pub failures: u32,
    /// Number of updates yielded.
    pub updates: u64,
    /// The version of the whole configuration as of the last response.
    pub system_version: String,
}

/// A delta xDS client.
pub struct Client {
    settings: Settings,
    endpoint: tonic::transport::Endpoint,
    state: State,
    interests: BTreeMap<Kind, Interest>,
    versions: Versions,
    applied: BTreeSet<Kind>,
    outbox: Outbox,
    status: Status,
}

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Interest {
    All,
    Names(BTreeSet<String>),
}

/// Requests that wait for room on the stream. Subscriptions are sets: what is asked for twice is
/// sent once, and what is dropped before it was sent is never sent.
#[derive(Debug, Default)]
struct Outbox {
    answers: Vec<DeltaDiscoveryRequest>,
    subscribe: BTreeMap<Kind, BTreeSet<String>>,
    unsubscribe: BTreeMap<Kind, BTreeSet<String>>,
}

enum State {
    /// Waits before the next attempt.
    Idle(std::pin::Pin<Box<Sleep>>),
    /// Connects.
    Connecting(stream::Connecting),
    /// Serves.
    Open(Box<stream::Open>),
}

/// What ended a wait on an open stream.
enum Happened {
    Response(Box<DeltaDiscoveryResponse>),
    Sent,
    /// The server ended the stream in order: it wants to see a fresh token.
    Renewed,
    Ended(String),
}

// === impl Settings ===

impl Settings {
    /// The usual settings for this address and node.
    pub fn new(address: impl Into<String>, node: Node) -> Self {
        Self {
            address: address.into(),
            node,
            tls: None,
            prepare_socket: None,
            backoff: Backoff::default(),
            connect_timeout: Duration::from_secs(5),
            keepalive: Duration::from_secs(10),
        }
    }
}

// === impl Client ===

impl Client {
    /// A client that connects when [`Self::next`] is called first. It subscribes to all
    /// configuration and all endpoints; workloads are asked for by address, Secrets by name.
    ///
    /// # Errors
    /// When the address is not `host:port`.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let endpoint = stream::endpoint(&settings)?;
        Ok(Self {
            state: State::Idle(Box::pin(tokio::time::sleep(Duration::ZERO))),
            endpoint,
            interests: BTreeMap::from([
                (Kind::Config, Interest::All),
                (Kind::Endpoints, Interest::All),
                (Kind::Workload, Interest::Names(BTreeSet::new())),
                (Kind::Secret, Interest::Names(BTreeSet::new())),
            ]),
            versions: Versions::default(),
            applied: BTreeSet::new(),
            outbox: Outbox::default(),
            status: Status {
                is_connected: false,
                since: Instant::now(),
                last_error: String::new(),
                failures: 0,
                updates: 0,
                system_version: String::new(),
            },
            settings,
        })
    }

    /// Tells the client what the proxy already has (from a snapshot), so that only what differs is
    /// sent. To be called before [`Self::next`].
    pub fn resume(&mut self, versions: Versions) {
        self.versions = versions;
    }

    /// What the proxy has, for a snapshot.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// How things stand with the control plane.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Answers whether configuration and endpoints have each been answered once: a control plane
    /// has been heard, the proxy is ready. It stays so when the connection is lost.
    pub fn is_synced(&self) -> bool {
        [Kind::Config, Kind::Endpoints]
            .iter()
            .all(|kind| self.applied.contains(kind))
    }

    /// Asks who lives at an address. The answer is an update with the workload, or with the
    /// address in `absent_workloads`; later changes follow until [`Self::forget_workload`].
    pub fn watch_workload(&mut self, address: IpAddr) {
        self.subscribe(Kind::Workload, address.to_string());
    }

    /// Asks for the Secret of this name, `namespace/name`. The answer is an update with it, or with
    /// its name in `absent_secrets`; later changes follow until [`Self::forget_secret`].
    pub fn watch_secret(&mut self, name: &str) {
        self.subscribe(Kind::Secret, name.to_owned());
    }

    /// Takes no more interest in a Secret.
    pub fn forget_secret(&mut self, name: &str) {
        self.unsubscribe(Kind::Secret, name);
    }

    /// Takes no more interest in an address.
    pub fn forget_workload(&mut self, address: IpAddr) {
        self.unsubscribe(Kind::Workload, &address.to_string());
    }

    fn subscribe(&mut self, kind: Kind, name: String) {
        if let Some(Interest::Names(names)) = self.interests.get_mut(&kind)
            && names.insert(name.clone())
        {
            self.outbox.subscribe(kind, name);
        }
    }

    fn unsubscribe(&mut self, kind: Kind, name: &str) {
        if let Some(Interest::Names(names)) = self.interests.get_mut(&kind)
            && names.remove(name)
        {
            if let Some(versions) = self.versions.0.get_mut(&kind) {
                versions.remove(name);
            }
            self.outbox.unsubscribe(kind, name);
        }
    }

    /// Waits for the next change. Cancel-safe.
    pub async fn next(&mut self) -> Update {
        loop {
            match &mut self.state {
                State::Idle(sleep) => {
                    sleep.as_mut().await;
                    // What was to be sent is part of the first requests of the new stream.
                    self.outbox = Outbox::default();
                    let first = self.first_requests();
                    let connecting =
                        stream::connect(self.endpoint.clone(), self.settings.clone(), first);
                    self.state = State::Connecting(connecting);
                }
                State::Connecting(connecting) => match connecting.await {
                    Ok(open) => {
                        tracing::info!(address = %self.settings.address, "connected to the control plane");
                        self.state = State::Open(Box::new(open));
                        self.status.is_connected = true;
                        self.status.since = Instant::now();
                    }
                    Err(error) => self.disconnect(error),
                },
                State::Open(open) => match wait(open, &mut self.outbox).await {
                    Happened::Sent => {}
                    Happened::Renewed => self.renew(),
                    Happened::Ended(error) => self.disconnect(error),
                    Happened::Response(response) => {
                        if let Some(update) = self.receive(*response) {
                            return update;
                        }
                    }
                },
            }
        }
    }

    /// Acknowledges an update of which everything was applied.
    pub fn ack(&mut self, update: Update) {
        self.answer(update, Vec::new());
    }

    /// Refuses some resources of an update; the others were applied.
    pub fn nack(&mut self, update: Update, errors: Vec<(Name, String)>) {
        self.answer(update, errors);
    }

    /// Answers an update: an ACK if `errors` is empty and everything could be decoded, else a NACK
    /// that names what was refused. An update that is dropped without an answer holds back the
    /// next one of its type.
    pub fn answer(&mut self, update: Update, errors: Vec<(Name, String)>) {
        let mut rejected: Vec<Rejection> = update
            .malformed
            .iter()
            .map(|bad| Rejection {
                name: bad.name.clone(),
                error: format!("{}: {}", bad.at, bad.why),
            })
            .collect();
        rejected.extend(errors.into_iter().map(|(name, error)| Rejection {
            name: name.to_string(),
            error,
        }));
        let receipt = update.receipt;
        let versions = self.versions.0.entry(receipt.kind).or_default();
        for name in receipt.removed {
            versions.remove(&name);
        }
        for (name, version) in receipt.versions {
            // What was refused keeps the version that is applied, so that after a reconnect it is
            // sent, and refused, again: a new control plane learns of it.
            // What is no longer asked for was under way.
            let is_wanted = match self.interests.get(&receipt.kind) {
                Some(Interest::Names(names)) => names.contains(&name),
                Some(Interest::All) | None => true,
            };
            if is_wanted && !rejected.iter().any(|bad| bad.name == name) {
                versions.insert(name, version);
            }
        }
        self.applied.insert(receipt.kind);
        // An answer belongs to the stream that asked.
        if let State::Open(open) = &self.state
            && open.id == receipt.stream
        {
            self.outbox
                .answers
                .push(stream::answer(receipt.kind, receipt.nonce, rejected));
        }
    }

    fn receive(&mut self, response: DeltaDiscoveryResponse) -> Option<Update> {
        let State::Open(open) = &self.state else {
            return None;
        };
        let Some(kind) = Kind::from_type_url(&response.type_url) else {
            tracing::warn!(type_url = %response.type_url, "control plane sent an unknown type");
            return None;
        };
        self.status.failures = 0;
        self.status.updates += 1;
        self.status
            .system_version
            .clone_from(&response.system_version_info);
        Some(Update::from_wire(kind, open.id, response))
    }

    fn renew(&mut self) {
        tracing::debug!(address = %self.settings.address,
            "the control plane ended the stream; opening another one");
        self.wait("the control plane ended the stream".into());
    }

    fn disconnect(&mut self, error: String) {
        if self.status.is_connected {
            tracing::warn!(address = %self.settings.address, %error,
                "lost the control plane; serving on with the last configuration");
        } else if self.status.failures == 0 {
            tracing::warn!(address = %self.settings.address, %error,
                "cannot reach the control plane; retrying");
        }
        self.wait(error);
    }

    /// Waits before the next attempt.
    fn wait(&mut self, error: String) {
        if std::mem::take(&mut self.status.is_connected) {
            self.status.since = Instant::now();
        }
        self.status.last_error = error;
        let wait = self.settings.backoff.wait(self.status.failures);
        self.status.failures = self.status.failures.saturating_add(1);
        self.state = State::Idle(Box::pin(tokio::time::sleep(wait)));
    }

    /// The first requests of a stream: configuration before endpoints, since a server answers in
    /// this order.
    fn first_requests(&self) -> Vec<DeltaDiscoveryRequest> {
        let mut requests: Vec<_> = self
            .interests
            .iter()
            .filter_map(|(kind, interest)| {
                let subscribe = match interest {
                    Interest::All => vec!["*".to_owned()],
                    Interest::Names(names) if names.is_empty() => return None,
                    Interest::Names(names) => names.iter().cloned().collect(),
                };
                let versions = self.versions.0.get(kind).into_iter().flatten();
                Some(DeltaDiscoveryRequest {
                    type_url: kind.type_url().to_owned(),
                    resource_names_subscribe: subscribe,
                    initial_resource_versions: versions
                        .map(|(name, version)| (name.clone(), version.clone()))
                        .collect(),
                    ..DeltaDiscoveryRequest::default()
                })
            })
            .collect();
        if let Some(first) = requests.first_mut() {
            first.node = Some(self.settings.node.to_wire());
        }
        requests
    }
}

/// Waits on an open stream until something was sent or received. Cancel-safe.
async fn wait(open: &mut stream::Open, outbox: &mut Outbox) -> Happened {
    tokio::select! {
        permit = open.requests.reserve(), if !outbox.is_empty() => match permit {
            Ok(permit) => {
                if let Some(request) = outbox.pop() {
                    permit.send(request);
                }
                Happened::Sent
            }
            Err(_) => Happened::Ended("the stream closed".into()),
        },
        response = open.responses.message() => match response {
            Ok(Some(response)) => Happened::Response(Box::new(response)),
            Ok(None) => Happened::Renewed,
            Err(status) => Happened::Ended(stream::describe(&status)),
        },
    }
}

// === impl Outbox ===

impl Outbox {
    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.subscribe.is_empty() && self.unsubscribe.is_empty()
    }

    /// A name that is to be dropped first stays so: what the server knows of it is sent anew.
    fn subscribe(&mut self, kind: Kind, name: String) {
        self.subscribe.entry(kind).or_default().insert(name);
    }

    fn unsubscribe(&mut self, kind: Kind, name: &str) {
        if let Some(names) = self.subscribe.get_mut(&kind) {
            names.remove(name);
            // An empty first request for a type would mean all of it.
            if names.is_empty() {
                self.subscribe.remove(&kind);
            }
        }
        let names = self.unsubscribe.entry(kind).or_default();
        names.insert(name.to_owned());
    }

    /// The next request: answers first, since the server waits for them.
    fn pop(&mut self) -> Option<DeltaDiscoveryRequest> {
        if !self.answers.is_empty() {
            return Some(self.answers.remove(0));
        }
        let subscribe = self.subscribe.pop_first();
        let kind = match (&subscribe, self.unsubscribe.first_key_value()) {
            (Some((kind, _)), _) | (None, Some((kind, _))) => *kind,
            (None, None) => return None,
        };
        let unsubscribe = self.unsubscribe.remove(&kind).unwrap_or_default();
        let subscribe = subscribe.map(|(_, names)| names).unwrap_or_default();
        Some(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: subscribe.into_iter().collect(),
            resource_names_unsubscribe: unsubscribe.into_iter().collect(),
            ..DeltaDiscoveryRequest::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_dropped_before_it_was_sent_is_not_asked_for() {
        let mut outbox = Outbox::default();
        outbox.subscribe(Kind::Workload, "10.0.0.1".into());
        outbox.unsubscribe(Kind::Workload, "10.0.0.1");
        let request = outbox.pop().expect("the end of the subscription");
        assert!(request.resource_names_subscribe.is_empty());
        assert_eq!(request.resource_names_unsubscribe, ["10.0.0.1"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_name_that_is_dropped_and_asked_for_again_is_sent_anew() {
        let mut outbox = Outbox::default();
        outbox.unsubscribe(Kind::Workload, "10.0.0.1");
        outbox.subscribe(Kind::Workload, "10.0.0.1".into());
        let request = outbox.pop().expect("both");
        assert_eq!(request.resource_names_subscribe, ["10.0.0.1"]);
        assert_eq!(request.resource_names_unsubscribe, ["10.0.0.1"]);
    }

    #[test]
    fn answers_go_before_subscriptions() {
        let mut outbox = Outbox::default();
        outbox.subscribe(Kind::Workload, "10.0.0.1".into());
        outbox
            .answers
            .push(stream::answer(Kind::Config, "7".into(), Vec::new()));
        assert_eq!(outbox.pop().expect("the answer").response_nonce, "7");
        assert_eq!(
            outbox.pop().expect("the name").resource_names_subscribe,
            ["10.0.0.1"]
        );
        assert!(outbox.pop().is_none());
    }
}
