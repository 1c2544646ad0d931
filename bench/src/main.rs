//! Measures Lateen's proxy beside its peers: one interleaved run, one worker each, the same origin,
//! the same load, CPU time per request from /proc as the figure that counts.
//!
//! Rounds go peer by peer, forwards and then backwards, so that a machine that slows down slows
//! down everybody. The load generator and the origin have a core of their own where there are two.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod flood;
mod grpc_origin;
mod h2load;
mod load;
mod origin;
mod peers;
mod procfs;
mod relay;
mod report;
mod strace;
mod tls;
mod workload;
mod xds;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};
use tokio::task::LocalSet;

use crate::load::{Load, Outcome};
use crate::peers::{Peer, Setup};
use crate::report::{Results, Row};
use crate::workload::Workload;

/// Measures Lateen's proxy beside Envoy, HAProxy, nginx and a TCP relay.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole comparison.
    Run(Run),
    /// The upstream.
    Origin {
        /// Port to listen on.
        #[arg(long)]
        port: u16,
    },
    /// The floor.
    Relay {
        /// Port to listen on.
        #[arg(long)]
        port: u16,
        /// The origin's port.
        #[arg(long)]
        upstream: u16,
    },
    /// The clients that flood.
    Flood {
        /// The peer's port for HTTP/2.
        #[arg(long)]
        port: u16,
        /// What they send.
        #[arg(long)]
        name: String,
    },
}

#[derive(clap::Args)]
struct Run {
    /// `lateen-proxy`.
    #[arg(long)]
    lateen_proxy: PathBuf,
    /// Where results are written.
    #[arg(long, default_value = "bench/results.json")]
    results: PathBuf,
    /// Rounds; each measures every peer once.
    #[arg(long, default_value_t = 4)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only workloads whose name contains this. `beside` measures every flood, else only some are.
    #[arg(long, default_value = "")]
    only: String,
    /// Only these peers.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
}

/// Connections at saturation, and at fixed rates.
const CONNECTIONS: u32 = 32;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        match Args::parse().command {
            Command::Run(run) => Box::pin(compare(run)).await,
            Command::Origin { port } => origin::serve(port).await,
            Command::Relay { port, upstream } => relay::serve(port, upstream).await,
            Command::Flood { port, name } => flood::run(port, flood::named(&name)?).await,
        }
    })
}

/// Starts origins and control planes; answers what peers need to know, without tables of routes and
/// with them.
fn prepare(run: &Run) -> anyhow::Result<[Setup; 2]> {
    let folder = std::env::temp_dir().join(format!("lateen-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    // Held until everybody else has a port: the origins listen once this function is left, the
    // gateway later still.
    let ([origin, grpc_origin, gateway, secure], held) = peers::hold_ports()?;
    tokio::task::spawn_local(origin::serve(origin));
    tokio::task::spawn_local(grpc_origin::serve(grpc_origin));
    let ports = xds::Ports {
        origin,
        grpc_origin,
        gateway,
        secure,
    };
    let certificate = tls::Certificate::make(&folder)?;
    let xds = xds::serve(ports, xds::Content::Plain, &certificate)?;
    let with_routes = xds::serve(ports, xds::Content::Routes, &certificate)?;
    drop(held);
    let pin =
        std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) || is_pinned();
    let setup = Setup {
        folder,
        origin,
        grpc_origin,
        xds,
        lateen: ports.gateway,
        secure: ports.secure,
        certificate,
        lateen_proxy: run.lateen_proxy.clone(),
        pin,
    };
    let with_routes = Setup {
        xds: with_routes,
        ..setup.clone()
    };
    Ok([setup, with_routes])
}

async fn compare(run: Run) -> anyhow::Result<()> {
    let [setup, with_routes] = prepare(&run)?;
    let wanted =
        |peer: &Peer| run.peers.is_empty() || run.peers.iter().any(|name| name == peer.name());
    let mut results = Results {
        rows: Vec::new(),
        missing: Vec::new(),
    };
    let mut present = Vec::new();
    for peer in Peer::ALL.into_iter().filter(wanted) {
        match peers::start(peer, &setup) {
            Ok(_) => present.push(peer),
            Err(error) => results.missing.push(format!("{}: {error:#}", peer.name())),
        }
    }
    for workload in workload::all(&run.only, run.seconds) {
        eprintln!("{} …", workload.name);
        let peers = present.iter().copied();
        let peers: Vec<_> = peers.filter(|peer| workload.is_for(*peer)).collect();
        // Thousands of routes weigh: only who measures them is told of them.
        let setup = if workload.needs_routes() {
            &with_routes
        } else {
            &setup
        };
        let rows = Box::pin(measure(&workload, &peers, setup, run.rounds)).await?;
        results.rows.extend(rows);
    }
    print!("{}", report::table(&results));
    let json = serde_json::to_string_pretty(&results)?;
    std::fs::write(&run.results, json + "\n").with_context(|| run.results.display().to_string())?;
    std::fs::remove_dir_all(&setup.folder).ok();
    Ok(())
}

/// A run under `taskset` sees one core although the machine has more.
fn is_pinned() -> bool {
    std::fs::read_to_string("/sys/devices/system/cpu/online").is_ok_and(|text| text.trim() != "0")
}

async fn measure(
    workload: &Workload,
    present: &[Peer],
    setup: &Setup,
    rounds: u32,
) -> anyhow::Result<Vec<Row>> {
    let mut samples: Vec<Vec<Sample>> = present.iter().map(|_| Vec::new()).collect();
    let mut running = Vec::new();
    for &peer in present {
        running.push(peers::start(peer, setup)?);
    }
    for round in 0..rounds {
        let forwards = 0..present.len();
        let order: Vec<usize> = if round % 2 == 0 {
            forwards.collect()
        } else {
            forwards.rev().collect()
        };
        for index in order {
            samples[index].push(sample(workload, &running[index], setup).await?);
        }
    }
    let mut rows = Vec::new();
    for (index, peer) in present.iter().enumerate() {
        let mut row = row(workload, *peer, &samples[index]);
        row.rss_mb = procfs::rss_mb(&procfs::family(running[index].pid()));
        if workload.rate.is_none() {
            let load = load_of(workload, &running[index], setup)?;
            row.syscalls_per_request =
                strace::syscalls_per_request(running[index].pid(), &load, &setup.folder).await;
        }
        rows.push(row);
    }
    let agreed: BTreeSet<_> = rows.iter().filter_map(|row| row.tls.as_deref()).collect();
    ensure!(
        agreed.len() <= 1,
        "{}: the peers do not do the same work: {agreed:?}",
        workload.name
    );
    Ok(rows)
}

/// One measurement of one peer.
struct Sample {
    cpu_us_per_request: f64,
    seconds: f64,
    outcome: Outcome,
}

async fn sample(
    workload: &Workload,
    peer: &peers::Running,
    setup: &Setup,
) -> anyhow::Result<Sample> {
    let folder = &setup.folder;
    let load = load_of(workload, peer, setup)?;
    // Connections and pools are warm before anything counts.
    let warm = Load {
        duration: Duration::from_millis(300),
        ..load.clone()
    };
    load::run(&warm, folder).await?;
    let http2 = peer.http2_port();
    let flooding = workload.beside.map(|flood| flood::start(flood, http2));
    let _flooding = flooding.transpose()?;
    let family = procfs::family(peer.pid());
    let before = procfs::cpu(&family);
    let began = std::time::Instant::now();
    let outcome = load::run(&load, folder).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = procfs::cpu(&family).saturating_sub(before);
    // A load that reaches the origin by another way, or nobody, would look like a miracle.
    ensure!(
        !cpu.is_zero(),
        "{}: the peer did nothing: the load does not pass through it",
        workload.name
    );
    Ok(Sample {
        cpu_us_per_request: cpu.as_secs_f64() * 1e6 / count(outcome.requests.max(1)),
        seconds,
        outcome,
    })
}

fn load_of(workload: &Workload, peer: &peers::Running, setup: &Setup) -> anyhow::Result<Load> {
    let is_secure = workload.is_secure;
    let client = is_secure.then(|| tls::Client::new(&setup.certificate));
    Ok(Load {
        port: peer.port(workload),
        protocol: workload.protocol,
        tls: client.transpose()?,
        host: workload.host.clone(),
        path: workload.path.clone(),
        body: workload.body,
        connections: CONNECTIONS,
        rate: workload.rate,
        duration: workload.duration,
    })
}

fn row(workload: &Workload, peer: Peer, samples: &[Sample]) -> Row {
    let mut cpu: Vec<f64> = samples
        .iter()
        .map(|sample| sample.cpu_us_per_request)
        .collect();
    cpu.sort_by(f64::total_cmp);
    let requests: u64 = samples.iter().map(|sample| sample.outcome.requests).sum();
    let seconds: f64 = samples.iter().map(|sample| sample.seconds).sum();
    let mut all = Outcome::default();
    for sample in samples {
        all.latencies.extend(&sample.outcome.latencies);
        all.errors += sample.outcome.errors;
        all.agreed.extend(sample.outcome.agreed.iter().cloned());
    }
    all.latencies.sort_unstable();
    Row {
        workload: workload.name.clone(),
        peer: peer.name(),
        cpu_us_per_request: median(&cpu),
        rps: count(requests) / seconds,
        p50_us: all.percentile(0.5),
        p99_us: all.percentile(0.99),
        rss_mb: 0.0,
        syscalls_per_request: None,
        errors: all.errors,
        tls: all.agreed.into_iter().reduce(|a, b| format!("{a}, {b}")),
        cpu_us_spread: [
            cpu.first().copied().unwrap_or(0.0),
            cpu.last().copied().unwrap_or(0.0),
        ],
    }
}

/// The middle of a sorted list.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^52"
)]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}
