//! A worker: one thread with its own runtime, listeners, connection pools, plan and counters.
//!
//! Nothing of a request leaves its worker. The main thread speaks to it through one ordered queue
//! of [`Message`]s, and reads its counters. A new plan takes effect between two requests.

mod accept;
pub mod crew;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::{Cluster, ClusterId, Endpoint, Pick, Scratch, Upstream};
use lateen_model::SocketAddress;
use lateen_model::proxy::Role;
use lateen_wire::h1::head::Limits;
use tokio::sync::{Notify, mpsc};

use crate::activity::Activity;
use crate::buffer;
use crate::clock;
use crate::h2::Attendants;
use crate::http::workspace;
use crate::names::{Named, Names};
use crate::observe::access_log;
use crate::observe::metrics::{Recorder, Shard};
use crate::published::Published;
use crate::random::Random;
use crate::settings::Timeouts;
use crate::sys::Mark;
use crate::tls;
use crate::upstream::{self, Connector, Owner, Pools};

pub use accept::Listener;

/// How often a worker looks after its idle connections and writes its log.
const TICK: Duration = Duration::from_secs(1);

/// What all workers of a process share, for each to copy.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// The kind of the proxy.
    pub role: Role,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Limits of heads.
    pub limits: Limits,
    /// The ports to which traffic is redirected: connections that were dialled to them are loops.
    pub captured_ports: [u16; 2],
}

/// What the main thread tells a worker.
#[derive(Debug)]
pub enum Message {
    /// Use this plan from now on.
    Plan(Arc<Published>),
    /// Accept connections.
    Listen(Listener),
    /// Accept what has arrived, then no more.
    Unlisten(SocketAddr),
    /// Enter this phase.
    Phase(Phase),
    /// What a name that requests ask for stands for.
    Named(Named),
    /// Hand over what is logged.
    Flush,
}

/// Where a proxy is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serves.
    Serving,
    /// Serves, and asks clients to go elsewhere.
    Draining,
    /// Takes no new connections from outside.
    Closing,
}

/// The state of one worker. Everything in it is of one thread.
#[derive(Debug)]
pub struct Worker {
    /// What it is.
    pub profile: Profile,
    /// Storage for what is read.
    pub buffers: Rc<buffer::Pool>,
    /// Memory for connections whose TLS ends here.
    pub tls: Rc<RefCell<tls::Memory>>,
    /// What is known of them.
    pub sessions: tls::Sessions,
    /// What exchanges reuse.
    pub workspaces: workspace::Pool,
    /// The tasks that serve streams of HTTP/2.
    pub attendants: Attendants,
    /// Random choices.
    pub random: Random,
    /// Space for decisions.
    pub scratch: RefCell<Scratch>,
    /// Idle upstream connections.
    pub pools: Pools,
    /// How upstream connections are opened.
    pub connector: Connector,
    /// Names that requests ask for.
    pub names: Names,
    /// Metrics.
    pub recorder: Recorder,
    /// The access log.
    pub log: access_log::Writer,
    /// What it is doing.
    pub activity: Arc<Activity>,
    phase: Cell<Phase>,
    phase_news: Notify,
    current: RefCell<View>,
    rotations: RefCell<Vec<u32>>,
    is_plan_new: Cell<bool>,
}

/// A plan in use: an exchange holds it from its decision to its end, by a count that is not atomic.
#[allow(
    clippy::redundant_allocation,
    reason = "the outer count is of one thread, the inner one of all"
)]
pub type View = Rc<Arc<Published>>;

/// The parts of a worker that the main thread keeps a hand on.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// Counters.
    pub shard: Arc<Shard>,
    /// Gauges.
    pub activity: Arc<Activity>,
}

// === impl Worker ===

impl Worker {
    /// A worker that uses this plan.
    pub fn new(
        profile: Profile,
        shared: &Shared,
        plan: Arc<Published>,
        connector: Connector,
        names: Names,
        log: access_log::Writer,
    ) -> Rc<Self> {
        shared.activity.plan_version.set(plan.version);
        Rc::new(Self {
            profile,
            buffers: Rc::default(),
            tls: Rc::default(),
            sessions: tls::Sessions::default(),
            workspaces: workspace::Pool::default(),
            attendants: Attendants::default(),
            random: Random::from_system(),
            scratch: RefCell::default(),
            pools: Pools::default(),
            connector,
            names,
            recorder: Recorder::new(Arc::clone(&shared.shard)),
            log,
            activity: Arc::clone(&shared.activity),
            phase: Cell::new(Phase::Serving),
            phase_news: Notify::new(),
            current: RefCell::new(Rc::new(plan)),
            rotations: RefCell::default(),
            is_plan_new: Cell::new(false),
        })
    }

    /// The plan of now.
    pub fn view(&self) -> View {
        Rc::clone(&self.current.borrow())
    }

    /// Uses another plan from the next request on.
    pub fn use_plan(&self, plan: Arc<Published>) {
        self.log.configure(plan.plan.mesh());
        self.activity.plan_version.set(plan.version);
        self.current.replace(Rc::new(plan));
        self.is_plan_new.set(true);
    }

    /// Where the proxy is in its life.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.phase_news.notify_waiters();
    }

    /// Waits until the proxy is about to end: for connections that do not ask at each request.
    pub async fn draining(&self) {
        while self.phase() == Phase::Serving {
            self.phase_news.notified().await;
        }
    }

    /// Chooses an endpoint of a cluster.
    pub fn pick<'a>(&self, cluster: &'a Cluster, context: &Pick<'_>) -> Option<&'a Endpoint> {
        let ClusterId(index) = cluster.id;
        let index = usize::try_from(index).unwrap_or(0);
        let mut rotations = self.rotations.borrow_mut();
        if rotations.len() <= index {
            // Once per cluster: ids are dense and never reused.
            rotations.resize(index + 1, 0);
        }
        cluster.pick(context, &mut rotations[index], || self.random.next())
    }

    /// Looks after what is idle.
    pub fn tick(&self) {
        self.log.flush();
        if self.pools.is_empty() {
            self.is_plan_new.set(false);
            return;
        }
        let view = self.view();
        let own = self.profile.timeouts.upstream_idle;
        let limit = |key: &upstream::Key| {
            let (policy, usage) = match key.owner {
                Owner::Cluster(id) => match view.plan.cluster(id) {
                    Some(cluster) => (&cluster.policy, &cluster.usage),
                    None => return Some(own),
                },
                Owner::Port(port) => {
                    let inbound = view.plan.inbound(port);
                    (&inbound.policy, &inbound.usage)
                }
            };
            if usage.awaiting() > self.pools.waiting(key.owner) {
                // A request of another worker waits for the connection to be given up.
                return Some(Duration::ZERO);
            }
            policy.http_idle_timeout.or(own)
        };
        if self.is_plan_new.replace(false) {
            let wanted = self.endpoints();
            self.pools.sweep(clock::now(), limit, |key| {
                key.mark == Mark::Inbound || wanted.contains(&key.address)
            });
        } else {
            self.pools.sweep(clock::now(), limit, |_| true);
        }
    }

    fn endpoints(&self) -> HashSet<SocketAddress> {
        let view = self.view();
        let mut addresses = HashSet::new();
        for cluster in view.plan.clusters() {
            if let Upstream::Endpoints(set) = &cluster.upstream {
                addresses.extend(set.all().iter().map(|endpoint| endpoint.address.clone()));
            }
        }
        addresses
    }
}

/// Runs a worker until the main thread drops its end of the queue.
pub async fn run(worker: Rc<Worker>, mut messages: mpsc::UnboundedReceiver<Message>) {
    let mut listeners = HashMap::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            _ = tick.tick() => {
                worker.tick();
                continue;
            }
        };
        match message {
            None => return,
            Some(Message::Plan(plan)) => worker.use_plan(plan),
            Some(Message::Listen(listener)) => {
                let address = listener.address;
                match accept::start(&worker, listener) {
                    Ok(stop) => drop(listeners.insert(address, stop)),
                    Err(error) => tracing::error!(%address, %error, "cannot accept connections"),
                }
            }
            Some(Message::Unlisten(address)) => drop(listeners.remove(&address)),
            Some(Message::Named(named)) => worker.names.learn(named),
            Some(Message::Flush) => worker.log.flush(),
            Some(Message::Phase(phase)) => {
                worker.enter(phase);
                if phase == Phase::Closing {
                    listeners.retain(|_, stop: &mut accept::Stop| !stop.is_drained());
                }
            }
        }
    }
}
