//! A control plane on the local API server, both in this process, and proxies that speak TLS with
//! it: who is let in, and who is given which Secret.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(
    clippy::large_futures,
    reason = "the API server runs within each request, and a test has few"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role as RbacRole, RoleBinding, RoleRef, Subject};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lateen_certificates::Authority;
use lateen_control::{Listeners, ROOT_CONFIG_MAP};
use lateen_local::apiserver::{ApiServer, Options, User};
use lateen_model::proxy::Role;
use lateen_xds::client::{self as xds, Backoff, Tls, Update};
use lateen_xds::{Kind, Node, NodeId};
use serde_json::json;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(30);

/// A cluster with a control plane.
struct Cluster {
    client: Client,
    plain: SocketAddr,
    secured: SocketAddr,
    files: PathBuf,
    control: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.control.abort();
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        ..ObjectMeta::default()
    }
}

impl Cluster {
    async fn start(name: &str) -> Self {
        let server = ApiServer::open(Options::default()).unwrap();
        let client = server.client(User::admin());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let settings = lateen_control::Settings {
            xds_address: any,
            secured_xds_address: any,
            http_address: any,
            monitoring_address: any,
            webhook_address: any,
            ..lateen_control::Settings::default()
        };
        let listeners = Listeners::bind(&settings).await.unwrap();
        let (plain, secured) = (
            listeners.xds_address().unwrap(),
            listeners.secured_xds_address().unwrap(),
        );
        let control =
            lateen_control::run_on(client.clone(), settings, listeners, std::future::pending());
        let files = std::env::temp_dir().join(format!("lateen-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&files).unwrap();
        let cluster = Self {
            client,
            plain,
            secured,
            files,
            control: tokio::spawn(async { Box::pin(control).await.unwrap() }),
        };
        for namespace in ["istio-system", "edge", "other"] {
            cluster.add_namespace(namespace).await;
        }
        for namespace in ["edge", "other"] {
            cluster.add_account(namespace, "gateway").await;
            cluster.allow(namespace, "gateway").await;
        }
        cluster.add_account("edge", "app").await;
        cluster
    }

    fn all<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn add_namespace(&self, name: &str) {
        let api = Api::<Namespace>::all(self.client.clone());
        let namespace = Namespace {
            metadata: metadata(name),
            ..Namespace::default()
        };
        api.create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }

    async fn add_account(&self, namespace: &str, name: &str) {
        let account = ServiceAccount {
            metadata: metadata(name),
            ..ServiceAccount::default()
        };
        let api = self.all::<ServiceAccount>(namespace);
        api.create(&PostParams::default(), &account).await.unwrap();
    }

    /// Lets an account read the Secrets of its namespace.
    async fn allow(&self, namespace: &str, account: &str) {
        let role = RbacRole {
            metadata: metadata(account),
            rules: Some(vec![PolicyRule {
                api_groups: Some(vec![String::new()]),
                resources: Some(vec!["secrets".into()]),
                verbs: ["get", "list", "watch"].map(String::from).into(),
                ..PolicyRule::default()
            }]),
        };
        let binding = RoleBinding {
            metadata: metadata(account),
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".into(),
                kind: "Role".into(),
                name: account.into(),
            },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".into(),
                name: account.into(),
                namespace: Some(namespace.into()),
                ..Subject::default()
            }]),
        };
        let params = PostParams::default();
        self.all(namespace).create(&params, &role).await.unwrap();
        self.all(namespace).create(&params, &binding).await.unwrap();
    }

    async fn put_secret(&self, namespace: &str, name: &str, data: &[(&str, &str)]) {
        let data: BTreeMap<String, ByteString> = data
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString((*text).into())))
            .collect();
        let api = self.all::<Secret>(namespace);
        let secret = Secret {
            metadata: metadata(name),
            data: Some(data.clone()),
            ..Secret::default()
        };
        let params = PostParams::default();
        match api.create(&params, &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let patch = Patch::Merge(json!({ "data": data }));
                api.patch(name, &PatchParams::default(), &patch)
                    .await
                    .unwrap();
            }
            created => drop(created.unwrap()),
        }
    }

    /// The root certificate of a namespace, as soon as it is there and is not `old`.
    async fn root(&self, namespace: &str, old: &str) -> String {
        let api = self.all::<ConfigMap>(namespace);
        let found = async {
            loop {
                let map = api.get_opt(ROOT_CONFIG_MAP).await.unwrap();
                let root = map.and_then(|map| map.data?.remove("root-cert.pem"));
                match root {
                    Some(root) if root != old => return root,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(LIMIT, found).await.expect("a root")
    }

    async fn token(&self, namespace: &str, account: &str, audience: &str) -> String {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.into()],
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let api = self.all::<ServiceAccount>(namespace);
        let params = PostParams::default();
        let answer = api.create_token_request(account, &params, &request).await;
        answer.unwrap().status.unwrap().token
    }

    /// A proxy of this kind with the token of an account.
    async fn proxy(&self, role: Role, namespace: &str, account: &str, audience: &str) -> Proxy {
        let name = format!("{namespace}-{account}-{role:?}-{audience}");
        let tls = Tls {
            root: self.files.join("root"),
            token: self.files.join(name),
            server_name: Some("istiod.istio-system.svc".into()),
        };
        let token = self.token(namespace, account, audience).await;
        std::fs::write(&tls.token, token).unwrap();
        std::fs::write(&tls.root, self.root(namespace, "").await).unwrap();
        Proxy::new(self.secured, Some(tls), role, namespace)
    }
}

/// A proxy as far as the control plane sees it.
struct Proxy(xds::Client);

impl Proxy {
    fn new(address: SocketAddr, tls: Option<Tls>, role: Role, namespace: &str) -> Self {
        let node = Node::new(NodeId {
            role,
            address: "10.0.0.1".parse().unwrap(),
            name: "proxy-1".into(),
            namespace: namespace.into(),
            domain: format!("{namespace}.svc.cluster.local"),
        });
        let mut settings = xds::Settings::new(address.to_string(), node);
        settings.tls = tls;
        settings.backoff = Backoff {
            base: Duration::from_millis(10),
            max: Duration::from_millis(50),
        };
        Self(xds::Client::new(settings).unwrap())
    }

    /// The next news of Secrets: keys by name, and names of those that there are not.
    async fn secrets(&mut self) -> (BTreeMap<String, String>, Vec<String>) {
        let news = async {
            loop {
                let update: Update = self.0.next().await;
                let is_secret = update.kind() == Kind::Secret;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let given = update.secrets.iter();
                let given = given.map(|one| (one.key(), text(&one.private_key)));
                let result = (given.collect(), update.absent_secrets.clone());
                self.0.ack(update);
                if is_secret {
                    return result;
                }
            }
        };
        let news = tokio::time::timeout(LIMIT, news).await;
        news.unwrap_or_else(|_| panic!("no Secret came: {:?}", self.0.status()))
    }

    /// Why it is not let in.
    async fn refusal(&mut self) -> String {
        let told = async {
            loop {
                let _ = tokio::time::timeout(Duration::from_millis(20), self.0.next()).await;
                let error = &self.0.status().last_error;
                if !error.is_empty() {
                    return error.clone();
                }
            }
        };
        tokio::time::timeout(LIMIT, told).await.expect("a refusal")
    }
}

/// A certificate and its key, in PEM.
fn pair() -> (String, String) {
    let signed = Authority::new("root").sign(&["a.example"]);
    (signed.chain, signed.key)
}

fn given(name: &str, key: &str) -> (BTreeMap<String, String>, Vec<String>) {
    ([(name.to_owned(), key.to_owned())].into(), Vec::new())
}

fn absent(name: &str) -> (BTreeMap<String, String>, Vec<String>) {
    (BTreeMap::new(), vec![name.to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_has_the_secrets_of_its_namespace_and_their_changes() {
    let cluster = Cluster::start("gateway-secrets").await;
    let (first, second) = (pair(), pair());
    let data = [("tls.crt", first.0.as_str()), ("tls.key", first.1.as_str())];
    cluster.put_secret("edge", "c", &data).await;
    cluster.put_secret("other", "c", &data).await;
    let mut gateway = cluster
        .proxy(Role::Gateway, "edge", "gateway", "istio-ca")
        .await;
    gateway.0.watch_secret("edge/c");
    assert_eq!(gateway.secrets().await, given("edge/c", &first.1));
    gateway.0.watch_secret("other/c");
    assert_eq!(gateway.secrets().await, absent("other/c"));
    // One that is not there yet comes when it is, in the other form.
    gateway.0.watch_secret("edge/d");
    assert_eq!(gateway.secrets().await, absent("edge/d"));
    let data = [("cert", second.0.as_str()), ("key", second.1.as_str())];
    cluster.put_secret("edge", "d", &data).await;
    assert_eq!(gateway.secrets().await, given("edge/d", &second.1));
    // Half of a change does not count, and takes the certificate away.
    cluster
        .put_secret("edge", "c", &[("tls.crt", &second.0)])
        .await;
    assert_eq!(gateway.secrets().await, absent("edge/c"));
    cluster
        .put_secret("edge", "c", &[("tls.key", &second.1)])
        .await;
    assert_eq!(gateway.secrets().await, given("edge/c", &second.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_given_none() {
    let cluster = Cluster::start("no-secrets").await;
    let (chain, key) = pair();
    let data = [("tls.crt", chain.as_str()), ("tls.key", key.as_str())];
    cluster.put_secret("edge", "c", &data).await;
    // A sidecar; a gateway whose account may not read Secrets; and the plaintext port.
    let mut sidecar = cluster
        .proxy(Role::Sidecar, "edge", "gateway", "istio-ca")
        .await;
    let mut forbidden = cluster
        .proxy(Role::Gateway, "edge", "app", "istio-ca")
        .await;
    let mut plain = Proxy::new(cluster.plain, None, Role::Gateway, "edge");
    for proxy in [&mut sidecar, &mut forbidden, &mut plain] {
        proxy.0.watch_secret("edge/c");
        assert_eq!(proxy.secrets().await, absent("edge/c"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_other_audiences_or_namespaces_let_nobody_in() {
    let cluster = Cluster::start("tokens").await;
    let api_server = "https://kubernetes.default.svc";
    let name = "https";
    let mut other = cluster.proxy(Role::Gateway, "edge", "gateway", name).await;
    let refusal = other.refusal().await;
    assert!(refusal.contains("Unauthenticated"), "{refusal}");
    assert!(refusal.contains("audiences"), "{refusal}");
    // The token that every pod has for the API server is no key to Secrets.
    let token = cluster.token("edge", "gateway", api_server).await;
    let mut usual = cluster
        .proxy(Role::Gateway, "edge", "gateway", "istio-ca")
        .await;
    std::fs::write(cluster.files.join("edge-gateway-Gateway-istio-ca"), token).unwrap();
    let refusal = usual.refusal().await;
    assert!(refusal.contains("Unauthenticated"), "{refusal}");
    let token = cluster.token("other", "gateway", "istio-ca").await;
    std::fs::write(cluster.files.join("edge-gateway-Gateway-istio-ca"), token).unwrap();
    let denied = async {
        while !usual.0.status().last_error.contains("PermissionDenied") {
            let _ = tokio::time::timeout(Duration::from_millis(20), usual.0.next()).await;
        }
    };
    tokio::time::timeout(LIMIT, denied)
        .await
        .expect("a refusal");
    assert!(!usual.0.is_synced());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_certificate_is_in_every_namespace_and_is_repaired() {
    let cluster = Cluster::start("roots").await;
    let root = cluster.root("edge", "").await;
    cluster.add_namespace("late").await;
    assert_eq!(cluster.root("late", "").await, root);
    let api = cluster.all::<ConfigMap>("late");
    let patch = Patch::Merge(json!({ "data": { "root-cert.pem": "mine" } }));
    let params = PatchParams::default();
    api.patch(ROOT_CONFIG_MAP, &params, &patch).await.unwrap();
    assert_eq!(cluster.root("late", "mine").await, root);
    api.delete(ROOT_CONFIG_MAP, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(cluster.root("late", "").await, root);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_put_back_when_it_is_deleted() {
    let cluster = Cluster::start("authority").await;
    let root = cluster.root("edge", "").await;
    let api = cluster.all::<Secret>("istio-system");
    let before = api.get(lateen_control::CA_SECRET).await.unwrap();
    api.delete(
        lateen_control::CA_SECRET,
        &kube::api::DeleteParams::default(),
    )
    .await
    .unwrap();
    let back = async {
        loop {
            let found = api.get_opt(lateen_control::CA_SECRET).await.unwrap();
            match found {
                Some(secret) => return secret,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let back = tokio::time::timeout(LIMIT, back).await.unwrap();
    assert_eq!(back.data, before.data);
    assert_eq!(back.type_.as_deref(), Some("istio.io/ca-root"));
    assert_eq!(cluster.root("edge", "").await, root);
}
