//! What a failure of an attempt means: to the client and the records, to the policy of retries, and
//! to the detection of outliers.

use lateen_decide::Outcome;
use lateen_decide::retry::AttemptFailure;
use lateen_model::Reason;

use super::client;
use super::transfer::Failure;
use crate::h2::Fault;

/// What a failure is, now that the stream's own word is heard.
pub(super) fn told_apart(failure: Failure, fault: Option<Fault>) -> Failure {
    match (failure, fault) {
        (Failure::NoResponse, Some(Fault::Refused)) => Failure::Refused,
        // What HTTP/2 forbids is as little of a response as half a head.
        (Failure::NoResponse, Some(Fault::Protocol)) => Failure::PartialHead,
        (failure, _) => failure,
    }
}

/// The reason that a failure is told and recorded by.
pub(super) fn reason(failure: Failure) -> Reason {
    match failure {
        Failure::NoResponse | Failure::Refused | Failure::Truncated | Failure::WorthAnother(_) => {
            Reason::UpstreamConnectionTermination
        }
        Failure::Connect => Reason::UpstreamConnectionFailure,
        Failure::Overflow => Reason::UpstreamOverflow,
        // Half a head is no valid response, whoever cut it off.
        Failure::PartialHead => Reason::UpstreamProtocolError,
        Failure::BadResponse(error) => {
            tracing::debug!(%error, "the upstream's response is not valid");
            Reason::UpstreamProtocolError
        }
        Failure::ClientGone => Reason::DownstreamConnectionTermination,
        Failure::BadRequest(error) => client::reason(error),
        Failure::Idle => Reason::StreamIdleTimeout,
        Failure::TimedOut | Failure::TryTimedOut => Reason::UpstreamRequestTimeout,
    }
}

/// What a policy of retries takes a failure for; nothing if it is never retried.
pub(super) fn attempt_failure(failure: Failure, is_unsent: bool) -> Option<AttemptFailure> {
    match failure {
        Failure::Connect => Some(AttemptFailure::Connect),
        Failure::NoResponse | Failure::PartialHead | Failure::BadResponse(_) => {
            Some(AttemptFailure::Reset { is_unsent })
        }
        Failure::Refused => Some(AttemptFailure::RefusedStream),
        Failure::TryTimedOut => Some(AttemptFailure::PerTryTimeout),
        Failure::Truncated
        | Failure::ClientGone
        | Failure::BadRequest(_)
        | Failure::Idle
        | Failure::TimedOut
        | Failure::Overflow
        | Failure::WorthAnother(_) => None,
    }
}

/// What a failure says about the endpoint; nothing if it is not to blame.
pub(super) fn outcome(failure: Failure) -> Option<Outcome> {
    match failure {
        Failure::WorthAnother(status) => Some(Outcome::Answered(status)),
        Failure::Connect
        | Failure::NoResponse
        | Failure::Refused
        | Failure::PartialHead
        | Failure::BadResponse(_)
        | Failure::Truncated => Some(Outcome::Failed),
        Failure::TimedOut | Failure::TryTimedOut => Some(Outcome::TimedOut),
        Failure::ClientGone | Failure::BadRequest(_) | Failure::Idle | Failure::Overflow => None,
    }
}
