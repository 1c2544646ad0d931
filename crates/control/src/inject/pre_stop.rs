//! A pause before applications are told to end: for those that end at once and have requests that
//! take long. While they wait nobody sends them anything new, and what they have is finished.

use serde_json::json;

use super::{PROXY, Refused, Work, refuse};

/// How long each application container waits before SIGTERM, such as `5s`.
const PRE_STOP_SLEEP: &str = "lateen.io/pre-stop-sleep";

/// Kubernetes' `terminationGracePeriodSeconds` where a pod says nothing.
const DEFAULT_GRACE: u64 = 30;

impl Work<'_> {
    /// Gives every application container without a `preStop` of its own one that sleeps, if the pod
    /// asks for it.
    ///
    /// # Errors
    /// When the time cannot be read, or leaves the application none to end.
    pub(super) fn add_pre_stop_sleep(&mut self) -> Result<(), Refused> {
        let Some(text) = self.annotation(PRE_STOP_SLEEP) else {
            return Ok(());
        };
        let at = format!("annotation {PRE_STOP_SLEEP}");
        let seconds = text.trim_end_matches('s').parse::<u64>();
        let Some(seconds) = seconds.ok().filter(|seconds| *seconds > 0) else {
            let why = format!("{text:?} is no time in whole seconds; write it like \"5s\"");
            return Err(refuse(&at, why));
        };
        let grace = &self.pod["spec"]["terminationGracePeriodSeconds"];
        let grace = grace.as_u64().unwrap_or(DEFAULT_GRACE);
        if seconds >= grace {
            let why = format!(
                "{text:?} is not shorter than terminationGracePeriodSeconds ({grace}), after which \
                 the application is killed; raise that, or sleep for less"
            );
            return Err(refuse(&at, why));
        }
        let containers = self.pod["spec"]["containers"].as_array_mut();
        for container in containers.into_iter().flatten() {
            if container["name"] != PROXY && container["lifecycle"]["preStop"].is_null() {
                container["lifecycle"]["preStop"] = json!({ "sleep": { "seconds": seconds } });
            }
        }
        Ok(())
    }
}
