//! The time limits of one attempt: nothing is looked at, and no timer is touched, where none is set.
//!
//! As in Envoy, the route's timeout and that of an attempt begin when the whole request has come,
//! so that a slow upload is not the upstream's fault. The route's timeout ends an exchange even in
//! the middle of its response; that of an attempt only until the response has begun.

use std::task::{Context, Poll};
use std::time::Duration;

use super::transfer::Failure;
use crate::clock::{self, Instant};
use crate::deadline::Deadline;

/// The time limits of one attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timeouts {
    total: Limit,
    per_try: Limit,
    idle: Option<Duration>,
    idle_at: Option<Instant>,
}

/// A limit that may not have begun.
#[derive(Debug, Clone, Copy, Default)]
enum Limit {
    #[default]
    None,
    /// It begins when the request is whole.
    After(Duration),
    At(Instant),
}

/// How far an exchange is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// Bytes moved since the last look.
    pub(super) has_moved: bool,
    /// The request has come to its end.
    pub(super) is_request_whole: bool,
    /// The response is on its way.
    pub(super) has_response: bool,
}

// === impl Timeouts ===

impl Timeouts {
    /// The limits of an attempt. `ends` is the end that the route's timeout has where it has begun;
    /// `total` is how long it takes.
    pub(super) fn new(
        total: Option<Duration>,
        ends: Option<Instant>,
        per_try: Option<Duration>,
        idle: Option<Duration>,
    ) -> Self {
        Self {
            total: match ends {
                Some(at) => Limit::At(at),
                None => total.map_or(Limit::None, Limit::After),
            },
            per_try: per_try.map_or(Limit::None, Limit::After),
            idle,
            idle_at: None,
        }
    }

    /// Answers whether there is none.
    pub(super) fn is_off(&self) -> bool {
        matches!((self.total, self.per_try), (Limit::None, Limit::None)) && self.idle.is_none()
    }

    /// When the route's timeout ends the exchange, if it has begun.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.total.at()
    }

    /// Waits for the first limit that passes, and answers how it ends the attempt.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deadline: &mut Deadline,
        stage: Stage,
    ) -> Poll<Failure> {
        if stage.is_request_whole {
            self.total.begin();
            self.per_try.begin();
        }
        if let Some(idle) = self.idle
            && (stage.has_moved || self.idle_at.is_none())
        {
            self.idle_at = clock::now().checked_add(idle);
        }
        let per_try = self.per_try.at().filter(|_| !stage.has_response);
        let limits = [
            (self.total.at(), Failure::TimedOut),
            (per_try, Failure::TryTimedOut),
            (self.idle_at, Failure::Idle),
        ];
        let first = limits
            .into_iter()
            .filter_map(|(at, failure)| Some((at?, failure)))
            .min_by_key(|(at, _)| *at);
        deadline.set(first.map(|(at, _)| at));
        match first {
            Some((_, failure)) => deadline.poll(cx).map(|()| failure),
            None => Poll::Pending,
        }
    }
}

// === impl Limit ===

impl Limit {
    fn begin(&mut self) {
        if let Self::After(duration) = *self {
            *self = clock::now()
                .checked_add(duration)
                .map_or(Self::None, Self::At);
        }
    }

    fn at(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::None | Self::After(_) => None,
        }
    }
}
