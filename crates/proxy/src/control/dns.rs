//! Keeps the addresses of services up to date that are found by DNS, as Istio has Envoy do it.
//!
//! An answer holds for as long as it says, and for `dnsRefreshRate` if it does not say. The last
//! good one is kept while a name cannot be looked up: a name server that is away must not take a
//! service away. One that says that there is nothing is believed when it has said so
//! [`DENIALS`] times in a row, since zones are empty for a moment when they are changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::dns::lookup::{Families, Found, look_up};
use crate::dns::upstream::Upstream;
use crate::random::Random;

/// How long to wait after a failure, doubled up to the refresh rate.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The least time between two look-ups of a name: some zones say zero.
const LEAST: Duration = Duration::from_secs(1);

/// The longest time: what nobody would wait for, should it be a mistake.
const MOST: Duration = Duration::from_secs(86_400);

/// Every wait is longer by up to this, so that proxies do not ask in step, as in Istio.
const JITTER: Duration = Duration::from_millis(100);

/// After how many denials in a row a name that had addresses has none.
const DENIALS: u32 = 3;

/// How many lookups run at once.
const MOST_AT_ONCE: usize = 16;

/// The names that are kept up to date.
#[derive(Debug)]
pub struct Resolver {
    upstream: Rc<Upstream>,
    families: Families,
    random: Random,
    /// `dnsRefreshRate`.
    rate: Duration,
    names: BTreeMap<String, Entry>,
    running: JoinSet<(String, io::Result<Found>)>,
}

#[derive(Debug)]
struct Entry {
    /// When it is looked up next; nothing while it is.
    due: Option<Instant>,
    retry: Duration,
    /// How often in a row it was said to have nothing.
    denials: u32,
    addresses: Option<Vec<IpAddr>>,
}

// === impl Entry ===

impl Entry {
    fn new() -> Self {
        Self {
            due: Some(Instant::now()),
            retry: FIRST_RETRY,
            denials: 0,
            addresses: None,
        }
    }
}

// === impl Resolver ===

impl Resolver {
    /// A resolver that asks these servers for these families.
    pub fn new(upstream: Rc<Upstream>, families: Families) -> Self {
        Self {
            upstream,
            families,
            random: Random::from_system(),
            rate: Duration::from_secs(60),
            names: BTreeMap::new(),
            running: JoinSet::new(),
        }
    }

    /// Looks these names up from now on, and no others.
    pub fn look_up(&mut self, names: &BTreeSet<String>, rate: Duration) {
        self.set_rate(rate);
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            self.add(name);
        }
    }

    /// Sets when names are looked up again whose answers do not say how long they hold.
    pub fn set_rate(&mut self, rate: Duration) {
        self.rate = rate.clamp(LEAST, MOST);
    }

    /// Looks a name up from now on, beside the others.
    pub fn add(&mut self, name: &str) {
        if !self.names.contains_key(name) {
            self.names.insert(name.to_owned(), Entry::new());
        }
    }

    /// Does not look a name up any more.
    pub fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// The addresses of a name, as far as something was said about it.
    pub fn known(&self, name: &str) -> Option<&[IpAddr]> {
        self.names.get(name)?.addresses.as_deref()
    }

    /// Waits for the next answer that differs from the one before. Cancel-safe.
    pub async fn next(&mut self) -> (String, Vec<IpAddr>) {
        loop {
            self.start_due();
            let next = self.next_due();
            tokio::select! {
                Some(finished) = self.running.join_next() => {
                    // A lookup that panicked is lost; its name stays as it is.
                    let Ok((name, answer)) = finished else { continue };
                    if let Some(addresses) = self.take(&name, answer) {
                        return (name, addresses);
                    }
                }
                () = wait(next) => {}
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for (name, entry) in &mut self.names {
            if self.running.len() >= MOST_AT_ONCE {
                return;
            }
            if entry.due.is_some_and(|due| due <= now) {
                entry.due = None;
                let (name, upstream) = (name.clone(), Rc::clone(&self.upstream));
                let families = self.families;
                self.running.spawn_local(async move {
                    let answer = look_up(&upstream, families, &name).await;
                    (name, answer)
                });
            }
        }
    }

    /// When the next lookup may start; nothing while as many run as may.
    fn next_due(&self) -> Option<Instant> {
        if self.running.len() >= MOST_AT_ONCE {
            return None;
        }
        self.names.values().filter_map(|entry| entry.due).min()
    }

    /// Takes an answer; yields the addresses if they are others than before.
    fn take(&mut self, name: &str, answer: io::Result<Found>) -> Option<Vec<IpAddr>> {
        let jitter = self.jitter();
        let entry = self.names.get_mut(name)?;
        let after = |wait: Duration| Some(Instant::now() + wait + jitter);
        let fail = |entry: &mut Entry, why: &dyn std::fmt::Display| {
            if entry.retry == FIRST_RETRY {
                tracing::warn!(%name, %why, "cannot look the name up; keeping its last addresses");
            }
            entry.due = after(entry.retry);
            entry.retry = (entry.retry * 2).min(self.rate.max(FIRST_RETRY));
        };
        let found = match answer {
            Ok(found) => found,
            Err(error) => {
                fail(entry, &error);
                // Whoever waits for the first answer is told that there is none.
                let is_first = entry.addresses.is_none();
                return is_first.then(|| entry.addresses.insert(Vec::new()).clone());
            }
        };
        if found.addresses.is_empty() {
            entry.denials = entry.denials.saturating_add(1);
            let has_some = entry
                .addresses
                .as_ref()
                .is_some_and(|list| !list.is_empty());
            if has_some && entry.denials < DENIALS {
                fail(entry, &"it is said to have no address");
                return None;
            }
        } else {
            entry.denials = 0;
        }
        let ttl = found.ttl.filter(|ttl| !ttl.is_zero());
        entry.due = after(ttl.map_or(self.rate, |ttl| ttl.clamp(LEAST, MOST)));
        entry.retry = FIRST_RETRY;
        let is_new = entry.addresses.as_ref() != Some(&found.addresses);
        entry.addresses = Some(found.addresses.clone());
        is_new.then_some(found.addresses)
    }

    fn jitter(&self) -> Duration {
        let most = u64::try_from(JITTER.as_millis()).unwrap_or(0);
        Duration::from_millis(self.random.next() % (most + 1))
    }
}

async fn wait(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::system::Files;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn resolver(list: &[&str]) -> Resolver {
        let upstream = Rc::new(Upstream::new(Files::default()));
        let mut resolver = Resolver::new(upstream, Families::of(&[]));
        resolver.look_up(&names(list), Duration::from_secs(60));
        resolver
    }

    fn found(addresses: &[&str], ttl: Option<u64>) -> Found {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        Found {
            addresses: addresses.collect(),
            ttl: ttl.map(Duration::from_secs),
        }
    }

    /// In how many seconds a name is looked up again.
    fn wait_of(resolver: &Resolver, name: &str) -> u64 {
        let due = resolver.names[name].due.expect("it waits");
        due.duration_since(Instant::now()).as_secs()
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer() {
        let local = tokio::task::LocalSet::new();
        let mut resolver = resolver(&["127.0.0.1"]);
        let (name, addresses) = local.run_until(resolver.next()).await;
        assert_eq!(name, "127.0.0.1");
        assert_eq!(
            addresses,
            ["127.0.0.1".parse::<IpAddr>().expect("an address")]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_for_as_long_as_it_says() {
        let mut resolver = resolver(&["a.test"]);
        for (ttl, seconds) in [
            (Some(5), 5),
            (Some(0), 60),
            (None, 60),
            (Some(1_000_000), 86_400),
        ] {
            resolver.take("a.test", Ok(found(&["192.0.2.1"], ttl)));
            assert_eq!(wait_of(&resolver, "a.test"), seconds, "{ttl:?}");
        }
        resolver.look_up(&names(&["a.test"]), Duration::from_secs(7));
        resolver.take("a.test", Ok(found(&["192.0.2.1"], None)));
        assert_eq!(wait_of(&resolver, "a.test"), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_outlives_failures_which_are_tried_again_ever_later() {
        let mut resolver = resolver(&["a.test"]);
        let taken = resolver.take("a.test", Ok(found(&["192.0.2.1"], Some(5))));
        assert_eq!(taken.map(|list| list.len()), Some(1));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let failed = Err(io::ErrorKind::TimedOut.into());
            assert_eq!(resolver.take("a.test", failed), None);
            assert_eq!(wait_of(&resolver, "a.test"), seconds);
        }
        let again = resolver.take("a.test", Ok(found(&["192.0.2.1"], Some(5))));
        assert_eq!(again, None, "nothing new");
        assert_eq!(wait_of(&resolver, "a.test"), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_believed_to_be_gone_when_that_is_said_three_times() {
        let mut resolver = resolver(&["a.test", "b.test"]);
        resolver.take("a.test", Ok(found(&["192.0.2.1"], Some(5))));
        assert_eq!(resolver.take("a.test", Ok(found(&[], Some(5)))), None);
        assert_eq!(resolver.take("a.test", Ok(found(&[], Some(5)))), None);
        assert_eq!(
            resolver.take("a.test", Ok(found(&[], Some(5)))),
            Some(vec![])
        );
        let known = resolver.take("b.test", Ok(found(&[], Some(5))));
        assert_eq!(known, Some(vec![]), "it never had any");
    }
}
