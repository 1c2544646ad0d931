//! Copies of requests for mirrors: sent by a task of their own, of which nobody waits for the
//! answer, so that a mirror that is slow or gone delays and fails nothing.
//!
//! A request that is whole in its buffer is copied before its first attempt. One that streams is
//! copied when all of it has been sent, from what was recorded for retries; one that is longer than
//! the record may be is not mirrored, which is counted. Copies are not in the standard metrics:
//! their receiver counts them.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use lateen_decide::{ClusterId, Counted, Outcome, Pick};
use lateen_wire::h1::head::Persistence;
use lateen_wire::h1::request::Method;

use super::client::Client;
use super::course::Course;
use super::discard::discard;
use super::links::{self, Link};
use super::transfer::Failure;
use super::workspace::{Extent, Workspace};
use crate::clock;
use crate::connection::Origin;
use crate::connection::rules::{Recipient, Rules};
use crate::side::Side;
use crate::upstream::{Active, Connection};
use crate::worker::Worker;

/// How long a copy and its answer may take where the route has no timeout: a mirror must not pile
/// up tasks.
const LONGEST: Duration = Duration::from_secs(60);

/// How many copies a worker has on their way at most; beyond, they are not sent.
const MOST: u64 = 1024;

/// A copy on its way.
struct Copy {
    worker: Rc<Worker>,
    cluster: ClusterId,
    origin: Origin,
    /// The request came over HTTP/2.
    is_http2: bool,
    method: Method,
    bytes: Vec<u8>,
    limit: Duration,
}

/// Sends copies of a request that is whole in its buffer, before it is sent itself.
pub(super) fn send_whole(client: &Client, work: &Workspace, course: &Course<'_>) {
    if !course.policy.mirrors.is_empty() && work.extent != Extent::Streamed {
        send(client, work, course);
    }
}

/// Sends copies of a request that streamed, after all of it was sent.
pub(super) fn send_streamed(client: &Client, work: &Workspace, course: &Course<'_>) {
    if !course.policy.mirrors.is_empty() && work.extent == Extent::Streamed {
        send(client, work, course);
    }
}

fn send(client: &Client, work: &Workspace, course: &Course<'_>) {
    let worker = &client.worker;
    for (cluster, share) in &course.policy.mirrors {
        if !share.takes(|| worker.random.next()) {
            continue;
        }
        let mut bytes = Vec::new();
        let is_copied = work.to_upstream.copy(&client.side, &mut bytes);
        if !is_copied || worker.activity.mirrors.get() >= MOST {
            worker.activity.unmirrored.increase();
            continue;
        }
        let copy = Copy {
            worker: Rc::clone(worker),
            cluster: *cluster,
            origin: client.origin,
            is_http2: client.side.transport.is_stream(),
            method: work.request(&client.side).method(),
            bytes,
            limit: course.policy.limit().unwrap_or(LONGEST),
        };
        tokio::task::spawn_local(copy.run());
    }
}

// === impl Copy ===

impl Copy {
    async fn run(self) {
        let worker = Rc::clone(&self.worker);
        let _running = worker.activity.mirrors.enter();
        match tokio::time::timeout(self.limit, self.send()).await {
            Ok(Ok(())) => worker.activity.mirrored.increase(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a copy was not sent to its mirror");
                worker.activity.unmirrored.increase();
            }
            Err(_) => {
                tracing::debug!("a mirror did not answer in time");
                worker.activity.unmirrored.increase();
            }
        }
    }

    async fn send(&self) -> io::Result<()> {
        let worker = &self.worker;
        let view = worker.view();
        let rules = Rules::of(&view, self.origin);
        let context = Pick {
            now: clock::millis(clock::now()),
            ..Pick::default()
        };
        let (link, endpoint) = {
            let target = rules.locate(worker, self.cluster, &context);
            let target = target.map_err(|reason| io::Error::other(reason.details()))?;
            let link = Link::of(&target, self.origin.door, self.is_http2);
            (link, target.endpoint)
        };
        let full = || io::Error::other("a limit of its cluster is reached");
        let request = link.recipient.permit(Counted::Request);
        let _request = request.ok_or_else(full)?;
        let _active = endpoint.map(|endpoint| Active::begin(&endpoint.load));
        let opened = match links::checkout(worker, &link, false) {
            Some(connection) => Ok(connection),
            None => Box::pin(links::open(worker, &link, None)).await,
        };
        let answered = match opened {
            Ok(connection) => self.exchange(&link, connection).await,
            Err(Failure::Overflow) => return Err(full()),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        if let (Recipient::Cluster(cluster), Some(endpoint)) = (link.recipient, endpoint) {
            let status = answered.as_ref().ok();
            let outcome = status.map_or(Outcome::Failed, |status| Outcome::Answered(*status));
            cluster.record(endpoint, outcome, clock::millis(clock::now()));
        }
        answered.map(drop)
    }

    /// Sends the copy on a connection and reads the answer, of which the status is left.
    async fn exchange(&self, link: &Link<'_>, mut connection: Box<Connection>) -> io::Result<u16> {
        let worker = &self.worker;
        connection.served += 1;
        let answered = exchange(worker, &mut connection.side, self).await;
        if let Ok((_, Persistence::KeepAlive)) = answered {
            links::checkin(worker, link, connection, clock::now());
        } else {
            links::close(worker, link, connection);
        }
        answered.map(|(status, _)| status)
    }
}

async fn exchange(worker: &Worker, side: &mut Side, copy: &Copy) -> io::Result<(u16, Persistence)> {
    let mut sent = 0;
    while sent < copy.bytes.len() {
        let piece = [IoSlice::new(&copy.bytes[sent..])];
        let count = poll_fn(|cx| side.transport.poll_write(cx, &piece)).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        sent += count;
    }
    discard(side, &worker.buffers, &worker.profile.limits, copy.method).await
}
