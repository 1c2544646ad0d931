//! The attempts of one exchange: an endpoint, leave to use it, a connection, the transfer; and
//! again elsewhere, where the policy of retries says so and nothing can be lost or seen twice.
//!
//! ```text
//! locate ─► make ─┬─ relayed ─────────────────────────────► End::Relayed
//!    ▲            └─ failed, or answered by what is worth another attempt
//!    └── pause ◄──── worth another? ── no ────────────────► End::Answer, or the connection breaks
//! ```
//!
//! Apart from retries stands the repeat of a request whose pooled connection turned out to be
//! closed: that is the pool's doing, costs no attempt, and stays at its endpoint.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::retry::AttemptFailure;
use lateen_decide::{Counted, Outcome, Permit, Pick, Usage};
use lateen_model::Reason;
use lateen_wire::h1::field::Name;
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::head::{Persistence, Version};
use lateen_wire::h1::target::Authority;

use super::Next;
use super::affinity;
use super::client::Client;
use super::course::{Action, Course};
use super::exchange::End;
use super::failure;
use super::fault;
use super::grpc;
use super::links::{self, Link};
use super::mirror;
use super::record::Record;
use super::request_head::{self, Sent};
use super::timeouts::Timeouts;
use super::transfer::{About, Done, Failure, Terms, Transfer};
use super::workspace::{Extent, Workspace};
use crate::clock::{self, Instant};
use crate::connection::rules::{Recipient, Target};
use crate::names;
use crate::upstream::{Active, Connection, Request};
use crate::worker::Worker;

/// The attempts of one exchange.
struct Attempts<'x, 'p> {
    worker: Rc<Worker>,
    client: &'x mut Client,
    work: &'x mut Workspace,
    course: &'x mut Course<'p>,
    record: &'x mut Record,
    about: About,
    /// How long all attempts may take together.
    total: Option<Duration>,
    /// When they have to end, once the request is whole.
    ends: Option<Instant>,
    /// The hash by which endpoints are chosen.
    hash: Option<u64>,
    /// The host that is asked for, where its addresses are the endpoints.
    host: Option<String>,
    /// How many were begun.
    begun: u32,
    /// Leave for the retry that is under way.
    permit: Option<Permit<&'p Arc<Usage>>>,
}

/// Sends a request to its cluster until it is answered, or must not be sent again.
pub(super) async fn run(
    client: &mut Client,
    work: &mut Workspace,
    course: &mut Course<'_>,
    about: About,
    record: &mut Record,
) -> End<'static> {
    let mut attempts = Attempts::new(client, work, course, about, record);
    if attempts.seeks_host() {
        // Boxed, as it is rare and would make the future of every exchange larger.
        Box::pin(attempts.learn_host()).await;
    }
    loop {
        if let Err(reason) = attempts.locate() {
            return End::refuse(reason);
        }
        attempts.begin();
        let failure = match attempts.make().await {
            Ok(next) => {
                mirror::send_streamed(attempts.client, attempts.work, attempts.course);
                return End::Relayed(next);
            }
            Err(failure) => failure,
        };
        attempts.report(failure::outcome(failure));
        if !attempts.is_worth_another(failure) {
            return attempts.fail(failure);
        }
        if let Err(failure) = attempts.pause().await {
            return attempts.fail(failure);
        }
    }
}

// === impl Attempts ===

impl<'x, 'p> Attempts<'x, 'p> {
    fn new(
        client: &'x mut Client,
        work: &'x mut Workspace,
        course: &'x mut Course<'p>,
        about: About,
        record: &'x mut Record,
    ) -> Self {
        let mut total = course.policy.limit();
        if about.is_call {
            let fields = work.request(&client.side).fields();
            let asked = Name::new(b"grpc-timeout").and_then(|name| fields.get_all(name).next());
            if let Some(asked) = asked.and_then(grpc::timeout) {
                total = Some(total.map_or(asked, |total| total.min(asked)));
            }
        }
        let is_whole = work.extent != Extent::Streamed;
        // Faults that were injected come before all of it.
        let from = if record.flags().was_delayed {
            clock::now()
        } else {
            record.started
        };
        let ends = total.filter(|_| is_whole);
        Self {
            worker: Rc::clone(&client.worker),
            ends: ends.and_then(|total| from.checked_add(total)),
            hash: affinity::hash(client, work, course),
            total,
            host: None,
            begun: 0,
            permit: None,
            client,
            work,
            course,
            record,
            about,
        }
    }

    /// Answers whether the endpoints are the addresses of the host that is asked for, and these
    /// have to be looked up first.
    fn seeks_host(&mut self) -> bool {
        let Action::Forward(id) = self.course.action else {
            return false;
        };
        if !self.course.rules.is_dynamic(id) {
            return false;
        }
        let request = self.work.request(&self.client.side);
        let host = request.authority().map(Authority::host);
        self.host = host.and_then(names::canonical);
        let names = &self.worker.names;
        self.host.as_deref().is_some_and(|it| names.is_unknown(it))
    }

    /// Waits for the addresses of the host.
    async fn learn_host(&self) {
        let known = self.worker.names.wait(self.host.as_deref().unwrap_or(""));
        match self.ends {
            // A name that comes too late is as good as none.
            Some(ends) => drop(tokio::time::timeout_at(ends, known).await),
            None => known.await,
        }
    }

    /// Chooses where the next attempt goes.
    fn locate(&mut self) -> Result<(), Reason> {
        let Action::Forward(cluster) = self.course.action else {
            return self.located();
        };
        let retries = &self.course.policy.retries;
        // A hash means one endpoint: Istio's policy does not avoid it then.
        let avoids = retries.ignores_previous_hosts && self.hash.is_none();
        let now = match self.begun {
            0 => self.record.started,
            _ => clock::now(),
        };
        let context = Pick {
            now: clock::millis(now),
            hash: self.hash,
            host: self.host.as_deref(),
            tried: if avoids { &self.work.tried } else { &[] },
            seeks_other_localities: retries.remote_localities,
        };
        self.course.chosen.target = self.course.rules.locate(&self.worker, cluster, &context);
        self.located()
    }

    fn located(&self) -> Result<(), Reason> {
        let target = self.course.chosen.target.as_ref();
        target.map(|_| ()).map_err(|reason| *reason)
    }

    /// Where the attempt that has begun goes.
    fn target(&self) -> &Target<'p> {
        let target = self.course.chosen.target.as_ref();
        target.expect("an attempt begins when its target is located")
    }

    fn link(&self) -> Link<'p> {
        let is_http2 = self.client.side.transport.is_stream();
        Link::of(self.target(), self.client.origin.door, is_http2)
    }

    /// Writes the head, or makes that of the last attempt that of the next one.
    fn begin(&mut self) {
        self.begun += 1;
        if self.begun == 1 {
            let sent = Sent {
                timeout: self.course.policy.retries.per_try_timeout.or(self.total),
                is_call: self.about.is_call,
            };
            self.record.sends_upgrade =
                request_head::send(self.client, self.work, self.course, sent);
            mirror::send_whole(self.client, self.work, self.course);
            return;
        }
        let flow = &mut self.work.to_upstream;
        flow.repeat(self.record.head_bytes);
        request_head::change_attempt(flow, self.begun);
        self.work.to_client.reset();
        self.work.response.clear();
    }

    /// Makes one attempt, again on another connection if an idle one had been closed.
    async fn make(&mut self) -> Result<Next, Failure> {
        let target = self.target();
        let active = target
            .endpoint
            .map(|endpoint| Active::begin(&endpoint.load));
        let request = target.recipient.permit(Counted::Request);
        let request = request.ok_or(Failure::Overflow)?;
        let is_idempotent = request_head::is_idempotent(self.about.method);
        let can_repeat = is_idempotent && self.work.extent != Extent::Streamed;
        let mut pooled = links::checkout(&self.worker, &self.link(), can_repeat);
        let result = loop {
            let is_reused = pooled.is_some();
            let ready = pooled.take();
            let connection = match ready.or_else(|| links::ready(&self.worker, &self.link())) {
                Some(connection) => connection,
                // Boxed, as it is needed once per connection and would make that of every
                // exchange larger.
                None => Box::pin(self.open()).await?,
            };
            let failure = match self.exchange(connection).await {
                Ok(next) => break Ok(next),
                Err(failure) => failure,
            };
            let is_unseen = self.work.to_upstream.written() == 0;
            let is_stale = is_reused && failure == Failure::NoResponse;
            if !is_stale || !self.work.to_upstream.can_repeat() || !(is_idempotent || is_unseen) {
                break Err(failure);
            }
            self.work.to_upstream.repeat(self.record.head_bytes);
        };
        match result {
            Ok(Next::Tunnel(mut connection)) => {
                connection.request = Some(Request::new(request, active));
                Ok(Next::Tunnel(connection))
            }
            result => result,
        }
    }

    /// Waits for a connection, but not for a client that has gone: others wait behind it.
    async fn open(&mut self) -> Result<Box<Connection>, Failure> {
        let link = self.link();
        tokio::select! {
            biased;
            opened = links::open(&self.worker, &link, self.ends) => opened,
            _ = fault::pause(self.client, None) => Err(Failure::ClientGone),
        }
    }

    /// Moves the request and its response over a connection, and settles what becomes of it.
    async fn exchange(&mut self, mut connection: Box<Connection>) -> Result<Next, Failure> {
        connection.served += 1;
        let transport = &connection.side.transport;
        let target = self.target();
        let (address, recipient) = (target.address.clone(), target.recipient);
        self.record.reaches(address, &self.worker.log, transport);
        let policy = self.course.policy;
        let idle = self.worker.profile.timeouts.stream_idle;
        let per_try = policy.retries.per_try_timeout;
        let terms = Terms {
            course: self.course,
            recipient,
            timeouts: Timeouts::new(self.total, self.ends, per_try, idle),
            retries_left: (policy.retries.attempts + 1).saturating_sub(self.begun),
        };
        let side = &mut connection.side;
        let mut transfer =
            Transfer::new(self.client, side, self.work, self.record, self.about, terms);
        let result = transfer.run().await;
        self.ends = transfer.ends();
        self.permit = transfer.take_permit();
        match result {
            Ok(done) => {
                self.report(Some(Outcome::Answered(self.record.status())));
                Ok(self.settle(done, connection))
            }
            Err(failure) => {
                let failure = failure::told_apart(failure, connection.side.transport.fault());
                if let Failure::WorthAnother(_) = failure {
                    self.spare(connection);
                } else {
                    links::close(&self.worker, &self.link(), connection);
                }
                Err(failure)
            }
        }
    }

    /// What becomes of both connections after an exchange that ended well.
    fn settle(&self, done: Done, connection: Box<Connection>) -> Next {
        if done.is_tunnel {
            return Next::Tunnel(connection);
        }
        let is_clean = done.is_request_whole && connection.side.buffer.is_empty();
        if done.upstream == Persistence::KeepAlive && is_clean {
            links::checkin(&self.worker, &self.link(), connection, done.at);
        } else {
            links::close(&self.worker, &self.link(), connection);
        }
        match done.client {
            Persistence::KeepAlive => Next::Again,
            // The answer is whole, the request is not: the client may still be sending.
            Persistence::Close if !done.is_request_whole => Next::Linger,
            Persistence::Close => Next::Close,
        }
    }

    /// Keeps the connection of an answer that is thrown away, if all of the answer has come;
    /// else to read on would cost more than another connection.
    fn spare(&self, mut connection: Box<Connection>) {
        let buffer = &mut connection.side.buffer;
        let head = self.work.response.view(buffer.bytes());
        let whole = match head.body() {
            Body::Empty => Some(0),
            Body::Length(length) => usize::try_from(length).ok(),
            Body::Chunked | Body::UntilClose | Body::Tunnel => None,
        };
        let is_whole = whole.is_some_and(|body| self.work.response.len() + body == buffer.len());
        let is_open = head.persistence() == Persistence::KeepAlive;
        buffer.discard(&self.worker.buffers);
        if is_whole && is_open && self.work.to_upstream.is_done() {
            links::checkin(&self.worker, &self.link(), connection, clock::now());
        } else {
            links::close(&self.worker, &self.link(), connection);
        }
    }

    /// Has the cluster take note of how an endpoint did.
    fn report(&self, outcome: Option<Outcome>) {
        let target = self.target();
        if let (Recipient::Cluster(cluster), Some(endpoint), Some(outcome)) =
            (target.recipient, target.endpoint, outcome)
            && cluster.policy.outlier_detection.is_some()
        {
            cluster.record(endpoint, outcome, clock::millis(clock::now()));
        }
    }

    /// Answers whether there is to be another attempt after this one.
    fn is_worth_another(&mut self, failure: Failure) -> bool {
        if let Failure::WorthAnother(_) = failure {
            return true; // Was asked before the answer was thrown away.
        }
        let retries = &self.course.policy.retries;
        let is_unsent = self.work.to_upstream.written() == 0;
        let is_wanted = match failure::attempt_failure(failure, is_unsent) {
            None => false,
            // A connection that broke before anything was written is as good as none.
            Some(AttemptFailure::Reset { is_unsent: true })
                if retries.retries_failure(AttemptFailure::Connect) =>
            {
                true
            }
            Some(failure) => retries.retries_failure(failure),
        };
        if !is_wanted || !retries.is_on() {
            return false;
        }
        let is_fresh = !self.record.has_responded() && self.work.to_client.written() == 0;
        if !is_fresh || !self.work.to_upstream.can_repeat() {
            return false;
        }
        if self.begun <= retries.attempts {
            let permit = self.target().recipient.permit(Counted::Retry);
            if permit.is_some() {
                self.permit = permit;
                return true;
            }
        }
        self.record.is_exhausted();
        false
    }

    /// Waits before the next attempt, longer each time.
    async fn pause(&mut self) -> Result<(), Failure> {
        let address = self.target().address.clone();
        self.work.tried.push(address);
        let longest = self.course.policy.retries.longest_pause(self.begun);
        let nanos = (u128::from(self.worker.random.next()) * longest.as_nanos()) >> 64;
        let pause = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if pause.is_zero() {
            return Ok(());
        }
        let until = clock::now().checked_add(pause);
        let is_late = self
            .ends
            .is_some_and(|ends| until.is_none_or(|it| it >= ends));
        let until = if is_late { self.ends } else { until };
        // Boxed: retries are rare, and the future of every exchange would be larger.
        match Box::pin(fault::pause(self.client, until)).await {
            Err(fault::ClientGone) => Err(Failure::ClientGone),
            Ok(()) if is_late => Err(Failure::TimedOut),
            Ok(()) => Ok(()),
        }
    }

    /// What becomes of a request whose last attempt broke off.
    fn fail(&mut self, failure: Failure) -> End<'static> {
        let reason = failure::reason(failure);
        let is_gone = failure == Failure::ClientGone;
        if !is_gone && !self.record.has_responded() && self.work.to_client.is_done() {
            return End::refuse(reason);
        }
        self.record.broke_off(reason);
        if self.about.version == Version::Http10 {
            // An orderly end would tell an HTTP/1.0 client that its response is complete.
            self.client.side.transport.reset_on_drop();
        }
        End::Relayed(Next::Close)
    }
}
