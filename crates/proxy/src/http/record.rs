//! What is remembered of an exchange while it runs, for the metrics and the access log.

use std::net::SocketAddr;

use lateen_model::Reason;

use super::client::Client;
use super::respond::Answer;
use super::workspace::Workspace;
use crate::clock::{self, Instant};
use crate::connection::rules::Chosen;
use crate::observe::access_log::{Entry, Writer};
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
    /// The two ends of the upstream's connection, if the log wants them.
    upstream: Option<(SocketAddr, SocketAddr)>,
    status: u16,
    reason: Option<Reason>,
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
            status: 0,
            reason: None,
            service_time_ms: None,
        }
    }

    /// It goes to this upstream, which only the log wants to know.
    pub(super) fn reaches(&mut self, log: &Writer, address: SocketAddr, upstream: &Transport) {
        if log.is_on() {
            self.upstream = upstream.local_addr().map(|local| (address, local));
        }
    }

    /// The upstream's response is on its way.
    pub(super) fn responded(&mut self, status: u16, elapsed: u64) {
        self.status = status;
        self.service_time_ms = Some(elapsed);
    }

    /// Answers whether the upstream's response is on its way.
    pub(super) fn has_responded(&self) -> bool {
        self.service_time_ms.is_some()
    }

    /// The proxy answered by itself.
    pub(super) fn answered(&mut self, status: u16, answer: Answer) {
        self.status = status;
        if let Answer::Refuse(reason) = answer {
            self.reason = Some(reason);
        }
    }

    /// It broke off.
    pub(super) fn broke_off(&mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    /// Counts the exchange, and logs it.
    pub(super) fn end(&self, client: &mut Client, work: &Workspace, chosen: &Chosen<'_>) {
        let now = clock::now();
        client.idle_since = now;
        let mut key = chosen.key(client.origin, RequestProtocol::Http);
        key.code = self.status;
        key.reason = self.reason;
        let exchange = Exchange {
            millis: clock::millis_between(self.started, now),
            request_bytes: self.head_bytes as u64 + work.to_upstream.body(),
            response_bytes: work.to_client.written(),
        };
        let recorder = &client.worker.recorder;
        recorder.request(&mut client.last, key, exchange);
        if client.worker.log.is_on() {
            client.worker.log.write(&Entry {
                origin: client.origin,
                request: work.snapshot.request(),
                status: self.status,
                reason: self.reason,
                bytes_received: work.to_upstream.body(),
                bytes_sent: work.to_client.body(),
                duration_ms: exchange.millis,
                service_time_ms: self.service_time_ms,
                upstream: self.upstream,
                cluster: chosen.cluster,
                route: chosen.route,
            });
        }
    }
}
