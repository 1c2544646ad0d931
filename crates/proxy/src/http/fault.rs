//! Faults that a rule injects: a delay, then an error in place of the upstream's answer.
//!
//! They come before the first attempt, so neither retries nor timeouts apply to them.

use std::future::poll_fn;
use std::task::Poll;

use super::client::Client;
use super::course::Course;
use super::record::Record;
use super::respond::Answer;
use crate::clock::{self, Instant};
use crate::transport::Read;

/// Why a pause ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientGone;

/// Injects what the rule says; answers what the request is answered with, if it is.
pub(super) async fn inject<'p>(
    client: &mut Client,
    course: &Course<'p>,
    record: &mut Record,
) -> Option<Answer<'p>> {
    let fault = &course.policy.fault;
    if fault.delay.is_none() && fault.abort.is_none() {
        return None;
    }
    let worker = std::rc::Rc::clone(&client.worker);
    // Both are drawn before the delay: they are independent.
    let delay = fault
        .delay
        .as_ref()
        .filter(|delay| delay.percentage.takes(|| worker.random.next()));
    let abort = fault
        .abort
        .as_ref()
        .filter(|abort| abort.percentage.takes(|| worker.random.next()));
    if let Some(delay) = delay {
        record.was_delayed();
        let until = clock::now().checked_add(delay.duration);
        if pause(client, until).await.is_err() {
            return Some(Answer::Refuse(
                lateen_model::Reason::DownstreamConnectionTermination,
            ));
        }
    }
    abort.map(|abort| Answer::Fault(abort.with))
}

/// Waits, but not for a client that has gone.
pub(super) async fn pause(client: &mut Client, until: Option<Instant>) -> Result<(), ClientGone> {
    let Client {
        worker,
        side,
        deadline,
        ..
    } = client;
    deadline.set(until);
    poll_fn(|cx| {
        while !side.has_ended && !side.buffer.is_full() {
            match side.poll_fill(cx, &worker.buffers) {
                // One that only ends its own direction still gets its answer.
                Poll::Ready(Ok(Read::Bytes(_) | Read::End)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(ClientGone)),
                Poll::Pending => break,
            }
        }
        deadline.poll(cx).map(Ok)
    })
    .await
}
