//! Failures of watches: which they are, how long to wait, and how much to say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::core::Status;
use kube::runtime::watcher;
use lateen_xds::client::Backoff;

/// How long to wait before a watch that failed is tried again. There are some twenty watches, so
/// an API server that comes back sees four requests a second from here.
pub(crate) const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(250),
    max: Duration::from_secs(5),
};

/// How many watches fail. An API server that is away is one piece of news, not one for each.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicUsize);

// === impl Outage ===

impl Outage {
    pub(super) fn began(&self, kind: &str, error: &watcher::Error) {
        let error = with_causes(error);
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                kind,
                error,
                "cannot watch; serving what is known, and trying again"
            );
        } else {
            tracing::debug!(kind, error, "cannot watch either");
        }
    }

    pub(super) fn ended(&self, kind: &str) {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!(kind, "watching everything again");
        }
    }
}

/// The answer of the API server, if that is what failed.
fn answer(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// Answers whether the API server does not know the kind. One that is starting may say so too,
/// until it has read its CRDs; it is asked again soon.
pub(super) fn is_absent(error: &watcher::Error) -> bool {
    answer(error).is_some_and(|status| status.code == 404)
}

/// Answers whether the API server has forgotten what happened since the watch's last event.
pub(crate) fn is_expired(error: &watcher::Error) -> bool {
    answer(error).is_some_and(|status| status.code == 410)
}

/// An error with what caused it, which is where the news is.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
