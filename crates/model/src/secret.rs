//! Credentials, asked for by name. They are sent over TLS only, to proxies that proved who they
//! are, and never kept on disk or printed.

use std::fmt;

/// What a Secret holds for TLS, in PEM.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The certificate chain, leaf first; empty if it holds authorities only.
    pub chain: Vec<u8>,
    /// The key of the leaf; empty if it holds authorities only.
    pub private_key: Vec<u8>,
    /// The authorities that sign peers; empty if none.
    pub authorities: Vec<u8>,
    /// Certificates that are revoked; empty if none.
    pub revoked: Vec<u8>,
    /// A response of OCSP in DER to be stapled; empty if none.
    pub ocsp_staple: Vec<u8>,
}

// === impl Secret ===

impl Secret {
    /// Its name on the wire.
    pub fn key(&self) -> String {
        key(&self.namespace, &self.name)
    }
}

/// The name of a Secret on the wire: `namespace/name`.
pub fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// The end of a name that stands for authorities alone.
pub const AUTHORITIES_ENDING: &str = "-cacert";

/// The Secret that stands in for one of authorities alone, where that does not exist: its name
/// without the ending. Nothing for other names.
pub fn base(name: &str) -> Option<&str> {
    name.strip_suffix(AUTHORITIES_ENDING)
        .filter(|base| !base.is_empty())
}

/// Sizes stand for what must not get into logs.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("chain", &self.chain.len())
            .field("private_key", &self.private_key.len())
            .field("authorities", &self.authorities.len())
            .field("revoked", &self.revoked.len())
            .field("ocsp_staple", &self.ocsp_staple.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_with_the_ending_has_a_base() {
        assert_eq!(base("credential-cacert"), Some("credential"));
        assert_eq!((base("credential"), base("-cacert")), (None, None));
    }

    #[test]
    fn a_secret_does_not_print_what_it_holds() {
        let secret = Secret {
            name: "credential".into(),
            private_key: b"-----BEGIN PRIVATE KEY-----".to_vec(),
            ..Secret::default()
        };
        let text = format!("{secret:?}");
        assert!(
            text.contains("credential") && !text.contains("PRIVATE"),
            "{text}"
        );
        assert!(!text.contains("45, 45"), "{text}");
    }
}
