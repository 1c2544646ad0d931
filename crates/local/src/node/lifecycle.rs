//! What a pod's containers are, and which of them are to be started now: no clock, no process.
//!
//! ```text
//! init containers, in order ─► each must end well before the next begins
//!   a sidecar among them    ─► must have started, then goes on (restartPolicy: Always)
//! main containers, together ─► restarted as the pod's policy says
//!   all of them ended for good ─► the pod has finished; its sidecars are stopped
//! ```

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, PodSpec, PodStatus};
use k8s_openapi::jiff::Timestamp;

/// The pause before the second restart; the first is at once. It doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A container that ran for so long has proved itself.
const GOOD_RUN: Duration = Duration::from_secs(600);
/// How soon something is tried again that another object may repair at any time.
const RETRY: Duration = Duration::from_secs(1);
/// The same for what only somebody at this machine can repair.
const SLOW_RETRY: Duration = Duration::from_secs(15);
/// The reason of a container whose image is not mapped to a program.
pub(crate) const NO_IMAGE: &str = "ErrImageNeverPull";

/// The code of a container whose end nobody saw, as Kubernetes reports it.
const LOST: i32 = 137;

/// The containers of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    policy: Policy,
    /// Init containers and sidecars in order, then main containers.
    pub(crate) slots: Vec<Slot>,
    /// Whether every init container has ended well and every sidecar has started once.
    pub(crate) is_initialized: bool,
}

/// When a container that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    OnFailure,
    Never,
}

/// The part that a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ends before the next begins.
    Init,
    /// Begins before the main ones and ends after them.
    Sidecar,
    /// What the pod is for.
    Main,
}

/// A container and what has become of it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) kind: Kind,
    pub(crate) spec: Container,
    pub(crate) state: State,
    /// How often it was started again.
    pub(crate) restarts: i32,
    /// How it ended the last time but the present one.
    pub(crate) last: Option<Ended>,
    backoff: Backoff,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// Not yet started.
    New,
    /// It cannot be started for now.
    Held {
        /// Kubernetes' word for why.
        reason: &'static str,
        /// For the user.
        message: String,
    },
    /// On its way.
    Starting,
    /// It runs.
    Running(Running),
    /// It has ended.
    Ended(Ended),
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Running {
    /// Unique among all runs.
    pub(crate) id: String,
    pub(crate) since: Timestamp,
    /// Whether it has started up: its startup probe and its hook have succeeded.
    pub(crate) is_started: bool,
    /// Whether it may get requests.
    pub(crate) is_ready: bool,
}

/// A container that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    /// Empty if it never ran.
    pub(crate) id: String,
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
}

/// How a pod has finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Succeeded,
    Failed,
}

/// What is to be done now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Containers to start, by index.
    pub(crate) start: Vec<usize>,
    /// When to ask again, if nothing happens before.
    pub(crate) wake: Option<Instant>,
    /// No container will be started any more.
    pub(crate) finish: Option<Finish>,
}

/// When a container may be started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Backoff {
    /// The pause that it is in, or was in last.
    pause: Duration,
    /// Its end.
    due: Option<Instant>,
    /// The pause after the next end.
    next: Duration,
}

// === impl Lifecycle ===

impl Lifecycle {
    /// The containers of a pod, none of them started.
    pub(crate) fn new(spec: &PodSpec) -> Self {
        let policy = match spec.restart_policy.as_deref() {
            Some("Never") => Policy::Never,
            Some("OnFailure") => Policy::OnFailure,
            _ => Policy::Always,
        };
        let init = spec.init_containers.iter().flatten().map(|container| {
            let is_sidecar = container.restart_policy.as_deref() == Some("Always");
            Slot::new(
                if is_sidecar {
                    Kind::Sidecar
                } else {
                    Kind::Init
                },
                container,
            )
        });
        let main = spec
            .containers
            .iter()
            .map(|container| Slot::new(Kind::Main, container));
        Self {
            policy,
            slots: init.chain(main).collect(),
            is_initialized: false,
        }
    }

    /// Finds a container by name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.spec.name == name)
    }

    /// Takes over what an earlier node has left: after its end no container runs any more.
    pub(crate) fn resume(&mut self, status: &PodStatus) {
        let init = status.init_container_statuses.iter().flatten();
        for known in init.chain(status.container_statuses.iter().flatten()) {
            let Some(index) = self.find(&known.name) else {
                continue;
            };
            let slot = &mut self.slots[index];
            slot.restarts = known.restart_count;
            let Some(id) = known.container_id.clone() else {
                continue;
            };
            let state = known.state.clone().unwrap_or_default();
            let before = state.terminated;
            let code = before.as_ref().map_or(LOST, |before| before.exit_code);
            let ended = Ended {
                id,
                code,
                signal: None,
                reason: if code == 0 {
                    "Completed"
                } else {
                    "ContainerStatusUnknown"
                },
                message: match before {
                    Some(before) => before.message.unwrap_or_default(),
                    None => "The container ended with the cluster that ran it".into(),
                },
                started: state
                    .running
                    .and_then(|running| running.started_at)
                    .map(|time| time.0),
                finished: Timestamp::now(),
            };
            match slot.kind {
                Kind::Main => slot.state = State::Ended(ended),
                // They prepare a pod anew: what they did has gone with its volumes.
                Kind::Init | Kind::Sidecar => {
                    slot.restarts += 1;
                    slot.last = Some(ended);
                }
            }
        }
    }

    /// What is to be done now.
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        let mut step = Step::default();
        if !self.is_initialized {
            self.initialize(now, &mut step);
        }
        if !self.is_initialized {
            return step;
        }
        for (index, slot) in self.slots.iter().enumerate() {
            match slot.kind {
                Kind::Sidecar => slot.start_when_due(index, now, &mut step),
                Kind::Main if self.wants(slot) => slot.start_when_due(index, now, &mut step),
                Kind::Init | Kind::Main => {}
            }
        }
        step.finish = self.finish();
        if step.finish.is_some() {
            step.start.clear();
        }
        step
    }

    /// Walks through the init containers up to the first that is not done.
    fn initialize(&mut self, now: Instant, step: &mut Step) {
        for (index, slot) in self.slots.iter().enumerate() {
            let is_done = match (slot.kind, &slot.state) {
                (Kind::Main, _) => true,
                (Kind::Init, State::Ended(ended)) => {
                    if ended.code != 0 && self.policy == Policy::Never {
                        step.finish = Some(Finish::Failed);
                        return;
                    }
                    ended.code == 0
                }
                (Kind::Sidecar, State::Running(running)) => running.is_started,
                (Kind::Init | Kind::Sidecar, _) => false,
            };
            if !is_done {
                slot.start_when_due(index, now, step);
                return;
            }
        }
        self.is_initialized = true;
    }

    /// Whether a main container is to run (again).
    fn wants(&self, slot: &Slot) -> bool {
        match (&slot.state, self.policy) {
            (State::Ended(_), Policy::Never) => false,
            (State::Ended(ended), Policy::OnFailure) => ended.code != 0,
            _ => true,
        }
    }

    fn finish(&self) -> Option<Finish> {
        let main = || self.slots.iter().filter(|slot| slot.kind == Kind::Main);
        if main().any(|slot| self.wants(slot)) {
            return None;
        }
        let is_good = |slot: &Slot| matches!(&slot.state, State::Ended(ended) if ended.code == 0);
        Some(if main().all(is_good) {
            Finish::Succeeded
        } else {
            Finish::Failed
        })
    }
}

// === impl Slot ===

impl Slot {
    fn new(kind: Kind, spec: &Container) -> Self {
        Self {
            kind,
            spec: spec.clone(),
            state: State::New,
            restarts: 0,
            last: None,
            backoff: Backoff::default(),
        }
    }

    /// Notes that it is being started.
    pub(crate) fn starting(&mut self) {
        if let State::Ended(ended) = std::mem::replace(&mut self.state, State::Starting) {
            self.last = Some(ended);
            self.restarts += 1;
        }
    }

    /// Notes that it runs.
    pub(crate) fn running(&mut self, running: Running) {
        self.state = State::Running(running);
    }

    /// Notes that it could not be started and is to be tried again soon.
    pub(crate) fn held(&mut self, reason: &'static str, message: String, now: Instant) {
        self.state = State::Held { reason, message };
        let retry = if reason == NO_IMAGE {
            SLOW_RETRY
        } else {
            RETRY
        };
        self.backoff.due = Some(now + retry);
    }

    /// Notes that it has ended; returns the pause before it is started again, if there is one.
    pub(crate) fn ended(&mut self, ended: Ended, now: Instant) -> Option<Duration> {
        let run = ended
            .started
            .and_then(|started| Duration::try_from(ended.finished.duration_since(started)).ok());
        self.state = State::Ended(ended);
        self.backoff.after(run.unwrap_or_default(), now)
    }

    /// Has it started again without a pause, because its spec has changed.
    pub(crate) fn restart_at_once(&mut self) {
        self.backoff = Backoff::default();
    }

    /// Whether something that it refers to is missing.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Has it tried again now if it is held.
    pub(crate) fn try_again(&mut self, now: Instant) {
        if self.is_held() {
            self.backoff.due = Some(now);
        }
    }

    /// Whether it waits for the end of a pause.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        self.backoff.due.filter(|due| *due > now)?;
        Some(self.backoff.pause)
    }

    pub(crate) fn as_running(&mut self) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    fn start_when_due(&self, index: usize, now: Instant, step: &mut Step) {
        if matches!(self.state, State::Starting | State::Running(_)) {
            return;
        }
        match self.backoff.due {
            Some(due) if due > now => {
                step.wake = Some(step.wake.map_or(due, |wake| wake.min(due)));
            }
            _ => step.start.push(index),
        }
    }
}

// === impl Backoff ===

impl Backoff {
    fn after(&mut self, run: Duration, now: Instant) -> Option<Duration> {
        self.pause = if run >= GOOD_RUN {
            Duration::ZERO
        } else {
            self.next
        };
        self.due = Some(now + self.pause);
        self.next = if self.pause.is_zero() {
            FIRST_PAUSE
        } else {
            (self.pause * 2).min(LONGEST_PAUSE)
        };
        (!self.pause.is_zero()).then_some(self.pause)
    }
}

#[cfg(test)]
mod tests;
