//! Cipher suites and groups by the names that configuration has for them.

use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, kx_group as group};

/// The suites of TLS 1.3, which no setting concerns.
const NEWEST: [SupportedCipherSuite; 3] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// The suites of TLS 1.2, as OpenSSL names them, in the order in which they are preferred.
const NAMED: [(&str, SupportedCipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// The groups, in the order in which they are preferred: first the one that holds against a
/// computer of the future.
static GROUPS: [(&str, &dyn SupportedKxGroup); 4] = [
    ("X25519MLKEM768", group::X25519MLKEM768),
    ("X25519", group::X25519),
    ("P-256", group::SECP256R1),
    ("P-384", group::SECP384R1),
];

/// The suites that a list names, in its order, all if it is empty. Names of others are told in
/// `warnings`.
pub(super) fn suites(names: &[String], warnings: &mut Vec<String>) -> Vec<SupportedCipherSuite> {
    let known = choose(names, &NAMED, "cipher suite", warnings, |name, known| {
        name == known
    });
    NEWEST.into_iter().chain(known).collect()
}

/// The groups that a list names, in its order, all if it is empty.
pub(super) fn groups(
    names: &[String],
    warnings: &mut Vec<String>,
) -> Vec<&'static dyn SupportedKxGroup> {
    choose(names, &GROUPS, "group", warnings, |name, known| {
        name.replace('-', "")
            .eq_ignore_ascii_case(&known.replace('-', ""))
    })
}

/// The name of a suite in logs, as OpenSSL has it for TLS 1.2 and RFC 8446 for TLS 1.3.
pub(super) fn name(suite: SupportedCipherSuite) -> String {
    let named = NAMED.iter().find(|(_, known)| *known == suite);
    let own = || format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    named.map_or_else(own, |(name, _)| (*name).to_owned())
}

fn choose<T: Copy>(
    names: &[String],
    table: &[(&str, T)],
    what: &str,
    warnings: &mut Vec<String>,
    is_same: impl Fn(&str, &str) -> bool,
) -> Vec<T> {
    let mut chosen = Vec::new();
    let mut unknown = Vec::new();
    for name in names {
        match table.iter().find(|(known, _)| is_same(name, known)) {
            Some((_, found)) => chosen.push(*found),
            None => unknown.push(name.as_str()),
        }
    }
    let all = || table.iter().map(|(_, one)| *one).collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        let rest = if chosen.is_empty() {
            "; all of these are used"
        } else {
            ""
        };
        warnings.push(format!(
            "left the {what} {} out, which the proxy does not have: it has {}{rest}",
            unknown.join(", "),
            known.join(", "),
        ));
    }
    if chosen.is_empty() { all() } else { chosen }
}
