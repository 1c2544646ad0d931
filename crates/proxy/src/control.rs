//! The main thread's work: what the control plane says becomes a plan for the workers.
//!
//! ```text
//! xDS client ──┐                    ┌─► inventory ─► snapshot on disk, config dump
//! DNS answers ─┼─► Control ─► Store ┴─► Plan ─► listeners, workers
//! new peers ◄──┘                             ▲ certificates: Secrets and files
//! names that requests ask for ─► wanted ─► workers
//! ```
//!
//! A proxy that cannot reach the control plane keeps its last plan, and starts from the snapshot
//! of its last one. Nothing is published before both configuration and endpoints are known, so no
//! client meets half a configuration.

pub mod dns;
pub mod inventory;
pub mod listeners;
pub mod persist;
pub mod wanted;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::{Plan, Store};
use lateen_model::secret::Secret;
use lateen_xds::Kind;
use lateen_xds::client::{Client, Name, Update};
use tokio::time::{Instant, MissedTickBehavior};

use crate::observe::exposition::Registry;
use crate::published::Published;
use crate::tls::credentials::Credentials;
use crate::worker::crew::Crew;
use dns::Resolver;
use inventory::Inventory;
use listeners::Listeners;
use persist::Persister;
use wanted::Lookups;

/// How often new peers of metrics are asked for and failed listeners are tried again.
const TICK: Duration = Duration::from_secs(2);

/// How long a plan with new services waits for their endpoints, which come in a response of their
/// own: without them their first requests would be answered 503.
const ENDPOINTS_GRACE: Duration = Duration::from_millis(200);

/// The version of the first plan that was made of configuration; workers start with an empty one.
pub const FIRST_VERSION: u64 = 2;

/// What the pages of the admin and status ports show.
#[derive(Debug)]
pub struct Shown {
    /// Metrics.
    pub registry: Registry,
    /// What the proxy has.
    pub inventory: Inventory,
    /// How things stand with the control plane.
    pub link: Link,
    /// The plan in use; nothing before the first.
    pub published: Option<Arc<Published>>,
    /// What servers show to end TLS, without keys.
    pub credentials: Vec<serde_json::Value>,
    /// Listeners that could not be opened, and servers that cannot end TLS, with the reason.
    pub listener_errors: Vec<String>,
}

/// How things stand with the control plane.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// Whether a stream is open.
    pub is_connected: bool,
    /// Since when that is so; nothing before the first attempt.
    pub since: Option<Instant>,
    /// Why the last stream ended.
    pub last_error: String,
    /// The version of the configuration as the control plane names it.
    pub system_version: String,
    /// Whether the configuration in use is the one of an earlier process.
    pub is_from_snapshot: bool,
}

/// The main thread's part of the configuration.
pub struct Control {
    client: Client,
    store: Store,
    resolver: Resolver,
    lookups: Lookups,
    persister: Persister,
    credentials: Credentials,
    listeners: Listeners,
    crew: Rc<Crew>,
    shown: Rc<RefCell<Shown>>,
    version: u64,
    asked: HashSet<IpAddr>,
    /// When a plan is to be published that waits for endpoints.
    due: Option<Instant>,
}

// === impl Control ===

impl Control {
    /// Takes up the last configuration, if there is one, and publishes it.
    pub fn start(
        client: Client,
        (resolver, lookups): (Resolver, Lookups),
        persister: Persister,
        listeners: Listeners,
        crew: Rc<Crew>,
        shown: Rc<RefCell<Shown>>,
        own_addresses: &[IpAddr],
    ) -> Self {
        let mut control = Self {
            client,
            store: Store::new(),
            resolver,
            lookups,
            persister,
            credentials: Credentials::default(),
            listeners,
            crew,
            shown,
            version: FIRST_VERSION - 1,
            asked: HashSet::new(),
            due: None,
        };
        for address in own_addresses {
            control.ask(*address);
        }
        control.resume();
        control
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due;
            tokio::select! {
                update = self.client.next() => self.take(update),
                (name, addresses) = self.resolver.next() => {
                    if self.store.set_dns(&name, addresses) {
                        self.publish();
                    }
                }
                named = self.lookups.next() => self.crew.name(&named),
                () = until(due) => self.publish(),
                _ = tick.tick() => self.tick(),
            }
            self.show_link();
        }
    }

    /// Takes an update over and answers it.
    fn take(&mut self, mut update: Update) {
        let errors = match update.kind() {
            Kind::Workload => {
                self.take_workloads(&update);
                Vec::new()
            }
            Kind::Secret => self.take_secrets(&mut update),
            Kind::Config | Kind::Endpoints => self.take_config(&update),
        };
        for malformed in &update.malformed {
            tracing::warn!(name = %malformed.name, at = %malformed.at, why = %malformed.why,
                "refused a resource that cannot be read");
        }
        for (name, error) in &errors {
            tracing::warn!(%name, %error, "refused a resource; what was there before stays in force");
        }
        let waits = self.waits_for_endpoints(&update);
        let is_workload = update.kind() == Kind::Workload;
        self.client.answer(update, errors);
        if is_workload || !self.client.is_synced() && self.shown.borrow().published.is_none() {
            return;
        }
        if waits {
            self.due.get_or_insert(Instant::now() + ENDPOINTS_GRACE);
        } else {
            self.publish();
        }
    }

    fn take_config(&mut self, update: &Update) -> Vec<(Name, String)> {
        let mut errors = Vec::new();
        let mut shown = self.shown.borrow_mut();
        for resource in &update.resources {
            match self.store.apply(resource.clone()) {
                Ok(()) => shown.inventory.put(resource.clone()),
                Err(error) => errors.push((Name::from(&resource.name), error.to_string())),
            }
        }
        for name in &update.removed_resources {
            self.store.remove(name);
            shown.inventory.remove(name);
        }
        for endpoints in &update.endpoints {
            self.store.apply_endpoints(endpoints.clone());
            shown.inventory.put_endpoints(endpoints.clone());
        }
        for service in &update.removed_endpoints {
            self.store.remove_endpoints(service);
            shown.inventory.remove_endpoints(service);
        }
        shown.link.is_from_snapshot = false;
        self.persister.changed();
        errors
    }

    fn take_workloads(&mut self, update: &Update) {
        let registry = &mut self.shown.borrow_mut().registry;
        for workload in &update.workloads {
            if registry.directory.replaces(workload) {
                registry.retire(workload.address);
            }
            registry.directory.set_workload(workload.clone());
        }
        // Who has left an address is still who was there when its requests were counted: an absent
        // workload changes nothing.
    }

    /// Takes Secrets over. They go nowhere but to the servers that show them.
    fn take_secrets(&mut self, update: &mut Update) -> Vec<(Name, String)> {
        for name in &update.absent_secrets {
            self.credentials.absent(name);
        }
        let names: Vec<String> = update.secrets.iter().map(Secret::key).collect();
        for secret in update.secrets.drain(..) {
            self.credentials.put(secret);
        }
        let published = self.shown.borrow().published.clone();
        if let Some(published) = published {
            self.update_credentials(&published.plan);
        }
        let refused = names.into_iter().filter_map(|name| {
            let why = self.credentials.refused(&name)?.to_owned();
            Some((Name(name), why))
        });
        refused.collect()
    }

    /// Makes what servers need to end TLS, and asks for what is missing.
    fn update_credentials(&mut self, plan: &Plan) {
        let interest = self.credentials.update(plan);
        for name in &interest.watch {
            self.client.watch_secret(name);
        }
        for name in &interest.forget {
            self.client.forget_secret(name);
        }
    }

    /// Everything that keeps a listener from serving.
    fn listener_errors(&self) -> Vec<String> {
        let mut errors = self.listeners.errors();
        errors.extend(self.credentials.errors());
        errors
    }

    /// Answers whether services are new whose endpoints have not come.
    fn waits_for_endpoints(&self, update: &Update) -> bool {
        let inventory = &self.shown.borrow().inventory;
        update
            .resources
            .iter()
            .any(|resource| inventory.lacks_endpoints(resource))
    }

    /// Compiles what changed and gives it to the workers.
    fn publish(&mut self) {
        self.due = None;
        let plan = self.store.compile();
        let rate = plan.mesh().dns_refresh_rate;
        self.resolver.look_up(self.store.dns_names(), rate);
        self.lookups.set_rate(rate);
        self.version += 1;
        self.update_credentials(&plan);
        let mut shown = self.shown.borrow_mut();
        let before = shown.published.as_ref().map(|published| &published.plan);
        if before.is_none_or(|before| before.notices() != plan.notices()) {
            for (object, notice) in plan.notices() {
                tracing::warn!(%object, "{notice}");
            }
        }
        let directory = &mut shown.registry.directory;
        let published = Published::new(self.version, plan, directory);
        let published = Arc::new(published.with_tls(self.credentials.servers()));
        self.crew.publish(&published);
        self.listeners.reconcile(&published.plan, &self.crew);
        shown.listener_errors = self.listener_errors();
        shown.credentials = self.credentials.describe();
        shown.published = Some(published);
    }

    /// Takes up the configuration of an earlier process.
    fn resume(&mut self) {
        let Some(snapshot) = self.persister.load() else {
            return;
        };
        let mut shown = self.shown.borrow_mut();
        for resource in snapshot.resources {
            match self.store.apply(resource.clone()) {
                Ok(()) => shown.inventory.put(resource),
                Err(error) => {
                    tracing::warn!(name = %resource.name, %error, "left a saved resource out");
                }
            }
        }
        for endpoints in snapshot.endpoints {
            self.store.apply_endpoints(endpoints.clone());
            shown.inventory.put_endpoints(endpoints);
        }
        shown.link.is_from_snapshot = true;
        drop(shown);
        self.client.resume(snapshot.versions);
        self.publish();
        tracing::info!("serving the last configuration until the control plane is heard");
    }

    fn tick(&mut self) {
        let peers: BTreeSet<IpAddr> = self.shown.borrow().registry.peers().collect();
        for peer in peers {
            self.ask(peer);
        }
        let published = self.shown.borrow().published.clone();
        if let Some(published) = published
            && self.listeners.has_errors()
        {
            self.listeners.reconcile(&published.plan, &self.crew);
            self.shown.borrow_mut().listener_errors = self.listener_errors();
        }
        if self.credentials.refresh_files() {
            self.publish();
        }
        let shown = self.shown.borrow();
        self.persister
            .save(&shown.inventory, self.client.versions());
    }

    /// Asks who lives at an address, once.
    fn ask(&mut self, address: IpAddr) {
        if self.asked.insert(address) {
            self.client.watch_workload(address);
        }
    }

    fn show_link(&self) {
        let status = self.client.status();
        let link = &mut self.shown.borrow_mut().link;
        link.is_connected = status.is_connected;
        link.since = Some(status.since);
        if link.last_error != status.last_error {
            link.last_error.clone_from(&status.last_error);
        }
        if link.system_version != status.system_version {
            link.system_version.clone_from(&status.system_version);
        }
    }
}

/// Waits until a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
