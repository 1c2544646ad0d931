//! A pod with capture, proxy and application, and a world around it with a control plane.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lateen_capture::link::{self, Veth};
use lateen_capture::netns::Netns;
use lateen_model::endpoint::Endpoints;
use lateen_model::mesh::Mesh;
use lateen_model::proxy::Role;
use lateen_model::{Body, Protocol, Resource};
use lateen_xds::server::{Audience, Change, Publisher};
use lateen_xds::{Kind, proto};

use crate::resources;

pub(crate) const POD: &str = "10.1.0.2";
pub(crate) const WORLD: &str = "10.1.0.1";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The virtual address of the service `web`, which is outside of the pod.
pub(crate) const WEB: &str = "10.96.0.3:80";
/// The virtual address of the service `mine`, which is the pod itself.
pub(crate) const MINE: &str = "10.96.0.4:80";

pub(crate) struct World {
    pub(crate) pod: Netns,
    pub(crate) outside: Netns,
    pub(crate) proxy: Child,
    data: std::path::PathBuf,
}

impl World {
    /// A pod whose application serves HTTP on 8080 and greets on 7000, behind a ready proxy.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (pod, outside) = (Netns::create().unwrap(), Netns::create().unwrap());
        outside.run(|| wire_outside(&pod)).unwrap();
        pod.run(wire_pod).unwrap();
        let settings = lateen_capture::Settings::default();
        pod.run(|| lateen_capture::install(&settings))
            .unwrap()
            .unwrap();
        serve_http(&pod, "app", &format!("{POD}:8080"));
        greet(&pod, &format!("{POD}:7000"));
        serve_http(&outside, "web", &format!("{WORLD}:9080"));
        serve_http(&outside, "elsewhere", &format!("{WORLD}:9999"));
        control(&outside);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lateen-namespaced-{}-{count}", std::process::id());
        let data = std::env::temp_dir().join(name);
        let proxy = pod.run(|| start(&data)).unwrap();
        let world = Self {
            pod,
            outside,
            proxy,
            data,
        };
        world.wait_until_ready();
        world
    }

    fn wait_until_ready(&self) {
        let last = Instant::now() + PATIENCE;
        loop {
            let answer = get(&self.outside, &format!("{POD}:15021"), "/healthz/ready");
            match answer {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => return,
                answer => assert!(Instant::now() < last, "never ready: {answer:?}"),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The first series of a metric with these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<String> {
        let metrics = get(&self.outside, &format!("{POD}:15020"), "/stats/prometheus").unwrap();
        let line = metrics.lines().find(|line| {
            line.starts_with(&format!("{name}{{"))
                && labels.iter().all(|label| line.contains(label))
        })?;
        line.rsplit(' ').next().map(str::to_owned)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn wire_outside(pod: &Netns) {
    let mut links = link::Connection::open().unwrap();
    links.set_up("lo").unwrap();
    let veth = Veth {
        name: "pod0",
        peer: "eth0",
        peer_netns: Some(pod.as_fd()),
        mtu: None,
        hardware_addresses: None,
    };
    links.add_veth(&veth).unwrap();
    let address = format!("{WORLD}/24").parse().unwrap();
    links.add_address("pod0", address).unwrap();
    links.set_up("pod0").unwrap();
}

fn wire_pod() {
    let mut links = link::Connection::open().unwrap();
    links.set_up("lo").unwrap();
    links.set_up("eth0").unwrap();
    let address = format!("{POD}/24").parse().unwrap();
    links.add_address("eth0", address).unwrap();
    let all = "0.0.0.0/0".parse().unwrap();
    let route = link::Route::via(all, WORLD.parse().unwrap(), "eth0");
    links.add_route(&route).unwrap();
}

/// The proxy's program by its descriptor: builds may lie in root's home, where nobody else gets. To
/// be called first while the process still is who started it.
pub(crate) fn program() -> String {
    static FILE: OnceLock<File> = OnceLock::new();
    let file = FILE.get_or_init(|| File::open(env!("CARGO_BIN_EXE_lateen-proxy")).unwrap());
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn start(data: &std::path::Path) -> Child {
    Command::new(program())
        .args(["sidecar", "--pod-name=app-1", "--instance-ip", POD])
        .arg(format!("--discovery-address={WORLD}:15010"))
        .arg(format!("--snapshot-dir={}", data.display()))
        .env_clear()
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// A control plane in a namespace.
fn control(netns: &Netns) {
    let address: SocketAddr = format!("{WORLD}:15010").parse().unwrap();
    let listener = netns.run(|| TcpListener::bind(address)).unwrap().unwrap();
    listener.set_nonblocking(true).unwrap();
    let own: IpAddr = POD.parse().unwrap();
    let publisher = Publisher::new();
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    publisher.apply(
        [
            resources::named("mesh", Body::Mesh(Mesh::default())),
            resources::proxy(Role::Sidecar, own),
            resources::service("web", Protocol::Http),
            resources::service("mine", Protocol::Http),
        ]
        .iter()
        .map(set),
    );
    publisher.apply([
        set_endpoints(&resources::endpoints("web", &[address("10.1.0.1:9080")])),
        set_endpoints(&resources::endpoints("mine", &[address("10.1.0.2:8080")])),
    ]);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let served = lateen_xds::server::serve(listener, publisher, std::future::pending());
            served.await.unwrap();
        });
    });
}

fn set(resource: &Resource) -> Change {
    Change::Set {
        kind: Kind::Config,
        name: resource.name.0.clone(),
        bytes: proto::encode_resource(resource),
        audience: Audience::default(),
    }
}

fn set_endpoints(endpoints: &Endpoints) -> Change {
    Change::Set {
        kind: Kind::Endpoints,
        name: endpoints.service.to_string(),
        bytes: proto::encode_endpoints(endpoints),
        audience: Audience::default(),
    }
}

/// Answers every request with a name, and the head as it came.
fn serve_http(netns: &Netns, name: &'static str, address: &str) {
    let listener = netns.run(|| TcpListener::bind(address)).unwrap().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap(), name));
        }
    });
}

fn answer(mut stream: TcpStream, name: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => return,
        }
    }
    let body = format!("{name}\n{}", String::from_utf8_lossy(&head));
    let length = body.len();
    let response =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    // A client that has gone is the test's own failure, seen at its end.
    let _ = stream.write_all(response.as_bytes());
}

/// Speaks first.
fn greet(netns: &Netns, address: &str) {
    let listener = netns.run(|| TcpListener::bind(address)).unwrap().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"220 hello\r\n");
        }
    });
}

/// Sends a request from a namespace.
pub(crate) fn get(netns: &Netns, to: &str, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
    talk(netns, to, &request)
}

/// Sends a text from a namespace and reads to the end.
pub(crate) fn talk(netns: &Netns, to: &str, text: &str) -> io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    let connect = || TcpStream::connect_timeout(&to, PATIENCE);
    let mut stream = netns.run(connect).unwrap()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
