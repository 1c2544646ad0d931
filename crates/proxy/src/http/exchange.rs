//! The life of a request.

use std::rc::Rc;

use lateen_model::Reason;
use lateen_wire::h1::head::{Persistence, Version as HttpVersion};

use super::Next;
use super::client::{self, Client, NoHead};
use super::record::Record;
use super::request_head::{self, Course};
use super::respond::{self, Answer};
use super::transfer::{About, Done, Failure, Transfer};
use super::workspace::{Extent, Workspace};
use crate::connection::rules::{Chosen, Rules, Target};
use crate::h2::{self, Fault};
use crate::side::Side;
use crate::upstream::{self, Active, Version};
use crate::worker::Worker;

/// How often a request is sent again whose stream the upstream refused.
const MOST_REFUSED: u32 = 2;

/// How a request ended.
enum End {
    /// With the upstream's response.
    Relayed(Next),
    /// Without one: the proxy answers.
    Answer(Answer),
}

/// Serves one request, of which the first byte has come: reads its head, decides, sends it to an
/// upstream, sends the response back, records.
pub(super) async fn run(client: &mut Client, work: &mut Workspace) -> Next {
    let worker = Rc::clone(&client.worker);
    let _running = worker.activity.exchanges.enter();
    let read = client.read_head(&mut work.request).await;
    let mut record = Record::begin();
    let mut about = None;
    let mut chosen = Chosen::refused(Reason::NoRoute);
    let view = worker.view();
    let end = match read {
        Err(NoHead::Gone) => return Next::Close,
        Err(NoHead::Refused(reason)) => End::refuse(reason),
        Ok(()) => {
            let known = *about.insert(accept(client, work, &mut record));
            match request_head::decide(client, work, &Rules::of(&view, client.origin)) {
                Course::Redirect => End::Answer(Answer::RedirectToHttps),
                Course::Refuse(reason) => End::refuse(reason),
                Course::Forward(course) => {
                    chosen = course;
                    match chosen.target {
                        Err(reason) => End::refuse(reason),
                        Ok(target) => forward(client, work, target, known, &mut record).await,
                    }
                }
            }
        }
    };
    let next = match end {
        End::Relayed(next) => next,
        End::Answer(answer) => respond::answer(client, work, answer, about, &mut record).await,
    };
    record.end(client, work, &chosen);
    if let (Next::Again | Next::Tunnel(_), Extent::Whole(length)) = (&next, work.extent) {
        client.side.buffer.consume(record.head_bytes + length);
    }
    next
}

/// Sends a request to its target, again on a fresh connection if a used one had been closed.
async fn forward(
    client: &mut Client,
    work: &mut Workspace,
    target: Target<'_>,
    about: About,
    record: &mut Record,
) -> End {
    let worker = Rc::clone(&client.worker);
    let _active = target.load.map(Active::begin);
    let Target { address, mark, .. } = target;
    let is_http2 = client.side.transport.is_stream();
    let key = upstream::Key {
        address,
        mark,
        version: h2::upstream_protocol(target.declared, is_http2, client.origin.door),
    };
    let is_idempotent = request_head::is_idempotent(about.method);
    let mut pooled = checkout(
        &worker,
        key,
        is_idempotent && work.extent != Extent::Streamed,
    );
    record.sends_upgrade = request_head::send(client, work, address);
    let mut refused = 0;
    loop {
        let is_reused = pooled.is_some();
        let mut upstream = match pooled.take() {
            Some(side) => side,
            None => match connect(&worker, key).await {
                Some(side) => side,
                None => return End::refuse(Reason::UpstreamConnectionFailure),
            },
        };
        record.reaches(&worker.log, address, &upstream.transport);
        let mut transfer = Transfer::new(client, &mut upstream, work, record, about);
        let failure = match transfer.run().await {
            Ok(done) => return End::Relayed(settle(&worker, done, key, upstream)),
            Err(failure) => failure,
        };
        upstream.buffer.discard(&worker.buffers);
        let is_unseen = work.to_upstream.written() == 0;
        let is_stale = is_reused && matches!(failure, Failure::NoResponse);
        let is_refused = upstream.transport.fault() == Some(Fault::Refused);
        refused += u32::from(is_refused);
        let is_safe =
            is_refused && refused <= MOST_REFUSED || is_stale && (is_idempotent || is_unseen);
        if is_safe && work.to_upstream.can_repeat() {
            work.to_upstream.repeat(record.head_bytes);
            continue;
        }
        let failure = match (failure, upstream.transport.fault()) {
            // What HTTP/2 forbids is as little of a response as half a head.
            (Failure::NoResponse, Some(Fault::Protocol)) => Failure::PartialHead,
            (failure, _) => failure,
        };
        return failed(client, work, failure, about, record);
    }
}

/// Takes note of a request whose head is valid.
fn accept(client: &Client, work: &mut Workspace, record: &mut Record) -> About {
    let input = client.side.buffer.bytes();
    work.extent = request_head::extent(&work.request, input, work.to_upstream.decoder());
    record.head_bytes = work.request.len();
    let request = work.request.view(input);
    if client.worker.log.is_on() {
        work.snapshot.take(request);
    }
    About {
        version: request.version(),
        method: request.method(),
        persistence: request.persistence(),
    }
}

/// Takes an idle connection. Where a request cannot be sent again, the kernel is asked whether the
/// upstream has closed it: one system call against a lost request.
fn checkout(worker: &Worker, key: upstream::Key, can_repeat: bool) -> Option<Side> {
    loop {
        let transport = worker.pools.checkout(key)?;
        if can_repeat || !transport.has_news() {
            return Some(Side::new(transport));
        }
    }
}

/// Opens a connection. The future is boxed, as it is needed once per connection and would make
/// that of every exchange larger.
async fn connect(worker: &Worker, key: upstream::Key) -> Option<Side> {
    let limit = worker.profile.timeouts.connect;
    let opened = match key.version {
        Version::Http1 => Box::pin(worker.connector.connect(key.address, key.mark, limit)).await,
        Version::Http2 => Box::pin(worker.pools.streams.open(worker, key)).await,
    };
    match opened {
        Ok(transport) => Some(Side::new(transport)),
        Err(error) => {
            tracing::debug!(address = %key.address, %error, "cannot connect to the upstream");
            None
        }
    }
}

/// What becomes of both connections after an exchange that ended well.
fn settle(worker: &Worker, done: Done, key: upstream::Key, mut upstream: Side) -> Next {
    if done.is_tunnel {
        return Next::Tunnel(upstream);
    }
    let is_clean = upstream.buffer.is_empty() && !upstream.has_ended;
    upstream.buffer.discard(&worker.buffers);
    if is_clean && done.is_request_whole && done.upstream == Persistence::KeepAlive {
        worker.pools.checkin(key, upstream.transport, done.at);
    }
    match done.client {
        _ if !done.is_request_whole => Next::Linger,
        Persistence::KeepAlive => Next::Again,
        Persistence::Close => Next::Close,
    }
}

/// What becomes of a request whose exchange broke off.
fn failed(
    client: &Client,
    work: &Workspace,
    failure: Failure,
    about: About,
    record: &mut Record,
) -> End {
    let reason = match failure {
        Failure::NoResponse | Failure::Truncated => Reason::UpstreamConnectionTermination,
        // Half a head is no valid response, whoever cut it off.
        Failure::PartialHead => Reason::UpstreamProtocolError,
        Failure::BadResponse(error) => {
            tracing::debug!(%error, "the upstream's response is not valid");
            Reason::UpstreamProtocolError
        }
        Failure::ClientGone => Reason::DownstreamConnectionTermination,
        Failure::BadRequest(error) => client::reason(error),
        Failure::Idle => Reason::StreamIdleTimeout,
    };
    let is_gone = matches!(failure, Failure::ClientGone);
    if !is_gone && !record.has_responded() && work.to_client.is_done() {
        return End::refuse(reason);
    }
    record.broke_off(reason);
    if about.version == HttpVersion::Http10 {
        // An orderly end would tell an HTTP/1.0 client that its response is complete.
        client.side.transport.reset_on_drop();
    }
    End::Relayed(Next::Close)
}

// === impl End ===

impl End {
    fn refuse(reason: Reason) -> Self {
        Self::Answer(Answer::Refuse(reason))
    }
}
