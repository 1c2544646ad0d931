//! What `h2` wrote and the socket has not taken: small pieces copied one behind the other, large ones
//! as shares of the bytes that their stream holds.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

use crate::buffer::{Buffer, LARGE, Pool, SIZE};

/// How many bytes of shares are held at most, if it is more than one: a large read of an upstream,
/// and a frame, as its frames need not end where the read does.
const SHARED: usize = LARGE + SIZE;

/// How many pieces one system call sends at most.
const PIECES: usize = 32;

/// Bytes to be sent, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    copied: Buffer,
    /// Shares, each with how many of the copied bytes go before it (and after the one before).
    shared: VecDeque<(usize, Bytes)>,
    /// How many of the copied bytes go before the last share.
    before: usize,
    /// How many bytes the shares have.
    weight: usize,
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.copied.is_empty() && self.shared.is_empty()
    }

    /// Copies as much as there is room for; answers how much.
    pub(super) fn copy(&mut self, bytes: &[u8], pool: &Pool) -> usize {
        let mut room = self.copied.room(pool);
        if room.is_empty() {
            if self.copied.capacity() >= LARGE {
                return 0;
            }
            self.copied.enlarge(pool);
            room = self.copied.room(pool);
        }
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.copied.filled(count);
        count
    }

    /// Holds on to a share, unless there are too many; answers how many bytes were taken.
    pub(super) fn share(&mut self, bytes: &Bytes) -> usize {
        let count = bytes.len();
        if self.weight > 0 && self.weight + count > SHARED {
            return 0;
        }
        self.shared
            .push_back((self.copied.len() - self.before, bytes.clone()));
        self.before = self.copied.len();
        self.weight += count;
        count
    }

    /// Gives what is to be sent next, in one call.
    pub(super) fn pieces<T>(&self, send: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        if self.shared.is_empty() {
            return send(&[IoSlice::new(self.copied.bytes())]);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        let mut add = |piece| {
            if let Some(free) = pieces.get_mut(count) {
                *free = IoSlice::new(piece);
                count += 1;
            }
        };
        let mut copied = self.copied.bytes();
        for (before, bytes) in &self.shared {
            let (first, rest) = copied.split_at(*before);
            copied = rest;
            for piece in [first, bytes] {
                if !piece.is_empty() {
                    add(piece);
                }
            }
        }
        if !copied.is_empty() {
            add(copied);
        }
        send(&pieces[..count])
    }

    /// Forgets the first `count` bytes, which were sent.
    pub(super) fn consume(&mut self, mut count: usize) {
        while count > 0
            && let Some((before, bytes)) = self.shared.front_mut()
        {
            let copied = count.min(*before);
            self.copied.consume(copied);
            *before -= copied;
            self.before -= copied;
            count -= copied;
            let shared = count.min(bytes.len());
            bytes.advance(shared);
            self.weight -= shared;
            count -= shared;
            if bytes.is_empty() {
                self.shared.pop_front();
            }
        }
        self.copied.consume(count);
    }

    /// Returns what is not needed, if nothing is left to be sent.
    pub(super) fn release(&mut self, pool: &Pool) {
        if self.shared.is_empty() {
            self.copied.release(pool);
            self.shared = VecDeque::new();
        }
    }

    /// Answers whether no memory is kept.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.copied.capacity() == 0 && self.shared.capacity() == 0
    }

    /// Throws away what is left.
    pub(super) fn discard(&mut self, pool: &Pool) {
        self.shared.clear();
        self.before = 0;
        self.weight = 0;
        self.copied.discard(pool);
        self.release(pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would be sent, piece by piece.
    fn shown(outbox: &Outbox) -> Vec<Vec<u8>> {
        outbox.pieces(|pieces| pieces.iter().map(|piece| piece.to_vec()).collect())
    }

    #[test]
    fn copies_and_shares_keep_their_order_however_they_are_taken() {
        let pool = Pool::default();
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for turn in 0_u8..5 {
            let head = [turn; 9];
            assert_eq!(outbox.copy(&head, &pool), 9);
            expected.extend(head);
            let data = vec![100 + turn; 7000 + usize::from(turn)];
            expected.extend(&data);
            assert_eq!(outbox.share(&data.into()), 7000 + usize::from(turn));
        }
        assert_eq!(outbox.copy(b"the end", &pool), 7);
        expected.extend(b"the end");
        assert_eq!(shown(&outbox).len(), 11);
        let mut taken: Vec<u8> = Vec::new();
        for count in [3, 6, 1, 6998, 1, 9, 4000, 12_000].into_iter().cycle() {
            let left = shown(&outbox).concat();
            assert_eq!(left, expected[taken.len()..]);
            let count = count.min(left.len());
            taken.extend(&left[..count]);
            outbox.consume(count);
            // What comes meanwhile goes behind.
            if taken.len() > 20_000 && expected.ends_with(b"the end") {
                expected.extend(b" of it");
                assert_eq!(outbox.copy(b" of it", &pool), 6);
            }
            if outbox.is_empty() {
                break;
            }
        }
        assert_eq!(taken, expected);
        outbox.release(&pool);
        assert!(outbox.holds_nothing());
    }

    #[test]
    fn shares_have_a_limit_but_a_single_one() {
        let pool = Pool::default();
        let mut outbox = Outbox::default();
        let large = Bytes::from(vec![b'x'; 2 * SHARED]);
        assert_eq!(outbox.share(&large), 2 * SHARED);
        assert_eq!(outbox.share(&large.slice(..5000)), 0);
        outbox.consume(2 * SHARED - 5000);
        assert_eq!(outbox.share(&large.slice(..5000)), 5000);
        assert_eq!(outbox.share(&large), 0);
        outbox.discard(&pool);
        assert!(outbox.is_empty() && outbox.holds_nothing());
    }

    #[test]
    fn more_pieces_than_one_call_takes_are_sent_by_several() {
        let pool = Pool::default();
        let mut outbox = Outbox::default();
        for at in 0..20_u8 {
            assert_eq!(outbox.copy(&[at], &pool), 1);
            assert_eq!(outbox.share(&vec![at; 4].into()), 4);
        }
        let mut sent = Vec::new();
        while !outbox.is_empty() {
            let pieces = shown(&outbox);
            assert!(pieces.len() <= PIECES);
            let bytes = pieces.concat();
            outbox.consume(bytes.len());
            sent.extend(bytes);
        }
        let expected: Vec<u8> = (0..20).flat_map(|at| [at; 5]).collect();
        assert_eq!(sent, expected);
    }
}
