//! h2spec, the conformance suite for servers, against a gateway and a sidecar's inbound side on real
//! sockets.
//!
//! It is a Go program, which `testkit/h2spec.sh` installs where Go is present, found by the variable
//! `H2SPEC` or on the `PATH`; where there is none, these tests say so and pass.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::rc::Rc;

use lateen_model::Protocol;
use lateen_proxy::connection::{self, Door, Origin};
use lateen_proxy::transport::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{OWN, Peer, World};

/// The number of h2spec's cases, with those of its strict mode.
const CASES: &str = "146 passed, 0 skipped, 0 failed";

#[test]
fn a_gateway_passes_h2spec() {
    conforms(Door::Gateway);
}

#[test]
fn a_sidecar_passes_h2spec_for_its_application() {
    conforms(Door::Inbound);
}

fn conforms(door: Door) {
    let Some(program) = h2spec() else {
        eprintln!("SKIPPED: h2spec is not installed; see the top of this file");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let world = Rc::new(world(door));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::task::spawn_local(accept(Rc::clone(&world), listener, door));
        tokio::task::spawn_local(async move {
            loop {
                tokio::task::spawn_local(answer(world.upstream_of_any_time().await));
            }
        });
        let output = tokio::process::Command::new(program)
            .args(["--strict", "--host", "127.0.0.1", "--timeout", "3"])
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null())
            .output()
            .await
            .expect("h2spec runs");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains(CASES), "{report}");
    });
}

fn world(door: Door) -> World {
    if door == Door::Inbound {
        return World::sidecar();
    }
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, &["10.0.1.1"])
        .route_all_to("web");
    world
}

async fn accept(world: Rc<World>, listener: TcpListener, door: Door) {
    let destination: SocketAddr = format!("{OWN}:8080").parse().expect("an address");
    while let Ok((stream, peer)) = listener.accept().await {
        let worker = Rc::clone(&world.worker);
        let origin = Origin {
            door,
            peer,
            destination,
            tls: None,
        };
        tokio::task::spawn_local(async move {
            connection::carry(&worker, Transport::Tcp(stream), origin).await;
        });
    }
}

/// An HTTP/1.1 server that reads requests, with bodies of a length or chunks, and answers them.
async fn answer(mut peer: Peer) {
    let mut heard = Vec::new();
    let mut room = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = peer.stream.read(&mut room).await {
        heard.extend_from_slice(&room[..count]);
        while let Some(end) = request_end(&heard) {
            let head = String::from_utf8_lossy(&heard).into_owned();
            heard.drain(..end);
            let body = if head.starts_with("HEAD") {
                ""
            } else {
                "hello"
            };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{body}");
            if peer.stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Where the first request ends, if all of it is there.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let find = |from: usize, what: &[u8]| {
        let found = bytes[from..].windows(what.len()).position(|it| it == what);
        found.map(|at| from + at + what.len())
    };
    let head = find(0, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    if text.contains("transfer-encoding: chunked") {
        if bytes[head..].starts_with(b"0\r\n\r\n") {
            return Some(head + 5);
        }
        return find(head, b"\r\n0\r\n\r\n").or_else(|| find(head, b"\r\n0\r\n"));
    }
    let length = text
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split('\r').next()?.parse().ok())
        .unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

fn h2spec() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("H2SPEC").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|folder| folder.join("h2spec"))
        .find(|program| program.is_file())
}
