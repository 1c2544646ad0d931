//! One pod: an actor that hears of everything that happens to it and decides what comes next.
//!
//! ```text
//! prepare (namespaces, volumes) ─► run its containers as `lifecycle` says ─► stop ─► gone
//!      ▲ again until it works            ▲ runs, probes and hooks report          │
//!                                        └── every report is followed by a status ┘
//! ```
//!
//! Stopping, whether the pod is deleted or has finished: every hook runs at once, main containers
//! get SIGTERM after their hook, sidecars once all main containers have ended, the last one first;
//! whoever is left at the end of the grace period is killed.

mod prepare;
mod report;
mod runs;
mod stopping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::Resource as _;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::Context;
use super::action::Target;
use super::lifecycle::{Finish, Lifecycle};
use super::probe::{self, Finding};
use super::run::{Launched, Outcome};
use super::sandbox::Sandbox;
use super::volumes::Volumes;
use crate::events::Kind as EventKind;
use stopping::Stopping;

/// Who records events of pods.
const COMPONENT: &str = "kubelet";

/// What a worker is told from outside.
#[derive(Debug)]
pub(crate) enum News {
    /// The pod has changed.
    Pod(Arc<Pod>),
    /// It is no longer in the API.
    Gone,
}

/// What a run of a container reports.
#[derive(Debug)]
enum Report {
    Launched(Launched),
    Hooked(Result<(), String>),
    Found(probe::Kind, Finding),
    Over(Outcome),
}

/// A report of a container's run.
#[derive(Debug)]
struct Letter {
    container: usize,
    run: u64,
    report: Report,
}

/// A run of a container that is not over.
#[derive(Debug)]
struct Run {
    number: u64,
    target: Option<Target>,
    /// What must hold before it counts as started.
    awaits_hook: bool,
    awaits_startup: bool,
    /// Its probes and its hook; they end with it.
    tasks: JoinSet<()>,
    /// What stops it, if something does.
    stop: Option<JoinHandle<()>>,
}

struct Worker {
    context: Arc<Context>,
    pod: Arc<Pod>,
    lifecycle: Lifecycle,
    sandbox: Option<Arc<Sandbox>>,
    volumes: Option<Arc<Volumes>>,
    runs: BTreeMap<usize, Run>,
    next_run: u64,
    letters: mpsc::UnboundedSender<Letter>,
    started: Timestamp,
    finish: Option<Finish>,
    failure: Option<(&'static str, String)>,
    stopping: Option<Stopping>,
    is_gone: bool,
    /// Whether it had finished before this node began; its status is history.
    is_history: bool,
    /// When volumes are to be looked at again; preparing, when to try again.
    refresh: Option<Instant>,
    writer: report::Writer,
    sent: Option<PodStatus>,
}

/// Runs a pod until it is gone from the API and from this machine.
pub(crate) async fn run(
    context: Arc<Context>,
    pod: Arc<Pod>,
    mut news: mpsc::UnboundedReceiver<News>,
) {
    let (letters, mut inbox) = mpsc::unbounded_channel();
    let mut worker = Worker::new(context, pod, letters);
    let mut changes = worker.context.objects.changes();
    loop {
        let wake = worker.step().await;
        if worker.is_over() {
            break;
        }
        worker.write_status();
        let pause = async {
            match wake {
                Some(wake) => tokio::time::sleep_until(wake.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(news) = news.recv() => worker.hear(news),
            Some(letter) = inbox.recv() => worker.read(letter),
            Ok(()) = changes.changed(), if worker.copies_objects() => worker.objects_changed(),
            () = pause => {}
        }
        // Everything that has come meanwhile makes one status.
        while let Ok(letter) = inbox.try_recv() {
            worker.read(letter);
        }
        while let Ok(news) = news.try_recv() {
            worker.hear(news);
        }
    }
    worker.remove().await;
}

// === impl Worker ===

impl Worker {
    fn new(context: Arc<Context>, pod: Arc<Pod>, letters: mpsc::UnboundedSender<Letter>) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let mut lifecycle = Lifecycle::new(&spec);
        let before = pod.status.clone().unwrap_or_default();
        lifecycle.resume(&before);
        let started = before.start_time.map_or_else(Timestamp::now, |time| time.0);
        let finish = match before.phase.as_deref() {
            Some("Succeeded") => Some(Finish::Succeeded),
            Some("Failed") => Some(Finish::Failed),
            _ => None,
        };
        Self {
            writer: report::Writer::start(context.client.clone(), &pod),
            context,
            pod,
            lifecycle,
            sandbox: None,
            volumes: None,
            runs: BTreeMap::new(),
            next_run: 0,
            letters,
            started,
            finish,
            is_history: finish.is_some(),
            failure: None,
            stopping: None,
            is_gone: false,
            refresh: None,
            sent: None,
        }
    }

    /// Does whatever is to be done now; returns when to ask again at the latest.
    async fn step(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.is_to_stop() {
            self.stop();
        }
        if self.stopping.is_some() {
            if self.runs.is_empty() {
                self.stopped();
            }
            // What stops a run has a clock of its own.
            return None;
        }
        if self.finish.is_some() {
            return None;
        }
        if self.refresh.is_none_or(|refresh| refresh <= now) {
            self.prepare().await;
        }
        let mut wake = self.refresh;
        let mut sooner = |at: Option<Instant>| {
            wake = match (wake, at) {
                (Some(wake), Some(at)) => Some(wake.min(at)),
                (wake, at) => wake.or(at),
            };
        };
        sooner(self.active_deadline(now));
        if self.sandbox.is_some() && self.volumes.is_some() {
            let step = self.lifecycle.next(now);
            for container in step.start {
                self.launch(container);
            }
            sooner(step.wake);
            if let Some(finish) = step.finish {
                self.finish = Some(finish);
                self.stop();
                // The runs that are left, sidecars, end by their own time.
                sooner(Some(now));
            }
        }
        wake
    }

    fn is_to_stop(&self) -> bool {
        self.is_gone || self.pod.metadata.deletion_timestamp.is_some() || self.failure.is_some()
    }

    /// Whether there is nothing left to do or to wait for.
    fn is_over(&self) -> bool {
        let is_wanted_gone = self.is_gone || self.pod.metadata.deletion_timestamp.is_some();
        is_wanted_gone
            && self.runs.is_empty()
            && self.stopping.as_ref().is_none_or(Stopping::is_done)
    }

    /// When the pod has been active for too long; fails it if that is now.
    fn active_deadline(&mut self, now: Instant) -> Option<Instant> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let active = Timestamp::now().duration_since(self.started);
        let left = seconds.saturating_sub(active.as_secs());
        if left > 0 {
            return Some(now + Duration::from_secs(u64::try_from(left).unwrap_or(0)));
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.failure = Some(("DeadlineExceeded", message.into()));
        self.finish = Some(Finish::Failed);
        Some(now)
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Gone => self.is_gone = true,
            News::Pod(pod) => {
                let changed: Vec<_> = changed_images(&self.pod, &pod);
                self.pod = pod;
                for (name, image) in changed {
                    self.change_image(&name, image);
                }
                if let (Some(stopping), Some(grace)) = (
                    &self.stopping,
                    self.pod.metadata.deletion_grace_period_seconds,
                ) {
                    stopping.shorten(Duration::from_secs(u64::try_from(grace).unwrap_or(0)));
                }
            }
        }
    }

    fn name_of(&self, container: usize) -> String {
        self.lifecycle.slots[container].spec.name.clone()
    }

    fn event(
        &self,
        container: Option<&str>,
        kind: EventKind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let (events, object) = (&self.context.events, self.object(container));
        events.record(COMPONENT, object, kind, reason, message.into());
    }

    /// The pod, or its container of this name, for events.
    fn object(&self, container: Option<&str>) -> ObjectReference {
        let mut object = self.pod.object_ref(&());
        object.field_path = container.map(|name| format!("spec.containers{{{name}}}"));
        object
    }
}

/// The containers whose image is another one now.
fn changed_images(before: &Pod, after: &Pod) -> Vec<(String, Option<String>)> {
    let containers = |pod: &Pod| -> BTreeMap<String, Option<String>> {
        let spec = pod.spec.as_ref();
        let main = spec
            .map(|spec| spec.containers.as_slice())
            .unwrap_or_default();
        let init = spec
            .and_then(|spec| spec.init_containers.as_deref())
            .unwrap_or_default();
        let all = init.iter().chain(main);
        all.map(|container| (container.name.clone(), container.image.clone()))
            .collect()
    };
    let before = containers(before);
    let after = containers(after).into_iter();
    after
        .filter(|(name, image)| before.get(name).is_some_and(|old| old != image))
        .collect()
}
