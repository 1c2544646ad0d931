//! Names that requests ask for (resolution DYNAMIC_DNS): one worker's view of what the main thread
//! looks up.
//!
//! A name that is known costs a look-up in a table of this thread. For one that is not, the worker
//! tells the main thread its text, and the request waits, for at most [`PATIENCE`], until the
//! answer is in the queue by which the main thread tells everything else. Nothing but the name
//! leaves the worker.
//!
//! ```text
//! request ─► address ─ known ──────────────────────► goes on
//!               └ unknown ─► wait ─► Wanted ─► main thread (control::wanted) ─► Message::Named
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_wire::dns::Name;
use tokio::sync::{Notify, mpsc};

use crate::clock::{self, Instant};

/// How long a request waits for its name, as with Envoy.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How often the main thread is told that a name is still asked for.
const INTEREST: Duration = Duration::from_secs(60);

/// How many names may wait to be told; more are told when they are asked for again.
pub const QUEUE: usize = 256;

/// A name that requests ask for.
pub type Wanted = mpsc::Sender<Arc<str>>;

/// What a worker is told about a name.
#[derive(Debug, Clone)]
pub struct Named {
    /// The name.
    pub name: Arc<str>,
    /// Its addresses, none if it has none; nothing if the name is to be forgotten.
    pub addresses: Option<Arc<[IpAddr]>>,
}

/// The names that one worker knows.
#[derive(Debug, Default)]
pub struct Names {
    known: RefCell<HashMap<Arc<str>, Entry>>,
    wanted: Option<Wanted>,
}

#[derive(Debug)]
struct Entry {
    /// Nothing before the first answer.
    addresses: Option<Arc<[IpAddr]>>,
    /// When the main thread was told of it last.
    told: Cell<Instant>,
    /// Requests that wait for the first answer.
    news: Rc<Notify>,
}

/// A request that waits for a name, until it is dropped: it may have less patience.
struct Waiting<'n> {
    names: &'n Names,
    name: &'n str,
    news: Rc<Notify>,
}

/// A host as a client wrote it, without a port, in the one form that names have here; nothing if it
/// is no name.
pub fn canonical(host: &[u8]) -> Option<String> {
    let name = Name::parse(std::str::from_utf8(host).ok()?)?;
    Some(name.as_str().to_owned())
}

// === impl Names ===

impl Names {
    /// Names that this thread looks up; without one none is ever known.
    pub fn new(wanted: Option<Wanted>) -> Self {
        Self {
            known: RefCell::default(),
            wanted,
        }
    }

    /// One of the addresses of a name; nothing if it is not known, or has none. `random` gives
    /// uniform bits.
    pub fn address(&self, name: &str, random: impl FnOnce() -> u64) -> Option<IpAddr> {
        let known = self.known.borrow();
        let entry = known.get(name)?;
        let now = clock::now();
        if now.duration_since(entry.told.get()) >= INTEREST {
            entry.told.set(now);
            self.tell(name);
        }
        let addresses = entry.addresses.as_ref()?;
        let count = u64::try_from(addresses.len())
            .ok()
            .filter(|count| *count > 0)?;
        let at = usize::try_from(random() % count).unwrap_or(0);
        addresses.get(at).copied()
    }

    /// Answers whether nothing is known about a name, not even that it has no address.
    pub fn is_unknown(&self, name: &str) -> bool {
        let known = self.known.borrow();
        known
            .get(name)
            .is_none_or(|entry| entry.addresses.is_none())
    }

    /// Waits until something is known about a name, or for as long as that is worth it.
    pub async fn wait(&self, name: &str) {
        let news = {
            let mut known = self.known.borrow_mut();
            let is_new = !known.contains_key(name);
            let entry = known.entry(name.into()).or_insert_with(|| Entry {
                addresses: None,
                told: Cell::new(clock::now()),
                news: Rc::default(),
            });
            if entry.addresses.is_some() {
                return;
            }
            let news = Rc::clone(&entry.news);
            drop(known);
            if is_new {
                self.tell(name);
            }
            news
        };
        let waiting = Waiting {
            names: self,
            name,
            news,
        };
        // Registered before the answer can come: both are on this thread. That it is late is seen
        // by there being none.
        let _ = tokio::time::timeout(PATIENCE, waiting.news.notified()).await;
    }

    /// Takes what the main thread says. Names that nobody here asks for are left out.
    pub fn learn(&self, named: Named) {
        let mut known = self.known.borrow_mut();
        let Some(addresses) = named.addresses else {
            if let Some(entry) = known.remove(&named.name) {
                entry.news.notify_waiters();
            }
            return;
        };
        if let Some(entry) = known.get_mut(&named.name) {
            entry.addresses = Some(addresses);
            entry.news.notify_waiters();
        }
    }

    fn tell(&self, name: &str) {
        if let Some(wanted) = &self.wanted {
            // A full queue means that the main thread is behind; the request fails, the next asks
            // again.
            let _ = wanted.try_send(name.into());
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    /// The last to wait in vain takes the entry along, so that the next request asks again.
    fn drop(&mut self) {
        if Rc::strong_count(&self.news) > 2 {
            return;
        }
        let mut known = self.names.known.borrow_mut();
        let entry = known.get(self.name);
        if entry.is_some_and(|entry| entry.addresses.is_none()) {
            known.remove(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, addresses: &[&str]) -> Named {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        Named {
            name: name.into(),
            addresses: Some(addresses.collect()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_until_its_name_is_known_and_later_ones_do_not() {
        let (wanted, mut asked) = mpsc::channel(QUEUE);
        let names = Names::new(Some(wanted));
        assert!(names.is_unknown("a.test"));
        let answer = async {
            assert_eq!(asked.recv().await.as_deref(), Some("a.test"));
            names.learn(named("a.test", &["192.0.2.1", "192.0.2.2"]));
        };
        tokio::join!(names.wait("a.test"), names.wait("a.test"), answer);
        assert!(!names.is_unknown("a.test"));
        let address = |bits| names.address("a.test", || bits).map(|ip| ip.to_string());
        assert_eq!(address(0).as_deref(), Some("192.0.2.1"));
        assert_eq!(address(3).as_deref(), Some("192.0.2.2"));
        names.wait("a.test").await;
        assert!(asked.try_recv().is_err(), "it was asked for once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_answer_is_given_up_and_asked_for_again() {
        let (wanted, mut asked) = mpsc::channel(QUEUE);
        let names = Names::new(Some(wanted));
        for _ in 0..2 {
            let began = clock::now();
            tokio::join!(names.wait("a.test"), names.wait("a.test"));
            assert_eq!(clock::now().duration_since(began), PATIENCE);
            assert_eq!(asked.try_recv().ok().as_deref(), Some("a.test"));
            assert!(asked.try_recv().is_err(), "once for both");
            assert!(names.known.borrow().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_stops_waiting_leaves_nothing_behind() {
        let (wanted, mut asked) = mpsc::channel(QUEUE);
        let names = Names::new(Some(wanted));
        for _ in 0..2 {
            let waited = tokio::time::timeout(PATIENCE / 5, names.wait("a.test"));
            assert!(waited.await.is_err());
            assert_eq!(asked.try_recv().ok().as_deref(), Some("a.test"));
            assert!(names.known.borrow().is_empty());
        }
    }

    #[test]
    fn hosts_have_one_form() {
        assert_eq!(canonical(b"A.Test.").as_deref(), Some("a.test"));
        for host in [&b"a..test"[..], b"", b".", b"\xff.test"] {
            assert_eq!(canonical(host), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_in_use_are_told_of_now_and_then_and_forgotten_when_told_so() {
        let (wanted, mut asked) = mpsc::channel(QUEUE);
        let names = Names::new(Some(wanted));
        tokio::join!(names.wait("a.test"), async {
            names.learn(named("a.test", &["192.0.2.1"]));
        });
        let _ = asked.try_recv();
        assert!(names.address("a.test", || 0).is_some());
        assert!(asked.try_recv().is_err());
        tokio::time::advance(INTEREST).await;
        assert!(names.address("a.test", || 0).is_some());
        assert_eq!(asked.try_recv().ok().as_deref(), Some("a.test"));
        names.learn(Named {
            name: "a.test".into(),
            addresses: None,
        });
        assert!(names.is_unknown("a.test"));
        // Answers to others' questions take no room.
        names.learn(named("b.test", &["192.0.2.1"]));
        assert!(names.is_unknown("b.test"));
    }
}
