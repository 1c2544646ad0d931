//! TLS settings of clients (DestinationRule) and servers (Gateway, Sidecar).

use schemars::JsonSchema;
use serde::Deserialize;

/// TLS towards a destination.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTls {
    /// Whether and how TLS is used.
    pub mode: Option<ClientTlsMode>,
    /// File with the client's certificate.
    pub client_certificate: String,
    /// File with its key.
    pub private_key: String,
    /// File with the authorities that sign servers.
    pub ca_certificates: String,
    /// A secret with certificate, key and authorities.
    pub credential_name: String,
    /// Names of which the server's certificate must carry one.
    pub subject_alt_names: Vec<String>,
    /// The server name that is asked for.
    pub sni: String,
    /// Does not check the server's certificate.
    pub insecure_skip_verify: Option<bool>,
    /// File with revoked certificates.
    pub ca_crl: String,
}

/// Whether and how TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// Not at all.
    Disable,
    /// With the server's certificate only.
    Simple,
    /// With certificates of both.
    Mutual,
    /// With the mesh's own certificates.
    IstioMutual,
}

/// TLS of a server.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    /// Answers plaintext requests with a redirect to https.
    pub https_redirect: bool,
    /// How TLS is ended.
    pub mode: Option<ServerTlsMode>,
    /// File with the certificate.
    pub server_certificate: String,
    /// File with its key.
    pub private_key: String,
    /// File with the authorities that sign clients.
    pub ca_certificates: String,
    /// File with revoked certificates.
    pub ca_crl: String,
    /// A secret with certificate and key.
    pub credential_name: String,
    /// Secrets of several certificates, such as RSA and ECDSA.
    #[schemars(length(min = 1, max = 2))]
    pub credential_names: Vec<String>,
    /// Files of several certificates.
    #[schemars(length(min = 1, max = 2))]
    pub tls_certificates: Vec<TlsCertificate>,
    /// A secret with the authorities that sign clients.
    pub ca_cert_credential_name: String,
    /// Names of which the client's certificate must carry one.
    pub subject_alt_names: Vec<String>,
    /// Hashes of keys that clients may have.
    pub verify_certificate_spki: Vec<String>,
    /// Hashes of certificates that clients may have.
    pub verify_certificate_hash: Vec<String>,
    /// The oldest version.
    pub min_protocol_version: Option<TlsVersion>,
    /// The newest version.
    pub max_protocol_version: Option<TlsVersion>,
    /// Cipher suites.
    pub cipher_suites: Vec<String>,
    /// Curves.
    pub ecdh_curves: Vec<String>,
    /// Accepts clients whose certificate does not verify.
    pub insecure_skip_verify: Option<bool>,
}

/// How TLS is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// Not at all: routed by server name.
    #[default]
    Passthrough,
    /// With the server's certificate only.
    Simple,
    /// With certificates of both.
    Mutual,
    /// Not at all: routed by the mesh's own server names.
    AutoPassthrough,
    /// With the mesh's own certificates.
    IstioMutual,
    /// With the client's certificate if it has one.
    OptionalMutual,
}

/// Files of a certificate.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// File with the certificate.
    pub server_certificate: String,
    /// File with its key.
    pub private_key: String,
    /// File with the authorities that sign clients.
    pub ca_certificates: String,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// As the proxy chooses.
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// 1.0.
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// 1.1.
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// 1.2.
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// 1.3.
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
