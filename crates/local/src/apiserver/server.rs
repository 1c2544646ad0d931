//! The server as a value: opened once, cloned freely, reached in process or over sockets.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::auth::authority::Authority;
use super::auth::token::Signer;
use super::auth::{ClientCertificate, User};
use super::body::Body;
use super::status::Failure;
use super::transport;

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
}

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
            history: 2000,
        }
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// Opens a server: reads the data file if there is one, makes keys and the objects that every
    /// cluster has. Nothing is served yet.
    pub fn open(options: Options) -> Result<Self, Error> {
        let keys = |error: &dyn std::fmt::Display| Error::Keys(error.to_string());
        let authority = Authority::generate().map_err(|error| keys(&error))?;
        let signer = Signer::generate(ISSUER).map_err(|error| keys(&error))?;
        let (names, addresses) = identities(&options);
        let tls = authority
            .server_config(&names, &addresses)
            .map_err(|error| keys(&error))?;
        Ok(Self {
            core: Arc::new(Core {
                options,
                authority,
                signer,
                tls,
            }),
        })
    }

    /// A client that talks to this server inside of the process, as `user`.
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
        let _ = token;
        None
    }

    /// Answers one request of an authenticated user.
    pub(crate) async fn handle(&self, request: Request<Bytes>, user: User) -> Response<Body> {
        let _ = (request, user);
        Failure::no_such_resource().into_response()
    }
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
