//! Reads a response to its end and keeps nothing of it.

use std::future::poll_fn;
use std::io;

use lateen_wire::h1::chunked::{Decoder, Event, Mode};
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::head::{Limits, Persistence, Progress};
use lateen_wire::h1::request::Method;
use lateen_wire::h1::response::{Asked, Head};

use crate::buffer::Pool;
use crate::side::Side;
use crate::transport::Read;

/// Reads a response; answers its status, and whether its connection can be used again.
pub(super) async fn discard(
    side: &mut Side,
    pool: &Pool,
    limits: &Limits,
    method: Method,
) -> io::Result<(u16, Persistence)> {
    let mut head = Head::default();
    let asked = Asked {
        method,
        upgrade: None,
    };
    let (status, body, persistence) = loop {
        let parsed = head.parse(side.buffer.bytes(), limits, asked);
        if parsed.map_err(invalid)? == Progress::NeedMore {
            more(side, pool).await?;
            continue;
        }
        let response = head.view(side.buffer.bytes());
        let found = (response.status(), response.body(), response.persistence());
        let is_interim = response.is_interim();
        side.buffer.consume(head.len());
        if !is_interim {
            break found;
        }
    };
    match body {
        Body::Empty => {}
        Body::Tunnel => return Ok((status, Persistence::Close)),
        Body::Length(length) => skip(side, pool, length).await?,
        Body::UntilClose => {
            while more(side, pool).await.is_ok() {
                side.buffer.discard(pool);
            }
        }
        Body::Chunked => skip_chunks(side, pool).await?,
    }
    let is_clean = side.buffer.is_empty();
    let persistence = if is_clean {
        persistence
    } else {
        Persistence::Close
    };
    Ok((status, persistence))
}

async fn skip(side: &mut Side, pool: &Pool, mut left: u64) -> io::Result<()> {
    while left > 0 {
        if side.buffer.is_empty() {
            more(side, pool).await?;
        }
        let here = side.buffer.len();
        let count = usize::try_from(left).map_or(here, |left| left.min(here));
        side.buffer.consume(count);
        left -= count as u64;
    }
    Ok(())
}

async fn skip_chunks(side: &mut Side, pool: &Pool) -> io::Result<()> {
    let mut decoder = Decoder::new(Mode::Decode);
    loop {
        let step = decoder.next(side.buffer.bytes()).map_err(invalid)?;
        side.buffer.consume(step.consumed);
        match step.event {
            Event::End(_) => return Ok(()),
            Event::NeedMore => more(side, pool).await?,
            Event::Data(_) | Event::Verbatim { .. } => {}
        }
    }
}

/// Reads more, in place of what was there if it fills the buffer.
async fn more(side: &mut Side, pool: &Pool) -> io::Result<()> {
    if side.buffer.is_full() {
        side.buffer.enlarge(pool);
        if side.buffer.is_full() {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    match poll_fn(|cx| side.poll_fill(cx, pool)).await? {
        Read::Bytes(_) => Ok(()),
        Read::End => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(error: lateen_wire::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
