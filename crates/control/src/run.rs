//! The life of the control plane: listen, learn the cluster, serve, end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lateen_xds::server::{self as xds, Door};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::authenticate::authenticate;
use crate::authority::{self, Served};
use crate::engine::State;
use crate::webhook::{Webhook, registration};
use crate::{
    Error, Settings, debug, engine, http, metrics, roots, secrets, status, watch as watches,
};

/// Every port, open.
#[derive(Debug)]
pub struct Listeners {
    xds: TcpListener,
    secured_xds: TcpListener,
    http: TcpListener,
    monitoring: TcpListener,
    webhook: TcpListener,
}

/// Runs the control plane of the cluster that the settings name, until `shutdown` completes.
///
/// # Errors
/// When there is no cluster, a port is taken, or something that never ends has ended.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    // Two libraries bring a provider each; this names the one that TLS to the API server uses. An
    // error says that one is named already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let fail = |error: &dyn std::error::Error| Error::Configuration(error.to_string());
    let config = match &settings.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| fail(&error))?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.map_err(|error| fail(&error))?
        }
        None => Config::infer().await.map_err(|error| fail(&error))?,
    };
    run_with(Client::try_from(config)?, settings, shutdown).await
}

/// As [`run`], with a client of one's own.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    client: Client,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let listeners = Listeners::bind(&settings).await?;
    run_on(client, settings, listeners, shutdown).await
}

/// As [`run_with`], on ports that are open already.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    client: Client,
    settings: Settings,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    tracing::info!(namespace = %settings.namespace, revision = %settings.revision,
        version = env!("CARGO_PKG_VERSION"), "the control plane starts");
    let (stop, stopped) = watch::channel(false);
    let plane = Plane {
        state: Arc::new(State::new(&settings)),
        served: Arc::new(Served::default()),
        client,
        settings,
        stopped,
    };
    let mut followers = plane.follow();
    let mut servers = plane.serve(listeners)?;
    let result = tokio::select! {
        () = shutdown => Ok(()),
        Some(ended) = followers.join_next() => outcome(ended),
        Some(ended) = servers.join_next() => outcome(ended),
    };
    tracing::info!("the control plane ends");
    // Proxies and the API server get their answers; what follows the cluster has nothing to end.
    followers.abort_all();
    stop.send_replace(true);
    plane.state.publisher.close();
    while servers.join_next().await.is_some() {}
    result
}

/// What every part is made from.
struct Plane {
    client: Client,
    settings: Settings,
    state: Arc<State>,
    /// The certificate that is shown.
    served: Arc<Served>,
    stopped: watch::Receiver<bool>,
}

type Tasks = JoinSet<Result<(), Error>>;

// === impl Plane ===

impl Plane {
    /// Starts what follows the cluster and keeps it in order.
    fn follow(&self) -> Tasks {
        let mut tasks = JoinSet::new();
        let client = || self.client.clone();
        let settings = || self.settings.clone();
        let state = || self.state.clone();
        let events = watches::start(&self.client, &self.settings);
        tasks.spawn(engine::run(state(), settings(), events));
        tasks.spawn(endless(status::run(state(), client())));
        tasks.spawn(endless(secrets::run(state(), client())));
        let (authority, current) = watch::channel(None);
        let kept = authority::keep(client(), settings(), state(), authority);
        tasks.spawn(endless(kept));
        tasks.spawn(endless(roots::keep(client(), current.clone())));
        let served = self.served.clone();
        tasks.spawn(endless(authority::serve(
            served,
            current.clone(),
            settings(),
        )));
        let kept = registration::keep(client(), settings(), state(), current);
        tasks.spawn(endless(kept));
        tasks
    }

    /// Starts what is served.
    fn serve(&self, listeners: Listeners) -> Result<Tasks, Error> {
        let mut tasks = JoinSet::new();
        let (state, settings) = (|| self.state.clone(), || self.settings.clone());
        let stopped = || self.stopped.clone();
        let webhook = Arc::new(Webhook::new(settings(), state()));
        let pages = debug::handler(state(), settings());
        tasks.spawn(server(http::serve(listeners.http, None, pages, stopped())));
        let numbers = metrics::handler(state(), webhook.clone());
        let listener = listeners.monitoring;
        tasks.spawn(server(http::serve(listener, None, numbers, stopped())));
        tasks.spawn(serve_webhooks(
            state(),
            self.served.clone(),
            webhook,
            listeners.webhook,
            stopped(),
        ));
        tasks.spawn(serve_proxies(state(), listeners.xds, None, stopped()));
        let config = Arc::new(authority::server_config(self.served.clone())?);
        let door = Door::new(config, authenticate(self.client.clone()));
        tasks.spawn(serve_proxies(
            state(),
            listeners.secured_xds,
            Some((door, self.served.clone())),
            stopped(),
        ));
        Ok(tasks)
    }
}

/// How a task ended; a panic goes on here.
fn outcome(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    match ended {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A server that cannot fail.
async fn server(task: impl Future<Output = ()>) -> Result<(), Error> {
    task.await;
    Ok(())
}

/// A task that ends only by a failure of what it follows.
async fn endless(task: impl Future<Output = ()>) -> Result<(), Error> {
    task.await;
    Err(Error::Watch)
}

/// Serves proxies once the cluster is known and, where there is TLS, a certificate to show. Until
/// then their connections wait in the listener.
async fn serve_proxies(
    state: Arc<State>,
    listener: TcpListener,
    door: Option<(Door, Arc<Served>)>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut synced = state.synced();
    tokio::select! {
        synced = synced.wait_for(|synced| *synced) => if synced.is_err() { return Ok(()) },
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
    }
    let mut stopping = stopped.clone();
    let shutdown = async { drop(stopping.wait_for(|stopped| *stopped).await) };
    let publisher = state.publisher.clone();
    let Some((door, served)) = door else {
        xds::serve(listener, publisher, shutdown).await?;
        return Ok(());
    };
    tokio::select! {
        () = served.ready() => {}
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
    }
    xds::serve_secured(listener, publisher, door, shutdown).await?;
    Ok(())
}

/// Serves the webhooks once there is a certificate.
async fn serve_webhooks(
    state: Arc<State>,
    served: Arc<Served>,
    webhook: Arc<Webhook>,
    listener: TcpListener,
    stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut stopping = stopped.clone();
    tokio::select! {
        () = served.ready() => {}
        _ = stopping.wait_for(|stopped| *stopped) => return Ok(()),
    }
    let acceptor = TlsAcceptor::from(Arc::new(authority::server_config(served)?));
    state.is_webhook_ready.store(true, Ordering::Relaxed);
    http::serve(listener, Some(acceptor), webhook.handler(), stopped).await;
    Ok(())
}

// === impl Listeners ===

impl Listeners {
    /// Opens the ports of the settings.
    ///
    /// # Errors
    /// When one cannot be opened, with its address.
    pub async fn bind(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            xds: http::bind(settings.xds_address).await?,
            secured_xds: http::bind(settings.secured_xds_address).await?,
            http: http::bind(settings.http_address).await?,
            monitoring: http::bind(settings.monitoring_address).await?,
            webhook: http::bind(settings.webhook_address).await?,
        })
    }

    /// Where proxies connect in plaintext.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn xds_address(&self) -> std::io::Result<SocketAddr> {
        self.xds.local_addr()
    }

    /// Where proxies connect with TLS and a token.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn secured_xds_address(&self) -> std::io::Result<SocketAddr> {
        self.secured_xds.local_addr()
    }
}
