//! Names of owners and issuers as RFC 2253 writes them, in the form that Envoy gives them.
//!
//! The last part comes first, whatever is not printable ASCII is escaped byte by byte, and an
//! attribute that has no short name is written by its number, its value in DER. So a name is safe in
//! a header and on a line of a log, and a rule that compares it with what Envoy says holds.

use x509_parser::asn1_rs::{Any, Oid, Tag, ToDer as _};
use x509_parser::oid_registry as oid;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::hex;

/// Attributes that have a short name.
static SHORT: [(Oid<'static>, &str); 20] = [
    (oid::OID_X509_COMMON_NAME, "CN"),
    (oid::OID_X509_SURNAME, "SN"),
    (oid::OID_X509_SERIALNUMBER, "serialNumber"),
    (oid::OID_X509_COUNTRY_NAME, "C"),
    (oid::OID_X509_LOCALITY_NAME, "L"),
    (oid::OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
    (oid::OID_X509_STREET_ADDRESS, "street"),
    (oid::OID_X509_ORGANIZATION_NAME, "O"),
    (oid::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
    (oid::OID_X509_TITLE, "title"),
    (oid::OID_X509_DESCRIPTION, "description"),
    (oid::OID_X509_BUSINESS_CATEGORY, "businessCategory"),
    (oid::OID_X509_POSTAL_CODE, "postalCode"),
    (oid::OID_X509_NAME, "name"),
    (oid::OID_X509_GIVEN_NAME, "GN"),
    (oid::OID_X509_INITIALS, "initials"),
    (oid::OID_X509_DN_QUALIFIER, "dnQualifier"),
    (oid::OID_DOMAIN_COMPONENT, "DC"),
    (USER_ID, "UID"),
    (oid::OID_PKCS9_EMAIL_ADDRESS, "emailAddress"),
];

/// `userId` of RFC 4519 §2.39.
const USER_ID: Oid<'static> = oid::asn1_rs::oid!(0.9.2342.19200300.100.1.1);

/// Writes a name; nothing for one without parts.
pub(super) fn write(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.iter().rev() {
        let attributes: Vec<_> = part.iter().collect();
        for (index, attribute) in attributes.iter().rev().enumerate() {
            if !text.is_empty() {
                text.push(if index == 0 { ',' } else { '+' });
            }
            write_attribute(&mut text, attribute);
        }
    }
    text
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type();
    let value = attribute.attr_value();
    let short = SHORT.iter().find(|(known, _)| known == kind);
    let said = short.and_then(|(_, short)| Some((*short, characters(value)?)));
    match (short, said) {
        (_, Some((short, characters))) => {
            text.push_str(short);
            text.push('=');
            escape(text, &characters);
        }
        (Some((_, short)), None) => dump(text, short, value),
        (None, None) => dump(text, &number(kind), value),
    }
}

/// The number of a kind with its dots, or its bytes if a part of it is longer than any that was ever
/// given: to write such a part in decimal takes a time that grows with the square of its length.
fn number(kind: &Oid<'_>) -> String {
    let Some(parts) = kind.iter() else {
        return format!("OID#{}", hex(kind.as_bytes()));
    };
    let parts: Vec<_> = parts.map(|part| part.to_string()).collect();
    parts.join(".")
}

/// Writes a value that cannot be read as characters.
fn dump(text: &mut String, kind: &str, value: &Any<'_>) {
    // What was parsed can be written again.
    let der = value.to_der_vec().unwrap_or_default();
    text.push_str(kind);
    text.push_str("=#");
    text.push_str(&hex(&der).to_ascii_uppercase());
}

/// The characters of a value; nothing if it has none, or others than its kind allows.
fn characters(value: &Any<'_>) -> Option<String> {
    let bytes = value.as_bytes();
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::BmpString => {
            let (units, []) = bytes.as_chunks() else {
                return None;
            };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString => {
            let (units, []) = bytes.as_chunks() else {
                return None;
            };
            let units = units.iter().map(|unit| u32::from_be_bytes(*unit));
            units.map(char::from_u32).collect()
        }
        // Latin-1 for all of these: what their own sets do not have is not told apart by anybody.
        Tag::NumericString
        | Tag::PrintableString
        | Tag::T61String
        | Tag::Ia5String
        | Tag::VisibleString => Some(bytes.iter().copied().map(char::from).collect()),
        _ => None,
    }
}

/// Escapes what would end a part of a name, and whatever is not printable ASCII.
fn escape(text: &mut String, characters: &str) {
    let last = characters.len().saturating_sub(1);
    for (at, byte) in characters.bytes().enumerate() {
        let is_special = match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => true,
            b'#' => at == 0,
            b' ' => at == 0 || at == last,
            _ => false,
        };
        if is_special {
            text.push('\\');
        }
        if byte == b' ' || byte.is_ascii_graphic() {
            text.push(char::from(byte));
        } else {
            text.push('\\');
            text.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// A value of DER; contents here are short.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("a short content");
        assert!(length < 128, "a short content");
        [&[tag, length], content].concat()
    }

    /// An attribute: its kind, the tag of its value, and its value.
    type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

    const CN: &[u8] = &[0x55, 4, 3];
    const OU: &[u8] = &[0x55, 4, 11];
    const UTF8: u8 = 0x0c;

    fn written(parts: &[&[Attribute<'_>]]) -> String {
        let part = |attributes: &&[Attribute<'_>]| {
            let pair = |(kind, tag, value): &Attribute<'_>| {
                der(0x30, &[der(6, kind), der(*tag, value)].concat())
            };
            der(0x31, &attributes.iter().flat_map(pair).collect::<Vec<u8>>())
        };
        let whole = der(0x30, &parts.iter().flat_map(part).collect::<Vec<u8>>());
        let (rest, name) = X509Name::from_der(&whole).expect("a name");
        assert!(rest.is_empty());
        write(&name)
    }

    fn common(tag: u8, value: &[u8]) -> String {
        written(&[&[(CN, tag, value)]])
    }

    #[test]
    fn the_last_part_comes_first_and_values_of_one_part_are_joined() {
        let country: &[Attribute<'_>] = &[(&[0x55, 4, 6], 0x13, b"US")];
        let both: &[Attribute<'_>] = &[(CN, UTF8, b"J. Smith"), (OU, UTF8, b"Sales")];
        assert_eq!(written(&[country, both]), "OU=Sales+CN=J. Smith,C=US");
        assert_eq!(written(&[]), "");
    }

    #[test]
    fn what_would_end_a_part_is_escaped() {
        assert_eq!(
            common(UTF8, b"a,b+c\"d\\e<f>g;h=i"),
            "CN=a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i"
        );
        assert_eq!(common(UTF8, b" # "), "CN=\\ #\\ ");
        assert_eq!(common(UTF8, b"#1 #"), "CN=\\#1 #");
        assert_eq!(common(UTF8, b" "), "CN=\\ ");
    }

    #[test]
    fn what_is_not_printable_ascii_is_escaped_byte_by_byte() {
        assert_eq!(common(UTF8, "Zürich".as_bytes()), "CN=Z\\C3\\BCrich");
        assert_eq!(common(UTF8, b"a\r\nb\0\x7f"), "CN=a\\0D\\0Ab\\00\\7F");
    }

    #[test]
    fn every_kind_of_string_is_read_by_its_own_rule() {
        assert_eq!(common(0x13, b"plain"), "CN=plain");
        assert_eq!(common(0x14, b"Z\xfcrich"), "CN=Z\\C3\\BCrich");
        assert_eq!(common(0x1e, b"\0Z\0\xfc"), "CN=Z\\C3\\BC");
        assert_eq!(
            common(0x1c, b"\0\0\0Z\0\x01\xf3\x50"),
            "CN=Z\\F0\\9F\\8D\\90"
        );
    }

    #[test]
    fn what_cannot_be_read_is_written_in_der() {
        assert_eq!(common(UTF8, b"\xff"), "CN=#0C01FF");
        assert_eq!(common(0x1e, b"\0Z\0"), "CN=#1E03005A00");
        assert_eq!(common(0x1e, b"\xd8\0\0Z"), "CN=#1E04D800005A");
        assert_eq!(common(0x1c, b"\0\x11\0\0"), "CN=#1C0400110000");
        assert_eq!(common(0x02, b"\x07"), "CN=#020107");
    }

    #[test]
    fn an_attribute_without_a_short_name_has_a_number_and_der() {
        let private: &[Attribute<'_>] = &[(&[0x2b, 6, 1, 4, 1, 0x82, 0x37], UTF8, b"x")];
        assert_eq!(written(&[private]), "1.3.6.1.4.1.311=#0C0178");
    }

    #[test]
    fn numbers_of_attributes_that_make_no_sense_never_cause_a_panic() {
        for kind in [
            &[][..],
            &[0],
            &[0xff],
            &[0x2b, 0xff],
            &[0xff; 40],
            &[0x80; 12],
        ] {
            let odd: &[Attribute<'_>] = &[(kind, UTF8, b"x")];
            assert!(written(&[odd]).ends_with("=#0C0178"), "{kind:?}");
        }
        let long: &[Attribute<'_>] = &[(
            &[
                0x2b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            UTF8,
            b"x",
        )];
        assert_eq!(written(&[long]), "OID#2bffffffffffffffffff01=#0C0178");
    }
}
