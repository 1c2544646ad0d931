//! A worker between clients and upstreams in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::Store;
use lateen_model::destination::PortPolicy;
use lateen_model::endpoint::Endpoints;
use lateen_model::http::{HttpAction, HttpRule};
use lateen_model::mesh::Mesh;
use lateen_model::proxy::Role;
use lateen_model::{Address, Body, Protocol, Resource, SocketAddress};
use lateen_proxy::connection::{self, Door};
use lateen_proxy::names::{Names, QUEUE};
use lateen_proxy::observe::access_log::{Sink, Writer};
use lateen_proxy::observe::exposition::Registry;
use lateen_proxy::observe::labels::Directory;
use lateen_proxy::published::Published;
use lateen_proxy::settings::Timeouts;
use lateen_proxy::tls::credentials::Credentials;
use lateen_proxy::upstream::Connector;
use lateen_proxy::worker::{Profile, Shared, Worker};
use lateen_wire::h1::head::Limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};

use crate::resources;

/// How much a connection in memory holds.
const CAPACITY: usize = 64 * 1024;

/// How long a test waits for bytes before it says that none come. Time is paused, so it costs
/// nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// The address of the application, or of the gateway.
pub(crate) const OWN: &str = "10.0.0.1";

/// A worker with its surroundings.
pub(crate) struct World {
    pub(crate) worker: Rc<Worker>,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) credentials: Credentials,
    /// The names that the worker wants to be looked up.
    pub(crate) asked: mpsc::Receiver<Arc<str>>,
    network: Rc<Network>,
    version: u64,
}

/// The upstreams that were dialled.
#[derive(Default)]
struct Network {
    dialled: RefCell<VecDeque<Peer>>,
    refused: RefCell<Vec<SocketAddress>>,
    silent: RefCell<Vec<SocketAddress>>,
    news: Notify,
    count: RefCell<usize>,
}

/// One end of a connection, in the hand of a test.
pub(crate) struct Peer<S = DuplexStream> {
    pub(crate) address: SocketAddress,
    pub(crate) stream: S,
}

/// A request.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A response.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A response with this status and the body `no`.
pub(crate) fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 2\r\n\r\nno")
}

/// A rule that sends requests to a service, and does nothing else.
pub(crate) fn to(service: &str) -> HttpRule {
    let destinations = vec![resources::to_service(service, 1)];
    HttpRule::new(HttpAction::Route(destinations))
}

/// The number of the attempt that an upstream was told.
pub(crate) fn attempt(head: &str) -> u32 {
    let count = field(head, "x-envoy-attempt-count").expect("the number of the attempt");
    count.parse().expect("a number")
}

/// Runs a scenario on one thread with paused time.
pub(crate) fn run<F: Future<Output = ()>>(scenario: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, scenario());
}

// === impl World ===

impl World {
    /// A sidecar whose application serves on 8080 (HTTP), 9000 (undeclared) and 7000 (TCP).
    pub(crate) fn sidecar() -> Self {
        Self::new(Role::Sidecar, Timeouts::default())
    }

    /// A gateway.
    pub(crate) fn gateway() -> Self {
        Self::new(Role::Gateway, Timeouts::default())
    }

    pub(crate) fn new(role: Role, timeouts: Timeouts) -> Self {
        let mut store = Store::new();
        let own: IpAddr = OWN.parse().expect("an address");
        let mesh = resources::named("mesh", Body::Mesh(Mesh::default()));
        for resource in [mesh, resources::proxy(role, own)] {
            store.apply(resource).expect("a valid resource");
        }
        let mut directory = Directory::new(vec![own], "default".into());
        let first = Arc::new(Published::new(1, store.compile(), &mut directory));
        let network = Rc::<Network>::default();
        let dialled = Rc::clone(&network);
        let connector = Connector::Memory(Rc::new(move |address| {
            let (dialled, address) = (Rc::clone(&dialled), address.clone());
            Box::pin(async move { dialled.dial(address).await })
        }));
        let profile = Profile {
            role,
            timeouts,
            limits: Limits::default(),
            captured_ports: [15001, 15006],
        };
        let shared = Shared::default();
        let log = Writer::new(Sink::start().expect("a thread"));
        let (wanted, asked) = mpsc::channel(QUEUE);
        let names = Names::new(Some(wanted));
        let worker = Worker::new(profile, &shared, first, connector, names, log);
        Self {
            worker,
            store,
            asked,
            registry: Registry::new(directory, vec![shared.shard]),
            credentials: Credentials::default(),
            network,
            version: 1,
        }
    }

    /// Replaces the endpoints of a service with these.
    pub(crate) fn apply_endpoints(&mut self, endpoints: Endpoints) {
        self.store.apply_endpoints(endpoints);
        self.publish();
    }

    /// Adds a service with endpoints on port 9080.
    pub(crate) fn service(
        &mut self,
        name: &str,
        protocol: Protocol,
        endpoints: &[&str],
    ) -> &mut Self {
        self.apply(resources::service(name, protocol));
        self.endpoints(name, endpoints)
    }

    /// Replaces the endpoints of a service.
    pub(crate) fn endpoints(&mut self, name: &str, endpoints: &[&str]) -> &mut Self {
        let address = |text: &&str| text.parse().map(|it: Address| it.at(9080));
        let addresses = endpoints.iter().map(address).collect::<Result<Vec<_>, _>>();
        let addresses = addresses.expect("addresses");
        self.store
            .apply_endpoints(resources::endpoints(name, &addresses));
        self.publish();
        self
    }

    /// Adds a Gateway on port 8080 that sends every host to a service.
    pub(crate) fn route_all_to(&mut self, service: &str) -> &mut Self {
        self.apply(resources::gateway(8080));
        self.apply(resources::route(&[(service, 1)]));
        self
    }

    /// A Gateway on port 8080 with a rule for everything that comes to it.
    pub(crate) fn rule(&mut self, rule: HttpRule) -> &mut Self {
        self.apply(resources::gateway(8080));
        self.apply(resources::rules(vec![rule]));
        self
    }

    /// Sets the policy of a service.
    pub(crate) fn policy(&mut self, service: &str, policy: PortPolicy) -> &mut Self {
        self.apply(resources::destination_rule(service, policy));
        self
    }

    /// Applies a resource and publishes the plan.
    pub(crate) fn apply(&mut self, resource: Resource) {
        self.store.apply(resource).expect("a valid resource");
        self.publish();
    }

    /// Takes what a name was found to stand for; answers whether that changes the plan.
    pub(crate) fn look_up(&mut self, name: &str, addresses: Vec<IpAddr>) -> bool {
        let has_changed = self.store.set_dns(name, addresses);
        if has_changed {
            self.publish();
        }
        has_changed
    }

    pub(crate) fn publish(&mut self) {
        self.version += 1;
        let plan = self.store.compile();
        self.credentials.update(&plan);
        let published = Published::new(self.version, plan, &mut self.registry.directory);
        let published = published.with_tls(self.credentials.servers());
        self.worker.use_plan(Arc::new(published));
    }

    /// A connection to the gateway's port 8080.
    pub(crate) fn client(&self) -> Peer {
        self.connect(Door::Gateway, &format!("{OWN}:8080"))
    }

    /// A connection to the gateway's port 8443.
    pub(crate) fn secure_client(&self) -> Peer {
        self.connect(Door::Gateway, &format!("{OWN}:8443"))
    }

    /// A connection to a port of the application.
    pub(crate) fn caller(&self, port: u16) -> Peer {
        self.connect(Door::Inbound, &format!("{OWN}:{port}"))
    }

    /// A connection of the application to somewhere.
    pub(crate) fn application(&self, destination: &str) -> Peer {
        self.connect(Door::Outbound, destination)
    }

    fn connect(&self, door: Door, destination: &str) -> Peer {
        let (client, near) = tokio::io::duplex(CAPACITY);
        let origin = connection::Origin {
            door,
            peer: "192.0.2.7:40000".parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            tls: None,
        };
        let worker = Rc::clone(&self.worker);
        tokio::task::spawn_local(async move {
            connection::carry(&worker, near.into(), origin).await;
        });
        Peer {
            address: origin.destination.into(),
            stream: client,
        }
    }

    /// The next upstream that is dialled.
    pub(crate) async fn upstream(&self) -> Peer {
        let waited = tokio::time::timeout(PATIENCE, self.upstream_of_any_time()).await;
        waited.expect("no upstream was dialled")
    }

    /// The next upstream that is dialled, however long that takes.
    pub(crate) async fn upstream_of_any_time(&self) -> Peer {
        loop {
            if let Some(peer) = self.network.dialled.borrow_mut().pop_front() {
                return peer;
            }
            self.network.news.notified().await;
        }
    }

    /// The next upstream, if one was dialled.
    pub(crate) fn next_upstream(&self) -> Option<Peer> {
        self.network.dialled.borrow_mut().pop_front()
    }

    /// How many upstreams were dialled so far.
    pub(crate) fn dialled(&self) -> usize {
        *self.network.count.borrow()
    }

    /// Refuses connections to an address from now on.
    pub(crate) fn refuse(&self, address: &str) {
        let address = address.parse().expect("an address");
        self.network.refused.borrow_mut().push(address);
    }

    /// Never answers connections to an address from now on.
    pub(crate) fn silence(&self, address: &str) {
        let address = address.parse().expect("an address");
        self.network.silent.borrow_mut().push(address);
    }

    /// How many requests were answered so, by status and flags.
    pub(crate) fn requests(&self, code: &str, flags: &str) -> Option<u64> {
        let labels = [("response_code", code), ("response_flags", flags)];
        self.metric("istio_requests_total", &labels)
    }

    /// The value of the first series of a metric that has all of these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let text = self.registry.render();
        let line = text.lines().find(|line| {
            line.starts_with(&format!("{name}{{"))
                && labels
                    .iter()
                    .all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

// === impl Network ===

impl Network {
    async fn dial(&self, address: SocketAddress) -> std::io::Result<DuplexStream> {
        *self.count.borrow_mut() += 1;
        if self.silent.borrow().contains(&address) {
            std::future::pending::<()>().await;
        }
        if self.refused.borrow().contains(&address) {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (near, stream) = tokio::io::duplex(CAPACITY);
        self.dialled
            .borrow_mut()
            .push_back(Peer { address, stream });
        self.news.notify_one();
        Ok(near)
    }
}

// === impl Peer ===

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Its address without the port.
    pub(crate) fn ip(&self) -> String {
        let ip = self.address.ip().expect("an address of the network");
        ip.to_string()
    }

    /// Sends bytes.
    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        let written = tokio::time::timeout(PATIENCE, self.stream.write_all(text.as_ref()));
        written.await.expect("nobody reads").expect("write");
    }

    /// Reads until the text ends with `ending`.
    pub(crate) async fn hear_until(&mut self, ending: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(ending.as_bytes()) {
            let byte = tokio::time::timeout(PATIENCE, self.stream.read_u8()).await;
            match byte {
                Ok(Ok(byte)) => heard.push(byte),
                Ok(Err(_)) => panic!("the end came after {:?}", lossy(&heard)),
                Err(late) => panic!("{late}: nothing came after {:?}", lossy(&heard)),
            }
        }
        lossy(&heard)
    }

    /// Reads a head.
    pub(crate) async fn hear_head(&mut self) -> String {
        self.hear_until("\r\n\r\n").await
    }

    /// Reads a head and a body of this text.
    pub(crate) async fn hear_message(&mut self, body: &str) -> String {
        let head = self.hear_head().await;
        self.hear(body).await;
        head
    }

    /// Reads exactly this text.
    pub(crate) async fn hear(&mut self, text: &str) {
        let mut heard = vec![0; text.len()];
        let read = tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut heard)).await;
        read.expect("too little came").expect("the end came");
        assert_eq!(lossy(&heard), text);
    }

    /// Reads a request without a body and answers it.
    pub(crate) async fn serve(&mut self, response: impl AsRef<[u8]>) -> String {
        let head = self.hear_head().await;
        self.say(response).await;
        head
    }

    /// Sends a request without a body, and reads the response with its body, which must have a
    /// length.
    pub(crate) async fn ask(&mut self, request: &str) -> (String, String) {
        self.say(request).await;
        self.hear_response().await
    }

    /// Reads a response with its body, which must have a length.
    pub(crate) async fn hear_response(&mut self) -> (String, String) {
        let head = self.hear_head().await;
        let length = field(&head, "content-length").expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        let read = tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut body)).await;
        read.expect("too little came").expect("the end came");
        (head, lossy(&body))
    }

    /// Expects the end of the connection, without another byte.
    pub(crate) async fn hear_end(&mut self) {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        assert_eq!(lossy(&rest), "", "bytes before the end");
        read.expect("the connection stays open")
            .expect("an orderly end");
    }

    /// Reads a head, however late it comes.
    pub(crate) async fn hear_late(&mut self) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            heard.push(self.stream.read_u8().await.expect("the end came"));
        }
        lossy(&heard)
    }

    /// Expects that nothing comes for this long, and that the connection stays open.
    pub(crate) async fn hear_nothing_for(&mut self, time: Duration) {
        let mut byte = [0];
        let read = tokio::time::timeout(time, self.stream.read(&mut byte)).await;
        assert!(read.is_err(), "something came: {read:?} {byte:?}");
    }

    /// Expects that nothing comes and that the connection stays open.
    pub(crate) async fn hear_nothing(&mut self) {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut byte)).await;
        assert!(read.is_err(), "something came: {read:?} {byte:?}");
    }
}

/// Whether a head has this line.
pub(crate) fn has_line(head: &str, line: &str) -> bool {
    head.split("\r\n").any(|found| found == line)
}

/// The value of a field, by its name in any case.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
