//! The way out of a cluster, whose outside is a network namespace of this test.

#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "a test fails by panicking, and its futures are few"
)]

#[path = "support/cluster.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod cluster;
#[path = "support/server.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod server;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use lateen_capture::{link, sandbox};
use libtest_mimic::{Arguments, Trial};

use cluster::{Cluster, Place};

/// An address that is neither a pod's nor a service's, nor anybody else's (RFC 5737).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn main() -> ExitCode {
    if let Some(code) = server::main() {
        return code;
    }
    if let Some(code) = lateen_local::cluster::child_main() {
        return code;
    }
    sandbox::enter().expect("an ordinary user may make namespaces");
    let mut network = link::Connection::open().expect("the sandbox has a network");
    network.set_up("lo").expect("its own");
    let address = format!("{OUTSIDE}/32").parse().expect("a network");
    network.add_address("lo", address).expect("its own");
    let arguments = Arguments::from_args();
    let trials = vec![Trial::test(
        "a_pod_reaches_the_outside_through_the_publisher",
        || {
            a_pod_reaches_the_outside_through_the_publisher();
            Ok(())
        },
    )];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn a_pod_reaches_the_outside_through_the_publisher() {
    let listener = TcpListener::bind((OUTSIDE, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    std::thread::spawn(move || server::serve(&listener, "outside"));
    let closed = TcpListener::bind((OUTSIDE, 0)).unwrap();
    let refused: SocketAddr = closed.local_addr().unwrap();
    drop(closed);
    let cluster = Cluster::start(|_| {});
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let place = Place::make(cluster.client().await, "egress").await;
        let script = format!(
            "curl -sS http://{open}/; echo; curl -s -m 20 http://{refused}/; echo $?; \
             curl -s -m 20 http://169.254.169.254/; echo $?"
        );
        let log = place.sh("traveller", &script).await;
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines[0], "outside");
        // 7: could not connect, 52 and 56: closed without an answer; 28 would be a timeout.
        for code in &lines[1..] {
            assert!(["7", "52", "56"].contains(code), "{log}");
        }
    });
}
