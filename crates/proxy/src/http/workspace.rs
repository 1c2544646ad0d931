//! What an exchange needs beside its connections, reused from one exchange to the next.
//!
//! A worker keeps a stack of workspaces: a connection that waits for its next request holds none,
//! and in steady state none is allocated.

use std::cell::RefCell;

use lateen_wire::h1::{request, response};

use super::flow::Flow;
use crate::observe::access_log::Snapshot;

/// How many idle workspaces a worker keeps; each holds a few KiB.
const KEPT: usize = 256;

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
    /// What the access log needs of the request, if it is on.
    pub(super) snapshot: Snapshot,
}

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
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(workspace);
        }
    }
}
