//! From events of the cluster to a connected proxy, over a real socket.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lateen_api::Kind as ApiKind;
use lateen_model::proxy::Role;
use lateen_xds::client::{Backoff, Client, Settings as ClientSettings, Update};
use lateen_xds::{Kind, Node, NodeId};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::debug;
use crate::index::{Input, InputKind, Key};

struct Control {
    state: Arc<State>,
    events: mpsc::Sender<Event>,
    xds: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Control {
    /// A control plane whose cluster is a channel with two watches.
    async fn start() -> Self {
        let settings = Settings::default();
        let state = Arc::new(State::new(&settings));
        let (events, receiver) = mpsc::channel(64);
        let watches = Watches::of_channel(receiver, 2);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let xds = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let running = run(state.clone(), settings, watches);
        tasks.spawn(async { drop(running.await) });
        let publisher = state.publisher.clone();
        let serving = lateen_xds::server::serve(listener, publisher, std::future::pending());
        tasks.spawn(async { drop(serving.await) });
        Self {
            state,
            events,
            xds,
            _tasks: tasks,
        }
    }

    async fn send(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.events.send(event).await.unwrap();
        }
    }

    async fn synced(&self) {
        let mut synced = self.state.synced();
        synced.wait_for(|synced| *synced).await.unwrap();
    }

    fn client(&self) -> Client {
        let id = NodeId {
            role: Role::Sidecar,
            address: "10.244.0.4".parse().unwrap(),
            name: "a".into(),
            namespace: "default".into(),
            domain: "default.svc.cluster.local".into(),
        };
        let mut settings = ClientSettings::new(self.xds.to_string(), Node::new(id));
        settings.backoff = Backoff {
            base: Duration::from_millis(5),
            max: Duration::from_millis(20),
        };
        Client::new(settings).unwrap()
    }
}

fn rules(name: &str, host: &str) -> Event {
    Event::Apply(Box::new(Input::Istio(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": name, "namespace": "default", "generation": 1 },
        "spec": { "hosts": [host], "http": [
            { "route": [{ "destination": { "host": "reviews" } }] }
        ] },
    }))))
}

fn kind() -> InputKind {
    InputKind::Istio(ApiKind::find("networking.istio.io", "VirtualService").unwrap())
}

async fn next(client: &mut Client) -> Update {
    let next = tokio::time::timeout(Duration::from_secs(20), client.next());
    next.await.expect("an update in time")
}

fn names(update: &Update) -> Vec<&str> {
    update
        .resources
        .iter()
        .map(|resource| resource.name.0.as_str())
        .collect()
}

#[tokio::test]
async fn nothing_is_published_before_everything_was_listed_once() {
    let control = Control::start().await;
    control.send([rules("a", "a"), Event::Synced]).await;
    while control.state.events.applied.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(control.state.publisher.version(), 0);
    assert!(!*control.state.synced().borrow());
    control.send([rules("b", "b"), Event::Synced]).await;
    control.synced().await;
    let (count, _) = control.state.publisher.size(Kind::Config);
    assert_eq!(count, 3, "two objects and the mesh");
}

#[tokio::test]
async fn a_change_reaches_a_connected_proxy_and_a_relist_removes_what_is_gone() {
    let control = Control::start().await;
    control
        .send([
            rules("a", "a"),
            rules("b", "b"),
            Event::Synced,
            Event::Synced,
        ])
        .await;
    control.synced().await;
    let mut client = control.client();
    let update = next(&mut client).await;
    assert_eq!(
        names(&update),
        [
            "Mesh/istio-system/istio",
            "VirtualService/default/a",
            "VirtualService/default/b"
        ]
    );
    client.ack(update);
    let update = next(&mut client).await;
    client.ack(update);
    assert!(client.is_synced());

    control.send([rules("a", "changed")]).await;
    let update = next(&mut client).await;
    assert_eq!(names(&update), ["VirtualService/default/a"]);
    client.ack(update);

    // The watch was away; its new list has `a` only.
    let listed = BTreeSet::from([Key::new("default", "a")]);
    control
        .send([rules("a", "changed"), Event::Listed(kind(), listed)])
        .await;
    let update = next(&mut client).await;
    assert!(update.resources.is_empty());
    assert_eq!(update.removed_resources[0].0, "VirtualService/default/b");
    client.ack(update);
}

#[tokio::test]
async fn what_a_proxy_refuses_is_told_by_the_debug_page_and_to_the_object() {
    let control = Control::start().await;
    control
        .send([rules("a", "a"), Event::Synced, Event::Synced])
        .await;
    control.synced().await;
    let mut client = control.client();
    let mut refusals = control.state.publisher.refusals_changed();
    let update = next(&mut client).await;
    let name = lateen_xds::client::Name("VirtualService/default/a".into());
    client.nack(update, vec![(name, "no such thing".into())]);
    let update = next(&mut client).await;
    client.ack(update);
    tokio::select! {
        _ = client.next() => panic!("nothing has changed"),
        changed = refusals.changed() => changed.unwrap(),
    }
    let connections = control.state.publisher.connections();
    let page = debug::syncz(&connections);
    assert_eq!(page[0]["proxy"], "a.default");
    let config = &page[0]["subscriptions"][0];
    assert_eq!(config["state"], "ERROR");
    assert_eq!(config["errors"][0]["error"], "no such thing");
    let index = control.state.index();
    let refused = crate::status::refused(&index, &connections);
    let (object, what) = refused.first_key_value().unwrap();
    assert_eq!(object.to_string(), "VirtualService/default/a");
    assert_eq!((what.proxies, what.error.as_str()), (1, "no such thing"));
}

#[tokio::test]
async fn an_invalid_mesh_config_leaves_the_last_good_one_in_effect() {
    let control = Control::start().await;
    let good = Event::MeshConfig(Some("accessLogFile: /dev/stdout".into()));
    let bad = Event::MeshConfig(Some("accessLogEncoding: XML".into()));
    control
        .send([good, bad, Event::Synced, Event::Synced])
        .await;
    control.synced().await;
    let index = control.state.index();
    assert_eq!(index.mesh().mesh.access_log_file, "/dev/stdout");
}
