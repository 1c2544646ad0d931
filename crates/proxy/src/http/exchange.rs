//! The life of a request.

use std::rc::Rc;

use lateen_model::Reason;

use super::Next;
use super::attempts;
use super::client::{Client, NoHead};
use super::course::{self, Action, Course};
use super::fault;
use super::grpc;
use super::record::Record;
use super::request_head;
use super::respond::{self, Answer};
use super::transfer::About;
use super::workspace::{Extent, Workspace};
use crate::connection::rules::Rules;

/// How a request ended.
pub(super) enum End<'p> {
    /// With the upstream's response.
    Relayed(Next),
    /// Without one: the proxy answers.
    Answer(Answer<'p>),
}

/// Serves one request, of which the first byte has come: reads its head, decides, answers or sends
/// it to an upstream and the response back, records.
pub(super) async fn run(client: &mut Client, work: &mut Workspace) -> Next {
    let worker = Rc::clone(&client.worker);
    let _running = worker.activity.exchanges.enter();
    let read = client.read_head(&mut work.request).await;
    let mut record = Record::begin();
    let mut about = None;
    let view = worker.view();
    let mut course = Course::unknown(Rules::of(&view, client.origin));
    let end = match read {
        Err(NoHead::Gone) => return Next::Close,
        Err(NoHead::Refused(reason)) => End::refuse(reason),
        Ok(()) => {
            let known = *about.insert(accept(client, work, &mut record));
            course = course::decide(client, work, &view);
            match course.action {
                Action::Answer(answer) => End::Answer(answer),
                Action::Inbound | Action::Forward(_) => {
                    match fault::inject(client, &course, &mut record).await {
                        Some(answer) => End::Answer(answer),
                        None => attempts::run(client, work, &mut course, known, &mut record).await,
                    }
                }
            }
        }
    };
    let next = match end {
        End::Relayed(next) => next,
        End::Answer(answer) => {
            respond::answer(client, work, &course, answer, about, &mut record).await
        }
    };
    record.end(client, work, &course, about);
    if let (Next::Again | Next::Tunnel(_), Extent::Whole(length)) = (&next, work.extent) {
        client.side.buffer.consume(record.head_bytes + length);
    }
    next
}

/// Takes note of a request whose head is valid.
fn accept(client: &Client, work: &mut Workspace, record: &mut Record) -> About {
    let input = client.side.buffer.bytes();
    work.extent = request_head::extent(&work.request, input, work.to_upstream.decoder());
    record.head_bytes = work.request.len();
    let request = work.request.view(input);
    if client.worker.log.is_on() {
        let is_http2 = client.side.transport.is_stream();
        work.snapshot.take(request, is_http2);
    }
    About {
        version: request.version(),
        method: request.method(),
        persistence: request.persistence(),
        is_call: grpc::is_call(request.fields()),
    }
}

// === impl End ===

impl End<'_> {
    /// A refusal.
    pub(super) fn refuse(reason: Reason) -> Self {
        Self::Answer(Answer::Refuse(reason))
    }
}
