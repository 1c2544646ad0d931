//! What request and response heads share: limits, the table of fields, and the exact fault of a
//! head that `httparse` refused.

use std::mem::MaybeUninit;

use super::connection::Connection;
use super::field::{self, Field, Id, Span};
use crate::{Error, Fault};

/// The most fields that [`Limits::fields`] can allow: the table that `httparse` fills lives on the
/// stack (32 bytes a field, not initialised).
pub const MAX_FIELDS: usize = 256;

/// Limits of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest head, with its start line and its last empty line.
    pub head_bytes: u32,
    /// The most header fields; at most [`MAX_FIELDS`] take effect.
    pub fields: usize,
}

impl Default for Limits {
    /// Envoy's limits: 60 KiB, 100 fields.
    fn default() -> Self {
        Self {
            head_bytes: 60 * 1024,
            fields: 100,
        }
    }
}

/// How far a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    NeedMore,
    /// The head is complete and valid.
    Complete,
}

/// The version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    pub(super) fn of_minor(minor: u8) -> Self {
        if minor == 0 {
            Self::Http10
        } else {
            Self::Http11
        }
    }

    /// The version as logs and start lines write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// Whether a connection can carry another exchange after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It can.
    KeepAlive,
    /// It ends after this exchange.
    Close,
}

/// The fields of a head, with what was learnt on the way about those that rule the connection.
#[derive(Debug, Default)]
pub(super) struct Fields {
    list: Vec<Field>,
    /// What `Connection` says.
    pub(super) connection: Connection,
}

impl Fields {
    pub(super) fn as_slice(&self) -> &[Field] {
        &self.list
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.connection = Connection::default();
    }

    /// Takes over what `httparse` found in `input`, and marks the fields of this connection only.
    pub(super) fn fill(
        &mut self,
        input: &[u8],
        parsed: &[httparse::Header<'_>],
    ) -> Result<(), Error> {
        self.clear();
        let mut has_connection = false;
        for header in parsed {
            let name = span_of(input, header.name.as_bytes());
            let value = if header.value.is_empty() {
                // An empty value may be a slice of nowhere.
                Span::new(name.end() + 1, name.end() + 1)
            } else {
                span_of(input, header.value)
            };
            let id = Id::of(header.name.as_bytes());
            has_connection |= id == Id::Connection;
            self.list.push(Field {
                name,
                value,
                id,
                is_hop: id.is_hop_by_hop(),
            });
        }
        if has_connection {
            self.connection = Connection::read(&mut self.list, input)?;
        }
        Ok(())
    }

    /// The only field with this id; an error if there are several.
    pub(super) fn only(&self, id: Id, several: Fault) -> Result<Option<Field>, Error> {
        let mut found = self.list.iter().filter(|field| field.id == id);
        let first = found.next();
        if found.next().is_some() {
            return Err(Error::Malformed(several));
        }
        Ok(first.copied())
    }
}

/// A borrowed look at the fields of a parsed head.
#[derive(Debug, Clone, Copy)]
pub struct FieldsView<'a> {
    pub(super) fields: &'a [Field],
    pub(super) input: &'a [u8],
}

impl<'a> FieldsView<'a> {
    /// The fields that are sent on, as names and values, in the order in which they came. Those of
    /// this connection only are left out, so that no rule decides on a field that nobody else
    /// will see.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
        self.fields
            .iter()
            .filter(|field| !field.is_hop)
            .map(move |field| (field.name.of(self.input), field.value.of(self.input)))
    }

    /// The value of the first field with this id that is sent on.
    pub fn get(self, id: Id) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|field| field.id == id && !field.is_hop)
            .map(|field| field.value.of(self.input))
    }

    /// The values of all fields of this name, in any case, that are sent on. A rule that reads only
    /// the first can be passed by sending two.
    pub fn get_all(self, name: field::Name<'a>) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.fields
            .iter()
            .filter(move |field| !field.is_hop && name.names(field, self.input))
            .map(move |field| field.value.of(self.input))
    }

    /// Every field, with those of this connection.
    pub fn raw(self) -> &'a [Field] {
        self.fields
    }

    /// The bytes from which the fields were parsed.
    pub(super) fn input(self) -> &'a [u8] {
        self.input
    }
}

/// An uninitialised table for `httparse`.
pub(super) type Table<'b> = [MaybeUninit<httparse::Header<'b>>; MAX_FIELDS];

/// A new table; costs nothing.
pub(super) fn table<'b>() -> Table<'b> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// The span of `part`, which is a slice of `input`.
pub(super) fn span_of(input: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr().addr().wrapping_sub(input.as_ptr().addr());
    debug_assert!(start + part.len() <= input.len());
    Span::new(start, start + part.len())
}

/// Finds the fault of the field lines in `lines` (after the start line), which `httparse` refused.
/// This is the cold path: it reads the lines once more.
#[cold]
pub(super) fn field_fault(lines: &[u8]) -> Fault {
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if field::is_ows(line[0]) {
            return Fault::ObsFold;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Fault::FieldName;
        };
        let (name, value) = line.split_at(colon);
        if field::is_token(name) {
            if !value.iter().all(|byte| field::is_value_byte(*byte)) {
                return Fault::FieldValue;
            }
            continue;
        }
        let trimmed = name.trim_ascii_end();
        return if trimmed.len() < name.len() && field::is_token(trimmed) {
            Fault::SpaceBeforeColon
        } else {
            Fault::FieldName
        };
    }
    Fault::FieldName
}
