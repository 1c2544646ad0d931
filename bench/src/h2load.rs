//! The load generator for HTTP/2: nghttp2's `h2load`, with the latency of each request from its
//! log.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::load::{Load, Outcome};
use crate::tls::{CIPHER, GROUP};
use crate::workload::Protocol;

/// Connections, and streams at a time on each.
const CONNECTIONS: u32 = 8;
const STREAMS: u32 = 8;

/// Runs a load and reads its log.
pub(crate) async fn run(load: &Load, folder: &Path) -> anyhow::Result<Outcome> {
    let log = folder.join("h2load.log");
    let mut command = Command::new("h2load");
    command
        .args(["--clients", &CONNECTIONS.to_string()])
        .args(["--max-concurrent-streams", &STREAMS.to_string()])
        .args(["--threads", "1"])
        .args(["--duration", &format!("{}ms", load.duration.as_millis())])
        .arg("--log-file")
        .arg(&log)
        .args(["--header", &format!(":authority: {}", load.host)]);
    if load.protocol == Protocol::Grpc {
        let message = folder.join("message");
        std::fs::write(&message, grpc_message(load.body))?;
        command
            .arg("--data")
            .arg(&message)
            .args(["--header", "content-type: application/grpc"])
            .args(["--header", "te: trailers"]);
    }
    let scheme = if load.tls.is_some() {
        command.args(["--tls13-ciphers", CIPHER, "--groups", GROUP]);
        "https"
    } else {
        "http"
    };
    command.arg(format!("{scheme}://127.0.0.1:{}{}", load.port, load.path));
    // What an earlier run logged is not counted again.
    std::fs::remove_file(&log).ok();
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .context("h2load is not installed (Debian: nghttp2-client)")?;
    ensure!(
        output.status.success(),
        "h2load: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut outcome = Outcome::default();
    if load.tls.is_some() {
        let said = String::from_utf8_lossy(&output.stdout);
        outcome.agreed.insert(agreed(&said));
    }
    for line in std::fs::read_to_string(&log)?.lines() {
        // Start in microseconds, status, duration in microseconds.
        let mut fields = line.split('\t').skip(1);
        match (fields.next(), fields.next().and_then(|it| it.parse().ok())) {
            (Some("200"), Some(latency)) => {
                outcome.requests += 1;
                outcome.latencies.push(latency);
            }
            _ => outcome.errors += 1,
        }
    }
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

/// What h2load says that its connections agreed on: version, cipher, group and protocol.
fn agreed(said: &str) -> String {
    let values = [
        "TLS Protocol: ",
        "Cipher: ",
        "Server Temp Key: ",
        "Application protocol: ",
    ]
    .map(|field| {
        let value = said.lines().find_map(|line| line.strip_prefix(field));
        value.unwrap_or("?").trim()
    });
    values.join(" ")
}

/// A message of gRPC with its prefix.
pub(crate) fn grpc_message(size: usize) -> Vec<u8> {
    let length = u32::try_from(size).unwrap_or(u32::MAX);
    let mut bytes = [&[0][..], &length.to_be_bytes()].concat();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}
