//! Secrets that gateways ask for: who may have them, what they hold, and what is wrong with them.
//!
//! ```text
//! Publisher::wanted_secrets ──► accounts ──► SubjectAccessReview, each minute ──► grants ─┐
//!                          └──► names, once an account of theirs is granted ─► a watch    │
//!                                                       each, by name ──► credential::read ┴─► Publisher
//! ```
//!
//! Only what is asked for is watched, never all Secrets of the cluster, and nothing is once nobody
//! asks any more. While the API server is away, what is known stays in service, grants included.

mod access;
pub(crate) mod credential;
pub(crate) mod judge;
mod readings;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::Client;
use lateen_model::secret;
use lateen_xds::server::{Account, SecretChange};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::engine::State;
use credential::{Data, Problem};
use readings::Readings;

/// News that may wait for the follower.
const QUEUE: usize = 64;

/// A Secret of the cluster: namespace and name.
type Object = (String, String);

/// What is known of a Secret.
enum Known {
    /// Nothing yet.
    Nothing,
    /// There is none.
    Absent,
    /// What it holds.
    Holds(Data),
}

/// The Secrets that are watched, with what is known of each.
type Objects = BTreeMap<Object, (AbortHandle, Known)>;

/// What a task of the follower found out.
enum News {
    /// A Secret as it is now, or that there is none.
    Object(Object, Option<Data>),
    /// Whether an account may read the Secrets of its namespace.
    Grant(Account, bool),
}

/// Follows who asks for what.
struct Follower {
    client: Client,
    state: Arc<State>,
    news: mpsc::Sender<News>,
    tasks: JoinSet<()>,
    /// The accounts that ask, with the task that reviews each and what it found.
    accounts: BTreeMap<Account, (AbortHandle, Option<bool>)>,
    objects: Objects,
    /// What is published, by name.
    readings: Readings,
}

/// Follows the gateways' wishes. Never ends.
pub(crate) async fn run(state: Arc<State>, client: Client) {
    let (sender, mut news) = mpsc::channel(QUEUE);
    let mut wanted = state.publisher.wanted_secrets_changed();
    wanted.mark_changed();
    let mut follower = Follower {
        client,
        state,
        news: sender,
        tasks: JoinSet::new(),
        accounts: BTreeMap::new(),
        objects: BTreeMap::new(),
        readings: Readings::default(),
    };
    loop {
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            Some(news) = news.recv() => follower.take(news),
            Some(_) = follower.tasks.join_next() => continue,
        }
        // A gateway asks for all that it needs at once, and all of it is found at once.
        while let Ok(news) = news.try_recv() {
            follower.take(news);
        }
        follower.settle();
    }
}

/// The Secrets of the cluster that a name stands for: its own, and for one that ends in `-cacert`
/// the one without the ending. `Readings::outdate` knows the other direction.
fn objects_of(name: &str) -> impl Iterator<Item = Object> {
    let parts = name.split_once('/');
    parts.into_iter().flat_map(|(namespace, name)| {
        let object = |name: &str| (namespace.to_owned(), name.to_owned());
        [Some(object(name)), secret::base(name).map(object)]
            .into_iter()
            .flatten()
    })
}

// === impl Follower ===

impl Follower {
    fn take(&mut self, news: News) {
        match news {
            News::Object(object, data) => {
                if let Some((_, known)) = self.objects.get_mut(&object) {
                    *known = data.map_or(Known::Absent, Known::Holds);
                    self.readings.outdate(&object);
                }
            }
            News::Grant(account, is_granted) => {
                if let Some((_, known)) = self.accounts.get_mut(&account) {
                    *known = Some(is_granted);
                }
            }
        }
    }

    /// Brings tasks and what is published in line with who asks for what.
    fn settle(&mut self) {
        let wanted = self.state.publisher.wanted_secrets();
        let accounts: BTreeSet<&Account> = wanted.values().flatten().collect();
        let mut changes = self.settle_accounts(&accounts);
        let names: BTreeSet<String> = wanted
            .iter()
            .filter(|(_, accounts)| accounts.iter().any(|account| self.may(account)))
            .map(|(name, _)| name.clone())
            .collect();
        self.settle_objects(&names);
        let objects = &self.objects;
        changes.extend(self.readings.settle(&names, |name| read(objects, name)));
        self.state.publisher.apply_secrets(changes);
        let problems = self.readings.problems();
        self.state.set_credential_problems(problems);
    }

    fn may(&self, account: &Account) -> bool {
        matches!(self.accounts.get(account), Some((_, Some(true))))
    }

    fn settle_accounts(&mut self, wanted: &BTreeSet<&Account>) -> Vec<SecretChange> {
        let mut changes = Vec::new();
        self.accounts.retain(|account, (task, _)| {
            let is_wanted = wanted.contains(account);
            if !is_wanted {
                task.abort();
                changes.push(SecretChange::Grant {
                    account: account.clone(),
                    is_granted: None,
                });
            }
            is_wanted
        });
        for account in wanted {
            if !self.accounts.contains_key(account) {
                let review =
                    access::follow(self.client.clone(), (*account).clone(), self.news.clone());
                let task = self.tasks.spawn(review);
                self.accounts.insert((*account).clone(), (task, None));
            }
        }
        changes.extend(self.accounts.iter().filter_map(|(account, (_, known))| {
            Some(SecretChange::Grant {
                account: account.clone(),
                is_granted: Some((*known)?),
            })
        }));
        changes
    }

    fn settle_objects(&mut self, names: &BTreeSet<String>) {
        let wanted: BTreeSet<Object> = names.iter().flat_map(|name| objects_of(name)).collect();
        self.objects.retain(|object, (task, _)| {
            let is_wanted = wanted.contains(object);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
        for object in wanted {
            if !self.objects.contains_key(&object) {
                let watch = source::follow(self.client.clone(), object.clone(), self.news.clone());
                let task = self.tasks.spawn(watch);
                self.objects.insert(object, (task, Known::Nothing));
            }
        }
    }
}

/// What a name stands for; nothing until all of it is known.
fn read(objects: &Objects, name: &str) -> Option<Result<secret::Secret, Problem>> {
    let mut known = Vec::with_capacity(2);
    for object in objects_of(name) {
        let (_, one) = objects.get(&object)?;
        known.push(match one {
            Known::Nothing => return None,
            Known::Absent => None,
            Known::Holds(data) => Some(data),
        });
    }
    let (namespace, name) = name.split_once('/')?;
    let own = known.first().copied().flatten();
    let base = known.get(1).copied().flatten();
    Some(credential::read(namespace, name, own, base))
}
