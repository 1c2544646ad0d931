//! The life of the process: start the workers, take up configuration, serve, drain, end.

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use lateen_decide::Store;
use lateen_model::proxy::Role;
use lateen_wire::h1::head::Limits;
use lateen_xds::client::{Client, Settings as ClientSettings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::admin::server::{self, Handler, Request, Response};
use crate::admin::{Context, SetLevel, pages, status};
use crate::control::dns::Resolver;
use crate::control::inventory::Inventory;
use crate::control::listeners::Listeners;
use crate::control::persist::Persister;
use crate::control::wanted::Lookups;
use crate::control::{Control, Link, Shown};
use crate::dns::lookup::Families;
use crate::dns::server as dns;
use crate::dns::system::Files;
use crate::dns::upstream::Upstream;
use crate::lifecycle::Lifecycle;
use crate::names;
use crate::observe::access_log::Sink;
use crate::observe::exposition::Registry;
use crate::observe::labels::Directory;
use crate::published::Published;
use crate::settings::Settings;
use crate::sys::{self, Mark};
use crate::worker::Profile;
use crate::worker::crew::Crew;

/// How many threads may wait for names and disks; both are rare and slow.
const BLOCKING_THREADS: usize = 4;

/// Runs a proxy until it is told to end.
///
/// # Errors
/// When it cannot start.
pub fn run(settings: Settings, set_level: SetLevel) -> anyhow::Result<()> {
    match sys::raise_open_files() {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
    let sink = Sink::start().context("start the thread of the access log")?;
    let own = settings.addresses.clone();
    let mut directory = Directory::new(own, settings.node.id.namespace.clone());
    let empty = Arc::new(Published::new(1, Store::new().compile(), &mut directory));
    let (wanted, asked) = mpsc::channel(names::QUEUE);
    let crew = Crew::start(
        settings.concurrency,
        profile(&settings),
        &empty,
        &sink,
        &wanted,
    )
    .context("start the workers")?;
    let shards = crew.shared().map(|shared| Arc::clone(&shared.shard));
    let registry = Registry::new(directory, shards.collect());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("start the event loop")?;
    let main = serve(settings, set_level, sink, Rc::new(crew), registry, asked);
    LocalSet::new().block_on(&runtime, main)
}

fn profile(settings: &Settings) -> Profile {
    Profile {
        role: settings.role,
        timeouts: settings.timeouts,
        limits: Limits::default(),
        captured_ports: [settings.ports.outbound_port, settings.ports.inbound_port],
    }
}

async fn serve(
    settings: Settings,
    set_level: SetLevel,
    sink: Sink,
    crew: Rc<Crew>,
    registry: Registry,
    asked: mpsc::Receiver<Arc<str>>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let shown = Rc::new(RefCell::new(Shown {
        registry,
        inventory: Inventory::default(),
        link: Link::default(),
        published: None,
        credentials: Vec::new(),
        listener_errors: Vec::new(),
    }));
    let lifecycle = Rc::new(Lifecycle::new(settings.drain, Rc::clone(&crew)));
    let upstream = Rc::new(Upstream::new(Files::default()));
    let context = Rc::new(Context {
        settings: settings.clone(),
        dns: settings.answers_dns.then(|| dns_server(&shown, &upstream)),
        shown: Rc::clone(&shown),
        crew: Rc::clone(&crew),
        lifecycle: Rc::clone(&lifecycle),
        set_level,
        sink,
        started: Instant::now(),
    });
    serve_pages(&context)?;
    if let Some(server) = &context.dns {
        serve_dns(server, settings.ports.dns_port)?;
    }
    let control = Control::start(
        client(&settings)?,
        resolvers(&upstream, &settings, asked),
        Persister::new(&settings.snapshot_dir),
        Listeners::new(
            settings.role,
            settings.bind,
            settings.ports.outbound_port,
            settings.ports.inbound_port,
        ),
        crew,
        shown,
        &settings.addresses,
    );
    tokio::task::spawn_local(control.run());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = lifecycle.asked_to_end() => {}
    }
    let end = async {
        lifecycle.drain().await;
        lifecycle.close().await;
        context.sink.finish();
    };
    tokio::select! {
        () = end => tracing::info!("drained; ending"),
        // Whoever asks twice does not want to wait.
        _ = interrupt.recv() => tracing::info!("interrupted again; ending at once"),
    }
    Ok(())
}

/// What looks up the names of services, and those that requests ask for.
fn resolvers(
    upstream: &Rc<Upstream>,
    settings: &Settings,
    asked: mpsc::Receiver<Arc<str>>,
) -> (Resolver, Lookups) {
    let families = Families::of(&settings.addresses);
    let resolver = || Resolver::new(Rc::clone(upstream), families);
    (resolver(), Lookups::new(resolver(), asked))
}

/// What answers the application's DNS with the names of the plan in use.
fn dns_server(shown: &Rc<RefCell<Shown>>, upstream: &Rc<Upstream>) -> Rc<dns::Server> {
    let shown = Rc::clone(shown);
    let names = move |name: &str| shown.borrow().published.as_ref()?.plan.named(name);
    dns::Server::new(Box::new(names), Rc::clone(upstream))
}

fn serve_dns(server: &Rc<dns::Server>, port: u16) -> anyhow::Result<()> {
    let sockets = dns::Sockets::bind(port).with_context(|| {
        format!("listen on port {port} for DNS: is another proxy running in this pod?")
    })?;
    for sockets in &sockets {
        let address = sockets.address().context("find the port")?;
        tracing::info!(%address, "dns port open");
    }
    server.serve(sockets);
    Ok(())
}

fn client(settings: &Settings) -> anyhow::Result<Client> {
    let mut client = ClientSettings::new(settings.discovery_address.clone(), settings.node.clone());
    client.tls.clone_from(&settings.discovery_tls);
    client.prepare_socket = Some(Arc::new(|socket| {
        sys::set_mark(socket, Mark::Outbound);
        Ok(())
    }));
    Client::new(client).context("--discovery-address")
}

/// Makes the pages of a port.
type Page = fn(Rc<Context>, Request) -> Pin<Box<dyn Future<Output = Response>>>;

/// Opens the proxy's own ports.
fn serve_pages(context: &Rc<Context>) -> anyhow::Result<()> {
    let ports = &context.settings.ports;
    let all = context.settings.bind;
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    open(
        "admin",
        local,
        ports.admin_port,
        context,
        |context, request| Box::pin(pages::page(context, request)),
    )?;
    open(
        "status",
        all,
        ports.status_port,
        context,
        |context, request| Box::pin(status::page(context, request)),
    )?;
    open(
        "health",
        all,
        ports.health_port,
        context,
        |context, request| Box::pin(async move { status::health_page(&context, &request) }),
    )?;
    open(
        "metrics",
        all,
        ports.prometheus_port,
        context,
        |context, request| Box::pin(async move { status::metrics_page(&context, &request) }),
    )
}

fn open(
    what: &'static str,
    ip: IpAddr,
    port: u16,
    context: &Rc<Context>,
    page: Page,
) -> anyhow::Result<()> {
    let address = SocketAddr::new(ip, port);
    let listener = server::bind(address)
        .with_context(|| format!("listen on {address} for {what}: is another proxy running?"))?;
    let address = listener.local_addr().context("find the port")?;
    let role = match context.settings.role {
        Role::Sidecar => "sidecar",
        Role::Gateway => "gateway",
    };
    tracing::info!(%address, role, "{what} port open");
    let context = Rc::clone(context);
    let handler: Handler = Rc::new(move |request| page(Rc::clone(&context), request));
    tokio::task::spawn_local(server::serve(listener, handler));
    Ok(())
}
