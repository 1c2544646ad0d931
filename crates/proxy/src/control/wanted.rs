//! Looks names up that requests ask for, as long as they are asked for (resolution DYNAMIC_DNS).
//!
//! The workers tell which; every answer goes to all of them. Names come from clients, so there is
//! a bound on how many are kept, and an answer cannot lead a request to this pod itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::dns::Resolver;
use crate::names::Named;

/// How many names are kept, as with Envoy.
const MOST: usize = 1024;

/// For how long a name is kept that nobody asks for, as with Envoy.
const KEPT: Duration = Duration::from_secs(300);

/// How often names are looked for that nobody asks for.
const ROUND: Duration = Duration::from_secs(30);

/// The names that requests ask for.
#[derive(Debug)]
pub struct Lookups {
    resolver: Resolver,
    wanted: mpsc::Receiver<Arc<str>>,
    /// When each was asked for last.
    asked: BTreeMap<Arc<str>, Instant>,
    round: Interval,
}

// === impl Lookups ===

impl Lookups {
    /// Looks up what is wanted.
    pub fn new(resolver: Resolver, wanted: mpsc::Receiver<Arc<str>>) -> Self {
        let mut round = interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            resolver,
            wanted,
            asked: BTreeMap::new(),
            round,
        }
    }

    /// Sets when names are looked up again whose answers do not say how long they hold.
    pub fn set_rate(&mut self, rate: Duration) {
        self.resolver.set_rate(rate);
    }

    /// Waits for the next thing to tell the workers. Cancel-safe.
    pub async fn next(&mut self) -> Named {
        loop {
            let news = tokio::select! {
                Some(name) = self.wanted.recv() => self.ask(name),
                (name, addresses) = self.resolver.next() => Some(told(name.into(), &addresses)),
                _ = self.round.tick() => self.forget_one(),
            };
            if let Some(news) = news {
                return news;
            }
        }
    }

    /// A name is asked for: by a worker of several, again, or for the first time.
    fn ask(&mut self, name: Arc<str>) -> Option<Named> {
        if self.asked.len() >= MOST && !self.asked.contains_key(&name) {
            tracing::warn!(%name, "too many names are asked for; this one is not looked up");
            return Some(Named {
                name,
                addresses: None,
            });
        }
        self.asked.insert(Arc::clone(&name), Instant::now());
        if let Some(addresses) = self.resolver.known(&name) {
            return Some(told(name, addresses));
        }
        self.resolver.add(&name);
        None
    }

    fn forget_one(&mut self) -> Option<Named> {
        let mut asked = self.asked.iter();
        let (name, _) = asked.find(|(_, at)| at.elapsed() >= KEPT)?;
        let name = Arc::clone(name);
        self.asked.remove(&name);
        self.resolver.remove(&name);
        // There may be more.
        self.round.reset_immediately();
        Some(Named {
            name,
            addresses: None,
        })
    }
}

fn told(name: Arc<str>, addresses: &[IpAddr]) -> Named {
    let addresses = addresses.iter().copied();
    Named {
        name,
        addresses: Some(addresses.filter(|address| !is_own(*address)).collect()),
    }
}

/// Answers whether an address leads to this pod, or to everybody: then whoever owns the zone of a
/// name would lead requests past the capture into the pod.
fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::dns::lookup::Families;
    use crate::dns::system::Files;
    use crate::dns::upstream::Upstream;

    fn lookups() -> (Lookups, mpsc::Sender<Arc<str>>) {
        let upstream = Rc::new(Upstream::new(Files::default()));
        let resolver = Resolver::new(upstream, Families::of(&[]));
        let (wanted, received) = mpsc::channel(8);
        (Lookups::new(resolver, received), wanted)
    }

    /// The next thing that is told, in short.
    async fn next(lookups: &mut Lookups) -> (String, Option<Vec<String>>) {
        let told = lookups.next().await;
        let texts = |list: Arc<[IpAddr]>| list.iter().map(ToString::to_string).collect();
        (told.name.to_string(), told.addresses.map(texts))
    }

    #[test]
    fn a_name_is_looked_up_while_it_is_asked_for() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let test = async {
            let (mut lookups, wanted) = lookups();
            // Addresses are names that need no server.
            wanted.send("192.0.2.1".into()).await.unwrap();
            let answer = ("192.0.2.1".to_owned(), Some(vec!["192.0.2.1".to_owned()]));
            assert_eq!(next(&mut lookups).await, answer);
            // Another worker asks too, and has its answer at once.
            wanted.send("192.0.2.1".into()).await.unwrap();
            assert_eq!(next(&mut lookups).await, answer);
            wanted.send("127.0.0.1".into()).await.unwrap();
            let nothing = ("127.0.0.1".to_owned(), Some(vec![]));
            assert_eq!(next(&mut lookups).await, nothing, "not into the pod");
            // Nobody asks any more.
            let mut forgotten = [next(&mut lookups).await, next(&mut lookups).await];
            forgotten.sort();
            assert_eq!(
                forgotten,
                ["127.0.0.1", "192.0.2.1"].map(|name| (name.to_owned(), None))
            );
            assert!(lookups.asked.is_empty());
        };
        tokio::task::LocalSet::new().block_on(&runtime, Box::pin(test));
    }

    #[tokio::test]
    async fn there_is_a_bound_on_names() {
        let (mut lookups, _wanted) = lookups();
        for number in 0..MOST {
            assert!(lookups.ask(format!("{number}.test").into()).is_none());
        }
        let refused = lookups.ask("more.test".into()).expect("an answer");
        assert!(refused.addresses.is_none());
        assert!(lookups.ask("1.test".into()).is_none());
    }
}
