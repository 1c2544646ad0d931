//! Connections that are carried as bytes.

pub mod relay;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lateen_decide::cluster::{IdleTimeout, Load};
use lateen_decide::{Counted, Outcome, Permit, Upstream, Usage};
use lateen_model::Reason;
use lateen_model::pool::TcpKeepalive;
use lateen_wire::server_name::{ServerName, server_name};
use lateen_wire::sniff::Verdict;

use crate::clock;
use crate::connection::Origin;
use crate::connection::rules::{self, Chosen, Rules};
use crate::connection::sniff::judge;
use crate::deadline::Deadline;
use crate::observe::access_log::{self, Entry};
use crate::observe::flags::Flags;
use crate::observe::metrics::{Key, RequestProtocol, Service};
use crate::side::Side;
use crate::transport::Read;
use crate::upstream::{self, Active, Owner};
use crate::worker::Worker;
use relay::{End, Limits, Moved};

/// A connection to carry: everything that outlives the plan by which it was decided.
struct Course {
    target: Result<Target, Reason>,
    key: Key,
    cluster: String,
    route: String,
    /// The name that the client asked for in TLS, if that is logged.
    server_name: Vec<u8>,
    /// The host that has to be looked up before there is a target.
    seeks: Option<String>,
}

/// Where a connection goes, and how.
struct Target {
    key: upstream::Key,
    load: Option<Arc<Load>>,
    connect_timeout: Duration,
    keepalive: Option<TcpKeepalive>,
    /// How long it may be silent.
    idle: IdleTimeout,
    /// How old it may get; any age if unset.
    age: Option<Duration>,
    permit: Permit<Arc<Usage>>,
}

/// Who spoke first on a connection on which nothing is declared.
enum Spoke {
    /// The client, like this.
    Client(Verdict),
    /// The upstream, or one of them ended: bytes it is.
    Other,
    /// Nobody in the time that a connection may be silent.
    Nobody,
}

/// Carries a connection of which the first bytes are known, if it begins with any.
pub async fn serve(worker: &Rc<Worker>, side: Side, origin: Origin, verdict: Verdict) {
    let mut course = Course::choose(worker, origin, verdict, &side);
    if let Some(host) = course.seeks.take() {
        Box::pin(worker.names.wait(&host)).await;
        course = Course::choose(worker, origin, verdict, &side);
    }
    let upstream = course.connect(worker, origin).await;
    run(worker, side, origin, course, upstream).await;
}

/// Carries a connection whose client has been silent: dials the upstream and watches both sides.
/// Answers the connection if it is HTTP after all.
pub async fn serve_undeclared(
    worker: &Rc<Worker>,
    mut side: Side,
    origin: Origin,
) -> Option<(Side, Verdict)> {
    let course = Course::choose(worker, origin, Verdict::Tcp, &side);
    let mut upstream = match course.connect(worker, origin).await {
        Ok(upstream) => upstream,
        Err(reason) => {
            run(worker, side, origin, course, Err(reason)).await;
            return None;
        }
    };
    let target = course.target.as_ref();
    let idle = target.map_or(IdleTimeout::Default, |target| target.idle);
    let idle = idle.or(worker.profile.timeouts.tcp_idle);
    let verdict = match who_speaks(worker, &mut side, &mut upstream, idle).await {
        Spoke::Nobody => return None,
        Spoke::Other => Verdict::Tcp,
        Spoke::Client(verdict) => verdict,
    };
    let takes_http = Rules::of(&worker.view(), origin).takes_http(verdict);
    if takes_http && verdict == Verdict::Http2 {
        return Some((side, verdict)); // Its streams have connections of their own.
    }
    if takes_http && verdict == Verdict::Http1 {
        // Nothing was said on it, so the first request may use it.
        if let Ok(target) = course.target {
            let mut connection = Box::new(upstream::Connection::from(upstream.transport));
            connection.permit = Some(target.permit);
            connection.ends = target.age.and_then(|age| clock::now().checked_add(age));
            worker.pools.checkin(&target.key, connection, clock::now());
        }
        return Some((side, verdict));
    }
    if verdict == Verdict::Tls {
        let named = Course::choose(worker, origin, verdict, &side);
        if named.cluster != course.cluster {
            drop(upstream);
            let upstream = named.connect(worker, origin).await;
            run(worker, side, origin, named, upstream).await;
            return None;
        }
    }
    run(worker, side, origin, course, Ok(upstream)).await;
    None
}

async fn who_speaks(
    worker: &Worker,
    client: &mut Side,
    upstream: &mut Side,
    idle: Option<Duration>,
) -> Spoke {
    let mut deadline = Deadline::default();
    deadline.set(idle.and_then(|idle| clock::now().checked_add(idle)));
    poll_fn(|cx| {
        if upstream.poll_fill(cx, &worker.buffers).is_ready() {
            return Poll::Ready(Spoke::Other);
        }
        while let Poll::Ready(read) = client.poll_fill(cx, &worker.buffers) {
            if !matches!(read, Ok(Read::Bytes(_))) {
                return Poll::Ready(Spoke::Other);
            }
            if let Poll::Ready(verdict) = judge(client) {
                return Poll::Ready(Spoke::Client(verdict));
            }
        }
        deadline.poll(cx).map(|()| Spoke::Nobody)
    })
    .await
}

/// Carries bytes to the end, and records it.
async fn run(
    worker: &Worker,
    mut side: Side,
    origin: Origin,
    course: Course,
    upstream: Result<Side, Reason>,
) {
    let started = clock::now();
    let _tunnel = worker.activity.tunnels.enter();
    let mut total = Moved::default();
    let target = course.target.as_ref().ok();
    let mut upstream_local = None;
    let reason = match upstream {
        Err(reason) => {
            drop(worker.recorder.tcp_opened(Key {
                flags: Flags::of(Some(reason)),
                ..course.key
            }));
            side.transport.reset_on_drop();
            Some(reason)
        }
        Ok(mut upstream) => {
            let opened = worker.recorder.tcp_opened(course.key);
            let load = target.and_then(|target| target.load.clone());
            let _active = load.map(Active::begin);
            upstream_local = upstream.transport.local_addr();
            let idle = target.map_or(IdleTimeout::Default, |target| target.idle);
            let limits = Limits {
                idle: idle.or(worker.profile.timeouts.tcp_idle),
                age: target.and_then(|target| target.age),
            };
            let end = relay::relay(&mut side, &mut upstream, &worker.buffers, limits, |moved| {
                opened.sent(moved.sent);
                opened.received(moved.received);
                total.sent += moved.sent;
                total.received += moved.received;
            })
            .await;
            match end {
                End::Closed | End::Idle => None,
                End::Old => Some(Reason::ConnectionDurationLimit),
                End::Downstream(_) => Some(Reason::DownstreamConnectionTermination),
                End::Upstream(_) => Some(Reason::UpstreamConnectionTermination),
            }
        }
    };
    if worker.log.is_on() {
        worker.log.write(&Entry {
            flags: Flags::of(reason),
            bytes_received: total.received,
            bytes_sent: total.sent,
            duration_ms: clock::millis_between(started, clock::now()),
            upstream: target.map(|target| &target.key.address),
            upstream_local,
            cluster: &course.cluster,
            route: &course.route,
            origin,
            server_name: &course.server_name,
            request: access_log::Request::NONE,
            status: 0,
            service_time_ms: None,
        });
    }
}

// === impl Course ===

impl Course {
    fn choose(worker: &Worker, origin: Origin, verdict: Verdict, side: &Side) -> Self {
        let view = worker.view();
        let rules = Rules::of(&view, origin);
        let chosen = rules.choose_tcp(worker, verdict, side.buffer.bytes());
        let key = chosen.key(origin, RequestProtocol::Tcp);
        let seeks = match chosen.service {
            Service::Cluster(id) if chosen.target.is_err() => {
                let host = rules.host(id, side.buffer.bytes());
                host.filter(|host| worker.names.is_unknown(host))
            }
            _ => None,
        };
        let Chosen {
            target,
            cluster,
            route,
            ..
        } = chosen;
        Self {
            target: target.and_then(Target::of),
            key,
            cluster: cluster.to_owned(),
            route: route.to_owned(),
            server_name: asked(worker, origin, verdict, side),
            seeks,
        }
    }

    async fn connect(&self, worker: &Worker, origin: Origin) -> Result<Side, Reason> {
        let target = self.target.as_ref().map_err(|reason| *reason)?;
        let limit = target.connect_timeout.min(worker.profile.timeouts.connect);
        let upstream::Key { address, mark, .. } = &target.key;
        let keepalive = target.keepalive.as_ref();
        let connected = worker
            .connector
            .connect(address, *mark, limit, keepalive)
            .await;
        self.report(worker, origin, connected.is_ok());
        connected.map(Side::new).map_err(|error| {
            tracing::debug!(%address, %error, "cannot connect to the upstream");
            Reason::UpstreamConnectionFailure
        })
    }

    /// Has the cluster take note of how its endpoint did, by the plan of now.
    fn report(&self, worker: &Worker, origin: Origin, is_connected: bool) {
        let Ok(target) = &self.target else { return };
        let view = worker.view();
        let Owner::Cluster(id) = target.key.owner else {
            return;
        };
        let Some(cluster) = Rules::of(&view, origin).cluster(id) else {
            return;
        };
        let (Upstream::Endpoints(set), Some(_)) =
            (&cluster.upstream, &cluster.policy.outlier_detection)
        else {
            return;
        };
        let mut endpoints = set.all().iter();
        if let Some(endpoint) = endpoints.find(|one| one.address == target.key.address) {
            let outcome = if is_connected {
                Outcome::Connected
            } else {
                Outcome::Failed
            };
            cluster.record(endpoint, outcome, clock::millis(clock::now()));
        }
    }
}

/// The name that a client asked for in TLS, if somebody wants to know.
fn asked(worker: &Worker, origin: Origin, verdict: Verdict, side: &Side) -> Vec<u8> {
    if !worker.log.is_on() {
        return Vec::new();
    }
    if let Some(facts) = origin.tls.and_then(|it| worker.sessions.get(it)) {
        return facts.server_name.to_vec();
    }
    match server_name(side.buffer.bytes()) {
        ServerName::Name(name) if verdict == Verdict::Tls => name.into_owned(),
        ServerName::Name(_) | ServerName::Absent | ServerName::NeedMore => Vec::new(),
    }
}

// === impl Target ===

impl Target {
    /// Takes what is needed of the plan, which may change before the connection ends.
    fn of(target: rules::Target<'_>) -> Result<Self, Reason> {
        let rules::Target {
            address,
            mark,
            recipient,
            endpoint,
            declared: _,
        } = target;
        let policy = recipient.policy();
        let permit = recipient.permit(Counted::Connection);
        let permit = permit.ok_or(Reason::UpstreamOverflow)?;
        Ok(Self {
            key: upstream::Key {
                address,
                mark,
                owner: recipient.owner(),
                version: upstream::Version::Http1,
            },
            load: endpoint.map(|endpoint| Arc::clone(&endpoint.load)),
            connect_timeout: policy.connect_timeout,
            keepalive: policy.keepalive.clone(),
            idle: policy.tcp_idle_timeout,
            age: policy.max_connection_duration,
            permit: permit.into_owned(),
        })
    }
}
