//! What a certificate says, as far as logs, headers and checks of names need it.
//!
//! Nothing is verified here: a certificate comes from configuration, or rustls has verified it. A
//! certificate that cannot be read has nothing to say, and never causes a panic.

mod name;

use std::fmt::Write as _;
use std::net::IpAddr;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser as _;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer as _;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    /// Its number, in hexadecimal.
    pub serial: String,
    /// Whose it is, as RFC 2253 writes names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: i64,
    /// When it ends.
    pub not_after: i64,
    /// Its names of hosts.
    pub dns_names: Vec<String>,
    /// Its URIs.
    pub uris: Vec<String>,
    /// Its other names: addresses of hosts and of people.
    pub other_names: Vec<String>,
    /// SHA-256 of the whole, in hexadecimal.
    pub hash: String,
    /// SHA-256 of its key, in base64.
    pub spki: String,
}

// === impl Certificate ===

impl Certificate {
    /// Reads DER; nothing if it is no certificate.
    pub fn read(der: &[u8]) -> Option<Self> {
        // Of the extensions one is of interest: what is wrong with others is rustls' to judge.
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (_, parsed) = parser.parse(der).ok()?;
        let mut read = Self {
            serial: hex(strip_sign(parsed.raw_serial())),
            subject: name::write(parsed.subject()),
            issuer: name::write(parsed.issuer()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            hash: hex(&sha256(der)),
            spki: base64(&sha256(parsed.public_key().raw)),
            ..Self::default()
        };
        for extension in parsed.extensions() {
            if extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME {
                let (_, names) = SubjectAlternativeName::from_der(extension.value).ok()?;
                for name in &names.general_names {
                    read.alternative(name);
                }
            }
        }
        Some(read)
    }

    /// Every alternative name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = [&self.uris, &self.dns_names, &self.other_names];
        all.into_iter().flatten().map(String::as_str)
    }

    /// Takes a name (RFC 5280 §4.2.1.6). One with a character that no name has is left out, so
    /// that it can neither match one nor break a header.
    fn alternative(&mut self, name: &GeneralName<'_>) {
        let (list, text) = match *name {
            GeneralName::RFC822Name(name) => (&mut self.other_names, name),
            GeneralName::DNSName(name) => (&mut self.dns_names, name),
            GeneralName::URI(name) => (&mut self.uris, name),
            GeneralName::IPAddress(bytes) => {
                self.other_names.extend(address(bytes));
                return;
            }
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => return,
        };
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            list.push(text.to_owned());
        }
    }
}

/// An address of a host, of either family.
fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok().map(|address| address.to_string())
}

/// DER puts a zero before a positive number whose first bit is set.
fn strip_sign(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13();
    let hash = suite.map(|suite| suite.common.hash_provider.hash(bytes));
    hash.map(|hash| hash.as_ref().to_vec()).unwrap_or_default()
}

/// Hexadecimal, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a string cannot fail.
        text
    })
}

/// Base64 with padding (RFC 4648 §4).
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let is_padding = digit > group.len();
            let found = char::from(DIGITS[value as usize]);
            text.push(if is_padding { '=' } else { found });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::{any, proptest};
    use rcgen::{
        CertificateParams, DnType, KeyPair, PublicKeyData as _, SanType, SerialNumber,
        date_time_ymd,
    };

    use super::*;

    fn certificate() -> Vec<u8> {
        signed(|params| {
            let uri = "spiffe://cluster.local/ns/a/sa/b".try_into().expect("uri");
            params.subject_alt_names.push(SanType::URI(uri));
            let name = &mut params.distinguished_name;
            name.push(DnType::OrganizationName, "Shop, Inc.");
            name.push(DnType::CommonName, "shop");
            params.serial_number = Some(SerialNumber::from(0x00ab_cdef_u64));
            params.not_before = date_time_ymd(2024, 2, 29);
            params.not_after = date_time_ymd(2051, 1, 1);
        })
    }

    fn signed(edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params =
            CertificateParams::new(vec!["shop.example".into(), "10.0.0.1".into()]).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        edit(&mut params);
        let key = KeyPair::generate().expect("key");
        params.self_signed(&key).expect("sign").der().to_vec()
    }

    #[test]
    fn everything_that_is_shown_is_read() {
        let der = certificate();
        let read = Certificate::read(&der).expect("a certificate");
        assert_eq!(read.serial, "abcdef");
        assert_eq!(read.subject, "CN=shop,O=Shop\\, Inc.");
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.not_before, 1_709_164_800);
        assert_eq!(read.not_after, 2_556_144_000);
        let names: Vec<&str> = read.names().collect();
        let expected = [
            "spiffe://cluster.local/ns/a/sa/b",
            "shop.example",
            "10.0.0.1",
        ];
        assert_eq!(names, expected);
        assert_eq!(read.hash, hex(&sha256(&der)));
        assert_eq!(read.spki.len(), 44);
    }

    #[test]
    fn the_hash_of_a_key_is_that_of_all_its_certificates() {
        let key = KeyPair::generate().expect("key");
        let expected = base64(&sha256(&key.subject_public_key_info()));
        for name in ["a.example", "b.example"] {
            let params = CertificateParams::new(vec![name.into()]).expect("a name");
            let der = params.self_signed(&key).expect("sign").der().to_vec();
            assert_eq!(
                Certificate::read(&der).map(|it| it.spki),
                Some(expected.clone())
            );
        }
    }

    #[test]
    fn the_sign_of_a_serial_number_is_no_part_of_it() {
        for (serial, text) in [(&[0x80, 1][..], "8001"), (&[0x7f, 1], "7f01"), (&[7], "07")] {
            let der = signed(|it| it.serial_number = Some(SerialNumber::from_slice(serial)));
            let read = Certificate::read(&der).expect("a certificate");
            assert_eq!(read.serial, text);
        }
    }

    #[test]
    fn names_of_every_kind_are_read() {
        let der = signed(|params| {
            let v6 = IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            let email = "a@shop.example".try_into().expect("an address");
            let others = [SanType::IpAddress(v6), SanType::Rfc822Name(email)];
            params.subject_alt_names.extend(others);
        });
        let read = Certificate::read(&der).expect("a certificate");
        assert_eq!(read.dns_names, ["shop.example"]);
        let others = ["10.0.0.1", "2001:db8::1", "a@shop.example"];
        assert_eq!(read.other_names, others);
    }

    #[test]
    fn a_name_with_a_byte_that_no_name_has_is_left_out_alone() {
        for byte in [b' ', b'\r', b'\n', 0, 0x7f, 0x80, 0xff] {
            let mut der = certificate();
            let at = der.windows(12).position(|window| window == b"shop.example");
            der[at.expect("the name") + 4] = byte;
            let read = Certificate::read(&der).expect("a certificate");
            assert_eq!(read.dns_names, [""; 0], "{byte:#x}");
            assert_eq!(read.uris, ["spiffe://cluster.local/ns/a/sa/b"]);
        }
    }

    #[test]
    fn a_certificate_without_extensions_has_no_names() {
        let der = signed(|params| params.subject_alt_names.clear());
        let read = Certificate::read(&der).expect("a certificate");
        assert_eq!(read.names().next(), None);
        assert_eq!((&*read.subject, &*read.issuer), ("", ""));
    }

    #[test]
    fn what_is_no_certificate_has_nothing_to_say() {
        let whole = certificate();
        for at in 0..whole.len() {
            assert_eq!(
                Certificate::read(&whole[..at]),
                None,
                "the first {at} bytes"
            );
        }
        for other in [
            &b"-----BEGIN CERTIFICATE-----"[..],
            &[0x30, 0x80],
            &[0x30; 64],
        ] {
            assert_eq!(Certificate::read(other), None);
        }
    }

    #[test]
    fn damaged_certificates_never_cause_a_panic() {
        let whole = certificate();
        let read = |bent: &[u8]| {
            if let Some(read) = Certificate::read(bent) {
                let texts = read.names().chain([&*read.subject, &*read.issuer]);
                for text in texts {
                    assert!(
                        text.bytes()
                            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
                    );
                }
            }
        };
        for at in 0..whole.len() {
            let flipped = (0..8).map(|bit| whole[at] ^ 1 << bit);
            for value in flipped.chain([0, 1, 0x7f, 0x80, 0x83, 0xff]) {
                let mut bent = whole.clone();
                bent[at] = value;
                read(&bent);
            }
            let mut shorter = whole.clone();
            shorter.remove(at);
            read(&shorter);
        }
    }

    proptest! {
        #[test]
        fn certificates_damaged_in_several_places_never_cause_a_panic(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        ) {
            static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
            let mut bent = WHOLE.get_or_init(certificate).clone();
            for (at, value) in changes {
                let at = at.index(bent.len());
                bent[at] = value;
            }
            let _ = Certificate::read(&bent);
        }
    }

    #[test]
    fn hashes_are_sha_256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&sha256(b"")), empty);
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
