//! Carries bytes between two connections until both directions have ended.
//!
//! Each direction ends on its own (half-close): what one peer no longer sends is told to the other
//! while the opposite direction goes on. A direction reads only when everything it read before has
//! been written, so that a slow reader slows its writer down instead of filling memory.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::buffer::Pool;
use crate::clock;
use crate::deadline::Deadline;
use crate::side::Side;
use crate::transport::{Read, Transport};

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions ended in order.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// It reached the age that it may get.
    Old,
    /// The client's connection failed.
    Downstream(io::Error),
    /// The upstream's connection failed.
    Upstream(io::Error),
}

/// How long a relay may last; for ever where nothing is set.
#[derive(Debug, Default, Clone, Copy)]
pub struct Limits {
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// From its beginning.
    pub age: Option<Duration>,
}

/// What was carried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
}

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Open,
    /// Everything was written; the end is still to be told.
    Ending,
    Ended,
}

/// Which end of a direction failed.
enum Failed {
    Source(io::Error),
    Sink(io::Error),
}

/// Carries bytes until both directions have ended, one failed, or a limit is reached.
/// `progress` is told whenever bytes have moved.
pub async fn relay(
    client: &mut Side,
    upstream: &mut Side,
    pool: &Pool,
    limits: Limits,
    mut progress: impl FnMut(Moved),
) -> End {
    let mut up = Direction::Open;
    let mut down = Direction::Open;
    let mut deadline = Deadline::default();
    let after = |limit: Option<Duration>| clock::now().checked_add(limit?);
    let old = after(limits.age);
    // The earlier of the two.
    let next = || match (after(limits.idle), old) {
        (Some(idle), Some(old)) => Some(idle.min(old)),
        (idle, old) => idle.or(old),
    };
    deadline.set(next());
    let end = poll_fn(|cx| {
        let mut moved = Moved::default();
        let sent = poll_direction(
            cx,
            &mut up,
            client,
            &mut upstream.transport,
            pool,
            &mut moved.received,
        );
        let got = poll_direction(
            cx,
            &mut down,
            upstream,
            &mut client.transport,
            pool,
            &mut moved.sent,
        );
        if moved != Moved::default() {
            progress(moved);
            deadline.set(next());
        }
        match (sent, got) {
            (Poll::Ready(Err(Failed::Source(error))), _)
            | (_, Poll::Ready(Err(Failed::Sink(error)))) => Poll::Ready(End::Downstream(error)),
            (Poll::Ready(Err(Failed::Sink(error))), _)
            | (_, Poll::Ready(Err(Failed::Source(error)))) => Poll::Ready(End::Upstream(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            (Poll::Pending, _) | (_, Poll::Pending) => deadline.poll(cx).map(|()| {
                if old.is_some_and(|old| old <= clock::now()) {
                    End::Old
                } else {
                    End::Idle
                }
            }),
        }
    })
    .await;
    client.buffer.discard(pool);
    upstream.buffer.discard(pool);
    match &end {
        // A reset on one side is a reset on the other: an orderly close would look like success.
        End::Downstream(_) => upstream.transport.reset_on_drop(),
        End::Upstream(_) => client.transport.reset_on_drop(),
        End::Closed | End::Idle | End::Old => {}
    }
    end
}

fn poll_direction(
    cx: &mut Context<'_>,
    state: &mut Direction,
    source: &mut Side,
    sink: &mut Transport,
    pool: &Pool,
    moved: &mut u64,
) -> Poll<Result<(), Failed>> {
    loop {
        match state {
            Direction::Ended => return Poll::Ready(Ok(())),
            Direction::Ending => {
                match ready!(sink.poll_shutdown(cx)) {
                    Ok(()) => {}
                    // The peer has closed altogether, which is what it was to be told.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                    Err(error) => return Poll::Ready(Err(Failed::Sink(error))),
                }
                *state = Direction::Ended;
            }
            Direction::Open if !source.buffer.is_empty() => {
                let pieces = [IoSlice::new(source.buffer.bytes())];
                let count = ready!(sink.poll_write(cx, &pieces)).map_err(Failed::Sink)?;
                if count == 0 {
                    return Poll::Ready(Err(Failed::Sink(io::ErrorKind::WriteZero.into())));
                }
                *moved += count as u64;
                source.buffer.consume(count);
                if source.was_filled && source.buffer.is_empty() {
                    // A stream of this rate is worth fewer, larger reads.
                    source.buffer.enlarge(pool);
                }
            }
            Direction::Open => {
                let Poll::Ready(read) = source.poll_fill(cx, pool) else {
                    // What the sink keeps back must not wait for more to come.
                    if let Poll::Ready(Err(error)) = sink.poll_flush(cx) {
                        return Poll::Ready(Err(Failed::Sink(error)));
                    }
                    return Poll::Pending;
                };
                let read = read.map_err(Failed::Source)?;
                if read == Read::End {
                    *state = Direction::Ending;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const IDLE_HOUR: Limits = idle(3600);

    const fn idle(seconds: u64) -> Limits {
        Limits {
            idle: Some(Duration::from_secs(seconds)),
            age: None,
        }
    }

    fn sides(capacity: usize) -> (DuplexStream, Side, Side, DuplexStream) {
        let (client, near) = duplex(capacity);
        let (far, server) = duplex(capacity);
        (
            client,
            Side::new(near.into()),
            Side::new(far.into()),
            server,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn each_direction_ends_on_its_own() {
        let (mut client, mut near, mut far, mut server) = sides(64);
        let pool = Pool::default();
        let mut total = Moved::default();
        let relayed = relay(&mut near, &mut far, &pool, IDLE_HOUR, |moved| {
            total.received += moved.received;
            total.sent += moved.sent;
        });
        let talk = async {
            client.write_all(b"question").await.expect("write");
            client.shutdown().await.expect("shutdown");
            let mut question = String::new();
            server.read_to_string(&mut question).await.expect("read");
            assert_eq!(question, "question");
            server.write_all(b"the answer").await.expect("write");
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("read");
            assert_eq!(answer, "the answer");
        };
        let (end, ()) = tokio::join!(relayed, talk);
        assert!(matches!(end, End::Closed), "{end:?}");
        assert_eq!(
            total,
            Moved {
                received: 8,
                sent: 10
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_slows_its_writer_down() {
        let (mut client, mut near, mut far, mut server) = sides(1024);
        let pool = Pool::default();
        let relayed = relay(&mut near, &mut far, &pool, IDLE_HOUR, |_| {});
        let talk = async {
            let flood = vec![7; 1 << 20];
            let written = tokio::time::timeout(Duration::from_secs(1), client.write_all(&flood));
            assert!(
                written.await.is_err(),
                "a megabyte was taken without a reader"
            );
            let mut some = [0; 100];
            server.read_exact(&mut some).await.expect("read");
            drop((client, server));
        };
        let (end, ()) = tokio::join!(relayed, talk);
        assert!(!matches!(end, End::Idle), "{end:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_ends_when_nothing_moves() {
        let (_client, mut near, mut far, _server) = sides(64);
        let pool = Pool::default();
        let end = relay(&mut near, &mut far, &pool, idle(9), |_| {}).await;
        assert!(matches!(end, End::Idle), "{end:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_is_always_busy_ends_when_it_is_too_old() {
        let (mut client, mut near, mut far, mut server) = sides(64);
        let pool = Pool::default();
        let limits = Limits {
            idle: Some(Duration::from_secs(2)),
            age: Some(Duration::from_secs(5)),
        };
        let started = clock::now();
        let relayed = relay(&mut near, &mut far, &pool, limits, |_| {});
        let talk = async {
            let mut byte = [0];
            while client.write_all(b".").await.is_ok() && server.read_exact(&mut byte).await.is_ok()
            {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let end = tokio::select! {
            end = relayed => end,
            () = talk => panic!("the talk ended first"),
        };
        assert!(matches!(end, End::Old), "{end:?}");
        assert_eq!(clock::now() - started, Duration::from_secs(5));
    }
}
