//! Floods of HTTP/2 against the whole program, beside a client that behaves, on one worker.
//!
//! `LATEEN_FLOOD_SECONDS` says how long each flood lasts: one second if it is not set, a minute in
//! `make soak`. `LATEEN_BIN_DIR` names the folder of the program to try, such as the one that is
//! shipped; without it, it is the one that was built with the tests. Latencies are printed; they are
//! judged in `bench/`, on a machine that has nothing else to do.

#![allow(
    clippy::print_stdout,
    reason = "what was measured is shown, not only judged"
)]

#[path = "../process/control.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod control;
mod flooder;
mod good;
#[path = "../process/proxy.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod proxy;
#[path = "../support/resources.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod resources;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lateen_model::Protocol;
use lateen_model::proxy::Role;
use lateen_wire::corpus::h2::{FLOODS, Flood};

use crate::control::Control;
use crate::good::Good;
use crate::proxy::{Backend, Proxy, backend, free_port, start};

/// How much the memory of the proxy may grow during a flood.
const MOST_GROWTH: u64 = 32 << 20;

/// How many times as many requests may reach the upstream as the client that behaves sends.
const MOST_UPSTREAM: f64 = 2.0;

/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A gateway with one worker and what is behind it.
struct World {
    proxy: Proxy,
    address: SocketAddr,
    upstream: Backend,
    data: PathBuf,
    _control: Control,
}

/// What was seen during a stretch of time.
struct Seen {
    answers: good::Tally,
    /// Requests that reached the upstream, a second.
    upstream: f64,
    /// The most memory that the proxy had, in bytes.
    memory: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_harm_nobody_but_the_connection_that_they_come_on() {
    let wanted = std::env::var("LATEEN_FLOOD_SECONDS").ok();
    let seconds = wanted.map_or(1, |text| text.parse().expect("a number of seconds"));
    let mut faults = Vec::new();
    for flood in FLOODS {
        faults.extend(Box::pin(withstand(flood, Duration::from_secs(seconds))).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Floods a proxy of its own for some time, says what was seen, and answers what was wrong.
async fn withstand(flood: &'static Flood, duration: Duration) -> Vec<String> {
    let world = World::new().await;
    let mut good = Good::connect(world.address).await;
    let calm = world
        .watch(&mut good, duration.min(Duration::from_secs(5)))
        .await;
    let until = Instant::now() + duration;
    let address = world.address;
    let flooding = tokio::spawn(flooder::flood(address, flood, until));
    let flooded = world.watch(&mut good, duration).await;
    let closed = flooding.await.expect("no panic");
    std::fs::remove_dir_all(&world.data).ok();
    let growth = flooded.memory.saturating_sub(calm.memory);
    println!(
        "{}: {} connections, closed after {} ms at most; the other client: {} answers, p99 {} µs \
         (before: {} µs); upstream {:.0} requests/s (before: {:.0}); memory {} KiB, grown by {} KiB",
        flood.name,
        closed.connections,
        closed.slowest.as_millis(),
        flooded.answers.latencies.len(),
        flooded.answers.p99().as_micros(),
        calm.answers.p99().as_micros(),
        flooded.upstream,
        calm.upstream,
        flooded.memory >> 10,
        growth >> 10,
    );
    let mut faults = Vec::new();
    faults.extend(closed.faults);
    faults.extend(flooded.answers.faults);
    if closed.connections == 0 {
        faults.push("no connection was closed".into());
    }
    if growth >= MOST_GROWTH {
        faults.push(format!("the memory grew by {growth} bytes"));
    }
    if flooded.upstream > calm.upstream * MOST_UPSTREAM {
        faults.push(format!(
            "the upstream got {} requests a second instead of {}",
            flooded.upstream, calm.upstream
        ));
    }
    faults
        .into_iter()
        .map(|fault| format!("{}: {fault}", flood.name))
        .collect()
}

// === impl World ===

impl World {
    async fn new() -> Self {
        let control = Control::start(Role::Gateway).await;
        let port = free_port().await;
        let upstream = backend("ok", usize::MAX).await;
        control.set(&resources::service("web", Protocol::Http));
        control.set_endpoints(&resources::endpoints("web", &[upstream.address]));
        control.set(&resources::gateway(port));
        control.set(&resources::route(&[("web", 1)]));
        let data = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("floods-{}-{port}", std::process::id()));
        let proxy = start(&program(), control.address, &data, &["--concurrency=1"]);
        proxy.wait_for("health", "/healthz/ready", 200, "").await;
        Self {
            proxy,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            upstream,
            data,
            _control: control,
        }
    }

    /// Lets the client that behaves ask for some time.
    async fn watch(&self, good: &mut Good, duration: Duration) -> Seen {
        let before = self.upstream.served.load(Ordering::Relaxed);
        let began = Instant::now();
        let mut asking = std::pin::pin!(good.ask(began + duration));
        let mut memory = self.memory();
        let mut looks = tokio::time::interval(LOOK);
        let answers = loop {
            tokio::select! {
                answers = &mut asking => break answers,
                _ = looks.tick() => memory = memory.max(self.memory()),
            }
        };
        let served = self.upstream.served.load(Ordering::Relaxed) - before;
        let served = u32::try_from(served).expect("some thousand requests");
        Seen {
            answers,
            upstream: f64::from(served) / began.elapsed().as_secs_f64(),
            memory: memory.max(self.memory()),
        }
    }

    /// The resident memory of the proxy, in bytes.
    fn memory(&self) -> u64 {
        let pid = self.proxy.child.id().expect("the proxy runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("its resident memory") << 10
    }
}

/// The program to try.
fn program() -> PathBuf {
    match std::env::var_os("LATEEN_BIN_DIR") {
        Some(folder) => Path::new(&folder).join("lateen-proxy"),
        None => env!("CARGO_BIN_EXE_lateen-proxy").into(),
    }
}
