//! What the proxy of an application tells the proxy of its caller about a request that the
//! application did not answer.
//!
//! While a pod goes away, requests still come to its proxy, whose application may have ended. To
//! the caller's proxy the 503 that it gets then looks like the application's own, which Istio's
//! default policy rightly does not repeat. So the application's proxy says in a header whether the
//! request was sent: one that was not is worth another attempt as any connection that could not be
//! made; one that was, only if its method is idempotent (RFC 9110 §9.2.2). The header never leaves
//! the mesh: the caller's proxy takes it away, and no application can set it.

use lateen_decide::retry::{AttemptFailure, RetryPolicy};
use lateen_model::Reason;
use lateen_wire::h1::field::Name;
use lateen_wire::h1::request::Method;
use lateen_wire::h1::response::Response;

use super::request_head;
use super::respond::Answer;
use crate::connection::Door;

/// The header.
pub(super) const NAME: &[u8] = b"x-lateen-unanswered";

/// Nothing of the request was sent to the application.
const UNSENT: &[u8] = b"unsent";

/// It was sent, in part or whole.
const SENT: &[u8] = b"sent";

/// What the header of an answer says; nothing if there is nothing to say.
pub(super) fn value(door: Door, answer: Answer<'_>) -> Option<&'static [u8]> {
    match answer {
        Answer::Refuse(Reason::UpstreamConnectionFailure) if door == Door::Inbound => Some(UNSENT),
        Answer::Refuse(Reason::UpstreamConnectionTermination) if door == Door::Inbound => {
            Some(SENT)
        }
        _ => None,
    }
}

/// Answers whether a response can have the header.
pub(super) fn may_be_in(status: u16) -> bool {
    status == 503
}

/// Answers whether a response says that another attempt is safe, and the policy wants it.
pub(super) fn is_worth_another(head: Response<'_>, method: Method, retries: &RetryPolicy) -> bool {
    if !may_be_in(head.status()) || !retries.retries_failure(AttemptFailure::Connect) {
        return false;
    }
    let said = Name::new(NAME).and_then(|name| head.fields().get_all(name).next());
    match said {
        Some(UNSENT) => true,
        Some(SENT) => request_head::is_idempotent(method),
        Some(_) | None => false,
    }
}
