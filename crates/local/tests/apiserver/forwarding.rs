//! Port-forward, with a pod that is this process.

use std::future::Future;
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lateen_local::apiserver::PodDialer;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};

use crate::support::Served;

/// A server with the pod `a` on a node, whose ports are this machine's.
fn served() -> Served {
    let served = Served::start_with(|options| {
        options.pod_dialer = Some(PodDialer::new(|uid, port| async move {
            assert!(!uid.is_empty());
            TcpStream::connect(("127.0.0.1", port)).await
        }));
    });
    served.kubectl("run a --image=busybox --restart=Never -- sleep 10");
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"},
        "target": {"kind": "Node", "name": "n"}});
    let path = "/api/v1/namespaces/default/pods/a/binding";
    served.with_input(&format!("create --raw {path} -f -"), &binding.to_string());
    served
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // What waits for ever is better told by its name than by the whole run's end.
    let bounded = async { tokio::time::timeout(Duration::from_secs(120), test).await };
    runtime.block_on(bounded).expect("it ends");
}

/// A port that refuses connections, and that no other test is given while the socket lives.
fn refusing() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A port on which every connection is answered by what it sends, in capitals, until it says `.`.
async fn shouter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let said = buffer[..length].to_ascii_uppercase();
                    stream.write_all(&said).await.unwrap();
                    if said.ends_with(b".") {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn several_ports_are_forwarded_at_once() {
    let served = served();
    run(async {
        let (one, other) = (shouter().await, shouter().await);
        let pods: Api<Pod> = Api::default_namespaced(served.remote().await);
        let mut forward = pods.portforward("a", &[one, other]).await.unwrap();
        for port in [one, other] {
            let mut stream = forward.take_stream(port).unwrap();
            let mut answer = [0; 2];
            stream.write_all(b"hi").await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HI");
            stream.write_all(b"bye.").await.unwrap();
        }
        forward.join().await.unwrap();
    });
}

#[test]
fn the_client_sees_the_end_when_the_pod_closes() {
    let served = served();
    run(async {
        let port = shouter().await;
        let pods: Api<Pod> = Api::default_namespaced(served.remote().await);
        let mut forward = pods.portforward("a", &[port]).await.unwrap();
        let mut stream = forward.take_stream(port).unwrap();
        stream.write_all(b"that was it.").await.unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "THAT WAS IT.");
    });
}

#[test]
fn what_was_sent_before_the_client_left_arrives() {
    let served = served();
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pods: Api<Pod> = Api::default_namespaced(served.remote().await);
        let mut forward = pods.portforward("a", &[port]).await.unwrap();
        let mut stream = forward.take_stream(port).unwrap();
        let letter = vec![b'x'; 300_000];
        stream.write_all(&letter).await.unwrap();
        drop(stream);
        let (mut pod, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        pod.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), letter.len());
    });
}

#[test]
fn a_refused_port_is_an_error_of_its_channel() {
    let served = served();
    run(async {
        let (_taken, port) = refusing();
        let pods: Api<Pod> = Api::default_namespaced(served.remote().await);
        let mut forward = pods.portforward("a", &[port]).await.unwrap();
        let error = forward.take_error(port).unwrap().await.unwrap();
        let words = format!("error forwarding port {port} to pod a, uid ");
        assert!(error.starts_with(&words), "{error}");
        assert!(error.contains("refused"), "{error}");
    });
}

#[test]
fn what_cannot_be_forwarded_is_refused_with_the_reason() {
    let served = served();
    run(async {
        let pods: Api<Pod> = Api::default_namespaced(served.remote().await);
        let error = pods.portforward("nobody", &[80]).await.err().unwrap();
        assert!(
            error.to_string().contains("pods \"nobody\" not found"),
            "{error}"
        );
        let error = pods.portforward("a", &[0]).await.err().unwrap();
        assert!(error.to_string().contains("invalid port \"0\""), "{error}");
    });
    let plain = served.fails(
        "get --raw /api/v1/namespaces/default/pods/a/portforward?ports=80",
        "",
    );
    assert!(plain.contains("needs a WebSocket"), "{plain}");
}

/// A running `kubectl port-forward`.
struct Forward {
    /// It ends with the value.
    kubectl: Child,
    /// Where the first port is to be reached.
    address: String,
}

impl Forward {
    /// Forwards a port by SPDY on its own or within a WebSocket, as far as this kubectl can choose.
    async fn start(served: &Served, websockets: bool, port: u16) -> Self {
        let pods: Api<Pod> = Api::default_namespaced(served.client());
        let patch = Patch::Merge(json!({"status": {"phase": "Running"}}));
        let how = PatchParams::default();
        pods.patch_status("a", &how, &patch).await.unwrap();
        let mut command = Command::from(served.command());
        let mut kubectl = command
            .args(["port-forward", "pod/a", &format!(":{port}")])
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it forwards");
        let address = line
            .strip_prefix("Forwarding from ")
            .and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
        // It says when it takes connections, and must find somebody who listens.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { kubectl, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }
}

#[test]
fn kubectl_forwards_connections_side_by_side() {
    let served = served();
    for websockets in [false, true] {
        run(async {
            let port = shouter().await;
            let forward = Forward::start(&served, websockets, port).await;
            let mut one = forward.connect().await;
            let mut other = forward.connect().await;
            for _ in 0..2 {
                for stream in [&mut one, &mut other] {
                    let mut answer = [0; 2];
                    stream.write_all(b"hi").await.unwrap();
                    stream.read_exact(&mut answer).await.unwrap();
                    assert_eq!(&answer, b"HI");
                }
            }
            // The client sees the end when the pod closes, on this one alone.
            one.write_all(b"bye.").await.unwrap();
            let mut all = String::new();
            one.read_to_string(&mut all).await.unwrap();
            assert_eq!(all, "BYE.");
            let (mut from, mut to) = other.split();
            let letter = [vec![b'x'; 300_000], b".".to_vec()].concat();
            let mut read = Vec::new();
            let (written, heard) = tokio::join!(to.write_all(&letter), from.read_to_end(&mut read));
            written.unwrap();
            heard.unwrap();
            assert_eq!(read, letter.to_ascii_uppercase());
        });
    }
}

#[test]
fn kubectl_hears_what_a_pod_says_after_the_client_has_ended_its_side() {
    let served = served();
    for websockets in [false, true] {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let pod = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.unwrap();
                let said = format!("{} bytes", heard.len());
                stream.write_all(said.as_bytes()).await.unwrap();
            };
            let client = async {
                let forward = Forward::start(&served, websockets, port).await;
                let mut stream = forward.connect().await;
                stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
                stream.shutdown().await.unwrap();
                let mut heard = String::new();
                stream.read_to_string(&mut heard).await.unwrap();
                assert_eq!(heard, "100000 bytes");
            };
            tokio::join!(pod, client);
        });
    }
}

#[test]
fn kubectl_is_told_why_a_port_cannot_be_forwarded() {
    let served = served();
    for websockets in [false, true] {
        run(async {
            let (_taken, port) = refusing();
            let mut forward = Forward::start(&served, websockets, port).await;
            let mut stream = forward.connect().await;
            let mut heard = Vec::new();
            // kubectl may reset the connection, which is no matter here.
            let _ = stream.read_to_end(&mut heard).await;
            assert_eq!(heard, b"");
            let mut lines = BufReader::new(forward.kubectl.stderr.take().unwrap()).lines();
            let words = format!("error forwarding port {port} to pod a, uid ");
            loop {
                let line = lines.next_line().await.unwrap().expect("the reason");
                if line.contains(&words) && line.contains("refused") {
                    return;
                }
            }
        });
    }
}
