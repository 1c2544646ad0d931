//! The control plane: discovery, push, injection, validation, and what it tells users.
//!
//! It knows no proxy but through `lateen-xds`, and has one source of truth, the Kubernetes API:
//! on a cluster that of the cluster, on a laptop that of the local one. It cannot tell them apart.
//!
//! ```text
//!                watch ──► engine ──► index (a value) ──► xds::server::Publisher ──► proxies 15010
//! Kubernetes API   │                    ▲  │                     ▲  │                        15012
//!                  │      webhook 15017 ┘  └──► status ◄─ NACKs ─┼──┘
//!                  ├── secrets (those that gateways ask for) ────┘
//!                  ├── authority ──► certificate of 15012 and 15017, registration, roots
//!                  └── authenticate (tokens of proxies)   debug 8080, metrics 15014
//! ```
//!
//! Invariants:
//! - Nothing is served before every watch has listed its objects: a part of the mesh would make
//!   proxies forget the rest.
//! - While the API server is away, everything goes on with what is known.
//! - A bad object changes nothing but its own `status`.
//! - Keys leave on port 15012 only, to gateways with a token, of their own namespace.

mod authenticate;
mod authority;
mod debug;
mod engine;
mod http;
pub mod index;
pub mod inject;
mod metrics;
pub mod rbac;
mod roots;
mod run;
mod secrets;
mod settings;
pub mod status;
mod watch;
mod webhook;

pub use run::{Listeners, run, run_on, run_with};
pub use secrets::judge::judge as judge_credential;
pub use settings::Settings;

/// The Secret in which the mesh's certificate authority is kept.
pub const CA_SECRET: &str = "istio-ca-secret";

/// The ConfigMap of every namespace that holds the authority's certificate.
pub const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";

/// Why the control plane cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server does not answer, or forbids what is needed.
    #[error("Kubernetes API: {0}")]
    Kubernetes(#[from] kube::Error),
    /// There is no way to the API server.
    #[error("no cluster to connect to: {0}; run in a cluster or give a kubeconfig")]
    Configuration(String),
    /// A port cannot be listened to.
    #[error("{0}")]
    Listen(#[from] std::io::Error),
    /// A certificate cannot be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The Secret of the authority holds something else.
    #[error("Secret {secret} holds no authority: {why}; delete it to have one made")]
    Authority {
        /// The Secret.
        secret: String,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The xDS server failed.
    #[error(transparent)]
    Xds(#[from] lateen_xds::Error),
    /// Others keep changing what has to be changed.
    #[error("{what} is being changed by others; starting again may help")]
    Contended {
        /// The object.
        what: String,
    },
    /// A watch ended, which none does while the program runs.
    #[error("a watch of the cluster ended")]
    Watch,
}
