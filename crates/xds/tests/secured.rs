//! Client and server over TLS: who is trusted, who is let in, and what is given to whom.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lateen_certificates::Authority;
use lateen_model::proxy::Role;
use lateen_model::secret::Secret;
use lateen_xds::client::{Backoff, Client, Settings, Tls, Update};
use lateen_xds::server::{
    Account, Authenticate, Denial, Door, Identity, Publisher, SecretChange, Unproven, serve,
    serve_secured,
};
use lateen_xds::{Kind, Node, NodeId, proto};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;

/// The name in the control plane's certificate.
const NAME: &str = "istiod.istio-system.svc";

/// The TLS settings of a control plane that the authority vouches for.
fn vouched(authority: &Authority) -> Arc<ServerConfig> {
    let mut config = authority.sign(&[NAME]).server();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A directory with the files that are mounted into a pod; gone with the test.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lateen-secured-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn tls(&self) -> Tls {
        Tls {
            root: self.0.join("root.pem"),
            token: self.0.join("token"),
            server_name: Some(NAME.into()),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn identity(namespace: &str, name: &str) -> Identity {
    Identity {
        account: Account {
            namespace: namespace.into(),
            name: name.into(),
        },
        pod: Some("gateway-1".into()),
    }
}

/// Knows two tokens; `asked` counts.
fn authenticate(asked: Arc<AtomicUsize>) -> Authenticate {
    Arc::new(move |token| {
        asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match token.as_str() {
                "good" => Ok(identity("edge", "gateway")),
                "other" => Ok(identity("other", "gateway")),
                "down" => Err(Unproven::Unavailable("the API server is away".into())),
                _ => Err(Unproven::Refused("token expired".into())),
            }
        })
    })
}

/// A control plane with both ports.
struct Server {
    publisher: Publisher,
    plain: SocketAddr,
    secured: SocketAddr,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(authority: &Authority, max_age: Duration) -> Self {
        let publisher = Publisher::new();
        let (plain, secured) = (listen().await, listen().await);
        let addresses = (plain.local_addr().unwrap(), secured.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let mut door = Door::new(vouched(authority), authenticate(asked.clone()));
        door.max_age = max_age;
        let mut tasks = JoinSet::new();
        let serving = serve(plain, publisher.clone(), std::future::pending());
        tasks.spawn(async { serving.await.unwrap() });
        let serving = serve_secured(secured, publisher.clone(), door, std::future::pending());
        tasks.spawn(async { serving.await.unwrap() });
        Self {
            publisher,
            plain: addresses.0,
            secured: addresses.1,
            asked,
            _tasks: tasks,
        }
    }

    fn put(&self, name: &str, key: Option<&str>) {
        let (namespace, short) = name.split_once('/').unwrap();
        let secret = key.map(|key| Secret {
            namespace: namespace.into(),
            name: short.into(),
            private_key: key.into(),
            ..Secret::default()
        });
        self.publisher.apply_secrets([
            SecretChange::Known {
                name: name.into(),
                content: secret.map(|secret| proto::encode_secret(&secret)),
            },
            SecretChange::Grant {
                account: identity("edge", "gateway").account,
                is_granted: Some(true),
            },
        ]);
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn client(address: SocketAddr, tls: Option<Tls>) -> Client {
    let node = Node::new(NodeId {
        role: Role::Gateway,
        address: "10.0.0.1".parse().unwrap(),
        name: "gateway-1".into(),
        namespace: "edge".into(),
        domain: "edge.svc.cluster.local".into(),
    });
    let mut settings = Settings::new(address.to_string(), node);
    settings.tls = tls;
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

/// Takes updates until one of Secrets comes.
async fn secrets(client: &mut Client) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    loop {
        let update = next(client).await;
        let is_secret = update.kind() == Kind::Secret;
        let given = update.secrets.iter();
        let given = given.map(|secret| (secret.key(), secret.private_key.clone()));
        let result = (given.collect(), update.absent_secrets.clone());
        client.ack(update);
        if is_secret {
            return result;
        }
    }
}

/// Why the client is not connected, as soon as it says so with these words.
async fn error(client: &mut Client, words: &str) -> String {
    let told = async {
        loop {
            // A wait that is given up costs nothing: all state is in the client.
            let _ = tokio::time::timeout(Duration::from_millis(20), client.next()).await;
            let status = client.status();
            assert!(!status.is_connected, "it is connected");
            if status.last_error.contains(words) {
                return status.last_error.clone();
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await;
    told.unwrap_or_else(|_| panic!("{words:?} is not in {:?}", client.status().last_error))
}

fn given(name: &str, key: &str) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    (vec![(name.into(), key.into())], Vec::new())
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_gateway_with_a_token_is_given_its_secrets_and_their_changes() {
    let (authority, files) = (Authority::new("root"), Files::new());
    files.put("root.pem", &authority.pem);
    files.put("token", "good\n");
    let server = Server::start(&authority, LONG).await;
    let mut client = client(server.secured, Some(files.tls()));
    client.watch_secret("edge/c");
    client.watch_secret("other/c");
    let mut wanted = server.publisher.wanted_secrets_changed();
    // What is of another namespace is answered at once, what is not known waits.
    let told = secrets(&mut client).await;
    assert_eq!(told, (Vec::new(), vec!["other/c".to_owned()]));
    assert_eq!(server.publisher.stats().denials[&Denial::OtherNamespace], 1);
    let asking = wanted.wait_for(|_| !server.publisher.wanted_secrets().is_empty());
    drop(asking.await.unwrap());
    let asked = server.publisher.wanted_secrets();
    assert_eq!(asked.into_keys().collect::<Vec<_>>(), ["edge/c"]);
    server.put("other/c", Some("theirs"));
    server.put("edge/c", Some("first"));
    assert_eq!(secrets(&mut client).await, given("edge/c", "first"));
    server.put("edge/c", Some("second"));
    assert_eq!(secrets(&mut client).await, given("edge/c", "second"));
    server.put("edge/c", None);
    let told = secrets(&mut client).await;
    assert_eq!(told, (Vec::new(), vec!["edge/c".to_owned()]));
    let status = server.publisher.connections().remove(0);
    assert_eq!(status.identity, Some(identity("edge", "gateway")));
    client.forget_secret("edge/c");
    client.forget_secret("other/c");
    let none = wanted.wait_for(|_| server.publisher.wanted_secrets().is_empty());
    tokio::select! {
        none = none => drop(none.unwrap()),
        update = client.next() => panic!("nothing was to come: {update:?}"),
    }
}

#[tokio::test]
async fn the_plaintext_port_gives_configuration_and_no_secret() {
    let server = Server::start(&Authority::new("root"), LONG).await;
    server.put("edge/c", Some("key"));
    let mut client = client(server.plain, None);
    client.watch_secret("edge/c");
    let told = secrets(&mut client).await;
    assert_eq!(told, (Vec::new(), vec!["edge/c".to_owned()]));
    assert!(client.is_synced());
    assert_eq!(server.publisher.stats().denials[&Denial::Unproven], 1);
    assert!(server.publisher.wanted_secrets().is_empty());
}

#[tokio::test]
async fn a_control_plane_of_another_authority_is_not_trusted_until_the_root_is_there() {
    let (authority, files) = (Authority::new("root"), Files::new());
    let server = Server::start(&authority, LONG).await;
    let mut client = client(server.secured, Some(files.tls()));
    let text = error(&mut client, "root.pem cannot be read").await;
    assert!(text.contains("istio-ca-root-cert"), "{text}");
    files.put("root.pem", "junk");
    error(&mut client, "holds no root certificate").await;
    files.put("root.pem", &Authority::new("root").pem);
    error(&mut client, "token cannot be read").await;
    files.put("token", "good");
    let text = error(&mut client, "invalid peer certificate").await;
    assert!(text.contains(NAME), "{text}");
    assert_eq!(server.asked.load(Ordering::Relaxed), 0, "no token went out");
    files.put("root.pem", &authority.pem);
    let update = next(&mut client).await;
    client.ack(update);
    assert!(client.status().is_connected);
}

#[tokio::test]
async fn a_control_plane_of_another_name_is_not_trusted() {
    let (authority, files) = (Authority::new("root"), Files::new());
    files.put("root.pem", &authority.pem);
    files.put("token", "good");
    let server = Server::start(&authority, LONG).await;
    let mut tls = files.tls();
    tls.server_name = None; // Then it is the host of the address.
    let mut client = client(server.secured, Some(tls));
    error(&mut client, "127.0.0.1").await;
    assert_eq!(server.asked.load(Ordering::Relaxed), 0, "no token went out");
}

#[tokio::test]
async fn a_token_that_is_refused_says_why_and_a_better_one_is_taken_up() {
    let (authority, files) = (Authority::new("root"), Files::new());
    files.put("root.pem", &authority.pem);
    files.put("token", "old");
    let server = Server::start(&authority, LONG).await;
    let mut client = client(server.secured, Some(files.tls()));
    let text = error(&mut client, "token expired").await;
    assert!(text.contains("Unauthenticated"), "{text}");
    files.put("token", "down");
    error(&mut client, "the API server is away").await;
    assert!(server.publisher.connections().is_empty());
    assert!(server.publisher.stats().unproven > 0);
    files.put("token", "good");
    let update = next(&mut client).await;
    client.ack(update);
    assert!(client.status().is_connected);
}

#[tokio::test]
async fn a_token_of_another_namespace_lets_nobody_in() {
    let (authority, files) = (Authority::new("root"), Files::new());
    files.put("root.pem", &authority.pem);
    files.put("token", "other");
    let server = Server::start(&authority, LONG).await;
    let mut client = client(server.secured, Some(files.tls()));
    let refused = async {
        loop {
            let _ = tokio::time::timeout(Duration::from_millis(20), client.next()).await;
            if client
                .status()
                .last_error
                .contains("token is of namespace other")
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused)
        .await
        .unwrap();
    assert!(client.status().last_error.contains("PermissionDenied"));
    assert!(!client.is_synced());
}

#[tokio::test]
async fn a_stream_ends_in_time_and_the_next_one_shows_a_token_again() {
    let (authority, files) = (Authority::new("root"), Files::new());
    files.put("root.pem", &authority.pem);
    files.put("token", "good");
    let server = Server::start(&authority, Duration::from_millis(50)).await;
    server.put("edge/c", Some("key"));
    let mut client = client(server.secured, Some(files.tls()));
    client.watch_secret("edge/c");
    assert_eq!(secrets(&mut client).await, given("edge/c", "key"));
    while server.asked.load(Ordering::Relaxed) < 3 {
        let _ = tokio::time::timeout(Duration::from_millis(20), client.next()).await;
    }
    // Nothing is sent twice, and what changed meanwhile comes.
    server.put("edge/c", Some("new"));
    assert_eq!(secrets(&mut client).await, given("edge/c", "new"));
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_sent_away() {
    let server = Server::start(&Authority::new("root"), LONG).await;
    let mut stream = TcpStream::connect(server.secured).await.unwrap();
    // The clock goes on by itself while everybody waits.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(server.publisher.stats().unproven, 1);
}
