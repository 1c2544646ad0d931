//! TLS towards a destination, as a DestinationRule asks for it.

use serde::Serialize;

/// TLS towards a destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// Whether and whose.
    pub mode: ClientTlsMode,
    /// The client's certificate, a file of the proxy; empty if none.
    pub client_certificate: String,
    /// Its key, a file; empty if none.
    pub private_key: String,
    /// What servers are checked against, a file; the system's if empty.
    pub ca_certificates: String,
    /// Revocations, a file; empty if none.
    pub ca_crl: String,
    /// The Secret that holds them; empty if none.
    pub credential_name: String,
    /// The name to ask for; that of the request if empty.
    pub sni: String,
    /// Names that the server's certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// The server's certificate is not checked.
    pub insecure_skip_verify: bool,
}

/// Whether there is TLS, and whose certificates are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientTlsMode {
    /// None.
    #[default]
    Disable,
    /// The server shows a certificate.
    Simple,
    /// Both sides do.
    Mutual,
    /// Both sides do, with the mesh's identities.
    IstioMutual,
}
