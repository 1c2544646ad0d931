//! A gateway serves what the control plane says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lateen_model::proxy::Role;
use lateen_model::{Protocol, SocketAddress};

use tokio::net::UnixListener;

use crate::control::Control;
use crate::proxy::{backend, free_port, gateway, get, serve};
use crate::resources;

fn directory(name: &str) -> std::path::PathBuf {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

async fn shop(control: &Control, per_connection: usize) -> (u16, crate::proxy::Backend) {
    let port = free_port().await;
    let v1 = backend("v1", per_connection).await;
    control.set(&resources::service("shop", Protocol::Http));
    control.set_endpoints(&resources::endpoints("shop", &[v1.address]));
    control.set(&resources::gateway(port));
    control.set(&resources::route(&[("shop", 1)]));
    (port, v1)
}

#[tokio::test]
async fn a_socket_of_the_file_system_is_served_over_as_many_connections_as_it_takes() {
    let control = Control::start(Role::Gateway).await;
    let data = directory("socket");
    let port = free_port().await;
    std::fs::create_dir_all(&data).expect("a directory");
    let path = data.join("app.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let path: Arc<str> = path.to_str().expect("it is ASCII").into();
    let served = Arc::<AtomicUsize>::default();
    let (count, opened) = (Arc::clone(&served), Arc::<AtomicUsize>::default());
    let connections = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            // Three requests each: idle connections are used again, closed ones are noticed.
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let _ = serve(stream, "over a socket", 3, count).await;
            });
        }
    });
    control.set(&resources::service("shop", Protocol::Http));
    let endpoint = SocketAddress::Unix(Arc::clone(&path));
    control.set_endpoints(&resources::endpoints("shop", &[endpoint]));
    control.set(&resources::gateway(port));
    control.set(&resources::route(&[("shop", 1)]));
    let proxy = gateway(control.address, &data, &[]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    for _ in 0..9 {
        let response = get(port, "/").await.expect("an answer");
        assert!(response.ends_with("\r\n\r\nover a socket"), "{response}");
    }
    assert_eq!(served.load(Ordering::Relaxed), 9);
    // Both workers have some of the requests, and connections of their own.
    let opened = opened.load(Ordering::Relaxed);
    assert!((3..=4).contains(&opened), "{opened} connections");
    let (_, clusters) = proxy.page("admin", "/config_dump").await;
    assert!(clusters.contains(&format!("unix://{path}")), "{clusters}");
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn a_gateway_becomes_ready_serves_and_counts() {
    let control = Control::start(Role::Gateway).await;
    let data = directory("ready");
    let (port, _v1) = shop(&control, usize::MAX).await;
    let proxy = gateway(control.address, &data, &[]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    let response = get(port, "/").await.expect("an answer");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nv1"), "{response}");
    let (_, metrics) = proxy.page("metrics", "/stats/prometheus").await;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("istio_requests_total{reporter=\"source\""))
        .expect("a counter");
    for label in [
        "destination_service=\"shop.default.svc.cluster.local\"",
        "destination_service_name=\"shop\"",
        "response_code=\"200\"",
        "response_flags=\"-\"",
        "connection_security_policy=\"unknown\"",
    ] {
        assert!(line.contains(label), "{label} is not in {line}");
    }
    assert!(line.ends_with(" 1"), "{line}");
    let (status, dump) = proxy.page("admin", "/config_dump").await;
    assert_eq!(status, 200);
    assert!(dump.contains("shop.default.svc.cluster.local"), "{dump}");
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn a_listener_opens_and_closes_with_its_gateway() {
    let control = Control::start(Role::Gateway).await;
    let data = directory("listeners");
    let (port, _v1) = shop(&control, usize::MAX).await;
    let proxy = gateway(control.address, &data, &[]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    get(port, "/").await.expect("it listens");
    let other = free_port().await;
    control.set(&resources::gateway(other));
    proxy
        .wait_for("admin", "/listeners", 200, &format!(":{other}:"))
        .await;
    get(other, "/").await.expect("it listens there now");
    // The old socket is closed by the workers within a turn of their loops.
    while get(port, "/").await.is_ok() {
        tokio::task::yield_now().await;
    }
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn changes_and_upstreams_that_close_lose_no_request() {
    let control = Control::start(Role::Gateway).await;
    let data = directory("changes");
    // Each upstream connection ends after three requests, in the middle of the load.
    let (port, v1) = shop(&control, 3).await;
    let v2 = backend("v2", 3).await;
    control.set(&resources::service("store", Protocol::Http));
    control.set_endpoints(&resources::endpoints("store", &[v2.address]));
    let proxy = gateway(control.address, &data, &[]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    let load = (0..8).map(|_| tokio::spawn(load(port, 100)));
    let load: Vec<_> = load.collect();
    for weight in [1, 50, 99, 100] {
        control.set(&resources::route(&[
            ("shop", 100 - weight),
            ("store", weight),
        ]));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for one in load {
        one.await.expect("no request is lost");
    }
    let served = v1.served.load(Ordering::Relaxed) + v2.served.load(Ordering::Relaxed);
    assert!(served >= 800, "{served}");
    assert!(v2.served.load(Ordering::Relaxed) > 0);
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn a_resource_that_cannot_be_used_is_refused_alone() {
    let control = Control::start(Role::Gateway).await;
    let data = directory("refused");
    let (port, _v1) = shop(&control, usize::MAX).await;
    let proxy = gateway(control.address, &data, &[]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    let mut bad = resources::route(&[("shop", 1)]);
    bad.name.0 = "VirtualService/default/bad".into();
    if let lateen_model::Body::VirtualService(body) = &mut bad.body {
        let uri = lateen_model::route::StringMatch::Regex("(".into());
        body.http[0].matches = vec![lateen_model::route::HttpMatch {
            uri: Some(uri),
            ..Default::default()
        }];
    }
    control.set(&bad);
    let refusal = control.refusal().await;
    assert!(refusal.contains("regular expression"), "{refusal}");
    let response = get(port, "/").await.expect("it serves on");
    assert!(response.ends_with("v1"), "{response}");
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn the_access_log_is_switched_on_by_the_mesh_and_complete_at_the_end() {
    let control = Control::start(Role::Gateway).await;
    let data = directory("log");
    std::fs::create_dir_all(&data).expect("a directory");
    let file = data.join("access.log");
    let (port, _v1) = shop(&control, usize::MAX).await;
    let mesh = lateen_model::mesh::Mesh {
        access_log_file: file.to_string_lossy().into_owned(),
        access_log_encoding: lateen_model::mesh::AccessLogEncoding::Json,
        ..lateen_model::mesh::Mesh::default()
    };
    control.set(&resources::named("mesh", lateen_model::Body::Mesh(mesh)));
    let mut proxy = gateway(control.address, &data, &["--drain-duration=0"]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    get(port, "/a?b").await.expect("an answer");
    proxy.terminate();
    proxy.child.wait().await.expect("it ends");
    let log = std::fs::read_to_string(file).expect("a log");
    let line: serde_json::Value = serde_json::from_str(&log).expect("one line of JSON");
    assert_eq!(line["path"], "/a?b");
    assert_eq!(line["response_code"], 200);
    assert_eq!(
        line["upstream_cluster"],
        "outbound|80||shop.default.svc.cluster.local"
    );
    assert_eq!(line["request_id"].as_str().map(str::len), Some(36));
    std::fs::remove_dir_all(data).ok();
}

/// Sends requests on one connection and expects each to be answered 200.
async fn load(port: u16, count: usize) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connect");
    for index in 0..count {
        let head = format!("GET /{index} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("write");
        let mut response = Vec::new();
        while !(response.ends_with(b"v1") || response.ends_with(b"v2")) {
            let byte = stream.read_u8().await;
            response.push(byte.unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&response))
            }));
        }
        assert!(
            response.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&response)
        );
    }
}

#[tokio::test]
async fn without_a_control_plane_the_last_configuration_is_served() {
    let mut control = Control::start(Role::Gateway).await;
    let data = directory("outage");
    let (port, _v1) = shop(&control, usize::MAX).await;
    let proxy = gateway(control.address, &data, &[]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    let snapshot = data.join("lateen-snapshot");
    while !snapshot.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    control.stop().await;
    proxy
        .wait_for("admin", "/server_info", 200, "\"isConnected\": false")
        .await;
    get(port, "/").await.expect("it serves on");
    drop(proxy);
    // A new process finds nobody, and serves what the old one had.
    let proxy = gateway(control.address, &data, &[]);
    proxy.wait_for("health", "/healthz/ready", 200, "").await;
    let response = get(port, "/").await.expect("it serves");
    assert!(response.ends_with("v1"), "{response}");
    proxy
        .wait_for("admin", "/config_dump", 200, "\"isFromSnapshot\": true")
        .await;
    control.resume().await;
    proxy
        .wait_for("admin", "/server_info", 200, "\"isConnected\": true")
        .await;
    get(port, "/").await.expect("it still serves");
    std::fs::remove_dir_all(data).ok();
}
