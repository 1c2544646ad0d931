//! The mesh's certificate authority, and the certificate that the control plane itself shows.
//!
//! The authority lives in a Secret, so that a control plane that restarts, and others beside it,
//! use the same one; they follow the Secret, and take up another authority that is put there. The
//! certificate of the webhooks and of the secured xDS port lives in memory only: every process
//! makes its own, and a new one long before it expires.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::engine::State;
use crate::watch::{BACKOFF, is_expired, with_causes};
use crate::{CA_SECRET, Error, Settings};

/// How long an authority is good for. Istio's own has the same.
const CA_DAYS: u64 = 3650;

/// When an authority has less than this left, another one takes its place.
const CA_RENEWAL: Duration = Duration::from_secs(365 * 86_400);

/// How long a served certificate is good for; a new one is made at half of it.
const SERVING: Duration = Duration::from_secs(90 * 86_400);

/// Clocks of a cluster differ.
const SKEW: Duration = Duration::from_secs(3600);

/// How long to wait for an API server that does not answer yet.
const RETRY: Duration = Duration::from_secs(2);

const CERTIFICATE: &str = "ca-cert.pem";
const KEY: &str = "ca-key.pem";

/// A certificate authority.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Its certificate, which everybody may know.
    pub(crate) certificate: String,
    key: String,
}

/// The authority in use; nothing before the first.
pub(crate) type Current = watch::Receiver<Option<Arc<Authority>>>;

/// What is served now; it changes under open listeners.
#[derive(Debug, Default)]
pub(crate) struct Served(watch::Sender<Option<Arc<CertifiedKey>>>);

/// Keeps the authority of the Secret in use. Never ends.
pub(crate) async fn keep(
    client: Client,
    settings: Settings,
    state: Arc<State>,
    current: watch::Sender<Option<Arc<Authority>>>,
) {
    let take = |authority: Authority| {
        let authority = Some(Arc::new(authority));
        current.send_if_modified(|now| {
            let is_other = *now != authority;
            *now = authority;
            is_other
        });
    };
    let mut authority = Box::pin(wait_for(&client, &settings, &state, None)).await;
    take(authority.clone());
    let api = Api::<Secret>::namespaced(client.clone(), &settings.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={CA_SECRET}"));
    let mut stream = std::pin::pin!(watcher(api, config));
    let mut failures = 0;
    let mut is_there = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => {
                is_there = false;
                continue;
            }
            Ok(Event::InitDone) if is_there => continue,
            Ok(Event::Apply(_) | Event::InitApply(_)) => is_there = true,
            Ok(Event::Delete(_) | Event::InitDone) => {
                tracing::warn!(
                    secret = CA_SECRET,
                    "the mesh's authority was deleted; putting it back"
                );
            }
            Err(error) if is_expired(&error) && failures == 0 => continue,
            Err(error) => {
                let error = with_causes(&error);
                tracing::debug!(secret = CA_SECRET, error, "cannot watch the authority");
                tokio::time::sleep(BACKOFF.wait(failures)).await;
                failures = failures.saturating_add(1);
                continue;
            }
        }
        failures = 0;
        let known = Some(&authority);
        authority = Box::pin(wait_for(&client, &settings, &state, known)).await;
        take(authority.clone());
    }
}

/// The authority, as soon as the API server has told or taken it.
async fn wait_for(
    client: &Client,
    settings: &Settings,
    state: &State,
    known: Option<&Authority>,
) -> Authority {
    loop {
        match Box::pin(load(client, settings, state, known)).await {
            Ok(authority) => return authority,
            Err(error) => {
                tracing::warn!(
                    error = with_causes(&error),
                    "no authority yet; trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Reads the authority from its Secret, or makes both. One that is `known` is put back instead of
/// making another: everybody trusts it already.
///
/// # Errors
/// When the API server does not answer, or forbids it, or the Secret holds something else: what
/// somebody else may have put there is not overwritten.
async fn load(
    client: &Client,
    settings: &Settings,
    state: &State,
    known: Option<&Authority>,
) -> Result<Authority, Error> {
    let api = Api::<Secret>::namespaced(client.clone(), &settings.namespace);
    // A second round if another control plane made it in between.
    for _ in 0..2 {
        let existing = api.get_opt(CA_SECRET).await?;
        let resource_version = match &existing {
            None => None,
            Some(secret) => {
                let authority = Authority::of_secret(secret).map_err(|why| Error::Authority {
                    secret: format!("{}/{CA_SECRET}", settings.namespace),
                    why,
                })?;
                if authority.is_fresh() {
                    return Ok(authority);
                }
                tracing::warn!(
                    secret = CA_SECRET,
                    "the authority expires; making another one"
                );
                secret.metadata.resource_version.clone()
            }
        };
        // MeshConfig names the trust domain; it is known with the rest of the cluster.
        if state.synced().wait_for(|synced| *synced).await.is_err() {
            return Err(Error::Watch);
        }
        let authority = match known.filter(|known| known.is_fresh()) {
            Some(known) => known.clone(),
            None => Authority::make(&state.index().mesh().mesh.trust_domain)?,
        };
        let mut secret = authority.to_secret(settings);
        let is_new = resource_version.is_none();
        secret.metadata.resource_version = resource_version;
        let params = PostParams::default();
        let stored = if is_new {
            api.create(&params, &secret).await
        } else {
            api.replace(CA_SECRET, &params, &secret).await
        };
        match stored {
            Ok(_) => return Ok(authority),
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended {
        what: format!("Secret {}/{CA_SECRET}", settings.namespace),
    })
}

/// Keeps a fresh certificate of the current authority served. Never ends.
pub(crate) async fn serve(served: Arc<Served>, mut current: Current, settings: Settings) {
    loop {
        let authority = current.borrow_and_update().clone();
        match authority.map(|authority| authority.issue(&settings)) {
            None => {}
            Some(Ok(certificate)) => served.set(certificate),
            Some(Err(error)) => {
                tracing::error!(%error, "cannot renew the control plane's certificate");
            }
        }
        tokio::select! {
            changed = current.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(SERVING / 2) => {}
        }
    }
}

/// The TLS settings of the server.
///
/// # Errors
/// When the cryptographic library has no usable protocol version.
pub(crate) fn server_config(served: Arc<Served>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(served);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

// === impl Authority ===

impl Authority {
    /// Makes an authority with a key of its own.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn make(trust_domain: &str) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, trust_domain);
        // No further authorities below it.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = std::time::SystemTime::now();
        params.not_before = (now - SKEW).into();
        params.not_after = (now + Duration::from_secs(CA_DAYS * 86_400)).into();
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Reads the authority of a Secret, or tells why there is none in it.
    fn of_secret(secret: &Secret) -> Result<Self, String> {
        let text = |key: &str| {
            let value = secret.data.as_ref().and_then(|data| data.get(key));
            let value = value.ok_or_else(|| format!("it has no {key}"))?;
            String::from_utf8(value.0.clone()).map_err(|_| format!("{key} is not PEM"))
        };
        let authority = Self {
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
        };
        authority
            .check()
            .map_err(|why| format!("{CERTIFICATE} and {KEY} cannot be used: {why}"))?;
        Ok(authority)
    }

    /// Checks that certificates can be issued that those who trust this one accept.
    fn check(&self) -> Result<(), String> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(self.certificate.as_bytes())
            .map_err(|error| error.to_string())?;
        let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
        if !certificate.is_ca() {
            return Err("the certificate is not one of an authority".into());
        }
        let key = KeyPair::from_pem(&self.key).map_err(|error| error.to_string())?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err("the key does not belong to the certificate".into());
        }
        self.issue(&Settings::default())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Answers whether it can be used for long.
    fn is_fresh(&self) -> bool {
        let left = || {
            let (_, pem) = x509_parser::pem::parse_x509_pem(self.certificate.as_bytes()).ok()?;
            let left = pem.parse_x509().ok()?.validity().time_to_expiration()?;
            Some(left.whole_seconds())
        };
        let limit = i64::try_from(CA_RENEWAL.as_secs()).unwrap_or(i64::MAX);
        left().is_some_and(|left| left > limit)
    }

    fn to_secret(&self, settings: &Settings) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(CA_SECRET.to_owned());
        secret.metadata.namespace = Some(settings.namespace.clone());
        secret.type_ = Some("istio.io/ca-root".to_owned());
        let data = [(CERTIFICATE, &self.certificate), (KEY, &self.key)];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())));
        secret.data = Some(data.into());
        secret
    }

    /// Issues a certificate for the Service of the control plane.
    ///
    /// # Errors
    /// When the authority's key and certificate do not belong together.
    pub(crate) fn issue(&self, settings: &Settings) -> Result<CertifiedKey, Error> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let service = format!("{}.{}", settings.service, settings.namespace);
        let names = vec![
            format!("{service}.svc"),
            format!("{service}.svc.{}", settings.cluster_domain),
            service,
            settings.service.clone(),
            // What the Service was called once; proxies may still be configured with it.
            format!("istio-pilot.{}.svc", settings.namespace),
        ];
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = std::time::SystemTime::now();
        params.not_before = (now - SKEW).into();
        params.not_after = (now + SERVING).into();
        let certificate = params.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

// === impl Served ===

impl Served {
    /// Serves a certificate from now on.
    pub(crate) fn set(&self, certificate: CertifiedKey) {
        self.0.send_replace(Some(Arc::new(certificate)));
    }

    /// Completes when there is a certificate.
    pub(crate) async fn ready(&self) {
        // The sender lives as long as this does.
        drop(self.0.subscribe().wait_for(Option::is_some).await);
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }
}

/// Keys never get into logs.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_read_from_its_secret_as_it_was_made() {
        let authority = Authority::make("cluster.local").unwrap();
        let secret = authority.to_secret(&Settings::default());
        assert_eq!(Authority::of_secret(&secret).unwrap(), authority);
        assert!(authority.is_fresh());
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_authority_says_why() {
        let authority = Authority::make("cluster.local").unwrap();
        let other = Authority::make("cluster.local").unwrap();
        let wrong = |change: &dyn Fn(&mut std::collections::BTreeMap<String, ByteString>)| {
            let mut secret = authority.to_secret(&Settings::default());
            change(secret.data.as_mut().unwrap());
            Authority::of_secret(&secret).unwrap_err()
        };
        let why = wrong(&|data| drop(data.remove(KEY)));
        assert!(why.contains("has no ca-key.pem"), "{why}");
        let why = wrong(&|data| {
            let key = ByteString(other.key.clone().into_bytes());
            data.insert(KEY.into(), key);
        });
        assert!(why.contains("does not belong"), "{why}");
        let why = wrong(&|data| {
            data.insert(CERTIFICATE.into(), ByteString(b"junk".to_vec()));
        });
        assert!(why.contains("cannot be used"), "{why}");
    }
}
