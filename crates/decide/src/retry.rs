//! When a request is sent again, in compiled form.

use std::time::Duration;

use lateen_model::retry::{Retries, RetryOn};

/// A policy of retries; the default one never retries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryPolicy {
    /// How often a request is sent again at most.
    pub attempts: u32,
    /// How long one attempt may take.
    pub per_try_timeout: Option<Duration>,
    /// The base of the pause between attempts: the n-th is random in 0..base·(2ⁿ−1), at most ten
    /// times the base.
    pub backoff: Duration,
    /// Whether another endpoint is sought.
    pub ignores_previous_hosts: bool,
    /// Whether other localities are tried before their turn.
    pub remote_localities: bool,
    /// A bit for each condition.
    conditions: u32,
    status_codes: Box<[u16]>,
}

/// How an attempt failed that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFailure {
    /// The connection could not be made.
    Connect,
    /// The connection broke, or the stream was reset; `is_unsent` if nothing of the request had
    /// been written.
    Reset {
        /// Nothing of the request was sent.
        is_unsent: bool,
    },
    /// The upstream refused the stream: it has not looked at it.
    RefusedStream,
    /// The timeout of the attempt.
    PerTryTimeout,
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// Compiles a policy.
    pub fn new(policy: &Retries) -> Self {
        let mut status_codes = policy.status_codes.clone();
        status_codes.sort_unstable();
        status_codes.dedup();
        Self {
            attempts: policy.attempts,
            per_try_timeout: policy.per_try_timeout,
            backoff: policy.backoff,
            ignores_previous_hosts: policy.ignores_previous_hosts,
            remote_localities: policy.remote_localities,
            conditions: policy
                .conditions
                .iter()
                .fold(0, |bits, one| bits | bit(*one)),
            status_codes: status_codes.into(),
        }
    }

    /// What is worth another attempt.
    pub fn conditions(&self) -> impl Iterator<Item = RetryOn> {
        let all = RetryOn::ALL.into_iter().map(|(one, _)| one);
        all.filter(|one| self.has(*one))
    }

    /// The statuses that [`RetryOn::RetriableStatusCodes`] means, in order.
    pub fn status_codes(&self) -> &[u16] {
        &self.status_codes
    }

    /// Answers whether the policy can ever retry.
    pub fn is_on(&self) -> bool {
        self.attempts > 0 && self.conditions != 0
    }

    /// Answers whether an answer with this status is worth another attempt. `grpc` is
    /// `grpc-status` where the answer's head has it; `is_ratelimited` whether it has
    /// `x-envoy-ratelimited`. One with `x-envoy-overloaded` never is: there this is not asked.
    pub fn retries_response(&self, status: u16, grpc: Option<u8>, is_ratelimited: bool) -> bool {
        if is_ratelimited {
            // Not for its status too: only where it is asked for.
            return self.has(RetryOn::EnvoyRatelimited);
        }
        let by_status = match status {
            500..=599 if self.has(RetryOn::ServerError) => true,
            502..=504 if self.has(RetryOn::GatewayError) => true,
            409 if self.has(RetryOn::Retriable4xx) => true,
            other => {
                self.has(RetryOn::RetriableStatusCodes)
                    && self.status_codes.binary_search(&other).is_ok()
            }
        };
        by_status || grpc.is_some_and(|code| self.retries_grpc(code))
    }

    /// Answers whether an attempt without an answer is worth another one. What a limit of the
    /// cluster refused never is: there this is not asked.
    pub fn retries_failure(&self, failure: AttemptFailure) -> bool {
        let counts_as_reset = [RetryOn::ServerError, RetryOn::GatewayError, RetryOn::Reset];
        if counts_as_reset.into_iter().any(|one| self.has(one)) {
            return true;
        }
        match failure {
            AttemptFailure::Connect => {
                self.has(RetryOn::ConnectFailure) || self.has(RetryOn::ResetBeforeRequest)
            }
            AttemptFailure::Reset { is_unsent } => {
                is_unsent && self.has(RetryOn::ResetBeforeRequest)
            }
            // The request's head was sent, or there would be no stream to refuse.
            AttemptFailure::RefusedStream => self.has(RetryOn::RefusedStream),
            AttemptFailure::PerTryTimeout => false,
        }
    }

    /// The longest pause before the retry of this number, counted from 1.
    pub fn longest_pause(&self, retry: u32) -> Duration {
        let factor = 1_u32.checked_shl(retry).map_or(u32::MAX, |power| power - 1);
        self.backoff.saturating_mul(factor.min(10))
    }

    fn retries_grpc(&self, code: u8) -> bool {
        match code {
            1 => self.has(RetryOn::Cancelled),
            4 => self.has(RetryOn::DeadlineExceeded),
            8 => self.has(RetryOn::ResourceExhausted),
            13 => self.has(RetryOn::Internal),
            14 => self.has(RetryOn::Unavailable),
            _ => false,
        }
    }

    fn has(&self, condition: RetryOn) -> bool {
        self.conditions & bit(condition) != 0
    }
}

fn bit(condition: RetryOn) -> u32 {
    1 << condition as u32
}

#[cfg(test)]
mod tests;
