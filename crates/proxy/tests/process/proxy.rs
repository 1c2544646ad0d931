//! A running `lateen-proxy`, its backends and clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lateen_proxy::admin::fetch;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy. It is killed when dropped.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    ports: watch::Receiver<HashMap<String, SocketAddr>>,
}

/// Starts a gateway with two workers. Its own ports are free ones, which its log names.
pub(crate) fn gateway(control: SocketAddr, data: &Path, more: &[&str]) -> Proxy {
    let program = Path::new(env!("CARGO_BIN_EXE_lateen-proxy"));
    start(
        program,
        control,
        data,
        &[&["--concurrency=2"], more].concat(),
    )
}

/// Starts this program as a gateway.
pub(crate) fn start(program: &Path, control: SocketAddr, data: &Path, more: &[&str]) -> Proxy {
    run(&mut command(program, control, data, more))
}

/// What starts this program as a gateway.
pub(crate) fn command(program: &Path, control: SocketAddr, data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(["gateway", "--bind=127.0.0.1"])
        .args(["--pod-name=gateway-1", "--instance-ip=127.0.0.1"])
        .args([
            "--health-port=0",
            "--status-port=0",
            "--prometheus-port=0",
            "--admin-port=0",
        ])
        .arg(format!("--discovery-address={control}"))
        .arg(format!("--snapshot-dir={}", data.display()))
        .args(more)
        .env_clear()
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs such a command.
pub(crate) fn run(command: &mut Command) -> Proxy {
    let mut child = command.spawn().expect("start the proxy");
    let log = child.stderr.take().expect("it is piped");
    let (sender, ports) = watch::channel(HashMap::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(log).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("proxy: {line}");
            let address = line
                .split("address=")
                .nth(1)
                .and_then(|rest| rest.split(' ').next()?.parse().ok());
            let what = line
                .split(": ")
                .nth(1)
                .and_then(|text| text.split(" port open").next());
            if let (true, Some(what), Some(address)) = (line.contains("port open"), what, address) {
                sender.send_modify(|ports| {
                    ports.insert(what.to_owned(), address);
                });
            }
        }
    });
    Proxy { child, ports }
}

/// A port that was free a moment ago.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("an address").port()
}

impl Proxy {
    /// The address of one of its own ports: `admin`, `status`, `health` or `metrics`.
    pub(crate) async fn port(&self, what: &str) -> SocketAddr {
        let mut ports = self.ports.clone();
        let known = timeout(PATIENCE, ports.wait_for(|ports| ports.contains_key(what)));
        known.await.expect("the port opens").expect("it runs")[what]
    }

    /// Gets a page.
    pub(crate) async fn page(&self, port: &str, path: &str) -> (u16, String) {
        self.ask(port, "GET", path).await
    }

    /// Asks for a page.
    pub(crate) async fn ask(&self, port: &str, method: &str, path: &str) -> (u16, String) {
        let address = self.port(port).await;
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        let fetched = timeout(PATIENCE, fetch::fetch(&mut stream, head.as_bytes())).await;
        let (status, body) = fetched.expect("an answer in time").expect("an answer");
        (status, String::from_utf8(body).expect("text"))
    }

    /// Waits until a page answers with a status and a text.
    pub(crate) async fn wait_for(&self, port: &str, path: &str, status: u16, text: &str) {
        let reached = timeout(PATIENCE, async {
            loop {
                let (found, body) = self.page(port, path).await;
                if found == status && body.contains(text) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let is_reached = reached.await.is_ok();
        let last = self.page(port, path).await;
        assert!(is_reached, "{path} never said {status} {text:?}: {last:?}");
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status();
        assert!(sent.expect("kill runs").success());
    }
}

/// A server that answers every request with its name.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<AtomicUsize>,
}

/// Starts a backend. It closes each connection after so many requests.
pub(crate) async fn backend(name: &'static str, per_connection: usize) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let served = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let _ = serve(stream, name, per_connection, count).await;
            });
        }
    });
    Backend { address, served }
}

/// Serves requests on a connection.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    name: &str,
    per_connection: usize,
    count: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    for _ in 0..per_connection {
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
            name.len()
        );
        stream.write_all(response.as_bytes()).await?;
    }
    Ok(())
}

/// Sends a request on a connection of its own, which is closed after it.
pub(crate) async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut response = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut response)).await??;
    Ok(response)
}
