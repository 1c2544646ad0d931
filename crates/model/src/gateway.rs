//! Gateways: what the proxies at the edge listen to, and how they end TLS.

use serde::Serialize;

use crate::{HostPattern, Labels, Protocol};

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Namespace of the object.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The proxies that it configures, in every namespace; empty selects every gateway.
    pub selector: Labels,
    /// What they listen to.
    pub servers: Vec<Server>,
}

/// One server of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its name; empty if none.
    pub name: String,
    /// The number of the gateway *Service's* port, or the listening port itself if no Service
    /// exposes that number (see [`crate::proxy::Proxy::gateway_ports`]).
    pub port: u16,
    /// The port's name.
    pub port_name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// The address to listen on; empty for all.
    pub bind: String,
    /// Hosts that it serves.
    pub hosts: Vec<ServerHost>,
    /// Answers every plaintext request with a redirect to https.
    pub https_redirect: bool,
    /// What becomes of TLS; nothing on ports that speak plaintext.
    pub tls: Option<ServerTls>,
}

/// What becomes of TLS at a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// Whether it ends here, and whom it lets in.
    pub mode: ServerTlsMode,
    /// What the server shows, at most one for each kind of key; empty where TLS is passed through
    /// or the mesh's identity is shown.
    pub certificates: Vec<Certificate>,
    /// The authorities that sign clients, where clients show certificates.
    pub client_ca: Option<ClientCa>,
    /// A file with revoked certificates; empty if none.
    pub ca_crl: String,
    /// Names of which the client's certificate must have one; any will do if empty.
    pub subject_alt_names: Vec<String>,
    /// SHA-256 hashes, in base64, of the keys that clients may have; any if empty.
    pub verify_certificate_spki: Vec<String>,
    /// SHA-256 hashes, in hexadecimal, of the certificates that clients may have; any if empty.
    pub verify_certificate_hash: Vec<String>,
    /// The oldest version.
    pub min_version: TlsVersion,
    /// The newest version.
    pub max_version: TlsVersion,
    /// Cipher suites of TLS 1.2 as OpenSSL names them; the proxy's own if empty.
    pub cipher_suites: Vec<String>,
    /// Groups of the key exchange; the proxy's own if empty.
    pub ecdh_curves: Vec<String>,
    /// Clients' certificates are looked at, and whoever fails is let in all the same.
    pub insecure_skip_verify: bool,
}

/// Whether TLS ends at a server, and whom it lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerTlsMode {
    /// It does not: connections are routed by the name that clients ask for.
    #[default]
    Passthrough,
    /// It does not: connections go to the service that the mesh's own kind of server name says.
    AutoPassthrough,
    /// It ends here, for everybody.
    Simple,
    /// It ends here, for clients with a certificate.
    Mutual,
    /// It ends here; clients may show a certificate.
    OptionalMutual,
    /// It ends here, for the mesh's identities.
    IstioMutual,
}

/// A certificate chain with its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Certificate {
    /// The Secret of this name, in the namespace of the proxy.
    Secret(String),
    /// Files of the proxy, in PEM.
    Files {
        /// The chain.
        chain: String,
        /// The key.
        private_key: String,
    },
}

/// Where the authorities that sign clients are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientCa {
    /// In the Secret of this name, in the namespace of the proxy. A name that ends in `-cacert`
    /// and that no Secret has stands for the authorities in the Secret without the ending.
    Secret(String),
    /// In a file of the proxy, in PEM.
    File(String),
}

/// A version of TLS as a limit. What is older than 1.2 is not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TlsVersion {
    /// As the proxy chooses: 1.2 at least, 1.3 at most.
    #[default]
    Auto,
    /// 1.0.
    V1_0,
    /// 1.1.
    V1_1,
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}

// === impl ServerTlsMode ===

impl ServerTlsMode {
    /// Answers whether TLS ends at the server.
    pub fn ends_tls(self) -> bool {
        !matches!(self, Self::Passthrough | Self::AutoPassthrough)
    }
}

/// A host of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerHost {
    /// Only VirtualServices of this namespace; any if unset. `.` is already replaced.
    pub namespace: Option<String>,
    /// The host.
    pub host: HostPattern,
}
