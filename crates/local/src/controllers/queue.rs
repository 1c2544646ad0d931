//! Work queues: one reconciliation per object at a time, as many objects at once as there are.
//!
//! A key that is added while its object is being reconciled is reconciled once more afterwards,
//! however often it was added. A failure is tried again after a growing delay.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::Error;

/// Adds keys to a queue.
pub(super) struct Adder<T> {
    keys: mpsc::UnboundedSender<T>,
}

/// A queue that nobody works on yet.
pub(super) struct Queue<T> {
    name: &'static str,
    keys: mpsc::UnboundedReceiver<T>,
}

/// When an object is to be looked at again although nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Again {
    /// Only if something changes.
    #[default]
    Never,
    /// After this time.
    After(Duration),
}

/// The delays between attempts: doubled each time.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Makes a queue.
pub(super) fn queue<T>(name: &'static str) -> (Adder<T>, Queue<T>) {
    let (sender, keys) = mpsc::unbounded_channel();
    (Adder { keys: sender }, Queue { name, keys })
}

// === impl Adder ===

impl<T> Clone for Adder<T> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
        }
    }
}

impl<T> Adder<T> {
    /// Has an object looked at.
    pub(super) fn add(&self, key: T) {
        // Without a worker the controllers are ending, and nothing needs to be done.
        let _ = self.keys.send(key);
    }
}

// === impl Again ===

impl Again {
    /// The sooner of two.
    pub(super) fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, again) | (again, Self::Never) => again,
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
        }
    }
}

// === impl Queue ===

impl<T: Clone + Eq + Hash + Display + Send + 'static> Queue<T> {
    /// Calls `reconcile` with each key, for ever.
    pub(super) async fn run<F>(mut self, reconcile: impl Fn(T) -> F + Send)
    where
        F: Future<Output = Result<Again, Error>> + Send + 'static,
    {
        let mut running: FuturesUnordered<BoxFuture<'static, (T, Result<Again, Error>)>> =
            FuturesUnordered::new();
        let mut delayed: FuturesUnordered<BoxFuture<'static, (T, u64)>> = FuturesUnordered::new();
        let mut state = State::default();
        loop {
            let due = tokio::select! {
                // Keys first: of several for one object the first starts and the others are one
                // repetition.
                biased;
                key = self.keys.recv() => match key {
                    Some(key) => Some(key),
                    None => return,
                },
                Some((key, ticket)) = delayed.next() => state.is_awaited(&key, ticket).then_some(key),
                Some((key, result)) = running.next() => {
                    if let Some((delay, ticket)) = state.finished(self.name, &key, result) {
                        let key = key.clone();
                        delayed.push(Box::pin(async move {
                            tokio::time::sleep(delay).await;
                            (key, ticket)
                        }));
                    }
                    state.take_repeat(&key).then_some(key)
                }
            };
            if let Some(key) = due
                && state.start(&key)
            {
                let work = reconcile(key.clone());
                running.push(Box::pin(async move { (key, work.await) }));
            }
        }
    }
}

/// What is going on, by key.
struct State<T> {
    /// Being reconciled.
    running: HashSet<T>,
    /// To be reconciled again as soon as that ends.
    repeat: HashSet<T>,
    /// How often in a row it failed.
    failures: HashMap<T, u32>,
    /// The delay that counts: a later one replaces those before it.
    tickets: HashMap<T, u64>,
    next_ticket: u64,
}

// === impl State ===

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            running: HashSet::new(),
            repeat: HashSet::new(),
            failures: HashMap::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
        }
    }
}

impl<T: Clone + Eq + Hash + Display> State<T> {
    /// Answers whether a key may be started; one that runs is repeated afterwards.
    fn start(&mut self, key: &T) -> bool {
        if self.running.insert(key.clone()) {
            self.tickets.remove(key);
            return true;
        }
        self.repeat.insert(key.clone());
        false
    }

    fn take_repeat(&mut self, key: &T) -> bool {
        self.repeat.remove(key)
    }

    /// Notes how a reconciliation ended, and says when to try again by itself.
    fn finished(
        &mut self,
        name: &'static str,
        key: &T,
        result: Result<Again, Error>,
    ) -> Option<(Duration, u64)> {
        self.running.remove(key);
        let delay = match result {
            Ok(again) => {
                self.failures.remove(key);
                match again {
                    Again::Never => return None,
                    Again::After(delay) => delay,
                }
            }
            Err(error) => {
                let failures = self.failures.entry(key.clone()).or_default();
                let delay = FIRST_DELAY
                    .saturating_mul(1 << (*failures).min(12))
                    .min(LONGEST_DELAY);
                *failures += 1;
                // A conflict is the normal way to learn that somebody else was faster.
                if error.is_conflict() && *failures < 5 {
                    tracing::debug!(controller = name, %key, %error, "trying again");
                } else {
                    tracing::warn!(controller = name, %key, %error, ?delay, "trying again");
                }
                delay
            }
        };
        self.next_ticket += 1;
        self.tickets.insert(key.clone(), self.next_ticket);
        Some((delay, self.next_ticket))
    }

    /// Answers whether a delay that has passed still counts.
    fn is_awaited(&mut self, key: &T, ticket: u64) -> bool {
        let is_awaited = self.tickets.get(key) == Some(&ticket);
        if is_awaited {
            self.tickets.remove(key);
        }
        is_awaited
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keys_added_while_their_object_is_busy_make_one_repetition() {
        let (adder, queue) = queue("test");
        let gate = Arc::new(Semaphore::new(0));
        let count = Arc::new(AtomicUsize::new(0));
        let (gate_of, count_of) = (gate.clone(), count.clone());
        let worker = tokio::spawn(queue.run(move |_: String| {
            let (gate, count) = (gate_of.clone(), count_of.clone());
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.expect("it stays open").forget();
                Ok(Again::Never)
            }
        }));
        for _ in 0..5 {
            adder.add("a".to_owned());
        }
        gate.add_permits(10);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        worker.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_and_a_delay_is_waited_for() {
        let (adder, queue) = queue("test");
        let count = Arc::new(AtomicUsize::new(0));
        let count_of = count.clone();
        let worker = tokio::spawn(queue.run(move |_: String| {
            let nth = count_of.fetch_add(1, Ordering::Relaxed);
            async move {
                match nth {
                    0..3 => Err(Error::Stopped("for a test".into())),
                    3 => Ok(Again::After(Duration::from_secs(60))),
                    _ => Ok(Again::Never),
                }
            }
        }));
        adder.add("a".to_owned());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(count.load(Ordering::Relaxed), 4);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(count.load(Ordering::Relaxed), 5);
        worker.abort();
    }
}
