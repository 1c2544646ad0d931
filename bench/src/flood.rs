//! Clients that flood beside the load that is measured: what they do to the latency of others is
//! what a row `…-beside-…` shows, next to the row of the same load alone.
//!
//! They are a process of their own on the load generator's core, which has precedence there, so that
//! the figures show the peer's work and not theirs.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use lateen_wire::corpus::h2::{FLOODS, Flood, greeting};
use tokio::io::{AsyncWriteExt as _, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::workload::HOST;

/// How many flood at a time.
const FLOODERS: u32 = 4;

/// How long each waits from the beginning of a connection to that of the next.
const PAUSE: Duration = Duration::from_millis(100);

/// How many rounds are sent at a time.
const AT_ONCE: u32 = 100;

/// A running flood; ends with the value.
#[derive(Debug)]
pub(crate) struct Flooding(Child);

impl Drop for Flooding {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The flood of this name, with dashes for spaces.
pub(crate) fn named(name: &str) -> anyhow::Result<&'static Flood> {
    let found = FLOODS.iter().find(|flood| slug(flood) == name);
    found.with_context(|| {
        let known: Vec<_> = FLOODS.iter().map(slug).collect();
        format!("no flood is called {name}; there are {}", known.join(", "))
    })
}

/// The name of a flood as part of others.
pub(crate) fn slug(flood: &Flood) -> String {
    flood.name.replace(' ', "-")
}

/// Floods a port from now on.
pub(crate) fn start(flood: &Flood, port: u16) -> anyhow::Result<Flooding> {
    let mut command = Command::new("nice");
    command
        .args(["-n", "19"])
        .arg(std::env::current_exe()?)
        .args(["flood", "--port", &port.to_string(), "--name", &slug(flood)])
        .stdin(Stdio::null());
    Ok(Flooding(command.spawn().context("nice")?))
}

/// Floods a port until the process ends.
pub(crate) async fn run(port: u16, flood: &'static Flood) -> anyhow::Result<()> {
    let mut flooders: JoinSet<_> = (0..FLOODERS).map(|_| flooder(port, flood)).collect();
    match flooders.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

/// Floods one connection after the other.
async fn flooder(port: u16, flood: &'static Flood) -> anyhow::Result<()> {
    loop {
        let began = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (mut from, to) = stream.split();
        let mut nothing = sink();
        tokio::select! {
            // That the peer has had enough is how it should end.
            _ = copy(&mut from, &mut nothing) => {}
            _ = send(to, flood) => {}
        }
        tokio::time::sleep_until(began + PAUSE).await;
    }
}

async fn send(mut to: WriteHalf<'_>, flood: &Flood) -> std::io::Result<()> {
    to.write_all(&greeting()).await?;
    // Streams have numbers below 2^31.
    for first in (0..1 << 30).step_by(AT_ONCE as usize) {
        let rounds = first..first + AT_ONCE;
        let bytes: Vec<u8> = rounds.flat_map(|round| flood.round(HOST, round)).collect();
        to.write_all(&bytes).await?;
    }
    Ok(())
}
