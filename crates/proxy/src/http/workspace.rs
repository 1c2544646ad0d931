//! What an exchange needs beside its connections, reused from one exchange to the next.
//!
//! A worker keeps a stack of workspaces: a connection that waits for its next request holds none,
//! and in steady state none is allocated.

use std::cell::RefCell;

use lateen_model::SocketAddress;
use lateen_wire::h1::request::{self, Request};
use lateen_wire::h1::response;

use super::flow::Flow;
use crate::observe::access_log::Snapshot;
use crate::random::UUID_LEN;
use crate::side::Side;

/// How many idle workspaces a worker keeps; each holds a few KiB.
const KEPT: usize = 256;

/// How many bytes a workspace that is kept holds at most: heads of 60 KiB, of which there are
/// several copies on the way, must not stay for ever because once there were many of them.
const MOST_HELD: usize = 32 * 1024;

/// The memory of one exchange.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The request's head, as spans over the client's buffer.
    pub(super) request: request::Head,
    /// The response's head, as spans over the upstream's buffer.
    pub(super) response: response::Head,
    /// What goes to the upstream.
    pub(super) to_upstream: Flow,
    /// What goes to the client.
    pub(super) to_client: Flow,
    /// Whether the request is whole in the client's buffer.
    pub(super) extent: Extent,
    /// The request's path and query, where they are not one piece of its head.
    pub(super) composed: Vec<u8>,
    /// The same in canonical form, where it differs from what was sent.
    pub(super) normal: Vec<u8>,
    /// The path and query that are sent on, where a rule rewrites them.
    pub(super) target: Vec<u8>,
    /// The authority that is sent on, where a rule rewrites it.
    pub(super) authority: Vec<u8>,
    /// The head of a request that streams, of which the buffer has been emptied; else empty.
    pub(super) streamed_head: Vec<u8>,
    /// A cookie that is made for the client.
    pub(super) cookie: Vec<u8>,
    /// Values that rules give to headers, one after the other.
    pub(super) values: Vec<u8>,
    /// The id of the request, if it came without one.
    pub(super) id: Id,
    /// Endpoints that earlier attempts went to.
    pub(super) tried: Vec<SocketAddress>,
    /// What the access log needs of the request, if it is on.
    pub(super) snapshot: Snapshot,
}

/// A request's id, as the proxy gives it.
#[derive(Debug)]
pub(super) struct Id(pub(super) [u8; UUID_LEN]);

/// Where the request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Extent {
    /// Whole in the buffer: these many bytes after the head, which can be sent on as they are.
    Whole(usize),
    /// Part of it is yet to come, or it must be framed anew.
    #[default]
    Streamed,
}

/// The workspaces of a worker that are not in use.
#[derive(Debug, Default)]
#[allow(
    clippy::vec_box,
    reason = "an exchange holds a box: half a KiB is not copied per request"
)]
pub struct Pool(RefCell<Vec<Box<Workspace>>>);

// === impl Id ===

impl Default for Id {
    fn default() -> Self {
        Self([b'0'; UUID_LEN])
    }
}

// === impl Workspace ===

impl Workspace {
    /// How many bytes its storage has room for.
    fn held(&self) -> usize {
        let texts = [
            &self.composed,
            &self.normal,
            &self.target,
            &self.authority,
            &self.streamed_head,
            &self.cookie,
            &self.values,
        ];
        let texts: usize = texts.iter().map(|text| text.capacity()).sum();
        texts + self.snapshot.held() + self.to_upstream.held() + self.to_client.held()
    }

    /// The request's head, wherever its bytes are.
    pub(super) fn request<'a>(&'a self, client: &'a Side) -> Request<'a> {
        self.request.view(head_bytes(&self.streamed_head, client))
    }

    /// The request's path and query in canonical form, as decided on.
    pub(super) fn path<'a>(&'a self, request: Request<'a>) -> &'a [u8] {
        let mut candidates = [&self.normal, &self.composed].into_iter();
        let written = candidates.find(|text| !text.is_empty());
        written.map_or(request.target(), |text| text)
    }
}

/// The bytes that the spans of a request's head mean.
pub(super) fn head_bytes<'a>(streamed: &'a [u8], client: &'a Side) -> &'a [u8] {
    if streamed.is_empty() {
        client.buffer.bytes()
    } else {
        streamed
    }
}

// === impl Pool ===

impl Pool {
    /// Takes one.
    pub fn take(&self) -> Box<Workspace> {
        let kept = self.0.borrow_mut().pop();
        kept.unwrap_or_default()
    }

    /// Puts one back.
    pub fn put(&self, mut workspace: Box<Workspace>) {
        workspace.to_upstream.reset();
        workspace.to_client.reset();
        workspace.request.clear();
        workspace.response.clear();
        workspace.streamed_head.clear();
        workspace.target.clear();
        workspace.authority.clear();
        workspace.tried.clear();
        workspace.snapshot.clear();
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT && workspace.held() <= MOST_HELD {
            kept.push(workspace);
        }
    }
}

#[cfg(test)]
mod tests {
    use lateen_wire::h1::head::Limits;

    use super::*;

    #[test]
    fn what_has_become_large_is_not_kept() {
        let pool = Pool::default();
        for grow in [
            (|it| &mut it.streamed_head) as fn(&mut Workspace) -> &mut Vec<u8>,
            |it| &mut it.to_client.lead,
            |it| &mut it.normal,
        ] {
            let mut workspace = pool.take();
            grow(&mut workspace).reserve(60 * 1024);
            pool.put(workspace);
            assert!(pool.0.borrow().is_empty());
        }
        let mut workspace = pool.take();
        workspace.to_client.lead.reserve(2048);
        pool.put(workspace);
        assert!(pool.take().to_client.lead.capacity() >= 2048);
    }

    #[test]
    fn the_log_of_a_request_that_was_none_does_not_show_an_earlier_one() {
        let pool = Pool::default();
        let mut workspace = pool.take();
        let request = b"GET /secret HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n";
        let parsed = workspace.request.parse(request, &Limits::default());
        parsed.expect("valid");
        let Workspace {
            request: head,
            snapshot,
            ..
        } = &mut *workspace;
        snapshot.take(head.view(request), false);
        assert_eq!(snapshot.request().path, b"/secret");
        pool.put(workspace);
        let workspace = pool.take();
        assert_eq!(workspace.snapshot.request().path, b"");
        assert_eq!(workspace.snapshot.request().user_agent, b"");
    }
}
