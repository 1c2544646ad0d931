//! A request that is sent again and again, cut off at random places, arrives whole in the end.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use lateen_wire::h1::chunked::{Decoder, Event, Mode};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::*;
use crate::random::Random;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\nx-envoy-attempt-count: 1\r\n\r\n";

/// One run with random sizes of everything.
struct Run {
    random: Random,
    flow: Flow,
    source: Side,
    /// The client's end, and what it has yet to send.
    client: DuplexStream,
    unsent: Vec<u8>,
    pool: Pool,
}

impl Run {
    fn below(&self, limit: u64) -> u64 {
        self.random.next() % limit
    }

    fn size(&self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("a small number") + 1
    }

    /// The client sends some more.
    fn feed(&mut self, cx: &mut Context<'_>) {
        let count = self.size(200).min(self.unsent.len());
        let sent = Pin::new(&mut self.client).poll_write(cx, &self.unsent[..count]);
        if let Poll::Ready(Ok(sent)) = sent {
            self.unsent.drain(..sent);
        }
    }

    /// One attempt; answers what the upstream received, or nothing if it was cut off.
    fn attempt(&mut self, is_last: bool) -> Option<Vec<u8>> {
        let mut cx = Context::from_waker(Waker::noop());
        let (near, mut far) = tokio::io::duplex(self.size(300));
        let mut sink = Transport::from(near);
        let mut received = Vec::new();
        let turns = self.size(40);
        for turn in 0.. {
            if !is_last && turn == turns {
                return None;
            }
            assert!(turn < 100_000, "it stands still");
            self.feed(&mut cx);
            let flow = &mut self.flow;
            let polled = flow.poll(&mut cx, &mut self.source, &mut sink, &self.pool);
            drain(&mut far, &mut received, &mut cx);
            match polled {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => return Some(received),
                Poll::Ready(Err(broken)) => panic!("{broken:?}"),
            }
        }
        None
    }
}

fn drain(from: &mut DuplexStream, into: &mut Vec<u8>, cx: &mut Context<'_>) {
    let mut space = [0; 512];
    loop {
        let mut room = ReadBuf::new(&mut space);
        match Pin::new(&mut *from).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                into.extend_from_slice(room.filled());
            }
            _ => return,
        }
    }
}

/// The data of a chunked body.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(Mode::Decode);
    let mut data = Vec::new();
    loop {
        let step = decoder.next(body).expect("valid chunks");
        match step.event {
            Event::Data(range) => data.extend_from_slice(&body[range]),
            Event::End(_) => return data,
            Event::NeedMore | Event::Verbatim { .. } => panic!("the body is cut off"),
        }
        body = &body[step.consumed..];
    }
}

/// Chunks in any spelling.
fn chunked(data: &[u8], random: &Random) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let most = usize::try_from(random.next() % 90).expect("small") + 1;
        let (piece, after) = rest.split_at(most.min(rest.len()));
        let line = match random.next() % 3 {
            0 => format!("{:x}\r\n", piece.len()),
            1 => format!("00{:X}\r\n", piece.len()),
            _ => format!("{:x};a=b\r\n", piece.len()),
        };
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out.extend_from_slice(b"0\r\nx-trailer: 1\r\n\r\n");
    out
}

fn check(seed: u64) {
    let random = Random::seeded(seed);
    let length = usize::try_from(random.next() % 2000).expect("small");
    let data: Vec<u8> = (0..length)
        .map(|_| random.next().to_le_bytes()[0])
        .collect();
    let is_chunked = random.next().is_multiple_of(2);
    let (framing, unsent) = if is_chunked {
        (Framing::Chunks, chunked(&data, &random))
    } else {
        (Framing::Length(data.len() as u64), data.clone())
    };
    let (client, near) = tokio::io::duplex(128);
    let mut run = Run {
        random,
        flow: Flow::default(),
        source: Side::new(near.into()),
        client,
        unsent,
        pool: Pool::default(),
    };
    run.flow.lead.extend_from_slice(HEAD);
    run.flow.start_recorded(framing, 64 * 1024);
    for number in 1_u32.. {
        let Some(received) = run.attempt(number == 15) else {
            assert!(run.flow.can_repeat(), "seed {seed}");
            run.flow.repeat(0);
            let end = |number| format!("count: {number}\r\n\r\n");
            let (old, new) = (end(number), end(number + 1));
            run.flow.change_head_end(old.as_bytes(), new.as_bytes());
            continue;
        };
        let count = format!("x-envoy-attempt-count: {number}\r\n\r\n");
        let head =
            String::from_utf8_lossy(HEAD).replace("x-envoy-attempt-count: 1\r\n\r\n", &count);
        assert!(received.starts_with(head.as_bytes()), "seed {seed}");
        let body = &received[head.len()..];
        let body = if is_chunked {
            unchunked(body)
        } else {
            body.to_vec()
        };
        assert_eq!(body, data, "seed {seed}, attempt {number}");
        let mut copy = Vec::new();
        assert!(run.flow.copy(&run.source, &mut copy), "seed {seed}");
        assert_eq!(copy, received, "seed {seed}");
        return;
    }
}

#[test]
fn a_stream_that_is_cut_off_anywhere_arrives_whole_when_it_is_sent_again() {
    for seed in 0..400 {
        check(seed);
    }
}

#[test]
fn what_is_longer_than_the_record_cannot_be_sent_again() {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut client, near) = tokio::io::duplex(1024);
    let (sink, mut far) = tokio::io::duplex(4096);
    let (mut source, mut sink) = (Side::new(near.into()), Transport::from(sink));
    let pool = Pool::default();
    let mut flow = Flow::default();
    flow.lead.extend_from_slice(HEAD);
    flow.start_recorded(Framing::Chunks, 10_000);
    for turn in 0..1000 {
        let mut received = Vec::new();
        drain(&mut far, &mut received, &mut cx);
        let written = Pin::new(&mut client).poll_write(&mut cx, b"a\r\n0123456789\r\n");
        assert!(written.is_ready());
        let polled = flow.poll(&mut cx, &mut source, &mut sink, &pool);
        assert!(polled.is_pending());
        let body = (turn + 1) * b"a\r\n0123456789\r\n".len();
        assert_eq!(flow.can_repeat(), body <= 10_000, "after {body} bytes");
    }
    assert_eq!(flow.record.capacity(), 0, "its memory is free");
}
