//! How a proxy goes.

use std::time::Duration;

use lateen_model::Protocol;
use lateen_model::proxy::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::control::Control;
use crate::proxy::{PATIENCE, command, free_port, gateway, run};
use crate::resources;

#[tokio::test]
async fn a_terminated_proxy_finishes_what_runs_and_then_ends() {
    let control = Control::start(Role::Gateway).await;
    let data = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("drain-{}", std::process::id()));
    let port = free_port().await;
    let server = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = server.local_addr().expect("an address");
    control.set(&resources::service("slow", Protocol::Http));
    control.set_endpoints(&resources::endpoints("slow", &[address]));
    control.set(&resources::gateway(port));
    control.set(&resources::route(&[("slow", 1)]));
    let mut proxy = gateway(control.address, &data, &["--drain-duration=0.3"]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    let mut client = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connect");
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("write");
    let (mut upstream, _) = server.accept().await.expect("accept");
    proxy.terminate();
    proxy
        .wait_for("health", "/healthz/ready", 503, "draining")
        .await;
    // It still accepts while it drains.
    let late = TcpStream::connect(("127.0.0.1", port)).await;
    assert!(late.is_ok(), "{late:?}");
    // The drain is over, but the exchange is not: the proxy waits for it.
    let early = timeout(Duration::from_millis(600), proxy.child.wait()).await;
    assert!(early.is_err(), "ended with a request under way: {early:?}");
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        .await
        .expect("write");
    let mut response = String::new();
    client.read_to_string(&mut response).await.expect("read");
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert!(response.ends_with("done"), "{response}");
    let ended = timeout(PATIENCE, proxy.child.wait()).await;
    assert!(ended.expect("it ends").expect("its status").success());
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn the_drain_command_waits_for_the_drain() {
    let control = Control::start(Role::Gateway).await;
    let data = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("pre-stop-{}", std::process::id()));
    let mut proxy = gateway(control.address, &data, &["--drain-duration=0.5"]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    let admin = proxy.port("admin").await.port().to_string();
    let started = std::time::Instant::now();
    let drained = tokio::process::Command::new(env!("CARGO_BIN_EXE_lateen-proxy"))
        .args(["drain", "--admin-port", &admin])
        .status();
    assert!(drained.await.expect("it runs").success());
    assert!(started.elapsed() >= Duration::from_millis(500));
    // It serves on until it is terminated, and has no second drain to wait for.
    assert!(proxy.child.try_wait().expect("a child").is_none());
    proxy.terminate();
    let ended = timeout(PATIENCE, proxy.child.wait()).await;
    assert!(ended.expect("it ends").expect("its status").success());
    std::fs::remove_dir_all(data).ok();
}

#[cfg(target_env = "gnu")]
#[tokio::test]
async fn a_proxy_starts_itself_with_its_tunables_under_its_own_name() {
    let control = Control::start(Role::Gateway).await;
    let data = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("tunables-{}", std::process::id()));
    let proxy = gateway(control.address, &data, &[]);
    proxy.port("admin").await;
    let process = format!("/proc/{}", proxy.child.id().expect("it runs"));
    let read = |file: &str| std::fs::read_to_string(format!("{process}/{file}")).expect("readable");
    let environment = read("environ");
    let tunable = "GLIBC_TUNABLES=glibc.malloc.tcache_count=64\0";
    assert!(environment.contains(tunable), "{environment:?}");
    assert!(environment.contains("NO_COLOR=1"), "{environment:?}");
    assert_eq!(read("comm"), "lateen-proxy\n");
    assert!(read("cmdline").contains("\0gateway\0--bind=127.0.0.1\0"));
    drop(proxy);
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn a_proxy_that_is_denied_its_tunables_does_not_start_again_and_again() {
    let control = Control::start(Role::Gateway).await;
    let data = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("denied-{}", std::process::id()));
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_lateen-proxy"));
    let mut command = command(program, control.address, &data, &["--concurrency=1"]);
    // What is left of its environment when it has started itself and glibc took its variable away.
    let proxy = run(command.env("LATEEN_TUNED", "1"));
    proxy.port("admin").await;
    let id = proxy.child.id().expect("it runs");
    let environment = std::fs::read_to_string(format!("/proc/{id}/environ")).expect("readable");
    assert_eq!(environment, "LATEEN_TUNED=1\0NO_COLOR=1\0");
    drop(proxy);
    std::fs::remove_dir_all(data).ok();
}
