//! What is wrong with a credential that a Gateway names, for `lateen analyze`: what the control plane
//! would say of the Secret, and what clients would say of the certificates.

use lateen_api::analyze::Level;
use lateen_api::analyze::credential::{Credential, Flaw, Need};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::credential::{Problem, certificates, read};

/// Finds what is wrong with a credential at a time, in seconds since 1970. Nothing of a key gets into
/// what it says.
pub fn judge(credential: &Credential<'_>, now: i64) -> Vec<Flaw> {
    let Credential {
        namespace, name, ..
    } = *credential;
    let secret = match read(namespace, name, credential.own, credential.base) {
        Ok(secret) => secret,
        Err(problem) => return vec![error(problem.to_string())],
    };
    let unusable = |why: &str| {
        error(
            Problem::Invalid {
                secret: format!("{namespace}/{name}"),
                why: why.to_owned(),
            }
            .to_string(),
        )
    };
    let what = match credential.need {
        Need::Pair if secret.chain.is_empty() => {
            return vec![unusable(
                "it holds authorities alone, and no tls.crt and tls.key",
            )];
        }
        Need::Authorities if secret.authorities.is_empty() => {
            return vec![unusable(
                "it has no authorities (ca.crt or cacert) by which clients are checked",
            )];
        }
        Need::Pair => &secret.chain,
        Need::Authorities => &secret.authorities,
    };
    // Reading has checked it already.
    let Ok(list) = certificates("it", what) else {
        return Vec::new();
    };
    let parsed = list
        .iter()
        .filter_map(|der| parse_x509_certificate(der).ok());
    let parsed: Vec<_> = parsed.map(|(_, certificate)| certificate).collect();
    let mut flaws: Vec<Flaw> = parsed
        .iter()
        .filter_map(|certificate| {
            let why = outdated(certificate, now)?;
            let text = format!("Secret {namespace}/{name}: {why}");
            let level = match credential.need {
                Need::Pair => Level::Error,
                // Others of the same Secret may do.
                Need::Authorities => Level::Warning,
            };
            Some(Flaw { level, text })
        })
        .collect();
    if credential.need == Need::Pair {
        let gap = gap(&parsed);
        flaws.extend(gap.map(|why| Flaw {
            level: Level::Warning,
            text: format!("Secret {namespace}/{name}: {why}"),
        }));
    }
    flaws
}

fn error(text: String) -> Flaw {
    Flaw {
        level: Level::Error,
        text,
    }
}

/// Why a certificate is of no use at a time.
fn outdated(certificate: &X509Certificate<'_>, now: i64) -> Option<String> {
    let validity = certificate.validity();
    let subject = certificate.subject();
    if now > validity.not_after.timestamp() {
        let end = validity.not_after;
        return Some(format!(
            "the certificate of {subject} expired on {end}; clients refuse it"
        ));
    }
    if now < validity.not_before.timestamp() {
        let begin = validity.not_before;
        return Some(format!(
            "the certificate of {subject} is not valid before {begin}; clients refuse it until then"
        ));
    }
    None
}

/// The first certificate of a chain that the next one did not issue.
fn gap(chain: &[X509Certificate<'_>]) -> Option<String> {
    let mut links = chain.iter().zip(chain.iter().skip(1));
    let (below, above) =
        links.find(|(below, above)| below.issuer().as_raw() != above.subject().as_raw())?;
    Some(format!(
        "the chain is broken: the certificate of {} was issued by {}, but the next one is that of {}; \
         put issuers in order, without strangers between them",
        below.subject(),
        below.issuer(),
        above.subject()
    ))
}

#[cfg(test)]
mod tests {
    use lateen_api::analyze::credential::Data;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// Noon of the first of June 2025.
    const NOW: i64 = 1_748_779_200;

    fn named(name: &str, from: i32, to: i32) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        params
    }

    fn data(pairs: &[(&str, &str)]) -> Data {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        pairs.collect()
    }

    fn flaws(own: &Data, need: Need) -> Vec<(Level, String)> {
        let credential = Credential {
            namespace: "edge",
            name: "c",
            need,
            own: Some(own),
            base: None,
        };
        let flaws = judge(&credential, NOW).into_iter();
        flaws.map(|flaw| (flaw.level, flaw.text)).collect()
    }

    /// A leaf that an authority signed, with its key and the authority.
    fn signed() -> (String, String, String) {
        let mut ca = named("authority", 2020, 2040);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf = named("leaf", 2020, 2040).signed_by(&key, &issuer).unwrap();
        (leaf.pem(), key.serialize_pem(), ca_pem)
    }

    #[test]
    fn a_good_chain_has_no_flaw() {
        let (leaf, key, ca) = signed();
        let whole = format!("{leaf}{ca}");
        let own = data(&[("tls.crt", &whole), ("tls.key", &key), ("ca.crt", &ca)]);
        assert_eq!(flaws(&own, Need::Pair), []);
        assert_eq!(flaws(&own, Need::Authorities), []);
    }

    #[test]
    fn what_the_control_plane_refuses_is_an_error() {
        let (leaf, _, ca) = signed();
        let (_, other, _) = signed();
        let own = data(&[("tls.crt", &leaf), ("tls.key", &other)]);
        let text =
            "Secret edge/c cannot be used: tls.key does not belong to the certificate of tls.crt";
        assert_eq!(flaws(&own, Need::Pair), [(Level::Error, text.to_owned())]);
        let own = data(&[("ca.crt", &ca)]);
        let found = flaws(&own, Need::Pair);
        assert!(found[0].1.contains("authorities alone"), "{found:?}");
    }

    #[test]
    fn authorities_must_be_there_for_clients() {
        let (leaf, key, _) = signed();
        let own = data(&[("tls.crt", &leaf), ("tls.key", &key)]);
        let found = flaws(&own, Need::Authorities);
        assert!(found[0].1.contains("no authorities"), "{found:?}");
    }

    #[test]
    fn a_certificate_out_of_its_time_is_an_error() {
        for (from, to, words) in [(2020, 2025, "expired on"), (2026, 2040, "not valid before")] {
            let key = KeyPair::generate().unwrap();
            let leaf = named("leaf", from, to).self_signed(&key).unwrap().pem();
            let own = data(&[("cert", &leaf), ("key", &key.serialize_pem())]);
            let found = flaws(&own, Need::Pair);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].0, Level::Error);
            assert!(found[0].1.contains(words), "{found:?}");
            assert!(found[0].1.contains("leaf"), "{found:?}");
        }
    }

    #[test]
    fn a_chain_with_a_stranger_is_a_warning() {
        let (leaf, key, _) = signed();
        let stranger = KeyPair::generate().unwrap();
        let stranger = named("stranger", 2020, 2040)
            .self_signed(&stranger)
            .unwrap()
            .pem();
        let chain = format!("{leaf}{stranger}");
        let found = flaws(&data(&[("tls.crt", &chain), ("tls.key", &key)]), Need::Pair);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, Level::Warning);
        assert!(
            found[0].1.contains("issued by") && found[0].1.contains("stranger"),
            "{found:?}"
        );
    }
}
