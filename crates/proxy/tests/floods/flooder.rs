//! The clients that flood: each sends as fast as it can until it is sent away, and comes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lateen_wire::corpus::h2::{ENHANCE_YOUR_CALM, Flood, GOAWAY, greeting};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::proxy::PATIENCE;

/// How many flood at a time.
const FLOODERS: u32 = 4;

/// How long each waits from the beginning of a connection to that of the next: what is tried is what
/// comes on connections, not how many are opened.
const PAUSE: Duration = Duration::from_millis(100);

/// How many rounds are sent at a time, turn by turn: alone, so that the server has dealt with each
/// before it sees the next, or as many as a read of the server takes.
const AT_ONCE: [u32; 2] = [1, 100];

/// What became of the connections.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) connections: u32,
    /// How long it took at most until a connection was closed.
    pub(crate) slowest: Duration,
    /// Connections that were not closed as they should be; the first ones, in words.
    pub(crate) faults: Vec<String>,
}

/// Floods until some time.
pub(crate) async fn flood(address: SocketAddr, flood: &'static Flood, until: Instant) -> Tally {
    let flooders = (0..FLOODERS).map(|_| tokio::spawn(flooder(address, flood, until)));
    let flooders: Vec<_> = flooders.collect();
    let mut total = Tally::default();
    for flooder in flooders {
        let tally = flooder.await.expect("no panic");
        total.connections += tally.connections;
        total.slowest = total.slowest.max(tally.slowest);
        total.faults.extend(tally.faults);
    }
    total.faults.truncate(3);
    total
}

async fn flooder(address: SocketAddr, flood: &'static Flood, until: Instant) -> Tally {
    let mut tally = Tally::default();
    for at_once in AT_ONCE.into_iter().cycle() {
        let began = Instant::now();
        if began >= until {
            break;
        }
        let code = tokio::time::timeout(PATIENCE, connection(address, flood, at_once)).await;
        tally.connections += 1;
        tally.slowest = tally.slowest.max(began.elapsed());
        match code {
            Ok(Ok(Some(ENHANCE_YOUR_CALM))) => {}
            Ok(other) => tally.faults.push(format!(
                "by {at_once} rounds at once, a connection ended with {other:?}"
            )),
            Err(_) => tally.faults.push(format!(
                "by {at_once} rounds at once, a connection was not closed within {PATIENCE:?}"
            )),
        }
        tokio::time::sleep_until((began + PAUSE).into()).await;
    }
    tally
}

/// Floods one connection and answers the code with which it is closed.
async fn connection(
    address: SocketAddr,
    flood: &Flood,
    at_once: u32,
) -> std::io::Result<Option<u32>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut from, to) = stream.into_split();
    let mut farewell = std::pin::pin!(farewell(&mut from));
    tokio::select! {
        code = &mut farewell => return code,
        // It ends when the server takes no more; what it said is still to be read.
        () = send(to, flood, at_once) => {}
    }
    farewell.await
}

async fn send(mut to: OwnedWriteHalf, flood: &Flood, at_once: u32) {
    if to.write_all(&greeting()).await.is_err() {
        return;
    }
    // Streams have numbers below 2^31.
    for first in (0..1 << 30).step_by(at_once as usize) {
        let rounds = first..first + at_once;
        let bytes: Vec<u8> = rounds
            .flat_map(|round| flood.round("shop", round))
            .collect();
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Reads to the end and answers the code of the GOAWAY that is not a farewell in peace.
async fn farewell(from: &mut OwnedReadHalf) -> std::io::Result<Option<u32>> {
    loop {
        let mut head = [0; 9];
        match from.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        from.read_exact(&mut payload).await?;
        if kind != GOAWAY {
            continue;
        }
        let code = payload.get(4..8).and_then(|code| code.try_into().ok());
        if let Some(code) = code.map(u32::from_be_bytes).filter(|code| *code != 0) {
            return Ok(Some(code));
        }
    }
}
