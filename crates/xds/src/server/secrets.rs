//! Secrets that were asked for, and who may have them.
//!
//! They are kept apart from everything else that is published: no list, no page and no connection
//! without a proven identity leads here. Who asks is checked in this order:
//!
//! 1. the connection has proven who it is, which none on the plaintext port has;
//! 2. it is a gateway, and asks for a Secret of its own namespace;
//! 3. its service account may read the Secrets there (a grant, which the control plane finds out).
//!
//! Until 3. and the Secret itself are known there is no answer: "there is none" would take a
//! certificate out of service that a restarted control plane has merely not read yet.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use lateen_model::proxy::Role;

use super::cache::Viewer;
use super::identity::Account;
use crate::version::Version;

/// Secrets that one connection may ask for. A gateway with a certificate for each of a thousand
/// hosts is large; without a limit a single client could make the control plane watch anything.
pub(super) const MAX_NAMES: usize = 4096;

/// News of Secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretChange {
    /// A Secret was looked at: its bytes from [`crate::proto::encode_secret`], or that there is
    /// none that could be used.
    Known {
        /// Its name, `namespace/name`.
        name: String,
        /// Its bytes.
        content: Option<Bytes>,
    },
    /// Nobody asks for a Secret any more.
    Forgotten {
        /// Its name.
        name: String,
    },
    /// Whether an account may read the Secrets of its namespace; unknown if unset.
    Grant {
        /// The account.
        account: Account,
        /// Whether it may.
        is_granted: Option<bool>,
    },
}

/// Why a proxy is not given a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Denial {
    /// It has not proven who it is.
    Unproven,
    /// It is no gateway.
    NoGateway,
    /// The Secret is of another namespace.
    OtherNamespace,
    /// Its service account may not read Secrets.
    Forbidden,
}

/// A Secret as bytes.
#[derive(PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) version: Version,
    pub(super) bytes: Bytes,
}

/// All that were asked for.
#[derive(Default)]
pub(super) struct Secrets {
    known: HashMap<Arc<str>, Option<Sealed>>,
    grants: HashMap<Account, bool>,
}

/// The answer to a proxy that asks for a Secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// It is not known yet.
    Waits,
    /// There is none.
    Absent,
    /// It is none of the proxy's business.
    Denied(Denial),
    /// Here it is.
    Is(&'a Sealed),
}

/// What changed, for those who may have to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Secret(Arc<str>),
    Account(Account),
}

// === impl SecretChange ===

/// Sizes stand for what must not get into logs.
impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { name, content } => f
                .debug_struct("Known")
                .field("name", name)
                .field("bytes", &content.as_ref().map(Bytes::len))
                .finish(),
            Self::Forgotten { name } => f.debug_tuple("Forgotten").field(name).finish(),
            Self::Grant {
                account,
                is_granted,
            } => f
                .debug_tuple("Grant")
                .field(account)
                .field(is_granted)
                .finish(),
        }
    }
}

// === impl Denial ===

impl Denial {
    /// Every reason.
    pub const ALL: [Self; 4] = [
        Self::Unproven,
        Self::NoGateway,
        Self::OtherNamespace,
        Self::Forbidden,
    ];

    /// The label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unauthenticated",
            Self::NoGateway => "no_gateway",
            Self::OtherNamespace => "other_namespace",
            Self::Forbidden => "forbidden",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unproven => {
                "it has not proven who it is; Secrets are served on port 15012 only, to proxies \
                 with a token of their service account"
            }
            Self::NoGateway => "only gateways are given Secrets",
            Self::OtherNamespace => "it is of another namespace than the proxy",
            Self::Forbidden => {
                "its service account may not list Secrets in the namespace; a Role with `get`, \
                 `watch` and `list` on `secrets` and a RoleBinding would allow it"
            }
        })
    }
}

// === impl Sealed ===

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealed").field(&self.bytes.len()).finish()
    }
}

// === impl Secrets ===

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.known.len()).finish()
    }
}

impl Secrets {
    /// Takes news; nothing if they are none.
    pub(super) fn apply(&mut self, change: SecretChange) -> Option<Changed> {
        match change {
            SecretChange::Known { name, content } => {
                let sealed = content.map(|bytes| Sealed {
                    version: Version::of(&bytes),
                    bytes,
                });
                let name: Arc<str> = name.into();
                if self.known.get(&name) == Some(&sealed) {
                    return None;
                }
                self.known.insert(name.clone(), sealed);
                Some(Changed::Secret(name))
            }
            SecretChange::Forgotten { name } => {
                let (name, _) = self.known.remove_entry(name.as_str())?;
                Some(Changed::Secret(name))
            }
            SecretChange::Grant {
                account,
                is_granted,
            } => {
                let before = match is_granted {
                    Some(granted) => self.grants.insert(account.clone(), granted),
                    None => self.grants.remove(&account),
                };
                (before != is_granted).then_some(Changed::Account(account))
            }
        }
    }

    /// The Secret of a name, if this viewer may have it.
    pub(super) fn answer(&self, name: &str, viewer: &Viewer) -> Answer<'_> {
        let account = match claimant(name, viewer) {
            Ok(account) => account,
            Err(denial) => return Answer::Denied(denial),
        };
        match (self.grants.get(account), self.known.get(name)) {
            (Some(false), _) => Answer::Denied(Denial::Forbidden),
            (None, _) | (Some(true), None) => Answer::Waits,
            (Some(true), Some(None)) => Answer::Absent,
            (Some(true), Some(Some(sealed))) => Answer::Is(sealed),
        }
    }
}

/// The account on whose behalf a viewer may ask for a Secret, as far as that is known without
/// asking anybody.
pub(super) fn claimant<'a>(name: &str, viewer: &'a Viewer) -> Result<&'a Account, Denial> {
    let account = viewer.account.as_ref().ok_or(Denial::Unproven)?;
    if viewer.role != Role::Gateway {
        return Err(Denial::NoGateway);
    }
    match name.split_once('/') {
        Some((namespace, _)) if namespace == account.namespace => Ok(account),
        _ => Err(Denial::OtherNamespace),
    }
}
