//! The settings of a server: what it shows, whom it lets in, what it speaks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SignatureAlgorithm, SupportedProtocolVersion};

use super::certificate::Certificate;
use super::error::Error;
use super::session::{Local, Session};
use super::suites;
use super::verify::Verifier;

/// What a server is made of.
#[derive(Debug, Clone, Default)]
pub struct Settings<'a> {
    /// What it shows, one for each kind of key.
    pub pairs: Vec<Pair<'a>>,
    /// Who is asked for a certificate; nobody if unset.
    pub clients: Option<Clients<'a>>,
    /// What it speaks.
    pub versions: Versions,
    /// Suites of TLS 1.2 by OpenSSL's names; all if empty.
    pub cipher_suites: &'a [String],
    /// Groups of the key exchange; all if empty.
    pub groups: &'a [String],
    /// Protocols that it offers to clients that ask (ALPN), the best first.
    pub protocols: &'a [&'a [u8]],
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// A certificate with its key.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// The Secret or the files, for messages.
    pub what: &'a str,
    /// The chain in PEM, leaf first.
    pub chain: &'a [u8],
    /// The key in PEM.
    pub key: &'a [u8],
    /// A response of OCSP in DER; empty if none.
    pub ocsp: &'a [u8],
}

/// Who may come in.
#[derive(Debug, Clone, Copy)]
pub struct Clients<'a> {
    /// The Secret or the file, for messages.
    pub what: &'a str,
    /// Who signs clients, in PEM.
    pub authorities: &'a [u8],
    /// What is revoked, in PEM; empty if nothing is.
    pub revoked: &'a [u8],
    /// Whether a client without a certificate is refused.
    pub is_required: bool,
    /// Names of which a client has to have one; any if empty.
    pub names: &'a [String],
    /// Hashes of keys, in base64.
    pub key_hashes: &'a [String],
    /// Hashes of certificates, in hexadecimal.
    pub certificate_hashes: &'a [String],
    /// Whether whoever fails is let in all the same.
    pub lets_all_in: bool,
}

/// The oldest and the newest version; what is older than 1.2 is not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Versions {
    /// The oldest; 1.2 if unset.
    pub oldest: Option<Version>,
    /// The newest; 1.3 if unset.
    pub newest: Option<Version>,
}

/// A version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.0 or 1.1.
    Older,
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}

/// A server, from which sessions are made.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    shown: Arc<[Shown]>,
    /// What it shows.
    pub certificates: Vec<Arc<Certificate>>,
    /// What of its settings was left out, and what will be a problem.
    pub warnings: Vec<String>,
}

/// A certificate that may be shown.
#[derive(Debug, Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    certificate: Arc<Certificate>,
}

/// Chooses the first certificate whose key the client can check, for one session.
#[derive(Debug)]
pub(super) struct Choice {
    shown: Arc<[Shown]>,
    chosen: OnceLock<Arc<Certificate>>,
}

// === impl Settings ===

impl Settings<'_> {
    /// Makes a server.
    ///
    /// # Errors
    /// Names what cannot be used, and why. No message has a part of a key in it.
    pub fn build(&self) -> Result<Server, Error> {
        let mut warnings = Vec::new();
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites::suites(self.cipher_suites, &mut warnings),
            kx_groups: suites::groups(self.groups, &mut warnings),
            ..aws_lc_rs::default_provider()
        });
        let mut shown = Vec::new();
        for pair in &self.pairs {
            let (key, certificate) = pair.read(&provider)?;
            warnings.extend(pair.outdated(&certificate, self.now));
            shown.push(Shown {
                key: Arc::new(key),
                certificate: Arc::new(certificate),
            });
        }
        if shown.is_empty() {
            return Err(Error::Limits(
                "the server has no certificate to show".into(),
            ));
        }
        let certificates = shown.iter().map(|one| Arc::clone(&one.certificate));
        let certificates = certificates.collect();
        // Keys of elliptic curves first: they cost a tenth of RSA's.
        shown.sort_by_key(|one| one.key.key.algorithm() == SignatureAlgorithm::RSA);
        let shown: Arc<[Shown]> = shown.into();
        let versions = self.versions.supported(&mut warnings)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| Error::Limits(error.to_string()))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = Verifier::new(clients, &provider)?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Choice::of(&shown)));
        config.alpn_protocols = self.protocols.iter().map(|one| one.to_vec()).collect();
        config.ignore_client_order = true;
        // Sessions are resumed by tickets whose keys are this server's own: when its settings
        // change, nobody resumes what was agreed under the old ones.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(|error| Error::Limits(error.to_string()))?;
        config.max_early_data_size = 0;
        Ok(Server {
            config: Arc::new(config),
            shown,
            certificates,
            warnings,
        })
    }
}

// === impl Pair ===

impl Pair<'_> {
    fn read(&self, provider: &CryptoProvider) -> Result<(CertifiedKey, Certificate), Error> {
        let chain = certificates(self.what, self.chain)?;
        let unreadable = "has a certificate that is not X.509";
        let certificate =
            Certificate::read(&chain[0]).ok_or_else(|| Error::unusable(self.what, unreadable))?;
        let key = provider.key_provider.load_private_key(self.key()?);
        let key = key.map_err(|_| {
            let problem = "has a private key that is not a valid RSA or ECDSA P-256/P-384/P-521 \
                           or Ed25519 key";
            Error::unusable(self.what, problem)
        })?;
        let mut pair = CertifiedKey::new(chain, key);
        pair.ocsp = (!self.ocsp.is_empty()).then(|| self.ocsp.to_vec());
        match pair.keys_match() {
            // A kind of key whose public part cannot be had is taken at its word.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok((pair, certificate))
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(Error::unusable(
                self.what,
                format!(
                    "the private key does not belong to the certificate ({}); the chain has to \
                     begin with the certificate of the key",
                    certificate.subject
                ),
            )),
            Err(error) => Err(Error::unusable(
                self.what,
                format!("the certificate cannot be used: {error}"),
            )),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let problem = match PrivateKeyDer::from_pem_slice(self.key) {
            Ok(key) => return Ok(key),
            Err(_) if is_encrypted(self.key) => {
                "has a private key that is encrypted; store it without a passphrase".to_owned()
            }
            Err(pem::Error::NoItemsFound) => "has no private key in PEM".to_owned(),
            // The error may quote a line of the key.
            Err(_) => "has a private key that is not valid PEM".to_owned(),
        };
        Err(Error::unusable(self.what, problem))
    }

    /// What time says against the certificate. It is shown all the same: which clients mind is
    /// theirs to decide.
    fn outdated(&self, certificate: &Certificate, now: i64) -> Option<String> {
        let Self { what, .. } = self;
        let subject = &certificate.subject;
        if certificate.not_after < now {
            let days = (now - certificate.not_after) / 86_400;
            return Some(format!(
                "{what}: the certificate ({subject}) expired {days} days ago: clients will refuse \
                 it; renew it"
            ));
        }
        (certificate.not_before > now).then(|| {
            format!(
                "{what}: the certificate ({subject}) is not valid yet: clients will refuse it; is \
                 the clock right?"
            )
        })
    }
}

impl fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

// === impl Versions ===

impl Versions {
    fn supported(
        self,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
        if self.oldest == Some(Version::Older) {
            warnings.push("TLS 1.0 and 1.1 are not spoken: clients need 1.2 at least".into());
        }
        let oldest = self.oldest.unwrap_or(Version::V1_2);
        let newest = self.newest.unwrap_or(Version::V1_3);
        let all = [(Version::V1_3, &TLS13), (Version::V1_2, &TLS12)];
        let within = all
            .into_iter()
            .filter(|(version, _)| (oldest..=newest).contains(version));
        let supported: Vec<_> = within.map(|(_, supported)| supported).collect();
        if supported.is_empty() {
            return Err(Error::Limits(
                "minProtocolVersion and maxProtocolVersion leave no version that the proxy \
                 speaks: TLS 1.2 and 1.3"
                    .into(),
            ));
        }
        Ok(supported)
    }
}

// === impl Server ===

impl Server {
    /// A session for a connection that has come.
    ///
    /// # Errors
    /// When the settings cannot serve any.
    pub fn accept(&self) -> Result<Session, Error> {
        if let [only] = &*self.shown {
            let local = Local::Only(Arc::clone(&only.certificate));
            return Session::new(Arc::clone(&self.config), local);
        }
        // Which one is shown is told to nobody but the one who chooses: each session has its own.
        let choice = Arc::new(Choice::of(&self.shown));
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::<Choice>::clone(&choice);
        Session::new(Arc::new(config), Local::Chosen(choice))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

// === impl Choice ===

impl Choice {
    fn of(shown: &Arc<[Shown]>) -> Self {
        Self {
            shown: Arc::clone(shown),
            chosen: OnceLock::new(),
        }
    }

    /// The certificate that was chosen; nothing before the handshake.
    pub(super) fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.chosen.get()
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        let fits = |one: &&Shown| one.key.key.choose_scheme(offered).is_some();
        let chosen = self.shown.iter().find(fits).or(self.shown.first())?;
        self.chosen.get_or_init(|| Arc::clone(&chosen.certificate));
        Some(Arc::clone(&chosen.key))
    }
}

/// A chain.
fn certificates(what: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found =
        found.map_err(|error| Error::unusable(what, format!("is not valid PEM: {error}")))?;
    if found.is_empty() {
        return Err(Error::unusable(what, "has no certificate in PEM"));
    }
    Ok(found)
}

fn is_encrypted(key: &[u8]) -> bool {
    let has = |needle: &[u8]| memchr::memmem::find(key, needle).is_some();
    has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED")
}

#[cfg(test)]
mod tests;
