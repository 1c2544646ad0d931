//! What is remembered of an exchange while it runs, for the metrics and the access log.

use std::net::SocketAddr;

use lateen_model::{Reason, SocketAddress};

use super::client::Client;
use super::course::Course;
use super::grpc;
use super::respond::Answer;
use super::transfer::About;
use super::workspace::Workspace;
use crate::clock::{self, Instant};
use crate::observe::access_log::{Entry, Writer};
use crate::observe::flags::Flags;
use crate::observe::metrics::{Exchange, RequestProtocol};
use crate::transport::Transport;

/// The record of one exchange.
#[derive(Debug)]
pub(super) struct Record {
    /// When its head was complete.
    pub(super) started: Instant,
    /// Whether the upstream was asked to switch protocols.
    pub(super) sends_upgrade: bool,
    /// Bytes of the request's head as received.
    pub(super) head_bytes: usize,
    /// Where the last attempt went.
    upstream: Option<SocketAddress>,
    /// The near end of its connection, if the log wants it.
    local: Option<SocketAddr>,
    status: u16,
    call_status: Option<u8>,
    flags: Flags,
    service_time_ms: Option<u64>,
}

// === impl Record ===

impl Record {
    /// Begins with the request.
    pub(super) fn begin() -> Self {
        Self {
            started: clock::now(),
            sends_upgrade: false,
            head_bytes: 0,
            upstream: None,
            local: None,
            status: 0,
            call_status: None,
            flags: Flags::default(),
            service_time_ms: None,
        }
    }

    /// It goes to this upstream.
    pub(super) fn reaches(&mut self, address: SocketAddress, log: &Writer, upstream: &Transport) {
        self.upstream = Some(address);
        if log.is_on() {
            self.local = upstream.local_addr();
        }
    }

    /// Where the last attempt went.
    pub(super) fn upstream(&self) -> Option<&SocketAddress> {
        self.upstream.as_ref()
    }

    /// The upstream's response is on its way.
    pub(super) fn responded(&mut self, status: u16, elapsed: u64, call_status: Option<u8>) {
        self.status = status;
        self.call_status = call_status;
        self.service_time_ms = Some(elapsed);
    }

    /// The status of the response; 0 if there is none.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// What befell it so far.
    pub(super) fn flags(&self) -> Flags {
        self.flags
    }

    /// A fault delayed it.
    pub(super) fn was_delayed(&mut self) {
        self.flags.was_delayed = true;
    }

    /// A retry was due, but none was left or allowed.
    pub(super) fn is_exhausted(&mut self) {
        self.flags.is_exhausted = true;
    }

    /// The proxy answered a call of gRPC with this status.
    pub(super) fn called(&mut self, status: u8) {
        self.call_status = Some(status);
    }

    /// Answers whether the upstream's response is on its way.
    pub(super) fn has_responded(&self) -> bool {
        self.service_time_ms.is_some()
    }

    /// The proxy answered by itself.
    pub(super) fn answered(&mut self, status: u16, answer: Answer<'_>) {
        self.status = status;
        self.flags.reason = answer.reason();
    }

    /// It broke off.
    pub(super) fn broke_off(&mut self, reason: Reason) {
        self.flags.reason = Some(reason);
    }

    /// Counts the exchange, and logs it.
    pub(super) fn end(
        &self,
        client: &mut Client,
        work: &mut Workspace,
        course: &Course<'_>,
        about: Option<About>,
    ) {
        let chosen = &course.chosen;
        let now = clock::now();
        client.idle_since = now;
        let mut key = chosen.key(client.origin, RequestProtocol::Http);
        key.code = self.status;
        key.flags = self.flags;
        if about.is_some_and(|about| about.is_call) {
            key.protocol = RequestProtocol::Grpc;
            let trailers = work.to_client.decoder().trailers();
            let in_trailers = || grpc::status_in_trailers(trailers);
            key.call_status = self.call_status.or_else(in_trailers);
        }
        let exchange = Exchange {
            millis: clock::millis_between(self.started, now),
            request_bytes: self.head_bytes as u64 + work.to_upstream.body(),
            response_bytes: work.to_client.written(),
        };
        let recorder = &client.worker.recorder;
        recorder.request(&mut client.last, key, exchange);
        if client.worker.log.is_on() {
            let tls = client.origin.tls;
            let facts = tls.and_then(|it| client.worker.sessions.get(it));
            client.worker.log.write(&Entry {
                origin: client.origin,
                server_name: facts.as_ref().map_or(&b""[..], |it| &it.server_name),
                request: work.snapshot.request(),
                status: self.status,
                flags: self.flags,
                bytes_received: work.to_upstream.body(),
                bytes_sent: work.to_client.body(),
                duration_ms: exchange.millis,
                service_time_ms: self.service_time_ms,
                upstream: self.upstream.as_ref(),
                upstream_local: self.local,
                cluster: chosen.cluster,
                route: chosen.route,
            });
        }
    }
}
