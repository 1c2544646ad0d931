//! Events are news, not state: they are dropped after an hour, as in Kubernetes.

use std::sync::atomic::{AtomicI64, Ordering};

use k8s_openapi::jiff::Timestamp;

use super::object;
use super::server::Core;
use super::store::Key;

/// The life of an event after its last change, in seconds.
const LIFE: i64 = 3600;

/// How often old events are looked for, in seconds.
const SWEEP_EVERY: i64 = 60;

/// When old events were last looked for, in seconds since the Unix epoch.
#[derive(Default)]
pub(crate) struct LastSweep(AtomicI64);

/// Drops old events, at most once a minute.
pub(crate) fn expire(core: &Core) {
    let now = Timestamp::now().as_second();
    let last = core.last_sweep.0.load(Ordering::Relaxed);
    let is_due = now - last >= SWEEP_EVERY
        && core
            .last_sweep
            .0
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
    if !is_due {
        return;
    }
    for event in core.store.list("events", "", None).0 {
        let seen = ["lastTimestamp", "eventTime"]
            .into_iter()
            .map(|key| object::text(&event, &[key]))
            .chain([object::text(&event, &["metadata", "creationTimestamp"])])
            .filter_map(|text| text.parse::<Timestamp>().ok())
            .max();
        if seen.is_some_and(|seen| now - seen.as_second() > LIFE) {
            // Lost against another change: the event is news again.
            let _ = core
                .store
                .remove("events", &Key::of(&event), object::revision(&event));
        }
    }
}
