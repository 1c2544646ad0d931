//! What a cluster has in use, over all workers of a proxy, and how much it may have.
//!
//! The counters are shared relaxed atomics, so a limit holds exactly, but nothing else is ordered
//! by them. What is not limited is not counted: the usual cluster costs one comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use lateen_model::destination::RetryBudget;

use crate::outlier::Millis;

/// How much of a cluster may be in use at once; [`Limits::NONE`] is any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending: u32,
    /// Requests.
    pub max_requests: u32,
    /// Retries, if there is no budget for them.
    pub max_retries: u32,
    /// Limits retries to a share of the requests.
    pub retry_budget: Option<RetryBudget>,
}

/// What a cluster has in use. It is the same one as long as the cluster is named, whatever
/// becomes of its policy and its endpoints.
#[derive(Debug, Default)]
pub struct Usage {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
    /// Requests that wait for others to give up a connection.
    awaiting: AtomicU32,
    /// When the last of the endpoints that are out comes back.
    ejected_until: AtomicU64,
    /// Counts ejections.
    ejections: AtomicU32,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// A connection, from the attempt to make it to its end.
    Connection,
    /// A request that waits for a connection.
    Pending,
    /// A request that was given a connection, or is about to be: an attempt of it.
    Request,
    /// A retry, in addition to its request.
    Retry,
}

/// Leave to use something of a cluster until it is dropped.
#[derive(Debug)]
#[must_use = "what it is for counts as ended when it is dropped"]
pub struct Permit<U: AsRef<Usage>> {
    /// None if it is not counted.
    usage: Option<U>,
    what: Counted,
}

/// Counts a request that waits for a connection until it is dropped.
#[derive(Debug)]
#[must_use = "it no longer waits when it is dropped"]
pub struct Awaiting<'u>(&'u Usage);

// === impl Limits ===

impl Limits {
    /// No limit.
    pub const NONE: u32 = u32::MAX;

    /// The limit, or `None` if it need not be counted.
    fn of(&self, what: Counted, usage: &Usage) -> Option<u32> {
        let limit = match (what, &self.retry_budget) {
            (Counted::Connection, _) => self.max_connections,
            (Counted::Pending, _) => self.max_pending,
            // The budget is a share of what is counted here.
            (Counted::Request, Some(_)) => return Some(self.max_requests),
            (Counted::Request, None) => self.max_requests,
            (Counted::Retry, Some(budget)) => return Some(allowed(budget, usage)),
            (Counted::Retry, None) => self.max_retries,
        };
        (limit != Self::NONE).then_some(limit)
    }
}

impl Default for Limits {
    /// None at all.
    fn default() -> Self {
        Self {
            max_connections: Self::NONE,
            max_pending: Self::NONE,
            max_requests: Self::NONE,
            max_retries: Self::NONE,
            retry_budget: None,
        }
    }
}

/// How many retries a budget allows at once by what is in flight.
fn allowed(budget: &RetryBudget, usage: &Usage) -> u32 {
    let active =
        u64::from(usage.count(Counted::Request)) + u64::from(usage.count(Counted::Pending));
    let share = active * u64::from(budget.percent.millionths()) / 1_000_000;
    u32::try_from(share)
        .unwrap_or(u32::MAX)
        .max(budget.min_retry_concurrency)
}

// === impl Usage ===

impl Usage {
    /// How many are in use, as far as they are counted.
    pub fn count(&self, what: Counted) -> u32 {
        self.counter(what).load(Relaxed)
    }

    /// Begins to use something; `None` if the limit is reached.
    pub(crate) fn begin<'u>(
        self: &'u Arc<Self>,
        what: Counted,
        limits: &Limits,
    ) -> Option<Permit<&'u Arc<Self>>> {
        let Some(limit) = limits.of(what, self) else {
            return Some(Permit { usage: None, what });
        };
        let counter = self.counter(what);
        let counted = counter.fetch_update(Relaxed, Relaxed, |count| {
            (count < limit).then(|| count.saturating_add(1))
        });
        counted.ok().map(|_| Permit {
            usage: Some(self),
            what,
        })
    }

    /// A request waits for a connection, as there are as many as there may be.
    pub fn wait(&self) -> Awaiting<'_> {
        self.awaiting.fetch_add(1, Relaxed);
        Awaiting(self)
    }

    /// How many requests wait so, of all workers: whoever has a connection that is not in use should
    /// give it up.
    pub fn awaiting(&self) -> u32 {
        self.awaiting.load(Relaxed)
    }

    /// Answers whether an endpoint may be out.
    pub(super) fn may_have_ejected(&self, now: Millis) -> bool {
        now.0 < self.ejected_until.load(Relaxed)
    }

    /// An endpoint is out until then.
    pub(super) fn eject(&self, until: Millis) {
        self.ejected_until.fetch_max(until.0, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
    }

    /// How many ejections there were; tells whether there was one since.
    pub fn ejections(&self) -> u32 {
        self.ejections.load(Relaxed)
    }

    fn counter(&self, what: Counted) -> &AtomicU32 {
        match what {
            Counted::Connection => &self.connections,
            Counted::Pending => &self.pending,
            Counted::Request => &self.requests,
            Counted::Retry => &self.retries,
        }
    }
}

// === impl Permit ===

impl Permit<&Arc<Usage>> {
    /// The same for as long as one likes; costs an `Arc` clone if it is counted.
    pub fn into_owned(mut self) -> Permit<Arc<Usage>> {
        Permit {
            usage: self.usage.take().map(Arc::clone),
            what: self.what,
        }
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaiting.fetch_sub(1, Relaxed);
    }
}

impl<U: AsRef<Usage>> Drop for Permit<U> {
    fn drop(&mut self) {
        if let Some(usage) = &self.usage {
            usage.as_ref().counter(self.what).fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lateen_model::Percent;

    #[test]
    fn what_is_not_limited_is_not_counted() {
        let usage = Arc::default();
        let permit = Usage::begin(&usage, Counted::Request, &Limits::default());
        assert!(permit.is_some());
        assert_eq!(usage.count(Counted::Request), 0);
    }

    #[test]
    fn a_limit_holds_until_a_permit_is_dropped() {
        let usage = Arc::default();
        let limits = Limits {
            max_connections: 2,
            ..Limits::default()
        };
        let begin = || Usage::begin(&usage, Counted::Connection, &limits);
        let first = begin().map(Permit::into_owned);
        let second = begin();
        assert!(first.is_some() && second.is_some());
        assert!(begin().is_none());
        drop(first);
        assert!(begin().is_some());
        drop(second);
        assert_eq!(usage.count(Counted::Connection), 0);
    }

    #[test]
    fn a_budget_allows_a_share_of_the_requests_and_always_some() {
        let usage = Arc::default();
        let limits = Limits {
            max_retries: 1,
            retry_budget: Some(RetryBudget {
                percent: Percent::from_millionths(200_000),
                min_retry_concurrency: 3,
            }),
            ..Limits::default()
        };
        let begin = |what| Usage::begin(&usage, what, &limits);
        let few: Vec<_> = (0..4).map_while(|_| begin(Counted::Retry)).collect();
        assert_eq!(few.len(), 3);
        drop(few);
        let _requests: Vec<_> = (0..50).map_while(|_| begin(Counted::Request)).collect();
        let many: Vec<_> = (0..50).map_while(|_| begin(Counted::Retry)).collect();
        assert_eq!(many.len(), 10);
    }
}
