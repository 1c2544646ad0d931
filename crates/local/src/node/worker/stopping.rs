//! How a pod's containers are ended, in order and in time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use super::super::lifecycle::{Finish, Kind, Lifecycle, State};
use super::super::run::Stop;
use super::{COMPONENT, Worker};
use crate::events::Kind as EventKind;

/// Kubernetes' grace period.
const GRACE: i64 = 30;
/// What the containers of a pod get that was removed by force.
const FORCED: Duration = Duration::from_secs(1);

/// A pod that is being stopped.
#[derive(Debug)]
pub(super) struct Stopping {
    deadline: watch::Sender<tokio::time::Instant>,
    /// Containers that have not ended, each with what tells it that it is its turn.
    left: BTreeMap<usize, (Kind, watch::Sender<bool>)>,
    is_done: bool,
}

// === impl Stopping ===

impl Stopping {
    fn new(grace: Duration, containers: impl Iterator<Item = (usize, Kind)>) -> Self {
        let left = containers.map(|(index, kind)| (index, (kind, watch::channel(false).0)));
        let stopping = Self {
            deadline: watch::channel(tokio::time::Instant::now() + grace).0,
            left: left.collect(),
            is_done: false,
        };
        stopping.tell_turns();
        stopping
    }

    /// When everything that is left is killed.
    #[cfg(test)]
    fn deadline(&self) -> tokio::time::Instant {
        *self.deadline.borrow()
    }

    /// Whether the pod has been taken down.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Notes a shorter grace period; a longer one changes nothing.
    pub(super) fn shorten(&self, grace: Duration) {
        let new = tokio::time::Instant::now() + grace;
        self.deadline.send_if_modified(|deadline| {
            let is_sooner = new < *deadline;
            *deadline = new.min(*deadline);
            is_sooner
        });
    }

    /// Notes that a container has ended.
    pub(super) fn ended(&mut self, container: usize) {
        self.left.remove(&container);
        self.tell_turns();
    }

    /// Everything but sidecars at once; a sidecar when it is the last one left.
    fn tell_turns(&self) {
        let last = self.left.keys().max().copied();
        let only_sidecars = self.left.values().all(|(kind, _)| *kind == Kind::Sidecar);
        for (index, (kind, turn)) in &self.left {
            if *kind != Kind::Sidecar || (only_sidecars && Some(*index) == last) {
                turn.send_replace(true);
            }
        }
    }
}

impl Worker {
    /// Begins to stop the pod; without effect if that has begun.
    pub(super) fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let spec = self.pod.spec.as_ref();
        let grace = self
            .pod
            .metadata
            .deletion_grace_period_seconds
            .or(spec.and_then(|spec| spec.termination_grace_period_seconds))
            .unwrap_or(GRACE);
        let grace = if self.is_gone {
            FORCED
        } else {
            Duration::from_secs(u64::try_from(grace).unwrap_or(0))
        };
        let running: Vec<usize> = self.runs.keys().copied().collect();
        let kinds = running
            .iter()
            .map(|index| (*index, self.lifecycle.slots[*index].kind));
        self.stopping = Some(Stopping::new(grace, kinds));
        for container in running {
            // One that is just being launched is stopped when it runs.
            self.stop_run(container);
        }
    }

    /// Stops one run as the pod's stop says.
    pub(super) fn stop_run(&mut self, container: usize) {
        let Some(stopping) = &self.stopping else {
            return;
        };
        let Some((_, turn)) = stopping.left.get(&container) else {
            return;
        };
        let (deadline, turn) = (stopping.deadline.subscribe(), turn.subscribe());
        let name = self.name_of(container);
        let message = format!("Stopping container {name}");
        self.begin_stop(container, message, deadline, turn);
    }

    /// Ends one run so that it is started again: it is unhealthy.
    pub(super) fn kill(&mut self, container: usize, message: String, grace: Option<i64>) {
        if self.stopping.is_some() {
            return;
        }
        let spec = self.pod.spec.as_ref();
        let grace = grace
            .or(spec.and_then(|spec| spec.termination_grace_period_seconds))
            .unwrap_or(GRACE);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let (_, deadline) = watch::channel(tokio::time::Instant::now() + grace);
        let (_, turn) = watch::channel(true);
        self.begin_stop(container, message, deadline, turn);
    }

    fn begin_stop(
        &mut self,
        container: usize,
        message: String,
        deadline: watch::Receiver<tokio::time::Instant>,
        turn: watch::Receiver<bool>,
    ) {
        let name = self.name_of(container);
        let (events, object) = (self.context.events.clone(), self.object(Some(&name)));
        let Some(run) = self.runs.get_mut(&container) else {
            return;
        };
        let Some(target) = run.target.clone() else {
            return;
        };
        if let Some(earlier) = run.stop.take() {
            earlier.abort();
        }
        let hook = target
            .container
            .lifecycle
            .as_ref()
            .and_then(|it| it.pre_stop.clone());
        let stop = Stop {
            target,
            hook,
            deadline,
            turn,
        };
        run.stop = Some(tokio::spawn(stop.carry_out(move |why| {
            let message = format!("PreStopHook failed: {why}");
            let kind = EventKind::Warning;
            events.record(
                COMPONENT,
                object.clone(),
                kind,
                "FailedPreStopHook",
                message,
            );
        })));
        self.event(Some(&name), EventKind::Normal, "Killing", message);
    }

    /// Everything has ended: takes down what the containers shared and tells how it went.
    pub(super) fn stopped(&mut self) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.is_done {
            return;
        }
        stopping.is_done = true;
        self.sandbox = None;
        self.volumes = None;
        self.finish = Some(self.finish.unwrap_or_else(|| finish_of(&self.lifecycle)));
    }

    /// Gives a container another image; it is restarted with it.
    pub(super) fn change_image(&mut self, name: &str, image: Option<String>) {
        let Some(container) = self.lifecycle.find(name) else {
            return;
        };
        self.lifecycle.slots[container].spec.image = image;
        self.lifecycle.slots[container].restart_at_once();
        let message = format!("Container {name} definition changed, will be restarted");
        self.kill(container, message, None);
    }
}

/// How a pod counts that was ended from outside.
fn finish_of(lifecycle: &Lifecycle) -> Finish {
    let main = lifecycle
        .slots
        .iter()
        .filter(|slot| slot.kind == Kind::Main);
    let mut main = main.map(|slot| matches!(&slot.state, State::Ended(ended) if ended.code == 0));
    if main.all(|is_good| is_good) {
        Finish::Succeeded
    } else {
        Finish::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(stopping: &Stopping) -> Vec<usize> {
        let told = stopping.left.iter().filter(|(_, (_, turn))| *turn.borrow());
        told.map(|(index, _)| *index).collect()
    }

    #[tokio::test]
    async fn sidecars_end_after_the_main_containers_the_last_one_first() {
        let containers = [
            (0, Kind::Sidecar),
            (1, Kind::Sidecar),
            (2, Kind::Main),
            (3, Kind::Main),
        ];
        let mut stopping = Stopping::new(Duration::from_secs(30), containers.into_iter());
        assert_eq!(turns(&stopping), [2, 3]);
        stopping.ended(3);
        assert_eq!(turns(&stopping), [2]);
        stopping.ended(2);
        assert_eq!(turns(&stopping), [1]);
        stopping.ended(1);
        assert_eq!(turns(&stopping), [0]);
    }

    #[tokio::test]
    async fn grace_can_only_become_shorter() {
        let stopping = Stopping::new(Duration::from_secs(30), std::iter::empty());
        let first = stopping.deadline();
        stopping.shorten(Duration::from_secs(60));
        assert_eq!(stopping.deadline(), first);
        stopping.shorten(Duration::from_secs(1));
        assert!(stopping.deadline() < first);
    }
}
