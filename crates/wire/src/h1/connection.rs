//! The `Connection` field: what it says about persistence and upgrade, and which fields it makes
//! hop-by-hop (RFC 9110 §7.6.1).
//!
//! A field that it names is not sent on, with exceptions: Host, Content-Length, Transfer-Encoding
//! and Connection itself say where a message ends and for whom it is. RFC 9110 forbids to name
//! them; doing as told would let a client make us and the next hop disagree, so such an option is
//! ignored.

use super::field::{self, Field, Id};
use super::head::{Persistence, Version};
use crate::{Error, Fault};

/// The most options that are read: each is compared with each field, so a list without a limit
/// would be a quadratic attack.
const MAX_OPTIONS: usize = 64;

/// What the `Connection` fields of a head say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "three independent options of one list"
)]
pub(super) struct Connection {
    pub(super) has_close: bool,
    pub(super) has_keep_alive: bool,
    pub(super) has_upgrade: bool,
}

impl Connection {
    /// Reads every `Connection` field of `fields`, and marks the fields that it names.
    pub(super) fn read(fields: &mut [Field], input: &[u8]) -> Result<Self, Error> {
        let mut connection = Self::default();
        let mut options = 0;
        for index in 0..fields.len() {
            if fields[index].id != Id::Connection {
                continue;
            }
            let value = fields[index].value.of(input);
            // What nearly every client sends.
            if value.eq_ignore_ascii_case(b"keep-alive") {
                connection.has_keep_alive = true;
                continue;
            }
            for option in field::list(value) {
                options += 1;
                if options > MAX_OPTIONS || !field::is_token(option) {
                    return Err(Error::Malformed(Fault::Connection));
                }
                connection.apply(option, fields, input);
            }
        }
        Ok(connection)
    }

    /// Whether the sender wants to use its connection again (RFC 9112 §9.3).
    pub(super) fn persistence(self, version: Version) -> Persistence {
        match version {
            _ if self.has_close => Persistence::Close,
            Version::Http11 => Persistence::KeepAlive,
            Version::Http10 if self.has_keep_alive => Persistence::KeepAlive,
            Version::Http10 => Persistence::Close,
        }
    }

    fn apply(&mut self, option: &[u8], fields: &mut [Field], input: &[u8]) {
        if option.eq_ignore_ascii_case(b"close") {
            self.has_close = true;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            self.has_keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            self.has_upgrade = true;
        } else {
            for field in fields {
                if !field.is_hop
                    && !field.id.is_protected()
                    && field.name.of(input).eq_ignore_ascii_case(option)
                {
                    field.is_hop = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::h1::field::Id;
    use crate::h1::head::{Limits, Progress};
    use crate::h1::request::Head;

    #[test]
    fn options_hide_the_fields_that_they_name_but_not_host_and_framing() {
        let input = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Request-Id: 1\r\n\
            Connection: host, content-length, connection, x-request-id\r\n\r\n";
        let mut head = Head::default();
        assert_eq!(
            head.parse(input, &Limits::default()),
            Ok(Progress::Complete)
        );
        let fields = head.view(input).fields();
        assert_eq!(fields.get(Id::Host), Some(&b"a"[..]));
        assert_eq!(fields.get(Id::ContentLength), Some(&b"0"[..]));
        assert_eq!(fields.get(Id::XRequestId), None);
        assert_eq!(fields.iter().count(), 2);
    }
}
