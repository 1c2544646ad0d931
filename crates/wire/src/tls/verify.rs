//! Who may come in: the check of clients' certificates.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};

use super::certificate::Certificate;
use super::error::Error;
use super::server::Clients;

/// Checks clients by authorities, then by names and hashes.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Nothing where everybody is let in and there are no authorities.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
    names: Vec<String>,
    keys: Vec<String>,
    hashes: Vec<String>,
    is_required: bool,
    lets_all_in: bool,
}

// === impl Verifier ===

impl Verifier {
    /// Reads the authorities.
    pub(super) fn new(
        clients: &Clients<'_>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let chain = if clients.authorities.is_empty() && clients.lets_all_in {
            None
        } else {
            Some(chain(clients, provider)?)
        };
        let plain = |hash: &String| hash.replace(':', "").to_ascii_lowercase();
        Ok(Self {
            chain,
            provider: Arc::clone(provider),
            names: clients.names.to_vec(),
            keys: clients.key_hashes.to_vec(),
            hashes: clients.certificate_hashes.iter().map(plain).collect(),
            is_required: clients.is_required && !clients.lets_all_in,
            lets_all_in: clients.lets_all_in,
        })
    }

    /// Checks names and hashes; a hash of either kind will do, as with Envoy.
    fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        if self.names.is_empty() && self.keys.is_empty() && self.hashes.is_empty() {
            return Ok(());
        }
        let read = Certificate::read(leaf);
        let read = read.ok_or(rustls::Error::InvalidCertificate(
            CertificateError::BadEncoding,
        ))?;
        let is_named = read
            .names()
            .any(|name| self.names.iter().any(|one| one == name));
        let is_hashed = self.keys.contains(&read.spki) || self.hashes.contains(&read.hash);
        let has_hashes = !self.keys.is_empty() || !self.hashes.is_empty();
        if (self.names.is_empty() || is_named) && (!has_hashes || is_hashed) {
            return Ok(());
        }
        let refused = CertificateError::ApplicationVerificationFailure;
        Err(rustls::Error::InvalidCertificate(refused))
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let chain = self.chain.as_ref();
        chain.map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = match &self.chain {
            Some(chain) => chain.verify_client_cert(end_entity, intermediates, now),
            None => Ok(ClientCertVerified::assertion()),
        };
        let checked = verified.and_then(|verified| self.check(end_entity).map(|()| verified));
        match checked {
            Err(_) if self.lets_all_in => Ok(ClientCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The check of a chain. A certificate whose issuer has no list of revocations is taken as valid.
fn chain(
    clients: &Clients<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let what = clients.what;
    let mut roots = RootCertStore::empty();
    for found in CertificateDer::pem_slice_iter(clients.authorities) {
        let found =
            found.map_err(|error| Error::unusable(what, format!("is not valid PEM: {error}")))?;
        roots.add(found).map_err(|error| {
            Error::unusable(
                what,
                format!("has an authority that cannot be used: {error}"),
            )
        })?;
    }
    if roots.is_empty() {
        let problem = "has no certificate of an authority, by which clients could be checked";
        return Err(Error::unusable(what, problem));
    }
    let lists: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(clients.revoked).collect();
    let lists = lists.map_err(|error| {
        Error::unusable(
            what,
            format!("has a list of revocations that is not valid PEM: {error}"),
        )
    })?;
    if lists.is_empty() && !clients.revoked.is_empty() {
        let problem = "has revocations that hold no X509 CRL in PEM";
        return Err(Error::unusable(what, problem));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(lists)
        .allow_unknown_revocation_status()
        .build()
        .map_err(|error| Error::unusable(what, format!("cannot be used: {error}")))
}
