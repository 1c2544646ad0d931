//! What was made of each Secret, until it changes.
//!
//! Reading one checks certificates and that the key belongs to them. A gateway may have thousands,
//! and something happens whenever a proxy comes or goes: each is read once per change of its own.

use std::collections::{BTreeMap, BTreeSet};

use lateen_model::secret::{AUTHORITIES_ENDING, Secret};
use lateen_xds::proto;
use lateen_xds::server::SecretChange;

use super::Object;
use super::credential::Problem;

/// By `namespace/name`: what is published, with what is wrong with it; nothing while it is not known,
/// or not known any more.
#[derive(Debug, Default)]
pub(super) struct Readings(BTreeMap<String, Reading>);

#[derive(Debug, Default)]
struct Reading {
    is_current: bool,
    is_published: bool,
    problem: Option<Problem>,
}

// === impl Readings ===

impl Readings {
    /// Has the names read again that a Secret of the cluster stands for.
    pub(super) fn outdate(&mut self, (namespace, name): &Object) {
        let own = format!("{namespace}/{name}");
        let of_authorities = format!("{own}{AUTHORITIES_ENDING}");
        for name in [own, of_authorities] {
            if let Some(reading) = self.0.get_mut(&name) {
                reading.is_current = false;
            }
        }
    }

    /// Brings what is published in line with the names that are wanted; reads those that have to be.
    pub(super) fn settle(
        &mut self,
        names: &BTreeSet<String>,
        read: impl Fn(&str) -> Option<Result<Secret, Problem>>,
    ) -> Vec<SecretChange> {
        let mut changes = Vec::new();
        self.0.retain(|name, reading| {
            let is_wanted = names.contains(name);
            if !is_wanted && reading.is_published {
                changes.push(SecretChange::Forgotten { name: name.clone() });
            }
            is_wanted
        });
        for name in names {
            let reading = self.0.entry(name.clone()).or_default();
            if reading.is_current {
                continue;
            }
            let Some(result) = read(name) else {
                continue;
            };
            reading.is_current = true;
            reading.is_published = true;
            let content = match result {
                Ok(secret) => {
                    reading.problem = None;
                    Some(proto::encode_secret(&secret))
                }
                Err(problem) => {
                    reading.problem = Some(problem);
                    None
                }
            };
            let name = name.clone();
            changes.push(SecretChange::Known { name, content });
        }
        changes
    }

    /// What is wrong with Secrets that are wanted.
    pub(super) fn problems(&self) -> BTreeMap<String, Problem> {
        let problems = self.0.iter();
        problems
            .filter_map(|(name, reading)| Some((name.clone(), reading.problem.clone()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn absent(name: &str) -> Problem {
        Problem::Absent(name.to_owned())
    }

    #[test]
    fn a_secret_is_read_once_for_each_change_of_its_own() {
        let mut readings = Readings::default();
        let names: BTreeSet<String> = ["a/x", "a/x-cacert", "a/y"].map(Into::into).into();
        let read = RefCell::new(Vec::new());
        let mut settle = |outdated: Option<&str>| {
            if let Some(name) = outdated {
                readings.outdate(&("a".to_owned(), name.to_owned()));
            }
            readings.settle(&names, |name| {
                read.borrow_mut().push(name.to_owned());
                Some(Err(absent(name)))
            });
            read.take()
        };
        assert_eq!(settle(None), ["a/x", "a/x-cacert", "a/y"]);
        assert!(settle(None).is_empty());
        assert_eq!(settle(Some("y")), ["a/y"]);
        // The authorities may lie beside the certificate.
        assert_eq!(settle(Some("x")), ["a/x", "a/x-cacert"]);
        assert_eq!(settle(Some("x-cacert")), ["a/x-cacert"]);
        assert_eq!(readings.problems().len(), 3);
    }

    #[test]
    fn what_is_not_wanted_is_forgotten_and_what_is_not_known_waits() {
        let mut readings = Readings::default();
        let names: BTreeSet<String> = ["a/x".to_owned()].into();
        assert_eq!(readings.settle(&names, |_| None), []);
        assert_eq!(readings.settle(&BTreeSet::new(), |_| None), []);
        let found = |name: &str| Some(Err(absent(name)));
        let known = SecretChange::Known {
            name: "a/x".into(),
            content: None,
        };
        assert_eq!(readings.settle(&names, found), std::slice::from_ref(&known));
        let forgotten = SecretChange::Forgotten { name: "a/x".into() };
        assert_eq!(readings.settle(&BTreeSet::new(), found), [forgotten]);
        assert!(readings.problems().is_empty());
        assert_eq!(readings.settle(&names, found), [known]);
    }
}
