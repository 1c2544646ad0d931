//! The peers: how each is configured to do the same job with one worker.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::tls::Certificate;
use crate::workload::{GRPC_HOST, HOST, Protocol, Workload};

/// A proxy that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Ours, configured through xDS.
    Lateen,
    /// Envoy.
    Envoy,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// A relay that looks at nothing: the floor.
    TcpRelay,
}

impl Peer {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 5] = [
        Self::Lateen,
        Self::Envoy,
        Self::Haproxy,
        Self::Nginx,
        Self::TcpRelay,
    ];

    /// The name in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lateen => "lateen",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::TcpRelay => "tcp-relay",
        }
    }
}

/// What all peers need to know.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// A folder of this run for configurations and logs.
    pub(crate) folder: PathBuf,
    /// The origin's port.
    pub(crate) origin: u16,
    /// The port of the origin that speaks gRPC.
    pub(crate) grpc_origin: u16,
    /// The xDS server's port, for ours.
    pub(crate) xds: u16,
    /// The port of the Gateway that the xDS server sends to ours.
    pub(crate) lateen: u16,
    /// The port on which ours ends TLS.
    pub(crate) secure: u16,
    /// What every peer shows where it ends TLS.
    pub(crate) certificate: Certificate,
    /// `lateen-proxy`.
    pub(crate) lateen_proxy: PathBuf,
    /// Pins a program to the peers' core, where there is more than one.
    pub(crate) pin: bool,
}

/// A running peer; ends with the value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    ports: Ports,
}

/// Where a peer listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    /// For HTTP/2: the same, but for nginx.
    http2: u16,
    /// For TLS, in which ALPN tells what is spoken.
    secure: u16,
}

impl Running {
    /// The port for the clients of a load.
    pub(crate) fn port(&self, workload: &Workload) -> u16 {
        match workload.protocol {
            _ if workload.is_secure => self.ports.secure,
            Protocol::Http1 => self.ports.plain,
            Protocol::Http2 | Protocol::Grpc => self.ports.http2,
        }
    }

    /// The port for HTTP/2 with prior knowledge.
    pub(crate) fn http2_port(&self) -> u16 {
        self.ports.http2
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // As a group: what it has just forked is not missed.
        let group = format!("-{}", self.child.id());
        Command::new("kill")
            .args(["-KILL", "--", &group])
            .status()
            .ok();
        self.child.wait().ok();
    }
}

/// Starts a peer and waits until it listens.
pub(crate) fn start(peer: Peer, setup: &Setup) -> anyhow::Result<Running> {
    let ([mut plain, mut secure, of_its_own], held) = hold_ports()?;
    drop(held);
    if peer == Peer::Lateen {
        (plain, secure) = (setup.lateen, setup.secure);
    }
    let ports = Ports {
        plain,
        // nginx has to be told per port what is spoken.
        http2: if peer == Peer::Nginx {
            of_its_own
        } else {
            plain
        },
        secure,
    };
    let mut command = match peer {
        Peer::Lateen => lateen(setup),
        Peer::Envoy | Peer::Haproxy | Peer::Nginx => configured(peer, ports, setup)?,
        Peer::TcpRelay => {
            let mut command = setup.program(&std::env::current_exe()?);
            let origin = setup.origin.to_string();
            command.args(["relay", "--port", &plain.to_string(), "--upstream", &origin]);
            command
        }
    };
    let log = std::fs::File::create(setup.folder.join(format!("{}.log", peer.name())))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let child = command
        .process_group(0)
        .spawn()
        .with_context(|| format!("{} is not installed", peer.name()))?;
    let mut running = Running { child, ports };
    wait(&mut running, peer, setup)?;
    Ok(running)
}

/// Ours as a gateway, told what to do by the xDS server.
fn lateen(setup: &Setup) -> Command {
    let mut command = setup.program(&setup.lateen_proxy);
    let discovery = format!("127.0.0.1:{}", setup.xds);
    command
        .args([
            "gateway",
            "--concurrency",
            "1",
            "--discovery-address",
            &discovery,
        ])
        .args([
            "--admin-port",
            "0",
            "--status-port",
            "0",
            "--health-port",
            "0",
            "--prometheus-port",
            "0",
        ])
        .arg("--snapshot-dir")
        .arg(setup.folder.join("lateen"))
        .env("POD_NAME", "bench")
        .env("POD_NAMESPACE", "bench")
        .env("INSTANCE_IP", "127.0.0.1");
    command
}

/// A peer that reads a file.
fn configured(peer: Peer, ports: Ports, setup: &Setup) -> anyhow::Result<Command> {
    // Envoy tells the language of a file by its name.
    let extension = if peer == Peer::Envoy { "yaml" } else { "conf" };
    let file = setup.folder.join(format!("{}.{extension}", peer.name()));
    let text = match peer {
        Peer::Envoy => envoy(ports, setup),
        Peer::Haproxy => haproxy(ports, setup),
        Peer::Nginx | Peer::Lateen | Peer::TcpRelay => nginx(ports, setup),
    };
    std::fs::write(&file, text)?;
    let mut command = setup.program(Path::new(peer.name()));
    match peer {
        Peer::Envoy => command.args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "error",
            "-c",
        ]),
        Peer::Haproxy => command.args(["-db", "-f"]),
        Peer::Nginx | Peer::Lateen | Peer::TcpRelay => {
            command.arg("-p").arg(&setup.folder).arg("-c")
        }
    };
    command.arg(&file);
    Ok(command)
}

fn wait(running: &mut Running, peer: Peer, setup: &Setup) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(15);
    let ports = running.ports;
    let is_open = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    while !is_open(ports.plain) || (peer != Peer::TcpRelay && !is_open(ports.secure)) {
        if let Some(status) = running.child.try_wait()? {
            bail!(
                "{} ended with {status}; see {}",
                peer.name(),
                setup.folder.display()
            );
        }
        if Instant::now() > end {
            bail!(
                "{} does not listen after 15 s; see {}",
                peer.name(),
                setup.folder.display()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Setup {
    /// A command for a program, on the peers' core.
    fn program(&self, program: &Path) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = if self.pin {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command
    }
}

/// Free ports, with what holds them: the system may give one to somebody else as soon as nobody
/// listens on it.
pub(crate) fn hold_ports<const COUNT: usize>() -> anyhow::Result<([u16; COUNT], Vec<TcpListener>)> {
    let mut ports = [0; COUNT];
    let mut held = Vec::with_capacity(COUNT);
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok((ports, held))
}

fn envoy(ports: Ports, setup: &Setup) -> String {
    let (origin, grpc) = (setup.origin, setup.grpc_origin);
    let Ports { plain, secure, .. } = ports;
    let (chain, key) = (
        setup.certificate.chain.display(),
        setup.certificate.key.display(),
    );
    let filters = envoy_filters();
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {plain}}}}}
    filter_chains:
{filters}
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {secure}}}}}
    filter_chains:
{filters}
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates: [{{certificate_chain: {{filename: "{chain}"}}, private_key: {{filename: "{key}"}}}}]
  clusters:
  - name: origin
    connect_timeout: 1s
    load_assignment:
      cluster_name: origin
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {origin}}}}}}}}}]}}]
  - name: grpc
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: grpc
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {grpc}}}}}}}}}]}}]
"#
    )
}

/// What Envoy does on both of its ports.
fn envoy_filters() -> String {
    format!(
        r#"    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: bench
              domains: ["{HOST}"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: origin}}}}]
            - name: grpc
              domains: ["{GRPC_HOST}"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: grpc}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"#
    )
}

/// HAProxy tells HTTP/2 from HTTP/1 by the first bytes, as Envoy and ours do.
fn haproxy(ports: Ports, setup: &Setup) -> String {
    let (origin, grpc) = (setup.origin, setup.grpc_origin);
    let Ports { plain, secure, .. } = ports;
    let certificate = setup.certificate.both.display();
    format!(
        "global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  \
         timeout connect 1s\n  http-reuse always\n  option http-keep-alive\nfrontend bench\n  bind 127.0.0.1:{plain}\n  \
         bind 127.0.0.1:{secure} ssl crt {certificate} alpn h2,http/1.1 ssl-min-ver TLSv1.3\n  \
         acl bench hdr(host) -i {HOST}\n  acl grpc hdr(host) -i {GRPC_HOST}\n  use_backend origin if bench\n  \
         use_backend grpc if grpc\nbackend origin\n  server origin 127.0.0.1:{origin}\nbackend grpc\n  \
         server grpc 127.0.0.1:{grpc} proto h2\n"
    )
}

fn nginx(ports: Ports, setup: &Setup) -> String {
    let Ports {
        plain,
        http2,
        secure,
    } = ports;
    let (chain, key) = (
        setup.certificate.chain.display(),
        setup.certificate.key.display(),
    );
    let folder = setup.folder.display();
    let (origin, grpc) = (setup.origin, setup.grpc_origin);
    format!(
        "daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.error.log error;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  keepalive_requests 1000000000;\n  \
         proxy_temp_path {folder}/nginx-proxy;\n  client_body_temp_path {folder}/nginx-body;\n  \
         fastcgi_temp_path {folder}/nginx-f;\n  uwsgi_temp_path {folder}/nginx-u;\n  scgi_temp_path {folder}/nginx-s;\n  \
         upstream origin {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 1000000000; }}\n  \
         upstream grpc {{ server 127.0.0.1:{grpc}; keepalive 128; keepalive_requests 1000000000; }}\n  \
         server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{http2} http2; listen 127.0.0.1:{secure} ssl http2; \
         ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; server_name {HOST};\n    location / {{ proxy_pass http://origin; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; proxy_buffers 16 16k; }} }}\n  \
         server {{ listen 127.0.0.1:{http2} http2; server_name {GRPC_HOST};\n    location / {{ grpc_pass grpc://grpc; }} }}\n}}\n"
    )
}
