//! TLS that peers end: one certificate for all, and clients that leave no choice of version, cipher
//! and key exchange, so that every peer does the same work. What was agreed on is part of a result.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::workload::{GRPC_HOST, HOST};

/// The only cipher that clients offer, as OpenSSL calls it.
pub(crate) const CIPHER: &str = "TLS_AES_128_GCM_SHA256";
/// The only group of the key exchange, as OpenSSL calls it.
pub(crate) const GROUP: &str = "X25519";

/// The certificate of a run, ECDSA on P-256, as the files that peers read.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The certificate.
    pub(crate) chain: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Both in one file, which HAProxy wants.
    pub(crate) both: PathBuf,
}

/// A client of HTTP/1.1 over TLS 1.3.
#[derive(Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

// === impl Certificate ===

impl Certificate {
    /// Makes one, and writes its files.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = CertificateParams::new(vec![HOST.to_owned(), GRPC_HOST.to_owned()])?;
        let (chain, key) = (params.self_signed(&key)?.pem(), key.serialize_pem());
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
            anyhow::Ok(path)
        };
        Ok(Self {
            both: write("both.pem", &format!("{chain}{key}"))?,
            chain: write("chain.pem", &chain)?,
            key: write("key.pem", &key)?,
        })
    }
}

// === impl Client ===

impl Client {
    /// A client that trusts a certificate.
    pub(crate) fn new(certificate: &Certificate) -> anyhow::Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate.chain)?)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each connection is a whole handshake, for every peer.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands, and says what was agreed on.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
    ) -> anyhow::Result<(TlsStream<TcpStream>, String)> {
        let connector = TlsConnector::from(Arc::clone(&self.0));
        let stream = connector
            .connect(ServerName::try_from(HOST)?, stream)
            .await?;
        let agreed = agreed(stream.get_ref().1);
        Ok((stream, agreed))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// Version, cipher, group and protocol.
fn agreed(session: &ClientConnection) -> String {
    let version = session.protocol_version();
    let version = version.map_or_else(|| "?".into(), |one| format!("{one:?}"));
    let suite = session.negotiated_cipher_suite();
    let suite = suite.map_or_else(|| "?".into(), |one| format!("{:?}", one.suite()));
    let group = session.negotiated_key_exchange_group();
    let group = group.map_or_else(|| "?".into(), |one| format!("{:?}", one.name()));
    let protocol = session.alpn_protocol().unwrap_or(b"no ALPN");
    let protocol = String::from_utf8_lossy(protocol);
    format!("{version} {suite} {group} {protocol}")
}
