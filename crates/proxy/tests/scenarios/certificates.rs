//! What the scenarios make of certificates: Secrets, and clients with ALPN.

use std::sync::Arc;

use lateen_certificates::{Authority, Signed};
use lateen_model::secret::Secret;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, SupportedProtocolVersion};

/// As a Secret of the gateway's namespace.
pub(crate) fn secret(signed: &Signed, name: &str) -> Secret {
    Secret {
        namespace: "default".into(),
        name: name.into(),
        chain: signed.chain.clone().into_bytes(),
        private_key: signed.key.clone().into_bytes(),
        ..Secret::default()
    }
}

/// A client that trusts an authority, perhaps with a certificate of its own.
pub(crate) fn client(
    authority: &Authority,
    own: Option<&Signed>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> Arc<ClientConfig> {
    client_of(
        aws_lc_rs::default_provider(),
        authority,
        own,
        versions,
        protocols,
    )
}

/// The same with cryptography of its own.
pub(crate) fn client_of(
    provider: CryptoProvider,
    authority: &Authority,
    own: Option<&Signed>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> Arc<ClientConfig> {
    let mut config = authority.client_of(provider, own, versions);
    config.alpn_protocols = protocols
        .iter()
        .map(|one| one.as_bytes().to_vec())
        .collect();
    Arc::new(config)
}
