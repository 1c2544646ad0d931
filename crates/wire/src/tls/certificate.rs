//! What a certificate says, as far as logs, headers and checks of names need it.
//!
//! Nothing is verified here: a certificate comes from configuration, or rustls has verified it. A
//! certificate that cannot be read has nothing to say, and never causes a panic.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const UTF16: u8 = 0x1e;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// `subjectAltName`, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

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

/// Takes values off the front of DER.
#[derive(Debug, Clone, Copy)]
struct Der<'a>(&'a [u8]);

// === impl Certificate ===

impl Certificate {
    /// Reads DER; nothing if it is no certificate.
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = Der(Der(der).expect(SEQUENCE)?.0);
        let mut body = certificate.expect(SEQUENCE)?;
        body.skip(VERSION);
        let mut read = Self {
            serial: hex(strip_sign(body.expect(INTEGER)?.0)),
            hash: hex(&sha256(der)),
            ..Self::default()
        };
        body.expect(SEQUENCE)?; // The algorithm of the signature.
        read.issuer = name(body.expect(SEQUENCE)?)?;
        let mut validity = body.expect(SEQUENCE)?;
        read.not_before = validity.time()?;
        read.not_after = validity.time()?;
        read.subject = name(body.expect(SEQUENCE)?)?;
        read.spki = base64(&sha256(body.whole(SEQUENCE)?));
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                read.extensions(content)?;
            }
        }
        Some(read)
    }

    /// Every alternative name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = [&self.uris, &self.dns_names, &self.other_names];
        all.into_iter().flatten().map(String::as_str)
    }

    fn extensions(&mut self, mut content: Der<'_>) -> Option<()> {
        let mut list = content.expect(SEQUENCE)?;
        while let Some(mut extension) = list.expect(SEQUENCE) {
            let id = extension.expect(OBJECT_ID)?;
            extension.skip(BOOLEAN);
            if id.0 == SUBJECT_ALT_NAME {
                let mut names = extension.expect(OCTETS)?.expect(SEQUENCE)?;
                while let Some((tag, name)) = names.next() {
                    self.alternative(tag, name.0);
                }
            }
        }
        Some(())
    }

    /// Takes a GeneralName (RFC 5280 §4.2.1.6). A name with a byte that no name has is left out,
    /// so that it can neither match one nor break a header.
    fn alternative(&mut self, tag: u8, bytes: &[u8]) {
        let is_plain = bytes.iter().all(u8::is_ascii_graphic);
        let text = || String::from_utf8_lossy(bytes).into_owned();
        match tag {
            0x81 if is_plain => self.other_names.push(text()),
            0x82 if is_plain => self.dns_names.push(text()),
            0x86 if is_plain => self.uris.push(text()),
            0x87 => {
                let v4 = <[u8; 4]>::try_from(bytes).map(|ip| IpAddr::from(Ipv4Addr::from(ip)));
                let v6 = <[u8; 16]>::try_from(bytes).map(|ip| IpAddr::from(Ipv6Addr::from(ip)));
                self.other_names
                    .extend(v4.or(v6).ok().map(|ip| ip.to_string()));
            }
            _ => {}
        }
    }
}

// === impl Der ===

impl<'a> Der<'a> {
    /// The next value's tag and content.
    fn next(&mut self) -> Option<(u8, Self)> {
        let (head, content) = self.measure()?;
        let tag = self.0[0];
        let value = &self.0[head..head + content];
        self.0 = &self.0[head + content..];
        Some((tag, Self(value)))
    }

    /// The lengths of the next value's head and content.
    fn measure(&self) -> Option<(usize, usize)> {
        let [_, first, rest @ ..] = self.0 else {
            return None;
        };
        let (head, content) = match *first {
            short @ 0..=0x7f => (2, usize::from(short)),
            // Indefinite lengths are not DER; three bytes are enough for any certificate.
            long @ 0x81..=0x83 => {
                let count = usize::from(long & 0x7f);
                let bytes = rest.get(..count)?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (2 + count, length)
            }
            _ => return None,
        };
        (self.0.len() >= head + content).then_some((head, content))
    }

    fn expect(&mut self, tag: u8) -> Option<Self> {
        let (found, value) = self.clone().next()?;
        if found != tag {
            return None;
        }
        self.next();
        Some(value)
    }

    /// The next value with its head.
    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (head, content) = self.measure()?;
        let whole = &self.0[..head + content];
        self.expect(tag).map(|_| whole)
    }

    fn skip(&mut self, tag: u8) {
        let _ = self.expect(tag);
    }

    /// A moment in seconds since 1970; times without a zone of UTC are not allowed in certificates.
    fn time(&mut self) -> Option<i64> {
        let (tag, value) = self.next()?;
        let text = value.0.strip_suffix(b"Z")?;
        if !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = text.get(range)?.iter();
            Some(digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
        };
        let (year, at) = match tag {
            UTC_TIME => {
                let year = number(0..2)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, 2)
            }
            GENERALIZED_TIME => (number(0..4)?, 4),
            _ => return None,
        };
        let part = |index: usize| number(at + 2 * index..at + 2 * index + 2);
        let days = days_since_1970(year, part(0)?, part(1)?);
        Some(days * 86_400 + part(2)? * 3600 + part(3)? * 60 + part(4)?)
    }
}

/// Days of the proleptic Gregorian calendar, counted from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A Name as RFC 2253 writes it: the last part first.
fn name(mut list: Der<'_>) -> Option<String> {
    let mut parts = Vec::new();
    while let Some((_, mut set)) = list.next() {
        while let Some(mut pair) = set.expect(SEQUENCE) {
            let id = pair.expect(OBJECT_ID)?;
            let (tag, value) = pair.next()?;
            let text = if tag == UTF16 {
                let units = value.0.chunks_exact(2);
                let units = units.map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
                String::from_utf16_lossy(&units.collect::<Vec<_>>())
            } else {
                String::from_utf8_lossy(value.0).into_owned()
            };
            parts.push(format!("{}={}", attribute(id.0), escape(&text)));
        }
    }
    parts.reverse();
    Some(parts.join(","))
}

/// The short name of an attribute, or its number.
fn attribute(id: &[u8]) -> String {
    let known = match id {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return format!("OID.{}", hex(id)),
    };
    known.to_owned()
}

/// Escapes what would end a part of a name; control characters are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars().filter(|it| !it.is_control()) {
        if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
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
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber, date_time_ymd};

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params =
            CertificateParams::new(vec!["shop.example".into(), "10.0.0.1".into()]).expect("names");
        let uri = "spiffe://cluster.local/ns/a/sa/b".try_into().expect("uri");
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Shop, Inc.");
        params.distinguished_name.push(DnType::CommonName, "shop");
        params.serial_number = Some(SerialNumber::from(0x00ab_cdef_u64));
        params.not_before = date_time_ymd(2024, 2, 29);
        params.not_after = date_time_ymd(2051, 1, 1);
        let key = KeyPair::generate().expect("key");
        params.self_signed(&key).expect("sign").der().to_vec()
    }

    #[test]
    fn everything_that_is_shown_is_read() {
        let read = Certificate::read(&certificate()).expect("a certificate");
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
        assert_eq!((read.hash.len(), read.spki.len()), (64, 44));
    }

    #[test]
    fn damaged_certificates_never_cause_a_panic() {
        let whole = certificate();
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0x83, 0xff] {
                let mut bent = whole.clone();
                bent[at] = value;
                let _ = Certificate::read(&bent);
            }
            let _ = Certificate::read(&whole[..at]);
        }
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
