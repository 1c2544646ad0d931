//! A control plane of a test's own.

use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use lateen_model::endpoint::Endpoints;
use lateen_model::mesh::Mesh;
use lateen_model::proxy::Role;
use lateen_model::{Body, Resource};
use lateen_xds::server::{Audience, Change, Publisher, serve};
use lateen_xds::{Kind, proto};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::resources;

/// A control plane that can be stopped and started again.
pub(crate) struct Control {
    publisher: Publisher,
    /// What was said so far, for a restart: the first argument of `apply`, one by one.
    said: Mutex<Vec<Said>>,
    pub(crate) address: SocketAddr,
    running: Option<(oneshot::Sender<()>, Server)>,
}

type Server = JoinHandle<Result<(), lateen_xds::Error>>;
type Said = (Kind, String, Bytes);

impl Control {
    /// Starts one that tells a proxy what it is.
    pub(crate) async fn start(role: Role) -> Self {
        let mut control = Self {
            publisher: Publisher::new(),
            said: Mutex::default(),
            address: "127.0.0.1:0".parse().expect("an address"),
            running: None,
        };
        control.set(&resources::named("mesh", Body::Mesh(Mesh::default())));
        let own = "127.0.0.1".parse().expect("an address");
        control.set(&resources::proxy(role, own));
        control.resume().await;
        control
    }

    /// Starts another process, as it were, with the same configuration.
    pub(crate) async fn resume(&mut self) {
        self.publisher = Publisher::new();
        let said = self.said.lock().expect("no panic").clone();
        for (kind, name, bytes) in said {
            self.publish(kind, name, bytes);
        }
        let listener = TcpListener::bind(self.address).await.expect("bind");
        self.address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let publisher = self.publisher.clone();
        let task = tokio::spawn(serve(listener, publisher, async {
            let _ = stopped.await;
        }));
        self.running = Some((stop, task));
    }

    /// Closes every stream and listens no more.
    pub(crate) async fn stop(&mut self) {
        let (stop, task) = self.running.take().expect("it runs");
        drop(stop);
        self.publisher.close();
        task.await.expect("no panic").expect("it ends in order");
    }

    pub(crate) fn set(&self, resource: &Resource) {
        let name = resource.name.0.clone();
        self.say(Kind::Config, name, proto::encode_resource(resource));
    }

    pub(crate) fn set_endpoints(&self, endpoints: &Endpoints) {
        let name = endpoints.service.to_string();
        self.say(Kind::Endpoints, name, proto::encode_endpoints(endpoints));
    }

    /// Waits until a proxy has refused something, and answers why.
    pub(crate) async fn refusal(&self) -> String {
        loop {
            for connection in self.publisher.connections() {
                for subscription in connection.subscriptions {
                    if let Some(refusal) = subscription.refused.values().next() {
                        return refusal.error.clone();
                    }
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    fn say(&self, kind: Kind, name: String, bytes: Bytes) {
        let mut said = self.said.lock().expect("no panic");
        said.push((kind, name.clone(), bytes.clone()));
        self.publish(kind, name, bytes);
    }

    fn publish(&self, kind: Kind, name: String, bytes: Bytes) {
        self.publisher.apply([Change::Set {
            kind,
            name,
            bytes,
            audience: Audience::default(),
        }]);
    }
}
