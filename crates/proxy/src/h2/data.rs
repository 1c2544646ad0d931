//! Pieces of bodies on their way through `h2`, which the connection's wire can hold on to.
//!
//! `h2` shows the wire what it writes as borrowed bytes. Of a large piece the wire wants no copy but
//! a share; so a piece that is asked for its bytes leaves a share of them with its [`Lender`], where
//! the wire finds it when it is given those very bytes a moment later.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Buf, Bytes};

/// From how many bytes on a share is cheaper than a copy.
const WORTHWHILE: usize = 4096;

/// A piece of a body.
#[derive(Debug)]
pub(super) struct Data {
    bytes: Bytes,
    /// Nobody, if a copy is as good.
    lender: Option<Rc<Lender>>,
}

/// The place of one connection for a share of the bytes that `h2` was shown last.
#[derive(Debug, Default)]
pub(super) struct Lender {
    last: RefCell<Option<Bytes>>,
}

// === impl Data ===

impl Data {
    /// A piece whose bytes may be shared with the wire that asks this lender.
    pub(super) fn new(bytes: Bytes, lender: &Rc<Lender>) -> Self {
        let is_large = bytes.len() >= WORTHWHILE;
        Self {
            bytes,
            lender: is_large.then(|| Rc::clone(lender)),
        }
    }

    /// No bytes: the end of a body.
    pub(super) fn empty() -> Self {
        Self {
            bytes: Bytes::new(),
            lender: None,
        }
    }
}

impl Buf for Data {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        if let Some(lender) = &self.lender {
            lender.last.replace(Some(self.bytes.clone()));
        }
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

// === impl Lender ===

impl Lender {
    /// A share of these bytes, if they are large and a piece has just been asked for them.
    pub(super) fn share(&self, bytes: &[u8]) -> Option<Bytes> {
        if bytes.len() < WORTHWHILE {
            return None;
        }
        let last = self.last.take()?;
        let (whole, part) = (last.as_ptr_range(), bytes.as_ptr_range());
        (whole.start <= part.start && part.end <= whole.end).then(|| last.slice_ref(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_a_piece_was_asked_for_are_shared() {
        let lender = Rc::default();
        let mut data = Data::new(vec![b'x'; 3 * WORTHWHILE].into(), &lender);
        data.advance(5);
        let chunk = data.chunk();
        // A frame may be shorter than what is to be sent.
        let frame = &chunk[..2 * WORTHWHILE];
        let shared = lender.share(frame).expect("a share");
        assert_eq!(shared.as_ptr(), frame.as_ptr());
        assert_eq!(shared.len(), frame.len());
        assert!(lender.share(frame).is_none(), "it is shared once");
    }

    #[test]
    fn other_bytes_are_not() {
        let lender = Rc::default();
        let data = Data::new(vec![b'x'; WORTHWHILE].into(), &lender);
        assert_eq!(data.chunk().len(), WORTHWHILE);
        assert!(lender.share(&[b'x'; WORTHWHILE]).is_none());
        let small = Data::new(vec![b'x'; WORTHWHILE - 1].into(), &lender);
        assert!(lender.share(small.chunk()).is_none());
    }
}
