//! Certificates that are made for a test, and the sides of TLS that show and believe them.
//!
//! It panics where something cannot be made: a test has no other use for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The serial number of the first certificate that an authority signs; the others count on.
pub const FIRST_SERIAL: u64 = 0x4711;

/// Somebody who signs.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
    next_serial: AtomicU64,
}

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The certificate.
    pub chain: String,
    /// Its private key.
    pub key: String,
    /// Its serial number.
    pub serial: u64,
}

// === impl Authority ===

impl Authority {
    /// An authority that signed itself.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            next_serial: AtomicU64::new(FIRST_SERIAL),
        }
    }

    /// A certificate for names, for servers and clients; the first is its common name too.
    pub fn sign(&self, names: &[&str]) -> Signed {
        self.make(names, &PKCS_ECDSA_P256_SHA256, |_| {})
    }

    /// The same with a key of another kind.
    pub fn sign_with(&self, names: &[&str], kind: &'static SignatureAlgorithm) -> Signed {
        self.make(names, kind, |_| {})
    }

    /// The same after a change.
    pub fn sign_changed(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Signed {
        self.make(names, &PKCS_ECDSA_P256_SHA256, change)
    }

    fn make(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Signed {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let all: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(all).expect("names");
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate_for(kind).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Signed {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

    /// A list that revokes a certificate, in PEM.
    pub fn revoke(&self, signed: &Signed) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(signed.serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        list.pem().expect("PEM")
    }

    /// A client that trusts it, perhaps with a certificate of its own.
    pub fn client(
        &self,
        own: Option<&Signed>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        self.client_of(aws_lc_rs::default_provider(), own, versions)
    }

    /// The same with this cryptography.
    pub fn client_of(
        &self,
        provider: CryptoProvider,
        own: Option<&Signed>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM");
        roots.add(root).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (chain, key) = own.parts();
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        }
    }
}

// === impl Signed ===

impl Signed {
    /// A server that shows it.
    pub fn server(&self) -> ServerConfig {
        let (chain, key) = self.parts();
        let provider = Arc::new(aws_lc_rs::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair")
    }

    /// The certificate and its key as rustls takes them.
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes());
        let chain: Result<Vec<_>, _> = chain.collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        (chain.expect("PEM"), key)
    }
}
