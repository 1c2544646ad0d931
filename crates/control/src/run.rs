//! The life of the control plane: listen, learn the cluster, serve, end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::engine::State;
use crate::watch::with_causes;
use crate::webhook::authority::{self, Authority, Served};
use crate::webhook::{Webhook, registration};
use crate::{Error, Settings, debug, engine, http, metrics, status, watch as watches};

/// How long to wait for an API server that does not answer yet.
const RETRY: Duration = Duration::from_secs(2);

/// Every port, open.
struct Listeners {
    xds: TcpListener,
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
    let state = Arc::new(State::new(&settings));
    let (stop, stopped) = watch::channel(false);
    let webhook = Arc::new(Webhook::new(settings.clone(), state.clone()));
    let mut servers = JoinSet::new();
    let pages = debug::handler(state.clone(), settings.clone());
    servers.spawn(server(http::serve(
        listeners.http,
        None,
        pages,
        stopped.clone(),
    )));
    let numbers = metrics::handler(state.clone(), webhook.clone());
    let listener = listeners.monitoring;
    servers.spawn(server(http::serve(
        listener,
        None,
        numbers,
        stopped.clone(),
    )));
    tracing::info!(namespace = %settings.namespace, revision = %settings.revision,
        version = env!("CARGO_PKG_VERSION"), "the control plane starts");

    let mut followers = JoinSet::new();
    let events = watches::start(&client, &settings);
    followers.spawn(engine::run(state.clone(), settings.clone(), events));
    followers.spawn(endless(status::run(state.clone(), client.clone())));
    let listener = listeners.webhook;
    servers.spawn(certify(
        client,
        settings,
        state.clone(),
        webhook,
        listener,
        stopped.clone(),
    ));
    servers.spawn(serve_proxies(state.clone(), listeners.xds, stopped));

    let result = tokio::select! {
        () = shutdown => Ok(()),
        Some(ended) = followers.join_next() => outcome(ended),
        Some(ended) = servers.join_next() => outcome(ended),
    };
    tracing::info!("the control plane ends");
    // Proxies and the API server get their answers; what follows the cluster has nothing to end.
    followers.abort_all();
    stop.send_replace(true);
    state.publisher.close();
    while servers.join_next().await.is_some() {}
    result
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

/// Serves proxies once the cluster is known. Until then their connections wait in the listener.
async fn serve_proxies(
    state: Arc<State>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut synced = state.synced();
    tokio::select! {
        synced = synced.wait_for(|synced| *synced) => if synced.is_err() { return Ok(()) },
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
    }
    let shutdown = async { drop(stopped.wait_for(|stopped| *stopped).await) };
    lateen_xds::server::serve(listener, state.publisher.clone(), shutdown).await?;
    Ok(())
}

/// Serves the webhooks, and has them called.
async fn certify(
    client: Client,
    settings: Settings,
    state: Arc<State>,
    webhook: Arc<Webhook>,
    listener: TcpListener,
    stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut stopping = stopped.clone();
    let authority = tokio::select! {
        authority = Box::pin(wait_for_authority(&client, &settings)) => authority,
        _ = stopping.wait_for(|stopped| *stopped) => return Ok(()),
    };
    let served = Arc::new(Served::default());
    served.set(authority.issue(&settings)?);
    let acceptor = TlsAcceptor::from(Arc::new(authority::server_config(served.clone())?));
    let handler = webhook.handler();
    let certificate = authority.certificate.clone();
    state.is_webhook_ready.store(true, Ordering::Relaxed);
    let kept = async {
        tokio::join!(
            authority::renew(served, authority, settings.clone()),
            registration::keep(client, settings.clone(), state, certificate),
        )
    };
    tokio::select! {
        () = http::serve(listener, Some(acceptor), handler, stopped) => {}
        _ = kept => {}
    }
    Ok(())
}

/// The authority, as soon as the API server answers.
async fn wait_for_authority(client: &Client, settings: &Settings) -> Authority {
    loop {
        match Box::pin(authority::load(client, settings)).await {
            Ok(authority) => return authority,
            Err(error) => {
                tracing::warn!(
                    error = with_causes(&error),
                    "no authority for the webhooks yet; trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

// === impl Listeners ===

impl Listeners {
    async fn bind(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            xds: http::bind(settings.xds_address).await?,
            http: http::bind(settings.http_address).await?,
            monitoring: http::bind(settings.monitoring_address).await?,
            webhook: http::bind(settings.webhook_address).await?,
        })
    }
}
