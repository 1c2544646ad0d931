//! Where a body ends: RFC 9112 §6, without its leniencies.
//!
//! RFC 9112 lets a proxy repair some ambiguous messages (drop Content-Length beside
//! Transfer-Encoding, merge equal Content-Lengths). Every repair is a bet that the next hop and
//! the client mean the same, and request smuggling is that bet lost; so nothing is repaired.
//!
//! | Message | Answer |
//! |---|---|
//! | Content-Length and Transfer-Encoding | 400 |
//! | two Content-Lengths, or a list in one, even of equal numbers | 400 |
//! | Content-Length that is not `1*DIGIT`, or above 2^63-1 | 400 |
//! | Transfer-Encoding in HTTP/1.0 | 400 |
//! | Transfer-Encoding `chunked`, alone, in any case | accepted |
//! | `chunked` twice, not last, quoted, or with parameters | 400: its place decides where the body ends |
//! | not a list of codings, or an empty one | 400 |
//! | any other list of well-formed codings (`gzip`, `identity`, `gzip, chunked`, `xchunked`) | 501 |
//!
//! The last two rows are the split between 400 and 501: 501 says "valid, but not understood here"
//! (RFC 9112 §6.1); what no recipient could understand safely is 400. Either way the connection
//! is closed and nothing is sent on.
//!
//! In responses each row is 502. A 1xx or 204 with Transfer-Encoding, or with a Content-Length
//! other than 0, is malformed too: some recipients would take the next response for its body.

use super::field::{self, Id};
use super::head::{Fields, Version};
use super::request::Method;
use crate::{Error, Fault};

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none, and no field says so.
    Empty,
    /// After this many bytes; may be 0.
    Length(u64),
    /// After its last chunk and trailers.
    Chunked,
    /// With the connection (responses only).
    UntilClose,
    /// There is no body: after the head the connection is a tunnel (101, and 2xx to CONNECT).
    Tunnel,
}

/// How a response's body is sent to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// No bytes follow the head.
    Nothing,
    /// These many bytes follow.
    Length(u64),
    /// Chunks follow.
    Chunked,
    /// Plain bytes follow until the connection is closed.
    UntilClose,
    /// The connection becomes a tunnel.
    Tunnel,
}

impl Outgoing {
    /// Chooses the framing of a response for a client of this version. A close-delimited body is
    /// chunked for HTTP/1.1, so that a body that was cut off is not taken for complete and the
    /// client's connection survives; a chunked one is close-delimited for HTTP/1.0.
    pub fn choose(body: Body, client: Version) -> Self {
        match (body, client) {
            (Body::Empty, _) => Self::Nothing,
            (Body::Length(length), _) => Self::Length(length),
            (Body::Tunnel, _) => Self::Tunnel,
            (Body::Chunked | Body::UntilClose, Version::Http11) => Self::Chunked,
            (Body::Chunked | Body::UntilClose, Version::Http10) => Self::UntilClose,
        }
    }
}

/// What the framing fields of a head say, before the kind of message is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    Nothing,
    Length(u64),
    Chunked,
}

/// Frames a request.
pub(super) fn request(
    fields: &Fields,
    input: &[u8],
    version: Version,
    method: Method,
) -> Result<Body, Error> {
    match (stated(fields, input, version)?, method) {
        // After CONNECT come bytes of a tunnel, or none: content has no meaning (RFC 9110 §9.3.6),
        // and whether it is the tunnel's first bytes is read in two ways.
        (Stated::Nothing, _) | (Stated::Length(0), Method::Connect) => Ok(Body::Empty),
        (Stated::Length(_), Method::Connect) => Err(Error::Malformed(Fault::LengthForbidden)),
        (Stated::Chunked, Method::Connect) => Err(Error::Malformed(Fault::CodingForbidden)),
        (Stated::Length(length), _) => Ok(Body::Length(length)),
        (Stated::Chunked, _) => Ok(Body::Chunked),
    }
}

/// Frames a response. The second value is the Content-Length of a response that has none of the
/// content that it speaks of (HEAD and 304), to be sent on.
pub(super) fn response(
    fields: &Fields,
    input: &[u8],
    version: Version,
    status: u16,
    method: Method,
) -> Result<(Body, Option<u64>), Error> {
    if method == Method::Connect && (200..300).contains(&status) {
        // RFC 9112 §6.3: Content-Length and Transfer-Encoding of a 2xx to CONNECT are ignored. That
        // is only safe as they are not sent on either.
        return Ok((Body::Tunnel, None));
    }
    let stated = stated(fields, input, version)?;
    if status < 200 || status == 204 {
        return match stated {
            Stated::Nothing | Stated::Length(0) if status == 101 => Ok((Body::Tunnel, None)),
            Stated::Nothing | Stated::Length(0) => Ok((Body::Empty, None)),
            Stated::Length(_) => Err(Error::Malformed(Fault::LengthForbidden)),
            Stated::Chunked => Err(Error::Malformed(Fault::CodingForbidden)),
        };
    }
    if method == Method::Head || status == 304 {
        return Ok(match stated {
            Stated::Length(length) => (Body::Empty, Some(length)),
            Stated::Nothing | Stated::Chunked => (Body::Empty, None),
        });
    }
    Ok(match stated {
        Stated::Nothing => (Body::UntilClose, None),
        Stated::Length(length) => (Body::Length(length), None),
        Stated::Chunked => (Body::Chunked, None),
    })
}

fn stated(fields: &Fields, input: &[u8], version: Version) -> Result<Stated, Error> {
    let (mut length, mut coding) = (None, None);
    let (mut lengths, mut codings) = (0, 0);
    for field in fields.as_slice() {
        match field.id {
            Id::ContentLength => {
                length = Some(field.value);
                lengths += 1;
            }
            Id::TransferEncoding => {
                coding = Some(field.value);
                codings += 1;
            }
            _ => {}
        }
    }
    let fault = |fault| Err(Error::Malformed(fault));
    match (length, coding) {
        (None, None) => Ok(Stated::Nothing),
        (Some(_), Some(_)) => fault(Fault::LengthAndCoding),
        (Some(_), None) if lengths > 1 => fault(Fault::LengthRepeated),
        (Some(length), None) => content_length(length.of(input)).map(Stated::Length),
        (None, Some(_)) if version == Version::Http10 => fault(Fault::CodingInHttp10),
        (None, Some(coding)) if codings == 1 => {
            if coding.of(input).eq_ignore_ascii_case(b"chunked") {
                return Ok(Stated::Chunked);
            }
            Err(refused_coding(coding.of(input)))
        }
        (None, Some(_)) => {
            // Several field lines are one list (RFC 9110 §5.3).
            let mut joined = Vec::new();
            for field in fields.as_slice() {
                if field.id == Id::TransferEncoding {
                    joined.extend_from_slice(field.value.of(input));
                    joined.push(b',');
                }
            }
            joined.pop();
            Err(refused_coding(&joined))
        }
    }
}

/// Reads a Content-Length: decimal digits, no sign, no list, at most 2^63-1 so that no next hop
/// with signed numbers overflows.
fn content_length(value: &[u8]) -> Result<u64, Error> {
    if value.contains(&b',') {
        return Err(Error::Malformed(Fault::LengthRepeated));
    }
    let invalid = Error::Malformed(Fault::LengthInvalid);
    if value.is_empty() {
        return Err(invalid);
    }
    let mut length: u64 = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(invalid);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .filter(|length| i64::try_from(*length).is_ok())
            .ok_or(invalid)?;
    }
    Ok(length)
}

/// Says why a Transfer-Encoding other than a single `chunked` is refused: 501 if every member is a
/// well-formed coding and `chunked` is at most the last of them, else 400.
#[cold]
fn refused_coding(value: &[u8]) -> Error {
    let invalid = Error::Malformed(Fault::CodingInvalid);
    let mut chunked_seen = false;
    let mut unknown = 0;
    for member in value.split(|byte| *byte == b',') {
        let member = field::trim_ows(member);
        let (name, parameters) = match member.iter().position(|byte| *byte == b';') {
            Some(at) => (field::trim_ows(&member[..at]), Some(&member[at..])),
            None => (member, None),
        };
        let is_chunked = name.eq_ignore_ascii_case(b"chunked");
        if !field::is_token(name) || chunked_seen || (is_chunked && parameters.is_some()) {
            return invalid;
        }
        chunked_seen = is_chunked;
        unknown += usize::from(!is_chunked);
    }
    if unknown == 0 {
        return invalid;
    }
    Error::UnknownCoding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_only_and_fits_63_bits() {
        assert_eq!(content_length(b"0042"), Ok(42));
        assert_eq!(content_length(b"9223372036854775807"), Ok(i64::MAX as u64));
        for bad in [
            "",
            "+5",
            "-1",
            "0x5",
            "5 5",
            "5,5",
            "9223372036854775808",
            "99999999999999999999999",
        ] {
            assert!(content_length(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_codings_are_501_and_ambiguous_ones_400() {
        for unknown in [
            "gzip",
            "identity",
            "gzip, chunked",
            "xchunked",
            "a;q=1, chunked",
            "x , y",
        ] {
            assert_eq!(
                refused_coding(unknown.as_bytes()),
                Error::UnknownCoding,
                "{unknown}"
            );
        }
        for bad in [
            "",
            "chunked, chunked",
            "chunked, gzip",
            "chunked;a=b",
            "\"chunked\"",
            ",chunked",
            "chunked,",
            "gzip chunked",
            "chunked\u{b}",
        ] {
            assert_eq!(
                refused_coding(bad.as_bytes()),
                Error::Malformed(Fault::CodingInvalid),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_chunked_body_reaches_an_old_client_until_close() {
        assert_eq!(
            Outgoing::choose(Body::Chunked, Version::Http10),
            Outgoing::UntilClose
        );
        assert_eq!(
            Outgoing::choose(Body::UntilClose, Version::Http11),
            Outgoing::Chunked
        );
        assert_eq!(
            Outgoing::choose(Body::Length(3), Version::Http10),
            Outgoing::Length(3)
        );
    }
}
