//! All workers, as the main thread holds them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::LocalSet;

use super::{Listener, Message, Phase, Profile, Shared, Worker, run};
use crate::activity::{Activity, Gauge};
use crate::connection::Door;
use crate::names::{Named, Names, Wanted};
use crate::observe::access_log::{Sink, Writer};
use crate::published::Published;
use crate::sys;
use crate::upstream::Connector;

/// The threads that serve traffic.
#[derive(Debug)]
pub struct Crew {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    messages: UnboundedSender<Message>,
    shared: Shared,
}

// === impl Crew ===

impl Crew {
    /// Starts as many threads as asked for. They accept nothing yet.
    pub fn start(
        count: usize,
        profile: Profile,
        plan: &Arc<Published>,
        sink: &Sink,
        wanted: &Wanted,
    ) -> io::Result<Self> {
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            let (messages, received) = mpsc::unbounded_channel();
            let shared = Shared::default();
            let start = Start {
                profile,
                plan: Arc::clone(plan),
                shared: shared.clone(),
                sink: sink.clone(),
                wanted: wanted.clone(),
                messages: received,
            };
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || start.run())?;
            members.push(Member { messages, shared });
        }
        Ok(Self { members })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Answers whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What each counts.
    pub fn shared(&self) -> impl Iterator<Item = &Shared> {
        self.members.iter().map(|member| &member.shared)
    }

    /// The sum of a gauge.
    pub fn sum(&self, pick: fn(&Activity) -> &Gauge) -> u64 {
        self.shared()
            .map(|shared| pick(&shared.activity).get())
            .sum()
    }

    /// Answers whether every worker uses this plan or a later one.
    pub fn uses(&self, version: u64) -> bool {
        self.shared()
            .all(|shared| shared.activity.plan_version.get() >= version)
    }

    /// Gives every worker a plan.
    pub fn publish(&self, plan: &Arc<Published>) {
        self.tell(|| Message::Plan(Arc::clone(plan)));
    }

    /// Tells every worker about a phase.
    pub fn enter(&self, phase: Phase) {
        self.tell(|| Message::Phase(phase));
    }

    /// Has every worker accept on an address, on a socket of its own. Port 0 takes any free one.
    /// Answers the address.
    ///
    /// # Errors
    /// When it cannot be bound; then nobody listens to it.
    pub fn listen(&self, address: SocketAddr, door: Door) -> io::Result<SocketAddr> {
        let first = sys::listen(address)?;
        let bound = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..self.members.len() {
            sockets.push(sys::listen(bound)?);
        }
        for (member, socket) in self.members.iter().zip(sockets) {
            member.tell(Message::Listen(Listener {
                address: bound,
                socket,
                door,
            }));
        }
        Ok(bound)
    }

    /// Tells every worker what a name stands for that requests ask for.
    pub fn name(&self, named: &Named) {
        self.tell(|| Message::Named(named.clone()));
    }

    /// Has every worker hand over what is logged.
    pub fn flush(&self) {
        self.tell(|| Message::Flush);
    }

    /// Has every worker stop accepting on an address.
    pub fn unlisten(&self, address: SocketAddr) {
        self.tell(|| Message::Unlisten(address));
    }

    fn tell(&self, message: impl Fn() -> Message) {
        for member in &self.members {
            member.tell(message());
        }
    }
}

// === impl Member ===

impl Member {
    fn tell(&self, message: Message) {
        if self.messages.send(message).is_err() {
            // A worker ends only by a panic, which its thread has reported. Serving on with fewer
            // would leave a listening socket that nobody accepts from.
            tracing::error!("a worker has ended; so does the process");
            std::process::exit(70);
        }
    }
}

/// What a thread starts with.
struct Start {
    profile: Profile,
    plan: Arc<Published>,
    shared: Shared,
    sink: Sink,
    wanted: Wanted,
    messages: UnboundedReceiver<Message>,
}

// === impl Start ===

impl Start {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "cannot start a worker's event loop");
                return;
            }
        };
        let log = Writer::new(self.sink);
        let names = Names::new(Some(self.wanted));
        let connector = Connector::Sockets;
        let worker = Worker::new(self.profile, &self.shared, self.plan, connector, names, log);
        LocalSet::new().block_on(&runtime, run(worker, self.messages));
    }
}
