//! The ports on which the proxy speaks about itself.
//!
//! | Port | Who reads it | Pages |
//! |---|---|---|
//! | 15000, localhost only | people, `lateen-proxy drain` | [`pages`] |
//! | 15020 | kubelet, Prometheus | [`status`]: readiness, metrics, the application's probes |
//! | 15021 | kubelet, load balancers | `/healthz/ready` |
//! | 15090 | Prometheus | `/stats/prometheus` |
//!
//! All of it runs on the main thread and costs the data path nothing.

pub mod fetch;
mod health;
mod insecure;
pub mod pages;
pub mod probe;
mod scrape;
pub mod server;
pub mod status;

use std::cell::RefCell;
use std::rc::Rc;

use tokio::time::Instant;

use crate::control::{FIRST_VERSION, Shown};
use crate::dns::server as dns;
use crate::lifecycle::Lifecycle;
use crate::observe::access_log::Sink;
use crate::settings::Settings;
use crate::worker::crew::Crew;

/// Changes what is logged.
pub type SetLevel = Box<dyn Fn(&str) -> Result<(), String>>;

/// What the pages show and change.
pub struct Context {
    /// What the proxy was told.
    pub settings: Settings,
    /// Configuration and metrics.
    pub shown: Rc<RefCell<Shown>>,
    /// What answers the application's DNS, if something does.
    pub dns: Option<Rc<dns::Server>>,
    /// The workers.
    pub crew: Rc<Crew>,
    /// From serving to the end.
    pub lifecycle: Rc<Lifecycle>,
    /// Changes what is logged.
    pub set_level: SetLevel,
    /// The access log.
    pub sink: Sink,
    /// When the process started.
    pub started: Instant,
}

/// Whether the proxy serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, for this reason.
    NotReady(String),
}

// === impl Context ===

impl Context {
    /// Answers whether the proxy serves: its first configuration is in use by every worker, its
    /// ports are open, and it is not about to end.
    pub fn readiness(&self) -> Readiness {
        let shown = self.shown.borrow();
        let Some(published) = &shown.published else {
            let link = &shown.link;
            let why = if link.is_connected {
                "connected to the control plane, waiting for the configuration".to_owned()
            } else if link.last_error.is_empty() {
                "connecting to the control plane".to_owned()
            } else {
                format!("cannot reach the control plane: {}", link.last_error)
            };
            return Readiness::NotReady(why);
        };
        if !self.crew.uses(published.version.min(FIRST_VERSION)) {
            return Readiness::NotReady("workers are taking up the configuration".into());
        }
        if let (Some(error), lateen_model::proxy::Role::Sidecar) =
            (shown.listener_errors.first(), self.settings.role)
        {
            return Readiness::NotReady(error.clone());
        }
        if self.lifecycle.is_draining() {
            return Readiness::NotReady("draining".into());
        }
        Readiness::Ready
    }
}
