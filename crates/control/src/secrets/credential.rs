//! What a Secret of the cluster holds for TLS, in either of the forms that people write.
//!
//! | | `kubernetes.io/tls` | Opaque |
//! |---|---|---|
//! | chain | `tls.crt` | `cert` |
//! | key | `tls.key` | `key` |
//! | authorities | `ca.crt` | `cacert` |
//! | revocations | `ca.crl` | `crl` |
//! | OCSP response | `tls.ocsp-staple` | |
//!
//! The forms are told apart by the keys, not by the type, as in Istio.

use std::collections::BTreeMap;
use std::fmt;

use lateen_model::secret::{self, Secret};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What a Secret of the cluster holds.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// Why a Secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is none: its `namespace/name`.
    Absent(String),
    /// It holds something else.
    Invalid {
        /// Its `namespace/name`.
        secret: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A part of a Secret, by its keys in both forms.
#[derive(Clone, Copy)]
struct Part(&'static str, &'static str);

const CHAIN: Part = Part("tls.crt", "cert");
const KEY: Part = Part("tls.key", "key");
const AUTHORITIES: Part = Part("ca.crt", "cacert");
const REVOKED: Part = Part("ca.crl", "crl");
const STAPLE: &str = "tls.ocsp-staple";

/// Reads the Secret of a name: `own` is the one of this name, `base` the one that stands in for
/// it (see [`secret::base`]).
///
/// # Errors
/// When there is none, or when it is incomplete or invalid.
pub(super) fn read(
    namespace: &str,
    name: &str,
    own: Option<&Data>,
    base: Option<&Data>,
) -> Result<Secret, Problem> {
    let found = match (own, secret::base(name)) {
        (Some(data), base) => Some((data, name, base.is_some())),
        (None, Some(short)) => base.map(|data| (data, short, true)),
        (None, None) => None,
    };
    let Some((data, found, is_for_authorities)) = found else {
        return Err(Problem::Absent(format!("{namespace}/{name}")));
    };
    let mut secret = Secret {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Secret::default()
    };
    fill(&mut secret, data, is_for_authorities).map_err(|why| Problem::Invalid {
        secret: format!("{namespace}/{found}"),
        why,
    })?;
    Ok(secret)
}

fn fill(secret: &mut Secret, data: &Data, is_for_authorities: bool) -> Result<(), String> {
    let authorities = AUTHORITIES.of(data);
    if let Some((key, pem)) = authorities {
        certificates(key, pem)?;
        secret.authorities = pem.to_vec();
    }
    if let Some((key, pem)) = REVOKED.of(data) {
        for list in CertificateRevocationListDer::pem_slice_iter(pem) {
            list.map_err(|error| format!("{key} is not PEM: {error}"))?;
        }
        secret.revoked = pem.to_vec();
    }
    let (chain, key) = (CHAIN.of(data), KEY.of(data));
    if is_for_authorities || (chain.is_none() && key.is_none() && authorities.is_some()) {
        return match authorities {
            Some(_) => Ok(()),
            None => Err(format!("it has no {AUTHORITIES}")),
        };
    }
    let chain = chain.ok_or_else(|| format!("it has no {CHAIN}"))?;
    let key = key.ok_or_else(|| format!("it has no {KEY}"))?;
    pair(chain, key)?;
    secret.chain = chain.1.to_vec();
    secret.private_key = key.1.to_vec();
    if let Some(staple) = data.get(STAPLE) {
        secret.ocsp_staple.clone_from(staple);
    }
    Ok(())
}

pub(super) fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let list = list.map_err(|error| format!("{key} is not PEM: {error}"))?;
    if list.is_empty() {
        return Err(format!("{key} holds no certificate in PEM"));
    }
    for certificate in &list {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| format!("{key} holds something that is no certificate: {error}"))?;
    }
    Ok(list)
}

/// Checks that a chain and a key belong together. Nothing of the key gets into the message.
fn pair(chain: (&str, &[u8]), key: (&str, &[u8])) -> Result<(), String> {
    let list = certificates(chain.0, chain.1)?;
    let der = PrivateKeyDer::from_pem_slice(key.1)
        .map_err(|_| format!("{} holds no private key in PEM", key.0))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(list, der, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!(
                "{} does not belong to the certificate of {}",
                key.0, chain.0
            )
        }
        _ => format!("{} or {} cannot be used: {error}", key.0, chain.0),
    })?;
    Ok(())
}

// === impl Part ===

impl Part {
    fn of(self, data: &Data) -> Option<(&'static str, &[u8])> {
        [self.0, self.1].into_iter().find_map(|key| {
            let value = data.get(key).filter(|value| !value.is_empty())?;
            Some((key, value.as_slice()))
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (or {})", self.0, self.1)
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(secret) => write!(f, "Secret {secret} does not exist"),
            Self::Invalid { secret, why } => write!(f, "Secret {secret} cannot be used: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made() -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (
            certificate.pem().into_bytes(),
            key.serialize_pem().into_bytes(),
        )
    }

    fn data(pairs: &[(&str, &[u8])]) -> Data {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
            .collect()
    }

    fn why(result: Result<Secret, Problem>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn both_forms_are_read() {
        let (chain, key) = made();
        let (ca, _) = made();
        let tls = data(&[
            ("tls.crt", &chain),
            ("tls.key", &key),
            ("ca.crt", &ca),
            ("tls.ocsp-staple", b"staple"),
        ]);
        let opaque = data(&[("cert", &chain), ("key", &key), ("cacert", &ca)]);
        let secret = read("edge", "c", Some(&tls), None).unwrap();
        assert_eq!(secret.key(), "edge/c");
        assert_eq!((&secret.chain, &secret.private_key), (&chain, &key));
        assert_eq!(secret.authorities, ca);
        assert_eq!(secret.ocsp_staple, b"staple");
        let other = read("edge", "c", Some(&opaque), None).unwrap();
        assert_eq!((other.chain, other.private_key), (chain, key));
        assert_eq!(other.authorities, ca);
    }

    #[test]
    fn authorities_stand_under_their_own_name_or_beside_the_certificate() {
        let (chain, key) = made();
        let (ca, _) = made();
        let own = data(&[("cacert", &ca)]);
        let both = data(&[("tls.crt", &chain), ("tls.key", &key), ("ca.crt", &ca)]);
        let secret = read("edge", "c-cacert", Some(&own), Some(&both)).unwrap();
        assert_eq!((&secret.authorities, secret.chain.len()), (&ca, 0));
        let secret = read("edge", "c-cacert", None, Some(&both)).unwrap();
        assert_eq!(secret.key(), "edge/c-cacert");
        assert_eq!((&secret.authorities, secret.private_key.len()), (&ca, 0));
        let secret = read("edge", "clients", Some(&own), None).unwrap();
        assert_eq!(secret.authorities, ca);
        let none = data(&[("tls.crt", &chain), ("tls.key", &key)]);
        let why = why(read("edge", "c-cacert", None, Some(&none)));
        assert!(
            why.contains("edge/c cannot") && why.contains("no ca.crt"),
            "{why}"
        );
    }

    #[test]
    fn what_is_absent_incomplete_or_wrong_says_so_by_key() {
        let (chain, key) = made();
        let (_, other) = made();
        let case = |pairs: &[(&str, &[u8])]| why(read("edge", "c", Some(&data(pairs)), None));
        assert_eq!(
            why(read("edge", "c", None, None)),
            "Secret edge/c does not exist"
        );
        assert!(case(&[]).contains("no tls.crt (or cert)"));
        assert!(case(&[("tls.crt", &chain)]).contains("no tls.key (or key)"));
        assert!(case(&[("tls.crt", b""), ("tls.key", &key)]).contains("no tls.crt"));
        let text = case(&[("tls.crt", b"junk"), ("tls.key", &key)]);
        assert!(text.contains("tls.crt holds no certificate"), "{text}");
        let text = case(&[("cert", &chain), ("key", b"secret junk")]);
        assert!(text.contains("key holds no private key"), "{text}");
        assert!(!text.contains("secret junk"), "{text}");
        let text = case(&[("tls.crt", &chain), ("tls.key", &other)]);
        assert!(text.contains("does not belong"), "{text}");
    }
}
