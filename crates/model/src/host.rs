//! Host names of services and the patterns that rules write for them.

use std::fmt;

use serde::Serialize;

/// The fully qualified name of a service, in lower case and without a trailing dot, such as
/// `reviews.default.svc.cluster.local`, or an IP address as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Host(String);

impl Host {
    /// Takes a name and brings it into canonical form (lower case, no trailing dot).
    pub fn new(name: &str) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name);
        Self(name.to_ascii_lowercase())
    }

    /// Expands a short name as Istio does: a name with no dot that is neither `*` nor an IP
    /// address belongs to the namespace of the *rule* that wrote it.
    pub fn resolve(name: &str, namespace: &str, cluster_domain: &str) -> Self {
        let is_ip = name.parse::<std::net::IpAddr>().is_ok();
        if name.contains('.') || name.contains('*') || is_ip || name.is_empty() {
            Self::new(name)
        } else {
            Self::new(&format!("{name}.{namespace}.svc.{cluster_domain}"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host as a rule writes it: a name, a wildcard such as `*.example.com`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HostPattern {
    /// Any host: `*`.
    Any,
    /// What ends with this suffix: `*.example.com` is kept as `.example.com`.
    Suffix(String),
    /// Exactly this host.
    Exact(Host),
}

impl HostPattern {
    /// Reads a pattern; short names are expanded as by [`Host::resolve`].
    pub fn resolve(text: &str, namespace: &str, cluster_domain: &str) -> Self {
        match Self::literal(text) {
            Self::Exact(_) => Self::Exact(Host::resolve(text, namespace, cluster_domain)),
            wildcard => wildcard,
        }
    }

    /// Reads a pattern of names that are no services' and stand for themselves, such as the server
    /// names of TLS: `*`, `*.suffix` or an exact name.
    pub fn literal(text: &str) -> Self {
        match text.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) => Self::Suffix(Host::new(suffix).0),
            None => Self::Exact(Host::new(text)),
        }
    }

    /// Answers whether `host` (in canonical form) is one of the hosts that this pattern names.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Exact(exact) => exact.as_str() == host,
        }
    }

    /// Answers whether every host of `self` is one of `other`'s.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (Self::Any, _) | (Self::Suffix(_), Self::Exact(_)) => false,
            (Self::Suffix(a), Self::Suffix(b)) => a.ends_with(b.as_str()),
            (Self::Exact(host), pattern) => pattern.matches(host.as_str()),
        }
    }

    /// The narrower of two overlapping patterns; nothing if no host matches both.
    pub fn intersect<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        if self.is_subset_of(other) {
            Some(self)
        } else if other.is_subset_of(self) {
            Some(other)
        } else {
            None
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Exact(host) => host.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::resolve(text, "default", "cluster.local")
    }

    #[test]
    fn short_names_belong_to_the_namespace_of_the_rule() {
        assert_eq!(
            Host::resolve("reviews", "a", "cluster.local").as_str(),
            "reviews.a.svc.cluster.local"
        );
        assert_eq!(
            Host::resolve("Reviews.Prod", "a", "cluster.local").as_str(),
            "reviews.prod"
        );
        assert_eq!(Host::resolve("::1", "a", "cluster.local").as_str(), "::1");
    }

    #[test]
    fn a_wildcard_needs_at_least_one_character_before_its_suffix() {
        assert!(pattern("*.foo.com").matches("a.foo.com"));
        assert!(!pattern("*.foo.com").matches(".foo.com"));
        assert!(!pattern("*.foo.com").matches("foo.com"));
    }

    #[test]
    fn the_intersection_is_the_narrower_name() {
        assert_eq!(
            pattern("*.foo.com").intersect(&pattern("a.foo.com")),
            Some(&pattern("a.foo.com"))
        );
        assert_eq!(
            pattern("*").intersect(&pattern("*.foo.com")),
            Some(&pattern("*.foo.com"))
        );
        assert_eq!(pattern("a.com").intersect(&pattern("b.com")), None);
    }
}
