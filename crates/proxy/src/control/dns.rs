//! Looks up the names of services that are found by DNS.
//!
//! The system's resolver is used, on a few blocking threads. Names are looked up again every
//! [`REFRESH`]; the last good answer is kept while a name cannot be looked up (a name server that
//! is away must not take a service away), and dropped only when it is said not to exist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long an answer is good for.
pub const REFRESH: Duration = Duration::from_secs(30);

/// How long to wait after a failure, doubled up to [`REFRESH`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How many lookups run at once: each holds a thread.
const MOST_AT_ONCE: usize = 4;

/// The names that are kept up to date.
#[derive(Debug, Default)]
pub struct Resolver {
    names: BTreeMap<String, Entry>,
    running: JoinSet<(String, std::io::Result<Vec<IpAddr>>)>,
}

#[derive(Debug)]
struct Entry {
    /// When it is looked up next; nothing while it is.
    due: Option<Instant>,
    retry: Duration,
    addresses: Option<Vec<IpAddr>>,
}

// === impl Resolver ===

impl Resolver {
    /// Looks these names up from now on, and no others.
    pub fn look_up(&mut self, names: &BTreeSet<String>) {
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            if !self.names.contains_key(name) {
                let entry = Entry {
                    due: Some(Instant::now()),
                    retry: FIRST_RETRY,
                    addresses: None,
                };
                self.names.insert(name.clone(), entry);
            }
        }
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
                self.running.spawn(look_up(name.clone()));
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

    fn take(&mut self, name: &str, answer: std::io::Result<Vec<IpAddr>>) -> Option<Vec<IpAddr>> {
        let entry = self.names.get_mut(name)?;
        let now = Instant::now();
        match answer {
            Ok(addresses) => {
                entry.due = Some(now + REFRESH);
                entry.retry = FIRST_RETRY;
                let is_new = entry.addresses.as_ref() != Some(&addresses);
                entry.addresses = Some(addresses.clone());
                is_new.then_some(addresses)
            }
            Err(error) => {
                if entry.retry == FIRST_RETRY {
                    tracing::warn!(%name, %error, "cannot look the name up; keeping its last addresses");
                }
                entry.due = Some(now + entry.retry);
                entry.retry = (entry.retry * 2).min(REFRESH);
                None
            }
        }
    }
}

/// Looks a name up. The system's resolver gives no better answer than an error for a name that
/// does not exist, so that keeps its last addresses too.
async fn look_up(name: String) -> (String, std::io::Result<Vec<IpAddr>>) {
    let answer = tokio::net::lookup_host((name.as_str(), 0)).await;
    let addresses = answer.map(|found| {
        let sorted: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
        sorted.into_iter().collect()
    });
    (name, addresses)
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

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer() {
        let mut resolver = Resolver::default();
        resolver.look_up(&names(&["127.0.0.1"]));
        let (name, addresses) = resolver.next().await;
        assert_eq!(name, "127.0.0.1");
        assert_eq!(
            addresses,
            ["127.0.0.1".parse::<IpAddr>().expect("an address")]
        );
    }

    #[tokio::test]
    async fn the_last_good_answer_outlives_a_failure() {
        let mut resolver = Resolver::default();
        resolver.look_up(&names(&["a.test"]));
        let good: Vec<IpAddr> = vec!["192.0.2.1".parse().expect("an address")];
        assert_eq!(
            resolver.take("a.test", Ok(good.clone())),
            Some(good.clone())
        );
        let failed = Err(std::io::ErrorKind::TimedOut.into());
        assert_eq!(resolver.take("a.test", failed), None);
        assert_eq!(resolver.names["a.test"].addresses, Some(good.clone()));
        assert_eq!(resolver.take("a.test", Ok(good)), None, "nothing new");
    }
}
