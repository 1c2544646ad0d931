//! The runs of a pod's containers: begun, listened to, ended.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::super::lifecycle::{Ended, NO_IMAGE, Running};
use super::super::probe::{self, Finding};
use super::super::run::{Launched, Order, Outcome};
use super::{Letter, Report, Run, Worker};
use crate::events::Kind as EventKind;

impl Worker {
    /// Starts a container.
    pub(super) fn launch(&mut self, container: usize) {
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
        let image = spec.image.as_deref().unwrap_or_default();
        // Of an image that stands for nothing the run itself tells.
        if is_first && self.context.images.resolve(image).is_ok() {
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

    /// Takes a report of a run; one of an earlier run means nothing any more.
    pub(super) fn read(&mut self, letter: Letter) {
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
}
