//! Client and server over real sockets.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::time::Duration;

use lateen_model::endpoint::Endpoints;
use lateen_model::mesh::Mesh;
use lateen_model::proxy::Role;
use lateen_model::service::ServiceKey;
use lateen_model::workload::Workload;
use lateen_model::{Body, Host, Resource, ResourceName, Source};
use lateen_xds::client::{Backoff, Client, Name, Settings, Update};
use lateen_xds::server::{Audience, Change, Publisher, serve};
use lateen_xds::{Kind, Node, NodeId, proto, snapshot};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

fn mesh(name: &str, log: &str) -> Resource {
    Resource {
        name: ResourceName(name.into()),
        source: Source::default(),
        body: Body::Mesh(Mesh {
            access_log_file: log.into(),
            ..Mesh::default()
        }),
    }
}

fn set(resource: &Resource) -> Change {
    Change::Set {
        kind: Kind::Config,
        name: resource.name.0.clone(),
        bytes: proto::encode_resource(resource),
        audience: Audience::default(),
    }
}

fn endpoints() -> Endpoints {
    Endpoints {
        service: ServiceKey {
            namespace: "default".into(),
            host: Host::new("a.default.svc.cluster.local"),
        },
        endpoints: Vec::new(),
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

fn node() -> Node {
    Node::new(NodeId {
        role: Role::Sidecar,
        address: "10.0.0.1".parse().unwrap(),
        name: "a".into(),
        namespace: "default".into(),
        domain: "default.svc.cluster.local".into(),
    })
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), lateen_xds::Error>>,
}

impl Server {
    async fn start(publisher: &Publisher, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, publisher.clone(), shutdown));
        Self {
            address,
            stop,
            task,
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }
}

fn client(address: SocketAddr) -> Client {
    let mut settings = Settings::new(address.to_string(), node());
    settings.backoff = Backoff {
        base: Duration::from_millis(10),
        max: Duration::from_millis(50),
    };
    Client::new(settings).unwrap()
}

async fn next(client: &mut Client) -> Update {
    tokio::time::timeout(Duration::from_secs(20), client.next())
        .await
        .expect("an update in time")
}

/// Takes the first configuration and the first endpoints.
async fn sync(client: &mut Client) -> (Vec<String>, usize) {
    let update = next(client).await;
    assert_eq!(update.kind(), Kind::Config);
    let names = update.resources.iter().map(|r| r.name.0.clone()).collect();
    client.ack(update);
    assert!(!client.is_synced());
    let update = next(client).await;
    assert_eq!(update.kind(), Kind::Endpoints);
    let count = update.endpoints.len();
    client.ack(update);
    assert!(client.is_synced());
    (names, count)
}

#[tokio::test]
async fn configuration_comes_first_and_a_change_is_one_small_update() {
    let publisher = Publisher::new();
    let many: Vec<_> = (0..500)
        .map(|i| mesh(&format!("Mesh/a/{i:03}"), ""))
        .collect();
    publisher.apply(many.iter().map(set));
    publisher.apply([set_endpoints(&endpoints())]);
    let server = Server::start(&publisher, "127.0.0.1:0").await;
    let mut client = client(server.address);
    let (names, services) = sync(&mut client).await;
    assert_eq!((names.len(), services), (500, 1));
    let changed = mesh("Mesh/a/007", "/dev/stdout");
    publisher.apply([set(&changed)]);
    let before = publisher.stats().bytes[&Kind::Config];
    let update = next(&mut client).await;
    assert_eq!(update.resources, [changed]);
    assert!(update.removed_resources.is_empty());
    client.ack(update);
    let sent = publisher.stats().bytes[&Kind::Config];
    assert!(sent - before.min(sent) < 200, "{before} {sent}");
    server.stop().await;
}

#[tokio::test]
async fn a_reconnect_to_a_restarted_control_plane_resends_nothing() {
    let publisher = Publisher::new();
    publisher.apply([set(&mesh("Mesh/a/a", "")), set(&mesh("Mesh/a/b", ""))]);
    publisher.apply([set_endpoints(&endpoints())]);
    let server = Server::start(&publisher, "127.0.0.1:0").await;
    let address = server.address;
    let mut client = client(address);
    sync(&mut client).await;
    server.stop().await;
    // Another process publishes the same, changes one, and lacks one.
    let publisher = Publisher::new();
    publisher.apply([set(&mesh("Mesh/a/a", "")), set_endpoints(&endpoints())]);
    let server = Server::start(&publisher, &address.to_string()).await;
    let update = next(&mut client).await;
    assert!(update.resources.is_empty(), "{update:?}");
    assert_eq!(update.removed_resources, [ResourceName("Mesh/a/b".into())]);
    client.ack(update);
    let update = next(&mut client).await;
    assert_eq!(update.kind(), Kind::Endpoints);
    assert!(update.is_empty(), "{update:?}");
    client.ack(update);
    assert!(client.status().is_connected);
    server.stop().await;
}

#[tokio::test]
async fn a_nack_names_one_resource_and_the_others_apply() {
    let publisher = Publisher::new();
    publisher.apply([set(&mesh("Mesh/a/bad", "")), set(&mesh("Mesh/a/good", ""))]);
    let server = Server::start(&publisher, "127.0.0.1:0").await;
    let mut client = client(server.address);
    let mut refusals = publisher.refusals_changed();
    let update = next(&mut client).await;
    let errors = vec![(Name("Mesh/a/bad".into()), "http[0]: no".into())];
    client.nack(update, errors);
    let known = &client.versions().0[&Kind::Config];
    assert!(known.contains_key("Mesh/a/good") && !known.contains_key("Mesh/a/bad"));
    let endpoints = next(&mut client).await;
    client.ack(endpoints);
    // The answers travel only while the client is polled.
    tokio::select! {
        _ = client.next() => panic!("nothing has changed"),
        changed = refusals.changed() => changed.unwrap(),
    }
    let connection = publisher.connections().remove(0);
    let refused = &connection.subscriptions[0].refused;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused["Mesh/a/bad"].error, "http[0]: no");
    assert_eq!(connection.node, node());
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused_by_itself() {
    let publisher = Publisher::new();
    publisher.apply([
        set(&mesh("Mesh/a/good", "")),
        Change::Set {
            kind: Kind::Config,
            name: "Mesh/a/broken".into(),
            bytes: bytes::Bytes::from_static(b"\xff\xff"),
            audience: Audience::default(),
        },
    ]);
    let server = Server::start(&publisher, "127.0.0.1:0").await;
    let mut client = client(server.address);
    let mut refusals = publisher.refusals_changed();
    let update = next(&mut client).await;
    assert_eq!(update.resources.len(), 1);
    assert_eq!(update.malformed.len(), 1);
    client.ack(update);
    let update = next(&mut client).await;
    client.ack(update);
    tokio::select! {
        _ = client.next() => panic!("nothing has changed"),
        changed = refusals.changed() => changed.unwrap(),
    }
    let connection = publisher.connections().remove(0);
    assert!(
        connection.subscriptions[0]
            .refused
            .contains_key("Mesh/a/broken")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_workload_is_sent_on_demand_and_an_unknown_address_is_absent() {
    let publisher = Publisher::new();
    let server = Server::start(&publisher, "127.0.0.1:0").await;
    let mut client = client(server.address);
    sync(&mut client).await;
    client.watch_workload("10.0.0.9".parse().unwrap());
    let update = next(&mut client).await;
    assert_eq!(
        update.absent_workloads,
        ["10.0.0.9".parse::<std::net::IpAddr>().unwrap()]
    );
    client.ack(update);
    let workload = Workload {
        address: "10.0.0.9".parse().unwrap(),
        pod: "p".into(),
        namespace: "n".into(),
        workload: "w".into(),
        canonical_service: "s".into(),
        canonical_revision: "latest".into(),
        app: String::new(),
        version: String::new(),
        service_account: "default".into(),
        cluster: "Kubernetes".into(),
        node: "n1".into(),
    };
    publisher.apply([Change::Set {
        kind: Kind::Workload,
        name: "10.0.0.9".into(),
        bytes: proto::encode_workload(&workload),
        audience: Audience::default(),
    }]);
    let update = next(&mut client).await;
    assert_eq!(update.workloads, [workload]);
    client.ack(update);
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_that_starts_from_a_snapshot_is_sent_only_what_differs() {
    let publisher = Publisher::new();
    let (a, b) = (mesh("Mesh/a/a", ""), mesh("Mesh/a/b", ""));
    publisher.apply([set(&a), set(&b)]);
    let server = Server::start(&publisher, "127.0.0.1:0").await;
    let mut first = client(server.address);
    sync(&mut first).await;
    let file = snapshot::encode([&a, &b], [], first.versions());
    drop(first);
    publisher.apply([set(&mesh("Mesh/a/b", "/dev/stdout"))]);
    let snapshot = snapshot::decode(&file).unwrap();
    assert_eq!(snapshot.resources, [a, b]);
    let mut second = client(server.address);
    second.resume(snapshot.versions);
    let (names, _) = sync(&mut second).await;
    assert_eq!(names, ["Mesh/a/b"]);
    server.stop().await;
}

#[tokio::test]
async fn waiting_for_an_update_can_be_cancelled_at_any_time() {
    let publisher = Publisher::new();
    let server = Server::start(&publisher, "127.0.0.1:0").await;
    let mut client = client(server.address);
    let both = async {
        while !client.is_synced() {
            // A poll of the client between two others, as in a busy `select!` loop.
            tokio::select! {
                biased;
                update = client.next() => client.ack(update),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("both types in time");
    assert!(client.is_synced());
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_told_at_once() {
    for address in ["", "istiod", "http://a:1", "a:b", "a:15010/x"] {
        assert!(
            Client::new(Settings::new(address, node())).is_err(),
            "{address}"
        );
    }
}
