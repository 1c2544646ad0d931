//! The name that a TLS client asks for, from its ClientHello, without opening the connection.
//!
//! It is for connections that are passed through by name (RFC 8446 §4.1.2, RFC 6066 §3). Nothing
//! is verified beyond what is needed to find the name: the server will read the same bytes. A
//! ClientHello may be split over several records, on purpose too (CVE-2020-8660): it is put
//! together before it is read.

use std::borrow::Cow;

use crate::sniff::MAX_RECORD;

/// The longest ClientHello that is looked at; post-quantum keys make some of 2 KiB, and Envoy's
/// limit is the same.
pub const MAX_HELLO: usize = 16 * 1024;

const HANDSHAKE: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_PROTOCOLS: u16 = 16;
const NAME_TYPE_HOST: u8 = 0;

/// What the first bytes of a TLS connection say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName<'a> {
    /// The ClientHello is not complete.
    NeedMore,
    /// It names no server, or is not a valid ClientHello.
    Absent,
    /// It names this one, as sent.
    Name(Cow<'a, [u8]>),
}

/// Looks for the name in the first bytes of a connection. Call it again with more after
/// [`ServerName::NeedMore`].
pub fn server_name(input: &[u8]) -> ServerName<'_> {
    let hello = match hello(input) {
        Ok(hello) => hello,
        Err(answer) => return answer,
    };
    match hello {
        Cow::Borrowed(hello) => match find(hello) {
            Some(name) => ServerName::Name(Cow::Borrowed(name)),
            None => ServerName::Absent,
        },
        Cow::Owned(hello) => match find(&hello) {
            Some(name) => ServerName::Name(Cow::Owned(name.to_vec())),
            None => ServerName::Absent,
        },
    }
}

/// Answers whether a complete ClientHello offers one of these protocols (RFC 7301).
pub fn offers_any(input: &[u8], protocols: &[&[u8]]) -> bool {
    let Ok(hello) = hello(input) else {
        return false;
    };
    let mut offered = Reader(extension(&hello, EXTENSION_PROTOCOLS).unwrap_or_default());
    let mut offered = Reader(offered.vector16().unwrap_or_default());
    while let Some(protocol) = offered.vector8() {
        if protocols.contains(&protocol) {
            return true;
        }
    }
    false
}

/// The body of the ClientHello: borrowed if it is within one record.
fn hello(input: &[u8]) -> Result<Cow<'_, [u8]>, ServerName<'static>> {
    let mut joined = Vec::new();
    let mut records = Reader(input);
    loop {
        let payload = record(&mut records)?;
        if joined.is_empty() {
            if let Some(body) = message(payload)? {
                return Ok(Cow::Borrowed(body));
            }
            joined.extend_from_slice(payload);
        } else {
            joined.extend_from_slice(payload);
            if let Some(body) = message(&joined)? {
                return Ok(Cow::Owned(body.to_vec()));
            }
        }
    }
}

/// The next record's payload.
fn record<'a>(records: &mut Reader<'a>) -> Result<&'a [u8], ServerName<'static>> {
    let Some(header) = records.take(5) else {
        return Err(ServerName::NeedMore);
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if header[0] != HANDSHAKE || header[1] != 3 || !(1..=MAX_RECORD).contains(&length) {
        return Err(ServerName::Absent);
    }
    records.take(length).ok_or(ServerName::NeedMore)
}

/// The body of a handshake message; nothing if more records are needed.
fn message(bytes: &[u8]) -> Result<Option<&[u8]>, ServerName<'static>> {
    let mut reader = Reader(bytes);
    let Some(header) = reader.take(4) else {
        return Ok(None);
    };
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    if header[0] != CLIENT_HELLO || length > MAX_HELLO {
        return Err(ServerName::Absent);
    }
    Ok(reader.take(length))
}

/// Finds the host name in a ClientHello.
fn find(hello: &[u8]) -> Option<&[u8]> {
    let content = extension(hello, EXTENSION_SERVER_NAME)?;
    let mut names = Reader(Reader(content).vector16()?);
    while !names.0.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.vector16()?;
        if kind == NAME_TYPE_HOST && !name.is_empty() {
            return Some(name);
        }
    }
    None
}

/// The content of an extension of a ClientHello.
fn extension(hello: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut reader = Reader(hello);
    reader.take(2 + 32)?; // Version and random.
    reader.vector8()?; // Session.
    reader.vector16()?; // Cipher suites.
    reader.vector8()?; // Compression methods.
    let mut extensions = Reader(reader.vector16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.number16()?;
        let content = extensions.vector16()?;
        if kind == wanted {
            return Some(content);
        }
    }
    None
}

/// Takes bytes off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector16(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("short");
        [&length.to_be_bytes()[..], content].concat()
    }

    fn client_hello(name: Option<&[u8]>) -> Vec<u8> {
        let mut extensions = [&[0, 10][..], &vector16(&[0, 2, 0, 29])].concat();
        if let Some(name) = name {
            let entry = [&[0][..], &vector16(name)].concat();
            extensions.extend([&[0, 0][..], &vector16(&vector16(&entry))].concat());
        }
        with_extensions(&extensions)
    }

    fn with_extensions(extensions: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &vector16(&[0x13, 1]),
            &[1, 0],
            &vector16(extensions),
        ]
        .concat();
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message
            .chunks(size)
            .flat_map(|part| [&[0x16, 3, 1][..], &vector16(part)].concat())
            .collect()
    }

    #[test]
    fn the_name_is_found_however_the_hello_is_split() {
        let hello = client_hello(Some(b"shop.example.com"));
        for size in [1, 3, 50, 4096] {
            let bytes = records(&hello, size);
            let found = server_name(&bytes);
            assert_eq!(
                found,
                ServerName::Name(Cow::Borrowed(b"shop.example.com")),
                "{size}"
            );
            for end in 0..bytes.len() {
                assert_eq!(
                    server_name(&bytes[..end]),
                    ServerName::NeedMore,
                    "{size} {end}"
                );
            }
        }
    }

    #[test]
    fn the_protocols_that_are_offered_are_found() {
        let list = [&[5][..], b"istio", &[2], b"h2"].concat();
        let extensions = [&[0, 16][..], &vector16(&vector16(&list))].concat();
        let hello = with_extensions(&extensions);
        for size in [1, 7, 4096] {
            let bytes = records(&hello, size);
            assert!(offers_any(&bytes, &[b"http/1.1", b"istio"]), "{size}");
            assert!(!offers_any(&bytes, &[b"http/1.1", b"isti"]), "{size}");
            assert!(
                !offers_any(&bytes[..bytes.len() - 1], &[b"istio"]),
                "{size}"
            );
        }
        assert!(!offers_any(
            &records(&client_hello(None), 4096),
            &[b"istio"]
        ));
    }

    #[test]
    fn a_hello_without_a_name_has_none() {
        assert_eq!(
            server_name(&records(&client_hello(None), 4096)),
            ServerName::Absent
        );
        assert_eq!(
            server_name(b"\x15\x03\x01\x00\x02\x02\x28"),
            ServerName::Absent
        );
    }

    #[test]
    fn lengths_that_lie_are_absent_and_never_a_panic() {
        let hello = records(&client_hello(Some(b"a.b")), 4096);
        for index in 0..hello.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bent = hello.clone();
                bent[index] = value;
                let _ = server_name(&bent);
            }
        }
    }
}
