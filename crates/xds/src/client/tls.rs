//! TLS to the control plane: whom the proxy trusts, and how it proves who it is.
//!
//! Both come from files that change under a running pod (the root when authorities rotate, the
//! token long before it expires), so they are read again for every attempt.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::metadata::{Ascii, MetadataValue};

/// Where the mesh's root certificate is mounted: the ConfigMap `istio-ca-root-cert`.
pub const ROOT: &str = "/var/run/secrets/istio/root-cert.pem";

/// Where the token of the pod's service account is mounted, with the audience `istio-ca`.
pub const TOKEN: &str = "/var/run/secrets/tokens/istio-token";

/// The largest file that is read; a bundle of a hundred roots fits.
const MAX_FILE: u64 = 1 << 20;

/// What TLS to the control plane needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file with the certificates of trusted authorities, in PEM.
    pub root: PathBuf,
    /// The file with the token of the service account.
    pub token: PathBuf,
    /// The name that the control plane's certificate must have; the host of the address if unset.
    pub server_name: Option<String>,
}

/// The files as they are now.
pub(super) struct Loaded {
    connector: TlsConnector,
    name: ServerName<'static>,
    root: PathBuf,
    /// What stands in `authorization`.
    pub(super) authorization: MetadataValue<Ascii>,
}

// === impl Tls ===

impl Default for Tls {
    fn default() -> Self {
        Self {
            root: ROOT.into(),
            token: TOKEN.into(),
            server_name: None,
        }
    }
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// For people: which file is wrong, how, and what to look at.
    pub(super) async fn load(&self, host: &str) -> Result<Loaded, String> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name:?} is no name that a certificate can have"))?;
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| format!("TLS cannot be set up: {error}"))?
                .with_root_certificates(self.roots().await?)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Loaded {
            connector: TlsConnector::from(Arc::new(config)),
            name,
            root: self.root.clone(),
            authorization: self.authorization().await?,
        })
    }

    async fn roots(&self) -> Result<RootCertStore, String> {
        let path = self.root.display();
        let hint = "it is mounted from the ConfigMap istio-ca-root-cert of the pod's namespace";
        let pem = read(&self.root).await.map_err(|error| {
            format!("the root certificate {path} cannot be read: {error}; {hint}")
        })?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| {
                format!("the root certificate {path} is not PEM: {error}; {hint}")
            })?;
            roots.add(certificate).map_err(|error| {
                format!("the root certificate {path} cannot be used: {error}; {hint}")
            })?;
        }
        if roots.is_empty() {
            return Err(format!("{path} holds no root certificate; {hint}"));
        }
        Ok(roots)
    }

    async fn authorization(&self) -> Result<MetadataValue<Ascii>, String> {
        let path = self.token.display();
        let hint = "it is mounted from the projected volume istio-token of the pod";
        let token = read(&self.token)
            .await
            .map_err(|error| format!("the token {path} cannot be read: {error}; {hint}"))?;
        let token = String::from_utf8_lossy(&token);
        let token = token.trim();
        if token.is_empty() {
            return Err(format!("the token {path} is empty; {hint}"));
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| format!("the token {path} has characters that no token has; {hint}"))?;
        // Keeps it out of anything that prints headers.
        value.set_sensitive(true);
        Ok(value)
    }
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = tokio::fs::metadata(path).await?.len();
    if size > MAX_FILE {
        return Err(io::Error::other(format!(
            "it has more than {MAX_FILE} bytes"
        )));
    }
    tokio::fs::read(path).await
}

// === impl Loaded ===

impl Loaded {
    /// Speaks TLS over a connection.
    ///
    /// # Errors
    /// When the other side is not the control plane, as far as one can tell, or not to be trusted.
    pub(super) async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connecting = self.connector.connect(self.name.clone(), stream);
        let tls = connecting.await.map_err(|error| {
            let root = self.root.display();
            let name = self.name.to_str();
            let why = format!(
                "TLS to the control plane as {name:?} with the authorities of {root}: {error}"
            );
            io::Error::new(error.kind(), why)
        })?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            let why = "the control plane's port does not speak HTTP/2 over TLS; is it port 15012?";
            return Err(io::Error::other(why));
        }
        Ok(tls)
    }
}
