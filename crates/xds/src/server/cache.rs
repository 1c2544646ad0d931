//! Every published resource by type and name, encoded once, and the log of what changed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use lateen_model::proxy::Role;
use lateen_model::{Labels, selects};

use super::identity::Account;
use super::scope::{Scope, Subject};
use super::secrets::{Changed, SecretChange, Secrets};
use crate::version::Version;
use crate::{Kind, Node};

/// Changes that are remembered: a connection that is further behind compares everything instead.
/// 16 Ki names of 64 bytes are a megabyte, and a restart of a mesh of 5,000 pods fits.
const LOG_LENGTH: usize = 16 << 10;

/// Who sees a resource. Every condition that is set must hold; the default is everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// Only proxies of this kind.
    pub role: Option<Role>,
    /// Only the proxy of this pod: namespace and name.
    pub pod: Option<(String, String)>,
    /// Only proxies of these namespaces.
    pub namespaces: Option<Vec<String>>,
    /// Only proxies whose pod has these labels.
    pub labels: Labels,
    /// Only proxies whose scope sees this.
    pub subject: Option<Subject>,
}

/// One change of what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A resource is new or may have changed.
    Set {
        /// Its type.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its bytes, from [`crate::proto`].
        bytes: Bytes,
        /// Who sees it.
        audience: Audience,
    },
    /// A resource is gone.
    Remove {
        /// Its type.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// What decides what a pod's proxy sees is known or changed. `None` if the pod is gone; what
    /// its proxy says about itself counts then.
    View {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// What decides.
        view: Option<View>,
    },
}

/// What decides what a proxy sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The labels of its pod.
    pub labels: Labels,
    /// What it imports; everything if unset.
    pub scope: Option<Arc<Scope>>,
}

/// The proxy of a connection, as far as visibility is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Viewer {
    pub(super) role: Role,
    pub(super) pod: (String, String),
    /// The service account that it has proven to have.
    pub(super) account: Option<Account>,
    /// By what the proxy says, for pods that the control plane does not know.
    pub(super) view: View,
}

/// A published resource.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) version: Version,
    pub(super) bytes: Bytes,
    audience: Audience,
}

/// What a line of the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Logged {
    Resource(Kind, Arc<str>),
    Viewer(Arc<(String, String)>),
    Account(Arc<Account>),
}

/// Everything that is published.
#[derive(Debug, Default)]
pub(super) struct Cache {
    kinds: BTreeMap<Kind, BTreeMap<Arc<str>, Published>>,
    views: HashMap<(String, String), View>,
    secrets: Secrets,
    log: VecDeque<Logged>,
    /// The number of the line after the last one of the log; also the version of the whole.
    end: u64,
}

// === impl Viewer ===

impl Viewer {
    pub(super) fn new(node: &Node) -> Self {
        Self {
            role: node.id.role,
            pod: (node.id.namespace.clone(), node.id.name.clone()),
            account: None,
            view: View {
                labels: node.labels.clone(),
                scope: None,
            },
        }
    }
}

// === impl Audience ===

impl Audience {
    fn admits(&self, viewer: &Viewer, view: &View) -> bool {
        let (namespace, _) = &viewer.pod;
        self.role.is_none_or(|role| role == viewer.role)
            && self.pod.as_ref().is_none_or(|pod| *pod == viewer.pod)
            && self
                .namespaces
                .as_ref()
                .is_none_or(|list| list.contains(namespace))
            && selects(&self.labels, &view.labels)
            && self
                .subject
                .as_ref()
                .is_none_or(|subject| match &view.scope {
                    Some(scope) => scope.sees(subject),
                    None => subject.is_for_all(),
                })
    }
}

// === impl Cache ===

impl Cache {
    /// Applies changes; answers how many of them changed something.
    pub(super) fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> usize {
        changes
            .into_iter()
            .filter_map(|c| self.apply_one(c))
            .count()
    }

    fn apply_one(&mut self, change: Change) -> Option<()> {
        let logged = match change {
            Change::Set {
                kind,
                name,
                bytes,
                audience,
            } => {
                let version = Version::of(&bytes);
                let published = Published {
                    version,
                    bytes,
                    audience,
                };
                self.set(kind, name, published)?
            }
            Change::Remove { kind, name } => {
                let (name, _) = self.kinds.get_mut(&kind)?.remove_entry(name.as_str())?;
                Logged::Resource(kind, name)
            }
            Change::View {
                namespace,
                name,
                view,
            } => {
                let pod = (namespace, name);
                let before = match &view {
                    Some(view) => self.views.insert(pod.clone(), view.clone()),
                    None => self.views.remove(&pod),
                };
                if before == view {
                    return None;
                }
                Logged::Viewer(Arc::new(pod))
            }
        };
        self.log(logged);
        Some(())
    }

    fn log(&mut self, logged: Logged) {
        if self.log.len() == LOG_LENGTH {
            self.log.pop_front();
        }
        self.log.push_back(logged);
        self.end += 1;
    }

    /// Applies news of Secrets; answers how many of them were news.
    pub(super) fn apply_secrets(
        &mut self,
        changes: impl IntoIterator<Item = SecretChange>,
    ) -> usize {
        let mut count = 0;
        for change in changes {
            let Some(changed) = self.secrets.apply(change) else {
                continue;
            };
            self.log(match changed {
                Changed::Secret(name) => Logged::Resource(Kind::Secret, name),
                Changed::Account(account) => Logged::Account(Arc::new(account)),
            });
            count += 1;
        }
        count
    }

    /// Secrets, which are found by nothing else here.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn set(&mut self, kind: Kind, name: String, published: Published) -> Option<Logged> {
        let resources = self.kinds.entry(kind).or_default();
        if let Some((known, old)) = resources.get_key_value(name.as_str()) {
            if old.version == published.version && old.audience == published.audience {
                return None;
            }
            let known = known.clone();
            resources.insert(known.clone(), published);
            return Some(Logged::Resource(kind, known));
        }
        let name: Arc<str> = name.into();
        resources.insert(name.clone(), published);
        Some(Logged::Resource(kind, name))
    }

    /// The number of the line after the last one.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The lines from number `from` on; nothing if the log does not reach back that far.
    pub(super) fn log_since(&self, from: u64) -> Option<impl Iterator<Item = &Logged>> {
        let behind = usize::try_from(self.end.saturating_sub(from)).ok()?;
        let skip = self.log.len().checked_sub(behind)?;
        Some(self.log.iter().skip(skip))
    }

    /// The names of a type.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &Arc<str>> {
        self.kinds.get(&kind).into_iter().flat_map(BTreeMap::keys)
    }

    /// The resource of a name, if this viewer may see it.
    pub(super) fn get(&self, kind: Kind, name: &str, viewer: &Viewer) -> Option<&Published> {
        let published = self.kinds.get(&kind)?.get(name)?;
        let view = self.views.get(&viewer.pod).unwrap_or(&viewer.view);
        published.audience.admits(viewer, view).then_some(published)
    }

    /// Number of resources and their bytes.
    pub(super) fn size(&self, kind: Kind) -> (usize, usize) {
        let resources = self.kinds.get(&kind).into_iter().flat_map(BTreeMap::values);
        resources.fold((0, 0), |(count, bytes), published| {
            (count + 1, bytes + published.bytes.len())
        })
    }
}
