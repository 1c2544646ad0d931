//! What a Job does about its pods, and when it is done: values in, values out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::controllers::queue::Again;
use crate::controllers::{clock, meta, pods};

/// Which of an indexed Job's completions a pod is.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Pods to make, each with its index if the Job has indexes.
    pub(super) create: Vec<Option<i32>>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// The Job is over, once no pod runs any more.
    pub(super) ending: Option<Ending>,
    pub(super) again: Again,
}

/// How a Job ends.
#[derive(Debug, PartialEq)]
pub(super) enum Ending {
    Complete,
    Failed {
        reason: &'static str,
        message: &'static str,
    },
}

/// The pods of a Job, by what they do.
struct Census<'a> {
    active: Vec<&'a Arc<Pod>>,
    succeeded: Vec<&'a Arc<Pod>>,
    failed: Vec<&'a Arc<Pod>>,
}

/// The delay before the first retry, doubled each time, and the longest.
const FIRST_DELAY: i64 = 10;
const LONGEST_DELAY: i64 = 600;

/// When a Job ended; nothing if it has not.
pub(super) fn finished_at(job: &Job) -> Option<Time> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions.iter().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })?;
    end.last_transition_time.clone()
}

/// Answers whether the Job says that another controller keeps it.
pub(super) fn is_managed_elsewhere(job: &Job) -> bool {
    let by = job
        .spec
        .as_ref()
        .and_then(|spec| spec.managed_by.as_deref());
    by.is_some_and(|by| by != "kubernetes.io/job-controller")
}

/// Decides about a Job that has not ended.
pub(super) fn plan(job: &Job, owned: &[Arc<Pod>], now: Timestamp) -> Plan {
    let census = Census::of(owned);
    let spec = job.spec.clone().unwrap_or_default();
    if spec.suspend == Some(true) {
        return Plan {
            delete: census.running(),
            ..Plan::default()
        };
    }
    if let Some(ending) = ending(job, &census, now) {
        return Plan {
            delete: census.running(),
            ending: Some(ending),
            ..Plan::default()
        };
    }
    let mut plan = if is_indexed(job) {
        indexed(job, &census)
    } else {
        counted(job, &census)
    };
    if !plan.create.is_empty()
        && let Some(delay) = retry_delay(&census, now)
    {
        plan.create.clear();
        plan.again = Again::After(delay);
    }
    plan.again = plan.again.sooner(deadline(job, now));
    plan
}

/// What the Job reports of its pods.
pub(super) fn counts(job: &Job, owned: &[Arc<Pod>]) -> JobStatus {
    let census = Census::of(owned);
    let count = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX)).filter(|n| *n > 0);
    let ready = census
        .active
        .iter()
        .filter(|pod| pods::is_ready(pod))
        .count();
    let indexes: BTreeSet<i32> = census
        .succeeded
        .iter()
        .filter_map(|pod| index(pod))
        .collect();
    let terminating = owned
        .iter()
        .filter(|pod| meta::is_terminating(pod.as_ref()));
    let terminating = terminating.filter(|pod| !pods::is_finished(pod)).count();
    JobStatus {
        active: count(census.active.len()),
        ready: Some(count(ready).unwrap_or(0)),
        succeeded: count(census.succeeded.len()),
        failed: count(census.failed.len()),
        terminating: Some(count(terminating).unwrap_or(0)),
        completed_indexes: is_indexed(job).then(|| ranges(&indexes)),
        ..JobStatus::default()
    }
}

fn ending(job: &Job, census: &Census<'_>, now: Timestamp) -> Option<Ending> {
    let spec = job.spec.as_ref()?;
    let is_complete = match spec.completions {
        Some(completions) if is_indexed(job) => {
            let done: BTreeSet<_> = census
                .succeeded
                .iter()
                .filter_map(|pod| index(pod))
                .collect();
            (0..completions).all(|index| done.contains(&index))
        }
        Some(completions) => length(&census.succeeded) >= completions,
        // A work queue is done when one has succeeded and all have ended.
        None => !census.succeeded.is_empty() && census.active.is_empty(),
    };
    if is_complete {
        return Some(Ending::Complete);
    }
    if census.failures(job) > spec.backoff_limit.unwrap_or(6) {
        return Some(Ending::Failed {
            reason: "BackoffLimitExceeded",
            message: "Job has reached the specified backoff limit",
        });
    }
    let started = job
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref());
    let is_late = spec
        .active_deadline_seconds
        .zip(started)
        .is_some_and(|(seconds, started)| clock::remaining(started, seconds, now).is_none());
    is_late.then_some(Ending::Failed {
        reason: "DeadlineExceeded",
        message: "Job was active longer than specified deadline",
    })
}

fn counted(job: &Job, census: &Census<'_>) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let wished = match spec.completions {
        Some(completions) => parallelism.min(completions - length(&census.succeeded)),
        None if census.succeeded.is_empty() => parallelism,
        // A work queue that one has found empty gets no more workers.
        None => parallelism.min(length(&census.active)),
    };
    sized(census, wished, |missing| vec![None; missing])
}

fn indexed(job: &Job, census: &Census<'_>) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let taken: BTreeSet<_> = census
        .active
        .iter()
        .chain(&census.succeeded)
        .filter_map(|pod| index(pod))
        .collect();
    let missing: Vec<_> = (0..spec.completions.unwrap_or(0))
        .filter(|index| !taken.contains(index))
        .map(Some)
        .collect();
    let left = length(&missing) + length(&census.active);
    let wished = spec.parallelism.unwrap_or(1).max(0).min(left);
    sized(census, wished, |count| {
        missing.into_iter().take(count).collect()
    })
}

fn sized(census: &Census<'_>, wished: i32, create: impl FnOnce(usize) -> Vec<Option<i32>>) -> Plan {
    let wished = usize::try_from(wished).unwrap_or(0);
    let active = census.active.len();
    if wished >= active {
        return Plan {
            create: create(wished - active),
            ..Plan::default()
        };
    }
    // Those that are not ready have done the least.
    let mut surplus = census.running();
    surplus.sort_by_key(|pod| (pods::is_ready(pod), pods::phase(pod) == "Running"));
    surplus.truncate(active - wished);
    Plan {
        delete: surplus,
        ..Plan::default()
    }
}

/// How long the next attempt is put off after failures.
fn retry_delay(census: &Census<'_>, now: Timestamp) -> Option<Duration> {
    let failures = u32::try_from(census.failed.len()).unwrap_or(u32::MAX);
    let last = census.failed.iter().filter_map(|pod| ended_at(pod)).max()?;
    let delay = FIRST_DELAY.saturating_mul(1 << (failures.saturating_sub(1)).min(10));
    clock::remaining(&Time(last), delay.min(LONGEST_DELAY), now)
}

fn deadline(job: &Job, now: Timestamp) -> Again {
    let seconds = job
        .spec
        .as_ref()
        .and_then(|spec| spec.active_deadline_seconds);
    let Some(seconds) = seconds else {
        return Again::Never;
    };
    let started = job
        .status
        .as_ref()
        .and_then(|status| status.start_time.clone());
    let left = clock::remaining(&started.unwrap_or(Time(now)), seconds, now);
    left.map_or(Again::Never, Again::After)
}

fn is_indexed(job: &Job) -> bool {
    let mode = job
        .spec
        .as_ref()
        .and_then(|spec| spec.completion_mode.as_deref());
    mode == Some("Indexed")
}

fn index(pod: &Pod) -> Option<i32> {
    meta::annotation(&pod.metadata, INDEX)?.parse().ok()
}

/// When a pod's last container ended; else when the pod was made.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let ends = statuses.filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        Some(ended.finished_at.as_ref()?.0)
    });
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    ends.max().or(created)
}

/// Numbers as `0,2-5`.
fn ranges(numbers: &BTreeSet<i32>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let text = ranges.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    text.collect::<Vec<_>>().join(",")
}

fn length<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}

// === impl Census ===

impl<'a> Census<'a> {
    fn of(owned: &'a [Arc<Pod>]) -> Self {
        let with = |phase: &'static str| owned.iter().filter(move |pod| pods::phase(pod) == phase);
        Self {
            active: owned.iter().filter(|pod| pods::is_active(pod)).collect(),
            succeeded: with("Succeeded").collect(),
            failed: with("Failed").collect(),
        }
    }

    fn running(&self) -> Vec<Arc<Pod>> {
        self.active.iter().map(|pod| Arc::clone(pod)).collect()
    }

    /// How often something failed: pods, and containers that were started again in place.
    fn failures(&self, job: &Job) -> i32 {
        let policy = job
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.as_ref());
        let policy = policy.and_then(|spec| spec.restart_policy.as_deref());
        let restarts: i32 = if policy == Some("OnFailure") {
            let statuses = self.active.iter().flat_map(|pod| &pod.status);
            let containers = statuses.flat_map(|status| status.container_statuses.iter().flatten());
            containers.map(|container| container.restart_count).sum()
        } else {
            0
        };
        length(&self.failed).saturating_add(restarts)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::JobSpec;

    use super::*;
    use crate::controllers::pods::testing::{at, in_phase, pod};

    fn job(completions: Option<i32>, parallelism: i32) -> Job {
        Job {
            spec: Some(JobSpec {
                completions,
                parallelism: Some(parallelism),
                ..JobSpec::default()
            }),
            ..Job::default()
        }
    }

    fn with_index(mut pod: Pod, index: i32) -> Arc<Pod> {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(INDEX.into(), index.to_string());
        Arc::new(pod)
    }

    #[test]
    fn no_more_pods_run_than_completions_are_missing() {
        let pods = [in_phase(pod("a", None), "Succeeded"), pod("b", Some(1))].map(Arc::new);
        assert_eq!(plan(&job(Some(5), 3), &pods, at(9)).create.len(), 2);
        assert_eq!(plan(&job(Some(2), 3), &pods, at(9)), Plan::default());
        assert_eq!(
            plan(&job(Some(1), 1), &pods, at(9)).ending,
            Some(Ending::Complete)
        );
    }

    #[test]
    fn a_work_queue_ends_with_its_first_success_and_its_last_pod() {
        let done = in_phase(pod("a", None), "Succeeded");
        let both = [done.clone(), pod("b", Some(1))].map(Arc::new);
        assert_eq!(plan(&job(None, 3), &both, at(9)), Plan::default());
        let one = [Arc::new(done)];
        assert_eq!(
            plan(&job(None, 3), &one, at(9)).ending,
            Some(Ending::Complete)
        );
    }

    #[test]
    fn failures_put_the_next_attempt_off_until_there_are_too_many() {
        let failed = |name| Arc::new(in_phase(pod(name, None), "Failed"));
        let plan_after = plan(&job(Some(1), 1), &[failed("a"), failed("b")], at(5));
        assert_eq!(plan_after.create, []);
        assert_eq!(plan_after.again, Again::After(Duration::from_secs(16)));
        assert_eq!(
            plan(&job(Some(1), 1), &[failed("a")], at(30)).create,
            [None]
        );
        let mut strict = job(Some(1), 1);
        strict.spec.get_or_insert_default().backoff_limit = Some(0);
        let ending = plan(&strict, &[failed("a")], at(30)).ending;
        assert!(matches!(
            ending,
            Some(Ending::Failed {
                reason: "BackoffLimitExceeded",
                ..
            })
        ));
    }

    #[test]
    fn a_job_that_takes_too_long_fails_and_its_pods_go() {
        let mut late = job(Some(1), 1);
        late.spec.get_or_insert_default().active_deadline_seconds = Some(10);
        late.status.get_or_insert_default().start_time = Some(Time(at(100)));
        let pods = [Arc::new(pod("a", Some(1)))];
        let in_time = plan(&late, &pods, at(105));
        assert_eq!(
            (in_time.ending, in_time.again),
            (None, Again::After(Duration::from_secs(6)))
        );
        let plan = plan(&late, &pods, at(110));
        assert_eq!(plan.delete.len(), 1);
        assert!(matches!(
            plan.ending,
            Some(Ending::Failed {
                reason: "DeadlineExceeded",
                ..
            })
        ));
    }

    #[test]
    fn a_suspended_job_has_no_pods() {
        let mut suspended = job(Some(1), 1);
        suspended.spec.get_or_insert_default().suspend = Some(true);
        assert_eq!(
            plan(&suspended, &[Arc::new(pod("a", None))], at(9))
                .delete
                .len(),
            1
        );
        assert_eq!(plan(&suspended, &[], at(9)), Plan::default());
    }

    #[test]
    fn an_indexed_job_runs_every_index_once() {
        let mut indexed = job(Some(4), 2);
        indexed.spec.get_or_insert_default().completion_mode = Some("Indexed".into());
        assert_eq!(plan(&indexed, &[], at(9)).create, [Some(0), Some(1)]);
        let pods = [
            with_index(in_phase(pod("a", None), "Succeeded"), 0),
            with_index(pod("b", None), 2),
        ];
        assert_eq!(plan(&indexed, &pods, at(9)).create, [Some(1)]);
        let done: Vec<_> = (0..4)
            .map(|index| with_index(in_phase(pod("p", None), "Succeeded"), index))
            .collect();
        assert_eq!(plan(&indexed, &done, at(9)).ending, Some(Ending::Complete));
        assert_eq!(
            counts(&indexed, &done).completed_indexes.as_deref(),
            Some("0-3")
        );
    }
}
