//! A pod's status, as the kubelet would write it: a function of what is known.

use std::net::Ipv4Addr;
use std::time::Instant;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::lifecycle::{Ended, Finish, Kind, Lifecycle, Slot, State};

/// What a status is made from.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// The pod as the API has it: conditions of others, times of earlier changes.
    pub(crate) pod: &'a Pod,
    /// The status that was last written, which the pod may not show yet.
    pub(crate) sent: Option<&'a PodStatus>,
    pub(crate) lifecycle: &'a Lifecycle,
    /// The pod's address, once it has one.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) node_address: Ipv4Addr,
    /// When the node took the pod over.
    pub(crate) started: Timestamp,
    /// How it finished, if it has.
    pub(crate) finish: Option<Finish>,
    /// Why it failed, beyond its containers: reason and message.
    pub(crate) failure: Option<&'a (&'static str, String)>,
    pub(crate) now: Timestamp,
    pub(crate) instant: Instant,
}

/// The conditions that are the node's; all others are somebody else's and stay.
const OWN: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

// === impl View ===

impl View<'_> {
    /// The status.
    pub(crate) fn status(&self) -> PodStatus {
        let statuses = |is_wanted: fn(Kind) -> bool| -> Vec<_> {
            let slots = self
                .lifecycle
                .slots
                .iter()
                .filter(|slot| is_wanted(slot.kind));
            slots.map(|slot| self.container(slot)).collect()
        };
        let init = statuses(|kind| kind != Kind::Main);
        let phase = self.phase();
        PodStatus {
            phase: Some(phase.into()),
            conditions: Some(self.conditions(phase)),
            host_ip: Some(self.node_address.to_string()),
            host_ips: Some(vec![HostIP {
                ip: self.node_address.to_string(),
            }]),
            pod_ip: self.address.map(|address| address.to_string()),
            pod_ips: self.address.map(|address| {
                vec![PodIP {
                    ip: address.to_string(),
                }]
            }),
            start_time: Some(Time(self.started)),
            init_container_statuses: (!init.is_empty()).then_some(init),
            container_statuses: Some(statuses(|kind| kind == Kind::Main)),
            reason: self.failure.map(|(reason, _)| (*reason).to_owned()),
            message: self.failure.map(|(_, message)| message.clone()),
            ..PodStatus::default()
        }
    }

    fn phase(&self) -> &'static str {
        match self.finish {
            Some(Finish::Succeeded) => return "Succeeded",
            Some(Finish::Failed) => return "Failed",
            None => {}
        }
        let has_run = |slot: &Slot| {
            slot.last.is_some() || matches!(slot.state, State::Running(_) | State::Ended(_))
        };
        let mut main = self
            .lifecycle
            .slots
            .iter()
            .filter(|slot| slot.kind == Kind::Main);
        if self.lifecycle.is_initialized && main.all(has_run) {
            "Running"
        } else {
            "Pending"
        }
    }

    fn conditions(&self, phase: &str) -> Vec<PodCondition> {
        let slots = &self.lifecycle.slots;
        let names = |is_wanted: &dyn Fn(&Slot) -> bool| -> Vec<&str> {
            let wanted = slots.iter().filter(|slot| is_wanted(slot));
            wanted.map(|slot| slot.spec.name.as_str()).collect()
        };
        let uninitialized = if self.lifecycle.is_initialized {
            Vec::new()
        } else {
            names(&|slot| match (slot.kind, &slot.state) {
                (Kind::Main, _) => false,
                (Kind::Init, State::Ended(ended)) => ended.code != 0,
                (Kind::Sidecar, State::Running(running)) => !running.is_started,
                (Kind::Init | Kind::Sidecar, _) => true,
            })
        };
        let unready = names(&|slot| slot.kind != Kind::Init && !is_ready(slot));
        let initialized = incomplete("ContainersNotInitialized", "incomplete", &uninitialized);
        let mut ready = incomplete("ContainersNotReady", "unready", &unready);
        if phase == "Succeeded" {
            ready = Err(("PodCompleted".into(), String::new()));
        } else if phase == "Failed" {
            ready = Err(("PodFailed".into(), String::new()));
        }
        let gates = if ready.is_ok() {
            self.gates()
        } else {
            ready.clone()
        };
        let reachable = match self.address {
            Some(_) if self.finish.is_none() => Ok(()),
            _ => Err((String::new(), String::new())),
        };
        let own = [reachable, initialized, gates, ready, Ok(())];
        let mut conditions: Vec<_> = OWN
            .iter()
            .zip(own)
            .map(|(kind, result)| self.condition(kind, result))
            .collect();
        let known = self
            .pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let others = known
            .into_iter()
            .flatten()
            .filter(|known| !OWN.contains(&known.type_.as_str()));
        conditions.extend(others.cloned());
        conditions
    }

    /// Whether everything else that the pod's readiness waits for holds.
    fn gates(&self) -> Result<(), (String, String)> {
        let spec = self.pod.spec.as_ref();
        let known = self
            .pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref());
        let missing: Vec<&str> = spec
            .and_then(|spec| spec.readiness_gates.as_ref())
            .into_iter()
            .flatten()
            .map(|gate| gate.condition_type.as_str())
            .filter(|gate| {
                let holds = |known: &&PodCondition| known.type_ == *gate && known.status == "True";
                known.unwrap_or_default().iter().find(holds).is_none()
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("the status of pod readiness gates {missing:?} is not \"True\"");
        Err(("ReadinessGatesNotReady".into(), message))
    }

    fn condition(&self, kind: &str, result: Result<(), (String, String)>) -> PodCondition {
        let status = if result.is_ok() { "True" } else { "False" };
        let (reason, message) = result.err().unwrap_or_default();
        let known = [self.sent, self.pod.status.as_ref()]
            .into_iter()
            .flatten()
            .next();
        let before = known
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
            .find(|known| known.type_ == kind && known.status == status)
            .and_then(|known| known.last_transition_time.clone());
        let text = |text: String| (!text.is_empty()).then_some(text);
        PodCondition {
            type_: kind.into(),
            status: status.into(),
            reason: text(reason),
            message: text(message),
            last_transition_time: Some(before.unwrap_or(Time(self.now))),
            ..PodCondition::default()
        }
    }

    fn container(&self, slot: &Slot) -> ContainerStatus {
        let image = slot.spec.image.clone().unwrap_or_default();
        let id = match &slot.state {
            State::Running(running) => running.id.clone(),
            State::Ended(ended) => ended.id.clone(),
            _ => slot
                .last
                .as_ref()
                .map(|last| last.id.clone())
                .unwrap_or_default(),
        };
        let pause = matches!(slot.state, State::Ended(_))
            .then(|| slot.pause(self.instant))
            .flatten()
            .filter(|_| self.finish.is_none());
        let (state, last) = match (&slot.state, pause) {
            (State::Ended(ended), Some(pause)) => {
                let name = self.pod.metadata.name.as_deref().unwrap_or_default();
                let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
                let message = format!(
                    "back-off {} restarting failed container={} pod={name}_{namespace}",
                    super::seconds(pause),
                    slot.spec.name
                );
                (waiting("CrashLoopBackOff", &message), Some(ended))
            }
            (state, _) => (self.state(state), slot.last.as_ref()),
        };
        let running = match &slot.state {
            State::Running(running) => Some(running),
            _ => None,
        };
        ContainerStatus {
            name: slot.spec.name.clone(),
            image_id: if id.is_empty() {
                String::new()
            } else {
                image.clone()
            },
            image,
            container_id: (!id.is_empty()).then_some(id),
            ready: is_ready(slot),
            started: Some(running.is_some_and(|running| running.is_started)),
            restart_count: slot.restarts,
            state: Some(state),
            last_state: last.map(terminated),
            ..ContainerStatus::default()
        }
    }

    fn state(&self, state: &State) -> ContainerState {
        match state {
            State::New | State::Starting => {
                let has_init = self
                    .lifecycle
                    .slots
                    .iter()
                    .any(|slot| slot.kind != Kind::Main);
                waiting(
                    if has_init {
                        "PodInitializing"
                    } else {
                        "ContainerCreating"
                    },
                    "",
                )
            }
            State::Held { reason, message } => waiting(reason, message),
            State::Running(running) => ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(Time(running.since)),
                }),
                ..ContainerState::default()
            },
            State::Ended(ended) => terminated(ended),
        }
    }
}

/// Whether a container counts as ready: an init container by ending well.
fn is_ready(slot: &Slot) -> bool {
    match (&slot.state, slot.kind) {
        (State::Running(running), _) => running.is_ready,
        (State::Ended(ended), Kind::Init) => ended.code == 0,
        _ => false,
    }
}

fn incomplete(reason: &str, what: &str, names: &[&str]) -> Result<(), (String, String)> {
    if names.is_empty() {
        return Ok(());
    }
    let message = format!("containers with {what} status: [{}]", names.join(" "));
    Err((reason.into(), message))
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.into()),
            message: (!message.is_empty()).then(|| message.into()),
        }),
        ..ContainerState::default()
    }
}

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: (!ended.id.is_empty()).then(|| ended.id.clone()),
            exit_code: ended.code,
            signal: ended.signal,
            reason: Some(ended.reason.into()),
            message: (!ended.message.is_empty()).then(|| ended.message.clone()),
            started_at: ended.started.map(Time),
            finished_at: Some(Time(ended.finished)),
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests;
