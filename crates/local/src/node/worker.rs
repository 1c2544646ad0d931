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
mod stopping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::Context;
use super::action::Target;
use super::events::Kind as EventKind;
use super::lifecycle::{Ended, Finish, Lifecycle, NO_IMAGE, Running};
use super::probe::{self, Finding};
use super::run::{Launched, Order, Outcome};
use super::sandbox::Sandbox;
use super::volumes::Volumes;
use stopping::Stopping;

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

    fn launch(&mut self, container: usize) {
        let (Some(sandbox), Some(volumes)) = (&self.sandbox, &self.volumes) else {
            return;
        };
        let slot = &mut self.lifecycle.slots[container];
        let is_first = slot.last.is_none();
        slot.starting();
        let spec = Arc::new(slot.spec.clone());
        let order = Order {
            context: Arc::clone(&self.context),
            pod: Arc::clone(&self.pod),
            container: Arc::clone(&spec),
            sandbox: Arc::clone(sandbox),
            volumes: Arc::clone(volumes),
            restarts: slot.restarts,
        };
        let number = self.next_run;
        self.next_run += 1;
        self.runs.insert(
            container,
            Run {
                number,
                target: None,
                awaits_hook: spec
                    .lifecycle
                    .as_ref()
                    .is_some_and(|it| it.post_start.is_some()),
                awaits_startup: spec.startup_probe.is_some(),
                tasks: JoinSet::new(),
                stop: None,
            },
        );
        if is_first {
            let image = spec.image.as_deref().unwrap_or_default();
            let message = format!("Container image {image:?} already present on machine");
            self.event(Some(&spec.name), EventKind::Normal, "Pulled", message);
        }
        let post = self.post(container, number);
        tokio::spawn(async move {
            let outcome = order
                .carry_out(|launched| post(Report::Launched(launched)))
                .await;
            post(Report::Over(outcome));
        });
    }

    /// A function with which a run reports.
    fn post(&self, container: usize, run: u64) -> impl Fn(Report) + Clone + Send + Sync + 'static {
        let letters = self.letters.clone();
        move |report| {
            // The worker ends after its runs; a letter to none is of no interest.
            let _ = letters.send(Letter {
                container,
                run,
                report,
            });
        }
    }

    fn read(&mut self, letter: Letter) {
        let is_current = self
            .runs
            .get(&letter.container)
            .is_some_and(|run| run.number == letter.run);
        if !is_current {
            return;
        }
        match letter.report {
            Report::Launched(launched) => self.launched(letter.container, launched),
            Report::Hooked(Ok(())) => self.passed(letter.container, |run| run.awaits_hook = false),
            Report::Hooked(Err(why)) => {
                let name = self.name_of(letter.container);
                self.event(Some(&name), EventKind::Warning, "FailedPostStartHook", why);
                self.kill(
                    letter.container,
                    format!("Container {name} failed its PostStartHook"),
                    None,
                );
            }
            Report::Found(kind, finding) => self.found(letter.container, kind, finding),
            Report::Over(outcome) => self.over(letter.container, outcome),
        }
    }

    fn launched(&mut self, container: usize, launched: Launched) {
        let name = self.name_of(container);
        self.event(
            Some(&name),
            EventKind::Normal,
            "Created",
            format!("Created container: {name}"),
        );
        self.event(
            Some(&name),
            EventKind::Normal,
            "Started",
            format!("Started container {name}"),
        );
        let post = self
            .runs
            .get(&container)
            .map(|run| self.post(container, run.number));
        let (Some(run), Some(post)) = (self.runs.get_mut(&container), post) else {
            return;
        };
        run.target = Some(launched.target.clone());
        let target = launched.target;
        let hook = target
            .container
            .lifecycle
            .as_ref()
            .and_then(|it| it.post_start.clone());
        if let Some(hook) = hook {
            let target = target.clone();
            run.tasks
                .spawn(async move { post(Report::Hooked(target.handle(&hook).await)) });
        }
        self.lifecycle.slots[container].running(Running {
            id: launched.id,
            since: launched.since,
            is_started: false,
            is_ready: false,
        });
        if self.stopping.is_some() {
            self.stop_run(container);
            return;
        }
        if target.container.startup_probe.is_some() {
            self.probe(container, probe::Kind::Startup);
        }
        self.passed(container, |_| {});
    }

    /// Notes that a condition of having started up holds, and goes on if it was the last.
    fn passed(&mut self, container: usize, note: impl FnOnce(&mut Run)) {
        let Some(run) = self.runs.get_mut(&container) else {
            return;
        };
        note(run);
        if run.awaits_hook || run.awaits_startup {
            return;
        }
        let Some(running) = self.lifecycle.slots[container].as_running() else {
            return;
        };
        if running.is_started {
            return;
        }
        running.is_started = true;
        let spec = &self.lifecycle.slots[container].spec;
        let (has_readiness, has_liveness) = (
            spec.readiness_probe.is_some(),
            spec.liveness_probe.is_some(),
        );
        if has_liveness {
            self.probe(container, probe::Kind::Liveness);
        }
        if has_readiness {
            self.probe(container, probe::Kind::Readiness);
        } else if let Some(running) = self.lifecycle.slots[container].as_running() {
            running.is_ready = true;
        }
    }

    fn probe(&mut self, container: usize, kind: probe::Kind) {
        let spec = &self.lifecycle.slots[container].spec;
        let probe = match kind {
            probe::Kind::Startup => &spec.startup_probe,
            probe::Kind::Readiness => &spec.readiness_probe,
            probe::Kind::Liveness => &spec.liveness_probe,
        };
        let Some(probe) = probe.clone() else { return };
        let Some((number, target)) = self
            .runs
            .get(&container)
            .and_then(|run| Some((run.number, run.target.clone()?)))
        else {
            return;
        };
        let post = self.post(container, number);
        if let Some(run) = self.runs.get_mut(&container) {
            run.tasks.spawn(async move {
                let report = |finding| post(Report::Found(kind, finding));
                probe::run(kind, probe, target, report).await;
            });
        }
    }

    fn found(&mut self, container: usize, kind: probe::Kind, finding: Finding) {
        let name = self.name_of(container);
        match (kind, finding) {
            (_, Finding::Failed(why)) => {
                let message = format!("{kind:?} probe failed: {why}");
                self.event(Some(&name), EventKind::Warning, "Unhealthy", message);
            }
            (probe::Kind::Startup, Finding::Healthy) => {
                self.passed(container, |run| run.awaits_startup = false);
            }
            (probe::Kind::Readiness, finding) => {
                if let Some(running) = self.lifecycle.slots[container].as_running() {
                    running.is_ready = finding == Finding::Healthy;
                }
            }
            (probe::Kind::Liveness, Finding::Healthy) => {}
            (probe::Kind::Startup | probe::Kind::Liveness, Finding::Unhealthy(_)) => {
                let what = if kind == probe::Kind::Startup {
                    "startup"
                } else {
                    "liveness"
                };
                let message = format!("Container {name} failed {what} probe, will be restarted");
                let spec = &self.lifecycle.slots[container].spec;
                let probe = match kind {
                    probe::Kind::Startup => &spec.startup_probe,
                    _ => &spec.liveness_probe,
                };
                let grace = probe
                    .as_ref()
                    .and_then(|probe| probe.termination_grace_period_seconds);
                self.kill(container, message, grace);
            }
        }
    }

    fn over(&mut self, container: usize, outcome: Outcome) {
        if let Some(run) = self.runs.remove(&container)
            && let Some(stop) = run.stop
        {
            stop.abort();
        }
        let now = Instant::now();
        let name = self.name_of(container);
        match outcome {
            Outcome::Held(held) => {
                let reason = if held.reason == NO_IMAGE {
                    held.reason
                } else {
                    "Failed"
                };
                self.event(
                    Some(&name),
                    EventKind::Warning,
                    reason,
                    held.message.clone(),
                );
                self.lifecycle.slots[container].held(held.reason, held.message, now);
            }
            Outcome::Ended(ended) => {
                if ended.reason == "StartError" {
                    let message = format!("Error: {}", ended.message);
                    self.event(Some(&name), EventKind::Warning, "Failed", message);
                }
                self.ended(container, ended, now);
            }
        }
        if let Some(stopping) = &mut self.stopping {
            stopping.ended(container);
        }
    }

    fn ended(&mut self, container: usize, ended: Ended, now: Instant) {
        let slot = &mut self.lifecycle.slots[container];
        let pause = slot.ended(ended, now);
        let name = slot.spec.name.clone();
        let will_restart = self.stopping.is_none() && self.lifecycle.next(now).finish.is_none();
        if pause.is_some() && will_restart {
            let pod = self.pod.metadata.name.as_deref().unwrap_or_default();
            let message = format!("Back-off restarting failed container {name} in pod {pod}");
            self.event(Some(&name), EventKind::Warning, "BackOff", message);
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
        self.context
            .events
            .record(&*self.pod, container, kind, reason, message);
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
