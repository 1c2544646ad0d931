//! From serving to the end: how a proxy goes without losing a request.
//!
//! ```text
//! Serving ── preStop (POST /drain) or SIGTERM ──► Draining ── SIGTERM, after the drain ──► Closing
//!                     inbound answers say `Connection: close`,        inbound accepts no more,
//!                     everything is still accepted                    outbound serves on
//! ```
//!
//! Kubernetes takes a pod out of its services at the same time as it tells it to end, so calls
//! arrive for a while: that is what a drain waits for. In `Closing` the proxy waits for what runs,
//! and no longer than [`DrainSettings::shutdown`].

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::settings::DrainSettings;
use crate::worker::Phase;
use crate::worker::crew::Crew;

/// How often it is looked whether something still runs.
const LOOK: Duration = Duration::from_millis(50);

/// Where the proxy is in its life.
#[derive(Debug)]
pub struct Lifecycle {
    settings: DrainSettings,
    crew: Rc<Crew>,
    draining_since: Cell<Option<Instant>>,
    end: Notify,
}

// === impl Lifecycle ===

impl Lifecycle {
    /// A proxy that serves.
    pub fn new(settings: DrainSettings, crew: Rc<Crew>) -> Self {
        Self {
            settings,
            crew,
            draining_since: Cell::new(None),
            end: Notify::new(),
        }
    }

    /// Answers whether the proxy is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining_since.get().is_some()
    }

    /// Begins to drain, if it has not begun.
    pub fn begin_drain(&self) -> Instant {
        if let Some(since) = self.draining_since.get() {
            return since;
        }
        let now = Instant::now();
        self.draining_since.set(Some(now));
        self.crew.enter(Phase::Draining);
        tracing::info!(duration = ?self.settings.duration, "draining");
        now
    }

    /// Drains to the end: for its duration, and if so set until no connection is active.
    pub async fn drain(&self) {
        let since = self.begin_drain();
        sleep_until(since + self.settings.duration).await;
        if self.settings.ends_when_idle {
            let last = since + self.settings.shutdown.max(self.settings.duration);
            while Instant::now() < last && self.crew.sum(|it| &it.drained_connections) > 0 {
                sleep(LOOK).await;
            }
        }
    }

    /// Asks the process to end as by SIGTERM.
    pub fn ask_to_end(&self) {
        self.end.notify_one();
    }

    /// Waits until somebody asked for the end.
    pub async fn asked_to_end(&self) {
        self.end.notified().await;
    }

    /// Stops accepting from outside, waits for what runs, and has the last lines logged.
    pub async fn close(&self) {
        self.finish().await;
        self.crew.flush();
        // The workers hear of it within a turn of their loops.
        sleep(LOOK).await;
    }

    async fn finish(&self) {
        self.crew.enter(Phase::Closing);
        let last = Instant::now() + self.settings.shutdown;
        // The workers hear of it within a turn of their loops.
        sleep(LOOK).await;
        loop {
            let running = self.crew.sum(|it| &it.exchanges)
                + self.crew.sum(|it| &it.mirrors)
                + self.crew.sum(|it| &it.tunnels);
            if running == 0 {
                return;
            }
            if Instant::now() >= last {
                tracing::warn!(running, "ending with work under way");
                return;
            }
            sleep(LOOK).await;
        }
    }
}
