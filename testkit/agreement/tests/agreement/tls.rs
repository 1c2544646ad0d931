//! The certificate that the gateways of generated meshes show, and the clients and upstreams of TLS.

use std::sync::Arc;

use lateen_certificates::{Authority, Signed};
use lateen_decide::Plan;
use lateen_model::secret::Secret;
use lateen_proxy::published::Servers;
use lateen_proxy::tls::credentials::Credentials;
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::generate::{CREDENTIAL, SECURE_HOSTS};

/// A certificate for every host that is asked for over TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    signed: Signed,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        let authority = Authority::new("root");
        let signed = authority.sign(&SECURE_HOSTS);
        let client = authority.client(None, ALL_VERSIONS);
        let server = signed.server();
        Self {
            signed,
            client: Arc::new(client),
            server: Arc::new(server),
        }
    }

    /// What a proxy of a namespace makes of the Secret for the servers of its plan.
    pub(crate) fn servers(&self, plan: &Plan, namespace: &str) -> Arc<Servers> {
        let mut credentials = Credentials::default();
        // It is asked for by the first of them.
        credentials.update(plan);
        credentials.put(Secret {
            namespace: namespace.to_owned(),
            name: CREDENTIAL.into(),
            chain: self.signed.chain.clone().into_bytes(),
            private_key: self.signed.key.clone().into_bytes(),
            ..Secret::default()
        });
        credentials.update(plan);
        credentials.servers()
    }

    /// A client's handshake; nothing if the proxy ends it.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: DuplexStream,
    ) -> Option<client::TlsStream<DuplexStream>> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.client));
        connector.connect(name, stream).await.ok()
    }

    /// An upstream's handshake.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Option<server::TlsStream<S>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        acceptor.accept(stream).await.ok()
    }
}
