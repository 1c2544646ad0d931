//! Connections to an upstream for an attempt: an idle one, a new one, or the next that is free.

use std::num::NonZeroU32;
use std::time::Duration;

use lateen_decide::{Counted, Permit};

use super::transfer::Failure;
use crate::clock::{self, Instant};
use crate::connection::Door;
use crate::connection::rules::{Recipient, Target};
use crate::h2;
use crate::upstream::{self, Connection, Version};
use crate::worker::Worker;

/// How many exchanges of the same worker a connection carries while others wait for it.
const TURNS: u32 = 16;

/// Where a connection goes, and whose policy it is under.
#[derive(Debug)]
pub(super) struct Link<'p> {
    /// What makes it interchangeable with others.
    pub(super) key: upstream::Key,
    /// Who takes it.
    pub(super) recipient: Recipient<'p>,
}

// === impl Link ===

impl<'p> Link<'p> {
    /// The link to a target, for a request that came by this door, over HTTP/2 or not.
    pub(super) fn of(target: &Target<'p>, door: Door, is_http2: bool) -> Self {
        Self {
            key: upstream::Key {
                address: target.address.clone(),
                mark: target.mark,
                owner: target.recipient.owner(),
                version: h2::upstream_protocol(target, is_http2, door),
            },
            recipient: target.recipient,
        }
    }

    /// Answers whether a connection may carry another exchange.
    fn takes_more(&self, connection: &Connection) -> bool {
        let most = self.recipient.policy().max_requests_per_connection;
        most.map_or(u32::MAX, NonZeroU32::get) > connection.served
    }

    /// Answers whether a connection should be given up for a request of another worker, which cannot
    /// have it but can open one in its place: always if none of this worker waits for it, and now
    /// and then if some do.
    fn is_owed(&self, worker: &Worker, connection: &Connection) -> bool {
        if connection.permit.is_none() {
            return false;
        }
        let own = worker.pools.waiting(self.key.owner);
        self.recipient.usage().awaiting() > own
            && (own == 0 || connection.served.is_multiple_of(TURNS))
    }
}

/// Takes an idle connection. Where a request cannot be sent again, the kernel is asked whether the
/// upstream has closed it: one system call against a lost request.
pub(super) fn checkout(
    worker: &Worker,
    link: &Link<'_>,
    can_repeat: bool,
) -> Option<Box<Connection>> {
    loop {
        let connection = worker.pools.checkout(&link.key)?;
        if can_repeat || !connection.side.transport.has_news() {
            return Some(connection);
        }
    }
}

/// Gives a connection back whose last exchange left nothing on it.
pub(super) fn checkin(
    worker: &Worker,
    link: &Link<'_>,
    mut connection: Box<Connection>,
    now: Instant,
) {
    if link.is_owed(worker, &connection) {
        // Nobody of this worker is woken: they would be there first.
        connection.side.buffer.discard(&worker.buffers);
    } else if link.takes_more(&connection) {
        connection.side.buffer.release(&worker.buffers);
        worker.pools.checkin(&link.key, connection, now);
    } else {
        close(worker, link, connection);
    }
}

/// Ends a connection.
pub(super) fn close(worker: &Worker, link: &Link<'_>, mut connection: Box<Connection>) {
    connection.side.buffer.discard(&worker.buffers);
    drop(connection);
    worker.pools.released(link.key.owner);
}

/// A stream of a connection of HTTP/2 that has room for it: there is nothing to wait for.
pub(super) fn ready(worker: &Worker, link: &Link<'_>) -> Option<Box<Connection>> {
    if link.key.version != Version::Http2 {
        return None;
    }
    // As in [`open`], which answers for a limit that is reached.
    let _pending = link.recipient.permit(Counted::Pending)?;
    let streams = &worker.pools.streams;
    let transport = streams.ready(&link.key, link.recipient.policy())?;
    Some(Box::new(transport.into()))
}

/// Opens a connection, or waits for one where there are as many as there may be.
///
/// The limit is over all workers, the queue is of one: it is woken at once when a connection of its
/// own worker is free, and looks every few milliseconds whether another has given one up. The others
/// see that somebody waits when one of their connections is free, or after a second.
pub(super) async fn open(
    worker: &Worker,
    link: &Link<'_>,
    ends: Option<Instant>,
) -> Result<Box<Connection>, Failure> {
    let recipient = link.recipient;
    let policy = recipient.policy();
    // As in Envoy a request counts as pending until it has its connection, waiting or not.
    let _pending = recipient
        .permit(Counted::Pending)
        .ok_or(Failure::Overflow)?;
    let limit = policy.connect_timeout;
    let limit = limit.min(worker.profile.timeouts.connect);
    if link.key.version == Version::Http2 {
        // Its connections are shared: what is limited there is the number of requests.
        return connect(worker, link, limit, ends).await;
    }
    let mut awaiting = None;
    let permit = loop {
        if let Some(permit) = recipient.permit(Counted::Connection) {
            break permit;
        }
        awaiting.get_or_insert_with(|| recipient.usage().wait());
        if worker.pools.drop_idle(link.key.owner) {
            continue;
        }
        within(ends, worker.pools.wait(link.key.owner)).await?;
        if let Some(connection) = checkout(worker, link, false) {
            return Ok(connection);
        }
    };
    drop(awaiting);
    let mut connection = connect(worker, link, limit, ends).await?;
    let age = policy.max_connection_duration;
    connection.ends = age.and_then(|age| clock::now().checked_add(age));
    connection.permit = Some(Permit::into_owned(permit));
    Ok(connection)
}

async fn connect(
    worker: &Worker,
    link: &Link<'_>,
    limit: Duration,
    ends: Option<Instant>,
) -> Result<Box<Connection>, Failure> {
    let upstream::Key {
        address,
        mark,
        version,
        ..
    } = &link.key;
    let policy = link.recipient.policy();
    let keepalive = policy.keepalive.as_ref();
    let connected = match version {
        Version::Http1 => {
            let connecting = worker.connector.connect(address, *mark, limit, keepalive);
            within(ends, connecting).await?
        }
        Version::Http2 => {
            let streams = &worker.pools.streams;
            within(ends, streams.open(worker, &link.key, limit, policy)).await?
        }
    };
    match connected {
        Ok(transport) => Ok(Box::new(transport.into())),
        Err(error) => {
            tracing::debug!(%address, %error, "cannot connect to the upstream");
            Err(Failure::Connect)
        }
    }
}

/// Does something in the time that the route's timeout leaves.
async fn within<T>(ends: Option<Instant>, work: impl Future<Output = T>) -> Result<T, Failure> {
    match ends {
        None => Ok(work.await),
        Some(ends) => {
            let done = tokio::time::timeout_at(ends, work).await;
            done.map_err(|_| Failure::TimedOut)
        }
    }
}
