//! Picks a head out of what the engine writes: nearly always it is one piece, and is looked at where
//! it is.

use std::io::{self, IoSlice};

use bytes::Bytes;
use lateen_wire::h1::head::{Limits, MAX_FIELDS, Progress};
use lateen_wire::h1::request::Method;
use lateen_wire::h1::{request, response};

/// Limits for heads of the engine's own making: no stricter than what it lets pass.
const OWN: Limits = Limits {
    head_bytes: 1024 * 1024,
    fields: MAX_FIELDS,
};

/// The tables of parsed heads, one for all streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Of a request that is written.
    pub(super) request: request::Head,
    /// Of a response that is written.
    pub(super) response: response::Head,
}

/// What became of some bytes.
#[derive(Debug)]
pub(super) struct Collected {
    /// How many of them belong to the head.
    pub(super) taken: usize,
    /// The head, once it is whole; the table is that of these bytes.
    pub(super) head: Option<Bytes>,
}

// === impl Tables ===

impl Tables {
    /// Takes the head of a request; `kept` is what earlier writes had of it.
    pub(super) fn collect_request(
        &mut self,
        kept: &mut Vec<u8>,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<Collected> {
        let table = &mut self.request;
        table.clear();
        collect(kept, pieces, 0, |bytes| {
            let progress = table.parse(bytes, &OWN).map_err(io::Error::other)?;
            Ok((progress == Progress::Complete).then(|| table.len()))
        })
    }

    /// Takes the head of a response, after the first `skip` bytes of the pieces.
    pub(super) fn collect_response(
        &mut self,
        kept: &mut Vec<u8>,
        pieces: &[IoSlice<'_>],
        skip: usize,
        (method, upgrade): (Method, Option<&[u8]>),
    ) -> io::Result<Collected> {
        let table = &mut self.response;
        table.clear();
        collect(kept, pieces, skip, |bytes| {
            let asked = response::Asked { method, upgrade };
            let progress = table.parse(bytes, &OWN, asked).map_err(io::Error::other)?;
            Ok((progress == Progress::Complete).then(|| table.len()))
        })
    }
}

/// Goes through the pieces until `parse` answers how long the head is.
fn collect(
    kept: &mut Vec<u8>,
    pieces: &[IoSlice<'_>],
    mut skip: usize,
    mut parse: impl FnMut(&[u8]) -> io::Result<Option<usize>>,
) -> io::Result<Collected> {
    let mut taken = 0;
    for piece in pieces {
        let skipped = skip.min(piece.len());
        skip -= skipped;
        let piece = &piece[skipped..];
        let before = kept.len();
        if before > 0 {
            kept.extend_from_slice(piece);
        }
        let bytes = if before > 0 { &kept[..] } else { piece };
        if let Some(length) = parse(bytes)? {
            let head = Bytes::copy_from_slice(&bytes[..length]);
            kept.clear();
            return Ok(Collected {
                taken: taken + length - before,
                head: Some(head),
            });
        }
        if before == 0 {
            kept.extend_from_slice(piece);
        }
        taken += piece.len();
    }
    Ok(Collected { taken, head: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes in pieces of one write, and answers what was taken of it.
    fn write(tables: &mut Tables, kept: &mut Vec<u8>, pieces: &[&[u8]]) -> (usize, Option<Bytes>) {
        let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let collected = tables.collect_request(kept, &pieces).expect("valid");
        (collected.taken, collected.head)
    }

    #[test]
    fn a_head_is_found_however_it_is_cut() {
        let head = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n";
        let mut tables = Tables::default();
        for cut in 0..=head.len() {
            let mut kept = Vec::new();
            let (first, second) = head.split_at(cut);
            let found = write(&mut tables, &mut kept, &[first, second, b"body"]);
            assert_eq!(found, (head.len(), Some(Bytes::from_static(head))));
            assert!(kept.is_empty());
            // In two writes, with the body after the second.
            let mut total = 0;
            let mut found = None;
            for pieces in [&[first][..], &[second, b"body"]] {
                if found.is_none() {
                    let (taken, whole) = write(&mut tables, &mut kept, pieces);
                    total += taken;
                    found = whole;
                }
            }
            assert_eq!((total, found), (head.len(), Some(Bytes::from_static(head))));
        }
    }

    #[test]
    fn what_was_written_before_is_skipped() {
        let mut tables = Tables::default();
        let pieces = [
            IoSlice::new(b"before"),
            IoSlice::new(b"HTTP/1.1 204 \r\n\r\nx"),
        ];
        let asked = (Method::Get, None);
        let collected = tables.collect_response(&mut Vec::new(), &pieces, 6, asked);
        let collected = collected.expect("valid");
        assert_eq!(collected.taken, 17);
        assert_eq!(
            tables
                .response
                .view(&collected.head.expect("whole"))
                .status(),
            204
        );
    }
}
