//! The server as a value: opened once, cloned freely, reached in process or over sockets.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use k8s_openapi::jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::allocate::InFlight;
use super::auth::authority::Authority;
use super::auth::token::{Signer, Verified};
use super::auth::{ClientCertificate, User};
use super::body::Body;
use super::call::{self, Target};
use super::events::LastSweep;
use super::openapi::Cache;
use super::pod_dialer::PodDialer;
use super::registry::Registry;
use super::status::Failure;
use super::store::{Key, Refusal, Store};
use super::{auth, bootstrap, crd, documents, object, rest, transport};

/// Settings of an API server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file that keeps the objects; nothing is kept if unset.
    pub data: Option<PathBuf>,
    /// Where the node writes the logs of containers:
    /// `<log dir>/<namespace>_<pod>_<uid>/<container>/<restart count>.log`.
    pub log_dir: Option<PathBuf>,
    /// The first address of the services' range, and the length of its prefix.
    pub service_range: (Ipv4Addr, u8),
    /// The ports for services of type NodePort and LoadBalancer.
    pub node_ports: RangeInclusive<u16>,
    /// Where pods reach this server: the endpoint of the service `default/kubernetes`.
    pub advertise: SocketAddr,
    /// Further names for the server's certificate.
    pub names: Vec<String>,
    /// Further addresses for the server's certificate.
    pub addresses: Vec<IpAddr>,
    /// A token that stands for the administrator; none if unset.
    pub admin_token: Option<String>,
    /// How many changes of a type are kept for watches that start in the past.
    pub history: usize,
    /// The way into pods, for `port-forward`; there is none if unset.
    pub pod_dialer: Option<PodDialer>,
}

/// Why an API server cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data file cannot be read or written.
    #[error("the API server's data file {path}: {source}")]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// A key or certificate cannot be made or read.
    #[error("the API server's keys: {0}")]
    Keys(String),
    /// A setting makes no sense.
    #[error("the API server's settings: {0}")]
    Settings(String),
}

/// An API server.
#[derive(Clone)]
pub struct ApiServer {
    core: Arc<Core>,
}

/// What every request sees.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) authority: Authority,
    pub(crate) signer: Signer,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    /// Addresses and ports that requests have chosen but not yet stored.
    pub(crate) in_flight: InFlight,
    /// OpenAPI documents that were made before.
    pub(crate) documents: Cache,
    pub(crate) last_sweep: LastSweep,
}

/// Where the server's own keys are kept: a table that no type of the API names.
const KEYS: &str = "server.keys";

/// Who issues the tokens of service accounts.
const ISSUER: &str = "https://kubernetes.default.svc";

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            data: None,
            log_dir: None,
            service_range: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: 30000..=32767,
            advertise: SocketAddr::from(([10, 96, 0, 1], 443)),
            names: Vec::new(),
            addresses: Vec::new(),
            admin_token: None,
            history: 1000,
            pod_dialer: None,
        }
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// Opens a server: reads the data file if there is one, makes keys and the objects that every
    /// cluster has. Nothing is served yet.
    pub fn open(options: Options) -> Result<Self, Error> {
        let keys = |error: &dyn std::fmt::Display| Error::Keys(error.to_string());
        let path = options.data.clone().unwrap_or_default();
        let data = |source| Error::Data {
            path: path.clone(),
            source,
        };
        if !(8..=30).contains(&options.service_range.1) {
            let message = "the prefix of the services' range must have 8 to 30 bits".to_owned();
            return Err(Error::Settings(message));
        }
        let store = Store::open(options.data.as_deref(), options.history).map_err(data)?;
        let (authority, signer) = load_keys(&store, &data)?;
        let (names, addresses) = identities(&options);
        let tls = authority
            .server_config(&names, &addresses)
            .map_err(|error| keys(&error))?;
        let core = Arc::new(Core {
            options,
            authority,
            signer,
            tls,
            store,
            registry: Registry::new(),
            in_flight: InFlight::default(),
            documents: Cache::default(),
            last_sweep: LastSweep::default(),
        });
        bootstrap::run(&core).map_err(|refusal| data(std::io::Error::other(refusal)))?;
        crd::load(&core);
        Ok(Self { core })
    }

    /// A client that talks to this server inside of the process, as `user`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime: `kube` spawns a task for each client.
    pub fn client(&self, user: User) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (server, user) = (server.clone(), user.clone());
            async move {
                let (head, body) = request.into_parts();
                let response = match transport::read(body).await {
                    Ok(bytes) => server.handle(Request::from_parts(head, bytes), user).await,
                    Err(failure) => failure.into_response(),
                };
                Ok::<_, Infallible>(response)
            }
        });
        kube::Client::new(service, "default")
    }

    /// Serves HTTPS on a listener until the future is dropped. May be called for several.
    pub async fn serve(&self, listener: TcpListener) {
        transport::serve(self.clone(), listener).await;
    }

    /// The certificate of the cluster's authority, in PEM.
    pub fn ca(&self) -> &str {
        self.core.authority.certificate_pem()
    }

    /// Issues a client certificate for a user in a group.
    pub fn client_certificate(&self, user: &str, group: &str) -> Result<ClientCertificate, Error> {
        self.core
            .authority
            .client_certificate(user, group)
            .map_err(|error| Error::Keys(error.to_string()))
    }

    /// The administrator's kubeconfig for a server at this URL, as JSON (which is YAML, too).
    pub fn kubeconfig(&self, url: &str, context: &str) -> Result<serde_json::Value, Error> {
        use base64::Engine;
        let admin = self.client_certificate("kubernetes-admin", "system:masters")?;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        Ok(serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": {
                "server": url,
                "certificate-authority-data": encode(self.ca()),
            }}],
            "users": [{"name": context, "user": {
                "client-certificate-data": encode(&admin.certificate),
                "client-key-data": encode(&admin.key),
            }}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        }))
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        self.core.tls.clone()
    }

    /// The user that a bearer token stands for.
    pub(crate) fn user_of_token(&self, token: &str) -> Option<User> {
        if let Some(admin) = &self.core.options.admin_token
            && aws_lc_rs::constant_time::verify_slices_are_equal(admin.as_bytes(), token.as_bytes())
                .is_ok()
        {
            return Some(User::admin());
        }
        let verified = self.core.verify_token(token).ok()?;
        let is_for_us = verified.audiences.iter().any(|one| one == ISSUER);
        is_for_us.then(|| verified.account.user())
    }

    /// Answers one request of an authenticated user.
    pub(crate) async fn handle(&self, request: Request<Bytes>, user: User) -> Response<Body> {
        let types = self.core.registry.types();
        let user = match auth::impersonated(request.headers(), user) {
            Ok(user) => user,
            Err(failure) => return failure.into_response(),
        };
        match call::target(types.clone(), request, user) {
            Ok(Target::Objects(call)) => Box::pin(rest::handle(&self.core, *call)).await,
            Ok(Target::Document(head)) => {
                documents::answer(&self.core, &types, head.uri.path(), &head.headers)
                    .unwrap_or_else(Failure::into_response)
            }
            Err(failure) => failure.into_response(),
        }
    }
}

// === impl Core ===

impl Core {
    /// Verifies a token of a service account: its signature and times, and that the account and
    /// the object that it is bound to still are the ones that it was issued for.
    pub(crate) fn verify_token(&self, token: &str) -> Result<Verified, String> {
        let now = Timestamp::now().as_second();
        let verified = self.signer.verify(token, now)?;
        let account = &verified.account;
        let is_there = |table: &str, namespace: &str, name: &str, uid: &str| {
            let stored = self.store.get(table, &Key::new(namespace, name));
            stored.is_some_and(|stored| object::uid(&stored) == uid)
        };
        if !is_there(
            "serviceaccounts",
            &account.namespace,
            &account.name,
            &account.uid,
        ) {
            return Err("service account has been deleted".into());
        }
        if let Some((kind, name, uid)) = &account.bound {
            let namespace = if kind == "Node" {
                ""
            } else {
                &account.namespace
            };
            let table = format!("{}s", kind.to_ascii_lowercase());
            if !is_there(&table, namespace, name, uid) {
                return Err(format!("{} has been deleted", kind.to_ascii_lowercase()));
            }
        }
        Ok(verified)
    }
}

/// Takes the keys from the store, or makes them and stores them.
fn load_keys(
    store: &Store,
    data: &impl Fn(std::io::Error) -> Error,
) -> Result<(Authority, Signer), Error> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let keys = |error: &dyn std::fmt::Display| Error::Keys(error.to_string());
    if let Some(stored) = store.get(KEYS, &Key::new("", "keys")) {
        let text = |key: &str| object::text(&stored, &[key]).to_owned();
        let authority = Authority::from_pem(text("certificate"), text("key"));
        let token_key = STANDARD
            .decode(text("tokenKey"))
            .map_err(|error| keys(&error))?;
        let signer = Signer::from_pkcs8(&token_key, ISSUER);
        return Ok((
            authority.map_err(|error| keys(&error))?,
            signer.map_err(|error| keys(&error))?,
        ));
    }
    let authority = Authority::generate().map_err(|error| keys(&error))?;
    let signer = Signer::generate(ISSUER).map_err(|error| keys(&error))?;
    let value = serde_json::json!({
        "metadata": {"name": "keys"},
        "certificate": authority.certificate_pem(),
        "key": authority.key_pem(),
        "tokenKey": STANDARD.encode(signer.pkcs8()),
    });
    store
        .insert(KEYS, value)
        .map_err(|refusal: Refusal| data(std::io::Error::other(refusal)))?;
    Ok((authority, signer))
}

/// What the server's certificate is for.
fn identities(options: &Options) -> (Vec<String>, Vec<IpAddr>) {
    let mut names: Vec<String> = ["localhost"]
        .into_iter()
        .map(str::to_owned)
        .chain(
            ["", ".default", ".default.svc", ".default.svc.cluster.local"]
                .map(|suffix| format!("kubernetes{suffix}")),
        )
        .collect();
    names.extend(options.names.iter().cloned());
    let first = u32::from(options.service_range.0) | 1;
    let mut addresses = vec![
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        IpAddr::from(Ipv4Addr::from(first)),
        options.advertise.ip(),
    ];
    addresses.extend(&options.addresses);
    (names, addresses)
}
