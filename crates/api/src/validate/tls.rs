//! Rules of TLS settings: of clients (DestinationRule) and servers (Gateway, Sidecar).

use std::collections::BTreeSet;

use crate::problem::{Path, Report};
use crate::spec::tls::{ClientTls, ClientTlsMode, ServerTls, ServerTlsMode, TlsVersion};

/// Cipher suites that proxies know, by OpenSSL's names.
const CIPHERS: [&str; 14] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
];

/// Checks TLS towards a destination.
pub(super) fn client(tls: &ClientTls, namespace: &str, path: &Path<'_>, report: &mut Report) {
    let has_files = !tls.client_certificate.is_empty()
        || !tls.private_key.is_empty()
        || !tls.ca_certificates.is_empty()
        || !tls.ca_crl.is_empty();
    let has_credential = !tls.credential_name.is_empty();
    if let Some(reference) = tls.credential_name.strip_prefix("configmap://") {
        let is_foreign = reference
            .split_once('/')
            .is_some_and(|(ns, _)| ns != namespace);
        if is_foreign {
            report.error(
                &path.field("credentialName"),
                "a ConfigMap must be in the namespace of the DestinationRule",
            );
        }
    }
    if tls.insecure_skip_verify == Some(true) {
        let is_simple = tls.mode == Some(ClientTlsMode::Simple);
        let contradictions = [
            ("caCertificates", !tls.ca_certificates.is_empty()),
            ("subjectAltNames", !tls.subject_alt_names.is_empty()),
            ("credentialName", is_simple && has_credential),
        ];
        for (field, _) in contradictions.into_iter().filter(|(_, is_set)| *is_set) {
            report.error(&path.field(field), "contradicts insecureSkipVerify");
        }
    }
    if has_credential && has_files {
        report.error(
            &path.field("credentialName"),
            "must not be set beside clientCertificate, privateKey, caCertificates or caCrl",
        );
    }
    if tls.mode == Some(ClientTlsMode::Mutual) && !has_credential {
        required(
            "clientCertificate",
            &tls.client_certificate,
            "for MUTUAL",
            path,
            report,
        );
        required("privateKey", &tls.private_key, "for MUTUAL", path, report);
    }
}

fn required(field: &str, value: &str, why: &str, path: &Path<'_>, report: &mut Report) {
    if value.is_empty() {
        report.error(&path.field(field), format!("is required {why}"));
    }
}

/// Checks the TLS of a server; whether its port may have TLS at all is the caller's to check.
pub(super) fn server(tls: &ServerTls, path: &Path<'_>, report: &mut Report) {
    let mode = tls.mode.unwrap_or_default();
    match mode {
        ServerTlsMode::IstioMutual => istio_mutual(tls, path, report),
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            certificates(tls, mode, path, report);
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            if sources(tls).len() + usize::from(!tls.ca_certificates.is_empty()) > 0 {
                report.warn(
                    path,
                    "certificates are not used where TLS is passed through",
                );
            }
        }
    }
    if !tls.ca_crl.is_empty() {
        let crl = path.field("caCrl");
        if !tls.credential_name.is_empty() || !tls.credential_names.is_empty() {
            report.error(
                &crl,
                "must not be set beside credentialName; put ca.crl into the secret",
            );
        } else if mode == ServerTlsMode::Simple {
            report.error(
                &crl,
                "needs MUTUAL or OPTIONAL_MUTUAL: SIMPLE asks for no certificate of clients",
            );
        }
    }
    versions(tls, path, report);
    ciphers(tls, path, report);
}

/// Where certificates come from.
fn sources(tls: &ServerTls) -> Vec<&'static str> {
    [
        (
            "serverCertificate",
            !tls.server_certificate.is_empty() || !tls.private_key.is_empty(),
        ),
        ("credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
    ]
    .into_iter()
    .filter_map(|(field, is_set)| is_set.then_some(field))
    .collect()
}

fn istio_mutual(tls: &ServerTls, path: &Path<'_>, report: &mut Report) {
    let mut fields = sources(tls);
    if !tls.ca_certificates.is_empty() {
        fields.push("caCertificates");
    }
    if !tls.ca_crl.is_empty() {
        fields.push("caCrl");
    }
    for field in fields {
        report.error(
            &path.field(field),
            "must not be set for ISTIO_MUTUAL: the mesh's certificates are used",
        );
    }
}

fn certificates(tls: &ServerTls, mode: ServerTlsMode, path: &Path<'_>, report: &mut Report) {
    let sources = sources(tls);
    if sources.len() > 1 {
        report.error(path, format!("set only one of {}", sources.join(", ")));
    }
    let is_mutual = matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let needs_ca = is_mutual && tls.ca_cert_credential_name.is_empty();
    match sources.first() {
        Some(&"credentialName" | &"credentialNames") => {}
        Some(&"tlsCertificates") => {
            let list = path.field("tlsCertificates");
            for (index, pair) in tls.tls_certificates.iter().enumerate() {
                let path = list.index(index);
                required(
                    "serverCertificate",
                    &pair.server_certificate,
                    "",
                    &path,
                    report,
                );
                required("privateKey", &pair.private_key, "", &path, report);
            }
            if needs_ca && tls.ca_certificates.is_empty() {
                report.error(
                    &path.field("caCertificates"),
                    "is required to check clients",
                );
            }
        }
        _ => {
            let why = "where there is no credentialName";
            required(
                "serverCertificate",
                &tls.server_certificate,
                why,
                path,
                report,
            );
            required("privateKey", &tls.private_key, why, path, report);
            if needs_ca {
                required(
                    "caCertificates",
                    &tls.ca_certificates,
                    "to check clients",
                    path,
                    report,
                );
            }
        }
    }
}

fn versions(tls: &ServerTls, path: &Path<'_>, report: &mut Report) {
    let is_old =
        |version: Option<TlsVersion>| matches!(version, Some(TlsVersion::V1_0 | TlsVersion::V1_1));
    if is_old(tls.min_protocol_version) && tls.cipher_suites.is_empty() {
        report.warn(
            &path.field("minProtocolVersion"),
            "TLS before 1.2 needs cipherSuites that it can use",
        );
    }
    if let (Some(min), Some(max)) = (tls.min_protocol_version, tls.max_protocol_version)
        && max != TlsVersion::Auto
        && min > max
    {
        report.error(
            &path.field("maxProtocolVersion"),
            "is older than minProtocolVersion",
        );
    }
}

fn ciphers(tls: &ServerTls, path: &Path<'_>, report: &mut Report) {
    let list = path.field("cipherSuites");
    let mut seen = BTreeSet::new();
    for (index, cipher) in tls.cipher_suites.iter().enumerate() {
        let path = list.index(index);
        if !CIPHERS.contains(&cipher.as_str()) {
            report.warn(
                &path,
                format!("{cipher:?} is not a known cipher suite and is ignored"),
            );
        } else if !seen.insert(cipher) {
            report.warn(&path, format!("{cipher:?} is listed twice"));
        }
    }
}
