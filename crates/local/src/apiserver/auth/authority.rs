//! The certificate authority of the cluster: signs the server's own certificate and the client
//! certificates of kubeconfigs.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;

/// A certificate with its key, both in PEM, as kubeconfigs carry them.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The authority: its certificate and key.
pub(crate) struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

// === impl Authority ===

impl Authority {
    /// Makes a new authority.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        let mut params = lasting(CertificateParams::new(Vec::new())?);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::CommonName, "kubernetes");
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Self::from_pem(certificate, key.serialize_pem())
    }

    /// Takes up an authority that was stored.
    pub(crate) fn from_pem(certificate: String, key: String) -> Result<Self, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
        Ok(Self {
            certificate,
            key,
            issuer,
        })
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    pub(crate) fn key_pem(&self) -> &str {
        &self.key
    }

    /// Issues a certificate that names a user and its group.
    pub(crate) fn client_certificate(
        &self,
        user: &str,
        group: &str,
    ) -> Result<ClientCertificate, rcgen::Error> {
        let mut params = lasting(CertificateParams::new(Vec::new())?);
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, user);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ClientCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The TLS settings of the server, with a certificate for these names and addresses. Clients
    /// may show a certificate of this authority, or none and send a token.
    pub(crate) fn server_config(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
        let mut params = lasting(CertificateParams::new(names.to_vec())?);
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        let addresses = addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(pem_to_der(&self.certificate)?)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Reads the user from a client certificate that the TLS handshake has verified: the common name
/// is the user, organisations are its groups.
pub(crate) fn user_of_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups: Vec<&str> = subject
        .iter_organization()
        .filter_map(|attribute| attribute.as_str().ok())
        .collect();
    (!name.is_empty()).then(|| User::new(name, &groups))
}

/// The certificate inside a PEM text.
pub(crate) fn pem_to_der(
    text: &str,
) -> Result<CertificateDer<'static>, rustls::pki_types::pem::Error> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(text.as_bytes())
}

/// Valid from yesterday (clocks differ) for ten years: a local cluster has nobody who renews.
fn lasting(mut params: CertificateParams) -> CertificateParams {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    for (span, end) in [
        (-1.day(), &mut params.not_before),
        (3650.days(), &mut params.not_after),
    ] {
        if let Ok(then) = now.checked_add(span) {
            let (month, day) = (then.month().unsigned_abs(), then.day().unsigned_abs());
            *end = rcgen::date_time_ymd(then.year().into(), month, day);
        }
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_certificate_names_its_user_and_groups() {
        let authority = Authority::generate().unwrap();
        let minted = authority
            .client_certificate("ann", "system:masters")
            .unwrap();
        let der = pem_to_der(&minted.certificate).unwrap();
        assert_eq!(
            user_of_certificate(&der),
            Some(User::new("ann", &["system:masters"]))
        );
    }

    #[test]
    fn a_stored_authority_signs_as_before() {
        let first = Authority::generate().unwrap();
        let again = Authority::from_pem(first.certificate.clone(), first.key.clone()).unwrap();
        assert!(again.server_config(&["localhost".into()], &[]).is_ok());
    }
}
