//! Byte buffers that are reused: a connection holds one only while it has bytes to keep.
//!
//! A worker's [`Pool`] lends storage of one size. An idle connection returns its storage, so that
//! ten thousand idle connections cost no buffers, and an exchange in steady state allocates none.

use std::cell::RefCell;

/// The usual size of a buffer: a head and a small body, one read.
pub const SIZE: usize = 16 * 1024;

/// The size for bodies that fill a usual buffer, to halve and halve again their system calls.
pub const LARGE: usize = 64 * 1024;

/// How much returned storage a worker keeps: 128 buffers are 2 MiB, enough for a hundred exchanges
/// at once, and so are 32 large ones; what a burst needed beyond goes back to the allocator.
const KEPT: usize = 128;
const KEPT_LARGE: usize = 32;

/// Bytes that were received and not yet taken, in storage that may be absent while it is empty.
#[derive(Debug, Default)]
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

/// Storage for the buffers of one worker.
#[derive(Debug, Default)]
pub struct Pool {
    usual: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
}

// === impl Buffer ===

impl Buffer {
    /// What was received and not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// How many bytes that is.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Answers whether nothing is left to take.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the first `count` bytes.
    ///
    /// # Panics
    /// When there are fewer: the caller has counted wrongly.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than was received");
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// The room for more, after borrowing storage from `pool` if there is none and moving what is
    /// left to the front if the room behind is used up. Empty if the buffer is full.
    pub fn room(&mut self, pool: &Pool) -> &mut [u8] {
        if self.storage.is_empty() {
            self.storage = pool.take(SIZE);
        }
        if self.end == self.storage.len() && self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.storage[self.end..]
    }

    /// Counts `count` bytes that were written to [`Self::room`].
    pub fn filled(&mut self, count: usize) {
        debug_assert!(self.end + count <= self.storage.len());
        self.end += count;
    }

    /// Answers whether there is no room left, even after moving.
    pub fn is_full(&self) -> bool {
        !self.storage.is_empty() && self.len() == self.storage.len()
    }

    /// Answers whether the storage is written to its last byte.
    pub fn has_no_room(&self) -> bool {
        !self.storage.is_empty() && self.end == self.storage.len()
    }

    /// The size of the storage.
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Makes room for heads or bodies beyond the usual size.
    pub fn enlarge(&mut self, pool: &Pool) {
        if self.storage.len() >= LARGE {
            return;
        }
        let mut storage = pool.take(LARGE);
        let len = self.len();
        storage[..len].copy_from_slice(self.bytes());
        let old = std::mem::replace(&mut self.storage, storage);
        pool.put(old);
        self.start = 0;
        self.end = len;
    }

    /// Returns the storage, if nothing is left to take.
    pub fn release(&mut self, pool: &Pool) {
        if self.is_empty() && !self.storage.is_empty() {
            pool.put(std::mem::take(&mut self.storage));
        }
    }

    /// Throws away what is left and returns the storage.
    pub fn discard(&mut self, pool: &Pool) {
        self.start = 0;
        self.end = 0;
        self.release(pool);
    }
}

// === impl Pool ===

impl Pool {
    fn take(&self, size: usize) -> Vec<u8> {
        let list = if size == SIZE {
            &self.usual
        } else {
            &self.large
        };
        let kept = list.borrow_mut().pop();
        kept.unwrap_or_else(|| vec![0; size])
    }

    fn put(&self, storage: Vec<u8>) {
        let (list, most) = match storage.len() {
            SIZE => (&self.usual, KEPT),
            LARGE => (&self.large, KEPT_LARGE),
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < most {
            list.push(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_held_only_while_there_are_bytes() {
        let pool = Pool::default();
        let mut buffer = Buffer::default();
        buffer.room(&pool)[..3].copy_from_slice(b"abc");
        buffer.filled(3);
        buffer.release(&pool);
        assert_eq!(buffer.bytes(), b"abc");
        buffer.consume(3);
        buffer.release(&pool);
        assert_eq!(buffer.capacity(), 0);
        assert_eq!(pool.usual.borrow().len(), 1);
    }

    #[test]
    fn a_full_buffer_moves_its_rest_to_the_front() {
        let pool = Pool::default();
        let mut buffer = Buffer::default();
        let size = buffer.room(&pool).len();
        buffer.filled(size);
        assert!(buffer.is_full());
        assert!(buffer.room(&pool).is_empty());
        buffer.consume(size - 2);
        assert_eq!(buffer.room(&pool).len(), size - 2);
        assert_eq!(buffer.len(), 2);
    }

    #[test]
    fn a_larger_buffer_keeps_what_was_received() {
        let pool = Pool::default();
        let mut buffer = Buffer::default();
        buffer.room(&pool)[..2].copy_from_slice(b"xy");
        buffer.filled(2);
        buffer.enlarge(&pool);
        assert_eq!(buffer.bytes(), b"xy");
        assert_eq!(buffer.capacity(), LARGE);
    }
}
