//! One run of a container, from its launch to its end; and how it is stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use k8s_openapi::jiff::Timestamp;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::action::Target;
use super::blueprint::{self, Held};
use super::container::launch;
use super::container::process::{Exit, Process};
use super::fields::Facts;
use super::lifecycle::Ended;
use super::sandbox::Sandbox;
use super::volumes::Volumes;
use super::{Context, logs};

/// How long output may still come after the end of its container.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// What a container gets at least between SIGTERM and SIGKILL, even if its hook took everything.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// Kubernetes' bounds of a termination message, and of one that is taken from the log.
const MAX_MESSAGE: usize = 4096;
const MAX_LOG_MESSAGE: (usize, usize) = (80, 2048);

/// Everything that one run needs.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) context: Arc<Context>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) container: Arc<Container>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) restarts: i32,
}

/// A run that has been launched.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) id: String,
    pub(crate) since: Timestamp,
    pub(crate) target: Target,
}

/// How it came that a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran and ended, or its program could not be started.
    Ended(Ended),
    /// It was not even tried.
    Held(Held),
}

/// What stops a run.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) target: Target,
    pub(crate) hook: Option<LifecycleHandler>,
    /// When it is killed; may come nearer meanwhile.
    pub(crate) deadline: watch::Receiver<Instant>,
    /// Completes when those that must end before have ended.
    pub(crate) turn: watch::Receiver<bool>,
}

// === impl Order ===

impl Order {
    /// Launches the container, tells when it runs, and returns how it ended.
    pub(crate) async fn carry_out(self, launched: impl FnOnce(Launched)) -> Outcome {
        let context = &self.context;
        let facts = self.facts();
        let spec = match blueprint::of(&self.container, &facts, &self.volumes, context) {
            Ok(spec) => spec,
            Err(held) => return Outcome::Held(held),
        };
        let program = blueprint::program_for_actions(&spec);
        let log = self.log();
        let (output, streams) = match logs::open(log.clone()) {
            Ok(opened) => opened,
            Err(error) => return self.not_started(format!("open {}: {error}", log.display())),
        };
        let process = match launch::container(self.sandbox.namespaces(), spec, output).await {
            Ok(process) => Arc::new(process),
            Err(error) => return self.not_started(error.to_string()),
        };
        let (id, since) = (self.id(), Timestamp::now());
        launched(Launched {
            id: id.clone(),
            since,
            target: Target {
                address: self.sandbox.address(),
                container: Arc::clone(&self.container),
                process: Arc::clone(&process),
                program,
            },
        });
        let exit = process.wait().await;
        let finished = Timestamp::now();
        // What it has started in other containers' stead may hold the pipes; it is not waited for.
        let _ = timeout(LAST_OUTPUT, streams.finish()).await;
        let exit = exit.unwrap_or_else(|error| {
            tracing::error!(%error, container = %self.container.name, "the end of a process is lost");
            Exit::Code(255)
        });
        Outcome::Ended(Ended {
            id,
            code: exit.code(),
            signal: match exit {
                Exit::Code(_) => None,
                Exit::Signal(signal) => Some(signal),
            },
            reason: if exit.code() == 0 {
                "Completed"
            } else {
                "Error"
            },
            message: self.message(exit.code()),
            started: Some(since),
            finished,
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            pod: &self.pod,
            address: self.sandbox.address(),
            node_address: self.context.links.node(),
            allocatable: &self.context.allocatable,
        }
    }

    fn not_started(&self, message: String) -> Outcome {
        Outcome::Ended(Ended {
            id: self.id(),
            code: 128,
            signal: None,
            reason: "StartError",
            message,
            started: None,
            finished: Timestamp::now(),
        })
    }

    /// Unique among all runs, and tells which one it is.
    fn id(&self) -> String {
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        format!("lateen://{uid}/{}/{}", self.container.name, self.restarts)
    }

    fn log(&self) -> PathBuf {
        let metadata = &self.pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (namespace, name) = (text(&metadata.namespace), text(&metadata.name));
        let pod = logs::pod_directory(&self.context.logs, &namespace, &name, &text(&metadata.uid));
        logs::path(&pod, &self.container.name, self.restarts)
    }

    /// What the container left as its last words.
    fn message(&self, code: i32) -> String {
        let path = self.volumes.message(&self.container.name);
        let mut bytes = std::fs::read(path).unwrap_or_default();
        bytes.truncate(MAX_MESSAGE);
        let policy = self.container.termination_message_policy.as_deref();
        if bytes.is_empty() && code != 0 && policy == Some("FallbackToLogsOnError") {
            let (lines, length) = MAX_LOG_MESSAGE;
            return logs::tail(&self.log(), lines, length);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

// === impl Stop ===

impl Stop {
    /// Runs the hook, waits for its turn, asks with SIGTERM and kills in the end; the future is
    /// dropped when the process has ended.
    pub(crate) async fn carry_out(mut self, hook_failed: impl FnOnce(String)) {
        if let Some(hook) = self.hook.take() {
            let deadline = *self.deadline.borrow();
            // What is left of the time is the process's.
            match timeout_at(deadline, self.target.handle(&hook)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => hook_failed(why),
                Err(_) => hook_failed("it took longer than the grace period".into()),
            }
        }
        self.wait_for_turn().await;
        signal(&self.target.process, Signal::TERM);
        let least = Instant::now() + LEAST_GRACE;
        loop {
            let deadline = (*self.deadline.borrow_and_update()).max(least);
            tokio::select! {
                () = sleep_until(deadline) => break,
                changed = self.deadline.changed() => if changed.is_err() { break },
            }
        }
        signal(&self.target.process, Signal::KILL);
    }

    async fn wait_for_turn(&mut self) {
        loop {
            let deadline = *self.deadline.borrow_and_update();
            tokio::select! {
                _ = self.turn.wait_for(|is_its_turn| *is_its_turn) => return,
                () = sleep_until(deadline) => return,
                changed = self.deadline.changed() => if changed.is_err() { return },
            }
        }
    }
}

fn signal(process: &Process, signal: Signal) {
    if let Err(error) = process.signal(signal) {
        tracing::error!(%error, ?signal, "a container cannot be signalled");
    }
}
