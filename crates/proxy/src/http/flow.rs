//! One direction of an exchange: a head and a body on their way from one connection to the other.
//!
//! What is sent is, in this order: `lead` (a head, or the line of a chunk), the next `direct` bytes
//! of the source's buffer as they are, and `tail` (what ends a chunk). All three go out in one
//! system call, so a head and a small body are one write. The source is read again only when all of
//! it has been written: a slow reader slows its writer down.
//!
//! A request may have to be sent again. One that is whole in its buffer stays there until its
//! exchange ends ([`Flow::start_kept`]); of one that streams, what was sent is recorded up to a
//! limit ([`Flow::start_recorded`]), and a new attempt sends the record before it goes on.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use lateen_wire::h1::chunked::{self, CRLF, Decoder, Event, Mode};

use crate::buffer::{self, Pool};
use crate::side::Side;
use crate::transport::{Read, Transport};

/// How much memory a stream may hold for its next exchange: a head and a small body.
const LITTLE: usize = 4 * 1024;

/// What is left of a body, and how it is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Framing {
    /// Nothing.
    #[default]
    Done,
    /// These many bytes.
    Length(u64),
    /// Chunks, sent on as chunks.
    Chunks,
    /// Chunks, of which only the data is sent on.
    Unchunked,
    /// Everything until the source ends, as it is.
    UntilEnd,
    /// Everything until the source ends, as chunks.
    IntoChunks,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// What is written before the source's bytes.
    pub(super) lead: Vec<u8>,
    lead_sent: usize,
    /// How many bytes of the source's buffer go out as they are.
    direct: usize,
    tail: &'static [u8],
    framing: Framing,
    decoder: Decoder,
    /// The source's bytes stay in its buffer, so that they can be sent again: this many are sent.
    kept: Option<usize>,
    /// Whether source bytes were given up that a second attempt would need.
    is_spent: bool,
    /// What was sent so far of a message that may be sent again: its head, then the body.
    record: Vec<u8>,
    /// How much of the record this attempt has sent.
    record_sent: usize,
    /// How long the record may get; 0 if nothing is recorded.
    record_limit: usize,
    /// Where the head ends, in the record or in the lead.
    head_end: usize,
    written: u64,
    body: u64,
}

/// Why a direction broke off.
#[derive(Debug)]
pub(super) enum Broken {
    /// The source failed.
    Source,
    /// The source ended before the body did.
    Short,
    /// The body is not valid.
    Malformed(lateen_wire::Error),
    /// The sink failed.
    Sink(io::Error),
}

// === impl Flow ===

impl Flow {
    /// Forgets everything but the memory.
    pub(super) fn reset(&mut self) {
        let mut lead = std::mem::take(&mut self.lead);
        lead.clear();
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.reset(Mode::Relay);
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        record.shrink_to(buffer::SIZE);
        *self = Self {
            lead,
            decoder,
            record,
            ..Self::default()
        };
    }

    /// How many bytes its storage has room for.
    pub(super) fn held(&self) -> usize {
        self.lead.capacity() + self.record.capacity()
    }

    /// Sends `length` bytes after the first `head` ones of the source's buffer after the lead, and
    /// keeps them there.
    pub(super) fn start_kept(&mut self, head: usize, length: usize) {
        self.kept = Some(head);
        self.direct = length;
        self.body = length as u64;
        self.framing = Framing::Done;
        self.head_end = self.lead.len();
    }

    /// As [`Self::start`], and records what is sent, so that it can be sent again while it is not
    /// longer than `limit`. A body that is known to be longer is not recorded.
    pub(super) fn start_recorded(&mut self, framing: Framing, limit: usize) {
        self.start(framing);
        self.head_end = self.lead.len();
        std::mem::swap(&mut self.lead, &mut self.record);
        let is_long = matches!(framing, Framing::Length(length) if length > limit as u64);
        self.record_limit = if is_long { 0 } else { self.head_end + limit };
    }

    /// Sends a body after the lead. Its first bytes are at the front of the source's buffer.
    pub(super) fn start(&mut self, framing: Framing) {
        self.framing = match framing {
            Framing::Length(0) => Framing::Done,
            other => other,
        };
        match framing {
            Framing::Chunks => self.decoder.reset(Mode::Relay),
            Framing::Unchunked => self.decoder.reset(Mode::Decode),
            Framing::Done | Framing::Length(_) | Framing::UntilEnd | Framing::IntoChunks => {}
        }
    }

    /// Begins again with the same lead and the same kept bytes, on another sink.
    ///
    /// # Panics
    /// When [`Self::can_repeat`] says no.
    pub(super) fn repeat(&mut self, head: usize) {
        assert!(self.can_repeat(), "bytes of the body are gone");
        self.written = 0;
        if !self.record.is_empty() {
            self.record_sent = 0;
            return;
        }
        self.lead_sent = 0;
        if self.kept.is_some() {
            self.direct = usize::try_from(self.body).unwrap_or(0);
            self.kept = Some(head);
        }
    }

    /// Answers whether everything sent so far could be sent again.
    pub(super) fn can_repeat(&self) -> bool {
        !self.is_spent
    }

    /// Replaces the end of the head before the head is sent again, if it ends like this.
    pub(super) fn change_head_end(&mut self, old: &[u8], new: &[u8]) {
        let head = if self.record.is_empty() {
            &mut self.lead
        } else {
            &mut self.record
        };
        let from = self.head_end.saturating_sub(old.len());
        if head.get(from..self.head_end) != Some(old) {
            return;
        }
        head.splice(from..self.head_end, new.iter().copied());
        self.head_end = from + new.len();
    }

    /// Records no more: the message will not be sent again.
    pub(super) fn stop_recording(&mut self) {
        if self.record_limit > 0 && self.record_sent == self.record.len() {
            self.give_up();
        }
    }

    /// Copies everything that was or will be sent, if it is all at hand: of a message that streams
    /// it is when all of it has been sent, and was not longer than the record may be.
    pub(super) fn copy(&self, source: &Side, into: &mut Vec<u8>) -> bool {
        if let Some(head) = self.kept {
            into.extend_from_slice(&self.lead);
            into.extend_from_slice(&source.buffer.bytes()[head..head + self.direct]);
            return true;
        }
        into.extend_from_slice(&self.record);
        !self.is_spent && self.is_done() && !self.record.is_empty()
    }

    /// Answers whether the source's bytes have all been taken.
    pub(super) fn has_read_all(&self) -> bool {
        self.framing == Framing::Done
    }

    /// How many bytes were written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes of the body were taken on, with the lines of chunks that were sent as they
    /// came.
    pub(super) fn body(&self) -> u64 {
        self.body
    }

    /// Answers whether there is nothing left to write or to read.
    pub(super) fn is_done(&self) -> bool {
        self.framing == Framing::Done && !self.has_queued()
    }

    /// Reads and writes as much as is possible; ready when everything is written.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Side,
        sink: &mut Transport,
        pool: &Pool,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.direct == 0 && self.tail.is_empty() && self.framing != Framing::Done {
                self.decode(source).map_err(Broken::Malformed)?;
            }
            // A head waits for the body that came with it, but never for one that has not come.
            if self.direct == 0 && self.wants_more() {
                match source.poll_fill(cx, pool) {
                    Poll::Ready(Ok(Read::Bytes(_))) => continue,
                    Poll::Ready(Ok(Read::End)) => {
                        self.end()?;
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
                    Poll::Pending if !self.has_queued() => {
                        // What the sink keeps back must not wait for more to come.
                        if let Poll::Ready(Err(error)) = sink.poll_flush(cx) {
                            return Poll::Ready(Err(Broken::Sink(error)));
                        }
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
            if self.has_queued() {
                match self.poll_write(cx, source, sink) {
                    Poll::Ready(Ok(())) => self.make_room(source, pool),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Sink(error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.is_done() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes the lead alone; ready when all of it is written.
    pub(super) fn poll_lead(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Transport,
    ) -> Poll<io::Result<()>> {
        while self.lead_sent < self.lead.len() {
            let piece = IoSlice::new(&self.lead[self.lead_sent..]);
            let count = std::task::ready!(sink.poll_write(cx, &[piece]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.lead_sent += count;
            self.written += count as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// The decoder of chunks, to look ahead with.
    pub(super) fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    fn has_queued(&self) -> bool {
        self.lead_sent < self.lead.len()
            || self.direct > 0
            || !self.tail.is_empty()
            || self.record_sent < self.record.len()
    }

    fn wants_more(&self) -> bool {
        self.tail.is_empty() && self.framing != Framing::Done
    }

    /// Looks at what was read, and queues what can be sent of it.
    fn decode(&mut self, source: &mut Side) -> Result<(), lateen_wire::Error> {
        let available = source.buffer.len();
        match self.framing {
            Framing::Done => {}
            _ if available == 0 => {}
            Framing::Length(left) => {
                let count = usize::try_from(left).map_or(available, |left| left.min(available));
                self.queue(count);
                let left = left - count as u64;
                self.framing = if left == 0 {
                    Framing::Done
                } else {
                    Framing::Length(left)
                };
            }
            Framing::UntilEnd => self.queue(available),
            Framing::IntoChunks => {
                self.forget_sent();
                chunked::write_start(&mut self.lead, available);
                self.queue(available);
                self.tail = CRLF;
            }
            Framing::Chunks | Framing::Unchunked => self.decode_chunks(source)?,
        }
        Ok(())
    }

    fn decode_chunks(&mut self, source: &mut Side) -> Result<(), lateen_wire::Error> {
        let step = self.decoder.next(source.buffer.bytes())?;
        match step.event {
            Event::NeedMore => source.buffer.consume(step.consumed),
            Event::Verbatim { bytes, .. } => {
                self.queue(bytes.len());
                if self.decoder.is_done() {
                    self.framing = Framing::Done;
                }
            }
            Event::Data(range) => {
                source.buffer.consume(range.start);
                if self.framing == Framing::Chunks {
                    self.forget_sent();
                    chunked::write_start(&mut self.lead, range.len());
                    self.tail = CRLF;
                }
                self.queue(range.len());
            }
            Event::End(ending) => {
                source.buffer.consume(step.consumed);
                if self.framing == Framing::Chunks && ending == chunked::Ending::ToWrite {
                    self.forget_sent();
                    self.decoder.write_end(&mut self.lead);
                }
                self.framing = Framing::Done;
            }
        }
        if step.consumed > 0 && self.record_limit == 0 {
            self.is_spent = true;
        }
        Ok(())
    }

    /// The source has ended.
    fn end(&mut self) -> Result<(), Broken> {
        match self.framing {
            Framing::Done | Framing::UntilEnd => {}
            Framing::IntoChunks => {
                self.forget_sent();
                self.lead.extend_from_slice(b"0\r\n\r\n");
            }
            Framing::Length(_) | Framing::Chunks | Framing::Unchunked => return Err(Broken::Short),
        }
        self.framing = Framing::Done;
        Ok(())
    }

    fn queue(&mut self, count: usize) {
        self.direct = count;
        self.body += count as u64;
    }

    /// Makes the lead empty if it was sent. A second attempt is then no longer possible, but it is
    /// not either when a body is framed anew.
    pub(super) fn forget_sent(&mut self) {
        if self.lead_sent == self.lead.len() {
            self.lead.clear();
            self.lead_sent = 0;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Side,
        sink: &mut Transport,
    ) -> Poll<io::Result<()>> {
        let from = self.kept.unwrap_or(0);
        let parts = [
            &self.record[self.record_sent..],
            &self.lead[self.lead_sent..],
            &source.buffer.bytes()[from..from + self.direct],
            self.tail,
        ];
        let mut pieces = [IoSlice::new(&[]); 4];
        let mut used = 0;
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            pieces[used] = IoSlice::new(part);
            used += 1;
        }
        let count = std::task::ready!(sink.poll_write(cx, &pieces[..used]))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(source, count);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, source: &mut Side, count: usize) {
        self.written += count as u64;
        let again = count.min(self.record.len() - self.record_sent);
        self.record_sent += again;
        let count = count - again;
        let lead = count.min(self.lead.len() - self.lead_sent);
        let direct = (count - lead).min(self.direct);
        let tail = count - lead - direct;
        if count > 0 && self.record_limit > 0 {
            self.note(source, lead, direct, tail);
        }
        self.lead_sent += lead;
        self.direct -= direct;
        match &mut self.kept {
            Some(at) => *at += direct,
            None if direct > 0 => {
                source.buffer.consume(direct);
                self.is_spent |= self.record_limit == 0;
            }
            None => {}
        }
        self.tail = &self.tail[tail..];
    }

    /// Ends the record and frees its memory, unless it is little: ten thousand streams must not
    /// each hold the most.
    fn give_up(&mut self) {
        if self.record.capacity() > LITTLE {
            self.record = Vec::new();
        }
        self.record.clear();
        self.record_sent = 0;
        self.record_limit = 0;
        self.is_spent = true;
    }

    /// Adds what was just sent to the record, or gives the record up if it becomes too long.
    fn note(&mut self, source: &Side, lead: usize, direct: usize, tail: usize) {
        if self.record.len() + lead + direct + tail > self.record_limit {
            self.give_up();
            return;
        }
        let sent = self.lead_sent..self.lead_sent + lead;
        self.record.extend_from_slice(&self.lead[sent]);
        self.record
            .extend_from_slice(&source.buffer.bytes()[..direct]);
        self.record.extend_from_slice(&self.tail[..tail]);
        self.record_sent = self.record.len();
    }

    /// A body that fills a usual buffer is worth larger reads.
    fn make_room(&self, source: &mut Side, pool: &Pool) {
        let is_long = match self.framing {
            Framing::Length(left) => left > buffer::SIZE as u64,
            Framing::Done => false,
            Framing::Chunks | Framing::Unchunked | Framing::UntilEnd | Framing::IntoChunks => true,
        };
        if is_long && source.was_filled && source.buffer.is_empty() {
            source.buffer.enlarge(pool);
        }
    }
}

#[cfg(test)]
mod tests;
