//! gRPC over HTTP: which requests are calls, and how statuses of one world read in the other.

use lateen_wire::h1::field::{Id, Name};
use lateen_wire::h1::head::FieldsView;

/// `grpc-status` of an answer of the proxy's own.
pub(super) const STATUS: &[u8] = b"grpc-status";

/// `grpc-message`.
pub(super) const MESSAGE: &[u8] = b"grpc-message";

/// The type of an answer to a call.
pub(super) const CONTENT_TYPE: &[u8] = b"application/grpc";

/// Answers whether a request is a call.
pub(super) fn is_call(fields: FieldsView<'_>) -> bool {
    let kind = fields.get(Id::ContentType).unwrap_or_default();
    let start = kind.get(..CONTENT_TYPE.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(CONTENT_TYPE))
        && matches!(
            kind.get(CONTENT_TYPE.len()),
            None | Some(b'+' | b';' | b' ')
        )
}

/// The status of a call in a head or in the lines of a trailer section; none if it has none that
/// is a number.
pub(super) fn status_in(fields: FieldsView<'_>) -> Option<u8> {
    let name = Name::new(STATUS)?;
    number(fields.get_all(name).next()?)
}

/// The status of a call in the lines of a trailer section.
pub(super) fn status_in_trailers(lines: &[u8]) -> Option<u8> {
    lines.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let is_status = name.eq_ignore_ascii_case(STATUS);
        is_status.then(|| number(value[1..].trim_ascii())).flatten()
    })
}

/// The status of a call that is answered with this status of HTTP (Envoy's table).
pub(super) fn from_http(status: u16) -> u8 {
    match status {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The status of HTTP for a status of gRPC where the request is no call (Envoy's table).
pub(super) fn to_http(status: u8) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// How long a call may take by its own word (`grpc-timeout`); nothing if that is no limit, as which
/// Envoy takes zero.
pub(super) fn timeout(value: &[u8]) -> Option<std::time::Duration> {
    use std::time::Duration;
    let (unit, digits) = value.split_last()?;
    // The protocol allows eight digits.
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    let count: u64 = text.parse().ok().filter(|count| *count > 0)?;
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Writes a message as `grpc-message` has it: what is not printable ASCII is percent-encoded.
pub(super) fn write_message(message: &[u8], into: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in message {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => into.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
            _ => into.push(*byte),
        }
    }
}

fn number(value: &[u8]) -> Option<u8> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_timeout_of_a_call_has_eight_digits_and_a_unit() {
        assert_eq!(timeout(b"100m"), Some(Duration::from_millis(100)));
        assert_eq!(timeout(b"2H"), Some(Duration::from_secs(7200)));
        for odd in ["", "m", "5", "0S", "123456789S", "-1S", "+1S", "1x"] {
            assert_eq!(timeout(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn a_message_is_written_in_printable_ascii() {
        let mut out = Vec::new();
        write_message("a%b\né".as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).expect("ASCII"), "a%25b%0A%C3%A9");
    }

    #[test]
    fn the_status_of_a_call_is_found_among_its_trailers() {
        let lines = b"grpc-message: no\r\nGrpc-Status: 14\r\n";
        assert_eq!(status_in_trailers(lines), Some(14));
        assert_eq!(status_in_trailers(b"grpc-status: x\r\n"), None);
        assert_eq!(status_in_trailers(b""), None);
    }
}
