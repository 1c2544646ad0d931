//! The certificate authority of the webhooks, and the certificate that they serve.
//!
//! The authority lives in a Secret, so that a control plane that restarts, and others beside it,
//! use the same one and the webhook configurations need not change. The certificate that is served
//! lives in memory only: every process makes its own, and a new one long before it expires.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::{Error, Settings, WEBHOOK_CA_SECRET};

/// How long an authority is good for. Istio's own has the same.
const CA_DAYS: u64 = 3650;

/// When an authority has less than this left, another one takes its place.
const CA_RENEWAL: Duration = Duration::from_secs(365 * 86_400);

/// How long a served certificate is good for; a new one is made at half of it.
const SERVING: Duration = Duration::from_secs(90 * 86_400);

/// Clocks of a cluster differ.
const SKEW: Duration = Duration::from_secs(3600);

const CERTIFICATE: &str = "ca-cert.pem";
const KEY: &str = "ca-key.pem";

/// A certificate authority.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// Its certificate, for the webhook configurations.
    pub(crate) certificate: String,
    key: String,
}

/// What is served now; it changes under open listeners.
#[derive(Debug, Default)]
pub(crate) struct Served(RwLock<Option<Arc<CertifiedKey>>>);

/// Reads the authority from its Secret, or makes both.
///
/// # Errors
/// When the API server does not answer, or forbids it.
pub(crate) async fn load(client: &Client, settings: &Settings) -> Result<Authority, Error> {
    let api = Api::<Secret>::namespaced(client.clone(), &settings.namespace);
    // A second round if another control plane made it in between.
    for _ in 0..2 {
        let existing = api.get_opt(WEBHOOK_CA_SECRET).await?;
        if let Some(authority) = existing.as_ref().and_then(Authority::of_secret) {
            return Ok(authority);
        }
        let authority = Authority::make()?;
        let mut secret = authority.to_secret(settings);
        let stored = match existing {
            None => api.create(&PostParams::default(), &secret).await,
            Some(old) => {
                tracing::warn!(
                    secret = WEBHOOK_CA_SECRET,
                    "the webhooks' authority is unusable or expires; making another one"
                );
                secret.metadata.resource_version = old.metadata.resource_version;
                api.replace(WEBHOOK_CA_SECRET, &PostParams::default(), &secret)
                    .await
            }
        };
        match stored {
            Ok(_) => return Ok(authority),
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended {
        what: format!("Secret {}/{WEBHOOK_CA_SECRET}", settings.namespace),
    })
}

/// Keeps a fresh certificate served. Never ends.
pub(crate) async fn renew(served: Arc<Served>, authority: Authority, settings: Settings) {
    loop {
        tokio::time::sleep(SERVING / 2).await;
        match authority.issue(&settings) {
            Ok(certificate) => served.set(certificate),
            Err(error) => tracing::error!(%error, "cannot renew the webhooks' certificate"),
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
    pub(crate) fn make() -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "lateen");
        params
            .distinguished_name
            .push(DnType::CommonName, "webhooks of istiod");
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

    /// Reads the authority of a Secret; nothing if there is none in it that can be used for long.
    fn of_secret(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let authority = Self {
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
        };
        let (_, pem) = x509_parser::pem::parse_x509_pem(authority.certificate.as_bytes()).ok()?;
        let validity = pem.parse_x509().ok()?.validity().time_to_expiration()?;
        let is_fresh = validity.whole_seconds() > i64::try_from(CA_RENEWAL.as_secs()).ok()?;
        // A key that does not belong to the certificate shows when something is signed.
        let is_usable = authority.issue(&Settings::default()).is_ok();
        (is_fresh && is_usable).then_some(authority)
    }

    fn to_secret(&self, settings: &Settings) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(WEBHOOK_CA_SECRET.to_owned());
        secret.metadata.namespace = Some(settings.namespace.clone());
        secret.type_ = Some("istio.io/webhook-ca".to_owned());
        let data = [(CERTIFICATE, &self.certificate), (KEY, &self.key)];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())));
        secret.data = Some(data.into());
        secret
    }

    /// Issues a certificate for the Service of the webhooks.
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
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *served = Some(Arc::new(certificate));
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
