//! The cluster itself: API server, controllers, network, DNS and node in one process, PID 1 of the
//! cluster's namespaces.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::process::ExitCode;

use futures::FutureExt as _;
use futures::future::select_all;
use ipnet::Ipv4Net;
use lateen_capture::nft;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::manifests::Applier;
use super::options::{Options, context_name};
use super::outside::{self, Event, Received};
use super::state::Home;
use super::{Error, isolate, kubeconfig};
use crate::apiserver::{self, ApiServer, PodDialer, User};
use crate::controllers::{self, load_balancer};
use crate::network::links::Links;
use crate::network::{balancers, egress, services};
use crate::node::dial::Sandboxes;
use crate::publisher::channel::Channel;
use crate::{dns, node, publisher};

/// The addresses of pods.
const PODS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 244, 0, 0), 16);
/// The addresses of services.
const SERVICES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);
/// The service of the API.
const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The service of cluster DNS, where Kubernetes' installers put it.
const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Where the API server listens inside of the cluster.
const API_PORT: u16 = 6443;
const DNS_PORT: u16 = 53;

/// A part of the cluster, which ends only by a failure.
type Part = Pin<Box<dyn Future<Output = String> + Send>>;

/// Runs the cluster to its end.
pub(super) fn main() -> ExitCode {
    log();
    outside::name_this_process(c"lateen-cluster");
    let received = match receive() {
        Ok(received) => received,
        Err(error) => {
            tracing::error!(%error, "the cluster cannot start");
            return ExitCode::FAILURE;
        }
    };
    let events = received.1.events.try_clone();
    match run(received) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the cluster ends");
            if let Ok(events) = events {
                outside::tell(events.as_fd(), &Event::Failed(format!("{error:#}")));
            }
            ExitCode::FAILURE
        }
    }
}

fn log() {
    let filter = EnvFilter::try_from_env("LATEEN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
}

/// Takes over what the publisher hands in, and makes sure to end with it.
fn receive() -> Result<(OwnedFd, Received), Error> {
    // Set here and not before: becoming a program clears it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Error::system("ask to end with the publisher"))?;
    let channel = outside::take_channel()?;
    let received = Received::receive(&channel)?;
    Ok((channel, received))
}

fn run((channel, received): (OwnedFd, Received)) -> anyhow::Result<()> {
    let Received {
        options,
        home,
        lock: _lock,
        events,
        api,
        published,
        ..
    } = received;
    isolate::separate_mounts(&home.runtime())?;
    let links = Links::open(network(PODS)?, &[], network(SERVICES)?)
        .map_err(|error| anyhow::anyhow!("the cluster's network cannot be made: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cluster = Cluster::open(options, home, links, channel)?;
        cluster.run(events, api, published).await
    })
}

/// The cluster's parts, opened and not yet running.
struct Cluster {
    options: Options,
    home: Home,
    links: Links,
    server: ApiServer,
    sandboxes: Sandboxes,
    publisher: publisher::Client,
}

// === impl Cluster ===

impl Cluster {
    fn open(options: Options, home: Home, links: Links, channel: OwnedFd) -> anyhow::Result<Self> {
        let node = links.node();
        let sandboxes = Sandboxes::default();
        let dialled = sandboxes.clone();
        let server = ApiServer::open(apiserver::Options {
            data: Some(home.data()),
            log_dir: Some(home.pod_logs()),
            service_range: SERVICES,
            advertise: SocketAddr::from((node, API_PORT)),
            addresses: vec![node.into(), API_SERVICE.into(), options.api.ip()],
            pod_dialer: Some(PodDialer::new(move |uid, port| {
                let sandboxes = dialled.clone();
                async move { sandboxes.dial(&uid, port).await }
            })),
            ..apiserver::Options::default()
        })?;
        Ok(Self {
            publisher: publisher::Client::new(Channel::new(channel)?),
            options,
            home,
            links,
            server,
            sandboxes,
        })
    }

    /// Starts everything, applies the manifests, says that the cluster is ready, and waits for its
    /// end.
    async fn run(
        self,
        events: OwnedFd,
        api: OwnedFd,
        published: Vec<OwnedFd>,
    ) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut parts = Vec::new();
        self.start_network(&mut parts).await?;
        self.start_server(api, &mut parts).await?;
        self.start_controllers(published, &mut parts)?;
        self.start_node(&mut parts)?;
        let tell = |event: &Event| outside::tell(events.as_fd(), event);
        let work = async {
            self.write_kubeconfig()?;
            self.apply_all(&tell).await?;
            tell(&Event::Ready);
            tracing::info!(api = %self.options.api, "the cluster is ready");
            std::future::pending::<anyhow::Result<()>>().await
        };
        tokio::select! {
            result = work => result,
            (why, ..) = select_all(parts) => Err(anyhow::anyhow!(why)),
            () = self.publisher.gone() => Ok(()),
            _ = terminate.recv() => {
                tracing::info!("the cluster is asked to end");
                Ok(())
            }
        }
    }

    async fn start_network(&self, parts: &mut Vec<Part>) -> anyhow::Result<()> {
        let node = self.links.node();
        let relay = TcpListener::bind((node, 0)).await?;
        let inside = [network(PODS)?, network(SERVICES)?];
        let mut rules = nft::Connection::open()?;
        rules.replace(&egress::table(&inside, (node, relay.local_addr()?.port())))?;
        parts.push(part(
            "the way out",
            egress::run(relay, self.publisher.clone()),
        ));
        let client = self
            .server
            .client(User::new("system:kube-proxy", &["system:masters"]));
        parts.push(part(
            "the translation of services",
            services::run(client.clone(), rules),
        ));
        let sockets = dns::Sockets {
            udp: UdpSocket::bind((node, DNS_PORT)).await?,
            tcp: TcpListener::bind((node, DNS_PORT)).await?,
        };
        let publisher = self.publisher.clone();
        let forward = move |query: Vec<u8>| {
            let publisher = publisher.clone();
            async move { publisher.resolve(&query).await }
        };
        let domain = node::DOMAIN;
        parts.push(part(
            "cluster DNS",
            dns::run(client, domain, sockets, forward),
        ));
        Ok(())
    }

    async fn start_server(&self, api: OwnedFd, parts: &mut Vec<Part>) -> anyhow::Result<()> {
        let inside = TcpListener::bind((self.links.node(), API_PORT)).await?;
        for listener in [listener(api)?, inside] {
            let server = self.server.clone();
            parts.push(part("the API server", async move {
                server.serve(listener).await;
            }));
        }
        Ok(())
    }

    fn start_controllers(
        &self,
        published: Vec<OwnedFd>,
        parts: &mut Vec<Part>,
    ) -> anyhow::Result<()> {
        let (load_balancer, wanted) = load_balancer::channel();
        let services = self
            .options
            .published
            .iter()
            .map(|published| published.service.clone());
        let opened: Vec<balancers::Opened> = services
            .zip(published)
            .map(|(service, descriptor)| Ok((service, listener(descriptor)?)))
            .collect::<io::Result<_>>()?;
        let balance = balancers::run(opened, wanted, self.publisher.clone());
        parts.push(part("the publishing of services", balance));
        let options = controllers::Options {
            ca: self.server.ca().to_owned(),
            load_balancer: Some(load_balancer),
        };
        let client = self.server.client(User::controllers());
        let run = controllers::run(client, options, std::future::pending());
        parts.push(part("the controllers", run));
        Ok(())
    }

    fn start_node(&self, parts: &mut Vec<Part>) -> anyhow::Result<()> {
        let programs = self.options.programs()?;
        let options = node::Options {
            name: self.options.name.clone(),
            runtime: self.home.runtime(),
            logs: self.home.pod_logs(),
            programs,
            images: self.options.images.clone(),
            dns: DNS_SERVICE,
            sandboxes: self.sandboxes.clone(),
        };
        let client = self.server.client(User::node(&self.options.name));
        parts.push(part(
            "the node",
            node::run(options, client, self.links.clone()),
        ));
        Ok(())
    }

    /// Writes the kubeconfig from which `up` adds the context to the user's.
    fn write_kubeconfig(&self) -> anyhow::Result<()> {
        let admin = self
            .server
            .client_certificate("kubernetes-admin", "system:masters")?;
        let access = kubeconfig::Access {
            server: format!("https://{}", self.options.api),
            authority: self.server.ca().to_owned(),
            certificate: admin.certificate,
            key: admin.key,
        };
        let path = self.home.kubeconfig();
        let text = access.document(&context_name(&self.options.name));
        kubeconfig::replace(&path, text.as_bytes()).map_err(Error::file("write", path))?;
        Ok(())
    }

    async fn apply_all(&self, tell: &impl Fn(&Event)) -> anyhow::Result<()> {
        tell(&Event::Doing("starting the API server".into()));
        let mut applier = Applier::new(self.server.client(User::admin()));
        for object in dns_objects(self.links.node()) {
            applier.apply(&object).await.map_err(anyhow::Error::msg)?;
        }
        if !self.options.manifests.is_empty() {
            let count = self.options.manifests.len();
            tell(&Event::Doing(format!("applying {count} objects")));
        }
        for object in &self.options.manifests {
            applier.apply(object).await.map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }
}

/// A part whose end, however it comes, is the end of the cluster.
fn part<F>(name: &'static str, work: F) -> Part
where
    F: Future + Send + 'static,
    F::Output: Ending + Send,
{
    // A task of its own: the parts must not wait for one another.
    let task = tokio::spawn(work);
    async move {
        match task.await {
            Ok(output) => format!("{name} has ended{}", output.why()),
            Err(error) => format!("{name} has ended: {error}"),
        }
    }
    .boxed()
}

/// What a part returns when it ends although it should not.
trait Ending {
    fn why(self) -> String;
}

impl Ending for () {
    fn why(self) -> String {
        String::new()
    }
}

impl<E: std::fmt::Display> Ending for Result<(), E> {
    fn why(self) -> String {
        match self {
            Ok(()) => String::new(),
            Err(error) => format!(": {error}"),
        }
    }
}

/// The service of cluster DNS, whose server is not a pod.
fn dns_objects(node: Ipv4Addr) -> [Value; 2] {
    let metadata = json!({
        "name": "kube-dns",
        "namespace": "kube-system",
        "labels": { "k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS" },
    });
    let mut slice = metadata.clone();
    slice["labels"] = json!({
        "kubernetes.io/service-name": "kube-dns",
        "endpointslice.kubernetes.io/managed-by": "lateen-cluster",
    });
    let port = |name: &str, protocol: &str| json!({ "name": name, "port": DNS_PORT, "protocol": protocol });
    let ports = json!([port("dns", "UDP"), port("dns-tcp", "TCP")]);
    [
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": { "clusterIP": DNS_SERVICE.to_string(), "ports": ports } }),
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice,
            "addressType": "IPv4", "ports": ports,
            "endpoints": [{ "addresses": [node.to_string()], "conditions": { "ready": true } }] }),
    ]
}

fn network((address, length): (Ipv4Addr, u8)) -> anyhow::Result<Ipv4Net> {
    Ok(Ipv4Net::new(address, length)?)
}

fn listener(descriptor: OwnedFd) -> io::Result<TcpListener> {
    TcpListener::from_std(std::net::TcpListener::from(descriptor))
}
