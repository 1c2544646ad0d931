//! What a proxy imports: the part of the mesh that Istio's `Sidecar` lets it see.
//!
//! The control plane knows which Sidecar is whose; here is only how a resource is looked up in one,
//! so that a Sidecar costs what it lists, whatever the number of services.

use std::collections::BTreeSet;

use lateen_model::{Host, HostPattern};

/// What a proxy imports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Hosts that are imported.
    pub imports: Vec<Import>,
    /// Hosts that are not, in spite of `imports`.
    pub exclusions: Vec<Import>,
    /// Services that are seen whatever `imports` says, because rules that are send requests there.
    pub destinations: BTreeSet<Host>,
    /// Whose settings count in place of the mesh's; empty for the mesh's own.
    pub settings: String,
}

/// Hosts of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The namespace; any if unset.
    pub namespace: Option<String>,
    /// The hosts.
    pub host: HostPattern,
}

/// What of a resource a scope is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A service, or its endpoints.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its host, which may be a wildcard.
        host: HostPattern,
    },
    /// Rules for hosts, which are seen if any of their hosts is or has one that is.
    Rules {
        /// Their namespace.
        namespace: String,
        /// Their hosts.
        hosts: Vec<HostPattern>,
    },
    /// A policy for hosts, which goes where services of such hosts may be seen.
    Policy(HostPattern),
    /// Settings of the proxies of a scope; of those without settings of their own if empty.
    Settings(String),
}

// === impl Scope ===

impl Scope {
    /// Answers whether a proxy with this scope sees what `subject` is of.
    pub fn sees(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Service { namespace, host } => {
                self.sends_to(host) || self.imports(namespace, host, HostPattern::is_subset_of)
            }
            Subject::Rules { namespace, hosts } => {
                let overlaps =
                    |host: &HostPattern, import: &HostPattern| host.intersect(import).is_some();
                hosts
                    .iter()
                    .any(|host| self.imports(namespace, host, overlaps))
            }
            Subject::Policy(host) => {
                let mut imports = self.imports.iter();
                imports.any(|import| import.host.intersect(host).is_some())
                    || self.destinations.iter().any(|to| host.matches(to.as_str()))
            }
            Subject::Settings(scope) => *scope == self.settings,
        }
    }

    fn sends_to(&self, host: &HostPattern) -> bool {
        match host {
            HostPattern::Exact(host) => self.destinations.contains(host),
            HostPattern::Suffix(_) => {
                let mut destinations = self.destinations.iter();
                destinations.any(|destination| host.matches(destination.as_str()))
            }
            HostPattern::Any => false,
        }
    }

    fn imports(
        &self,
        namespace: &str,
        host: &HostPattern,
        is_of: impl Fn(&HostPattern, &HostPattern) -> bool,
    ) -> bool {
        let mut imports = self.imports.iter();
        let is_imported =
            imports.any(|import| import.is_in(namespace) && is_of(host, &import.host));
        let mut exclusions = self.exclusions.iter();
        is_imported && !exclusions.any(|out| out.is_in(namespace) && host.is_subset_of(&out.host))
    }
}

// === impl Import ===

impl Import {
    fn is_in(&self, namespace: &str) -> bool {
        let own = self.namespace.as_ref();
        own.is_none_or(|own| own == namespace)
    }
}

// === impl Subject ===

impl Subject {
    /// Answers whether a proxy without a scope, which imports everything, sees it.
    pub(super) fn is_for_all(&self) -> bool {
        match self {
            Self::Service { .. } | Self::Rules { .. } | Self::Policy(_) => true,
            Self::Settings(scope) => scope.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::resolve(text, "", "")
    }

    fn import(text: &str) -> Import {
        let (namespace, host) = text.split_once('/').unwrap();
        Import {
            namespace: (namespace != "*").then(|| namespace.to_owned()),
            host: pattern(host),
        }
    }

    fn scope(imports: &[&str], exclusions: &[&str]) -> Scope {
        Scope {
            imports: imports.iter().map(|text| import(text)).collect(),
            exclusions: exclusions.iter().map(|text| import(text)).collect(),
            ..Scope::default()
        }
    }

    fn service(text: &str) -> Subject {
        let import = import(text);
        Subject::Service {
            namespace: import.namespace.unwrap(),
            host: import.host,
        }
    }

    fn rules(text: &str) -> Subject {
        let import = import(text);
        Subject::Rules {
            namespace: import.namespace.unwrap(),
            hosts: vec![import.host],
        }
    }

    #[test]
    fn a_service_is_imported_by_its_namespace_and_host() {
        let scope = scope(&["a/*", "*/x.com", "b/*.y.com"], &[]);
        for seen in ["a/s.a", "c/x.com", "b/w.y.com", "b/*.w.y.com"] {
            assert!(scope.sees(&service(seen)), "{seen}");
        }
        for hidden in ["b/s.b", "c/z.com", "c/w.y.com", "b/y.com", "b/*.com"] {
            assert!(!scope.sees(&service(hidden)), "{hidden}");
        }
    }

    #[test]
    fn what_is_excluded_is_not_imported() {
        let scope = scope(&["*/*"], &["a/*", "*/x.com"]);
        assert!(scope.sees(&service("b/s.b")));
        assert!(!scope.sees(&service("a/s.a")));
        assert!(!scope.sees(&service("b/x.com")));
        assert!(!scope.sees(&rules("a/s.a")));
    }

    #[test]
    fn rules_are_imported_where_their_hosts_overlap() {
        let scope = scope(&["a/s.com", "b/*.w.com"], &[]);
        for seen in ["a/s.com", "a/*.com", "b/*.com", "b/q.w.com"] {
            assert!(scope.sees(&rules(seen)), "{seen}");
        }
        for hidden in ["a/t.com", "b/s.com", "c/s.com"] {
            assert!(!scope.sees(&rules(hidden)), "{hidden}");
        }
    }

    #[test]
    fn a_destination_of_rules_is_seen_with_its_policies() {
        let mut scope = scope(&["a/s.com"], &[]);
        assert!(!scope.sees(&service("b/t.com")));
        assert!(!scope.sees(&Subject::Policy(pattern("t.com"))));
        scope.destinations.insert(Host::new("t.com"));
        assert!(scope.sees(&service("b/t.com")));
        assert!(scope.sees(&service("b/*.com")));
        assert!(scope.sees(&Subject::Policy(pattern("t.com"))));
        assert!(scope.sees(&Subject::Policy(pattern("*.com"))));
        // Its rules are not imported by that.
        assert!(!scope.sees(&rules("b/t.com")));
    }

    #[test]
    fn settings_are_those_of_the_scope_or_of_the_mesh() {
        let mut scope = scope(&["*/*"], &[]);
        let (mesh, own) = (
            Subject::Settings(String::new()),
            Subject::Settings("a/b".into()),
        );
        assert!(scope.sees(&mesh) && !scope.sees(&own));
        scope.settings = "a/b".into();
        assert!(!scope.sees(&mesh) && scope.sees(&own));
        assert!(mesh.is_for_all() && !own.is_for_all());
    }
}
