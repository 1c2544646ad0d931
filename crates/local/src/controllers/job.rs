//! Jobs: pods that run until enough of them have succeeded.
//!
//! What has ended is counted from the pods that still exist; there are no tracking finalizers, so a
//! finished pod that somebody deletes before the Job is done is run again.

mod plan;

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PropagationPolicy};

use self::plan::{Ending, Plan};
use super::objects::Key;
use super::queue::{self, Again};
use super::{Context, Error, clock, meta, pods, replica_set};

const COMPONENT: &str = "job-controller";

/// Keeps all Jobs, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("job");
    let jobs = adder.clone();
    context.jobs.listen(move |change| {
        if let Some(job) = &change.new {
            jobs.add(Key::of(job.as_ref()));
        }
    });
    let (owned, context_of) = (adder, context.clone());
    context
        .pods
        .listen(move |change| replica_set::owners_of(&context_of, change, "Job", &owned));
    context.jobs.synced().await;
    context.pods.synced().await;
    queue.run(move |key| reconcile(context.clone(), key)).await;
}

async fn reconcile(context: Context, key: Key) -> Result<Again, Error> {
    let Some(job) = context.jobs.get(&key) else {
        return Ok(Again::Never);
    };
    if meta::is_terminating(job.as_ref()) {
        return Ok(Again::Never);
    }
    if plan::finished_at(&job).is_some() {
        return expire(&context, &job).await;
    }
    if plan::is_managed_elsewhere(&job) {
        return Ok(Again::Never);
    }
    let owned = owned(&context, &job);
    let now = clock::now();
    let plan = plan::plan(&job, &owned, now);
    let written = carry_out(&context, &job, &plan).await;
    let owned = self::owned(&context, &job);
    let status = report(&context, &job, &plan, plan::counts(&job, &owned), now);
    write_status(&context, &job, status).await?;
    written.map(|()| plan.again)
}

fn owned(context: &Context, job: &Job) -> Vec<Arc<Pod>> {
    let pods = context.pods.within(&job.namespace().unwrap_or_default());
    let owned = pods.into_iter();
    owned
        .filter(|pod| meta::is_controlled_by(&pod.metadata, job))
        .collect()
}

/// Deletes a finished Job when its time is over.
async fn expire(context: &Context, job: &Job) -> Result<Again, Error> {
    let seconds = job
        .spec
        .as_ref()
        .and_then(|spec| spec.ttl_seconds_after_finished);
    let (Some(seconds), Some(finished)) = (seconds, plan::finished_at(job)) else {
        return Ok(Again::Never);
    };
    if let Some(left) = clock::remaining(&finished, seconds.into(), clock::now()) {
        return Ok(Again::After(left));
    }
    let how = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    context.jobs.delete(job, how).await.map(|()| Again::Never)
}

async fn carry_out(context: &Context, job: &Job, plan: &Plan) -> Result<(), Error> {
    pods::delete(context, COMPONENT, job, &plan.delete).await?;
    let create = plan.create.iter().map(|index| new_pod(job, *index));
    pods::create(context, COMPONENT, job, create.collect()).await
}

/// A pod of the Job; with a completion index if it has indexes.
fn new_pod(job: &Job, index: Option<i32>) -> Pod {
    let template = job
        .spec
        .as_ref()
        .map(|spec| spec.template.clone())
        .unwrap_or_default();
    let namespace = job.namespace().unwrap_or_default();
    let mut pod = pods::from_template(&template, meta::controller_reference(job), &namespace);
    let labels = pod.metadata.labels.get_or_insert_default();
    for (key, value) in [
        ("batch.kubernetes.io/job-name", meta::name(job)),
        ("job-name", meta::name(job)),
        ("batch.kubernetes.io/controller-uid", meta::uid(job)),
        ("controller-uid", meta::uid(job)),
    ] {
        labels.insert(key.into(), value.into());
    }
    let Some(index) = index else {
        return pod;
    };
    labels.insert(plan::INDEX.into(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(plan::INDEX.into(), index.to_string());
    pod.metadata.generate_name = Some(format!("{}-{index}-", meta::name(job)));
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{}-{index}", meta::name(job)));
    let inits = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(inits) {
        container.env.get_or_insert_default().push(EnvVar {
            name: "JOB_COMPLETION_INDEX".into(),
            value: Some(index.to_string()),
            value_from: None,
        });
    }
    pod
}

/// The status after the plan was carried out.
fn report(
    context: &Context,
    job: &Job,
    plan: &Plan,
    counts: JobStatus,
    now: Timestamp,
) -> JobStatus {
    let before = job.status.clone().unwrap_or_default();
    let is_suspended = job
        .spec
        .as_ref()
        .is_some_and(|spec| spec.suspend == Some(true));
    let mut status = JobStatus {
        conditions: before.conditions.clone(),
        start_time: before.start_time.clone(),
        completion_time: before.completion_time.clone(),
        ..counts
    };
    if is_suspended {
        status.start_time = None;
    } else if status.start_time.is_none() {
        status.start_time = Some(Time(now));
    }
    suspend(context, job, &mut status, is_suspended, now);
    match &plan.ending {
        // The last pods are still ending: Kubernetes' clients take the condition for the end.
        Some(_) if status.active.unwrap_or(0) > 0 => {}
        Some(Ending::Complete) => {
            status.completion_time = Some(Time(now));
            let message = "Reached expected number of succeeded pods";
            add(
                &mut status,
                "SuccessCriteriaMet",
                "CompletionsReached",
                message,
                now,
            );
            add(&mut status, "Complete", "CompletionsReached", message, now);
            context
                .recorder
                .normal(COMPONENT, job, "Completed", "Job completed");
        }
        Some(Ending::Failed { reason, message }) => {
            add(&mut status, "FailureTarget", reason, message, now);
            add(&mut status, "Failed", reason, message, now);
            context.recorder.warning(COMPONENT, job, reason, *message);
        }
        None => {}
    }
    status
}

fn suspend(
    context: &Context,
    job: &Job,
    status: &mut JobStatus,
    is_suspended: bool,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions
        .iter_mut()
        .find(|condition| condition.type_ == "Suspended");
    let was_suspended = known
        .as_ref()
        .is_some_and(|condition| condition.status == "True");
    if is_suspended != was_suspended {
        let (value, reason, message) = if is_suspended {
            ("True", "Suspended", "Job suspended")
        } else {
            ("False", "Resumed", "Job resumed")
        };
        let condition = condition("Suspended", value, reason, message, now);
        match known {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
        context.recorder.normal(COMPONENT, job, reason, message);
    }
    if conditions.is_empty() {
        status.conditions = None;
    }
}

fn add(status: &mut JobStatus, kind: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.push(condition(kind, "True", reason, message, now));
}

fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> JobCondition {
    JobCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

async fn write_status(context: &Context, job: &Job, status: JobStatus) -> Result<(), Error> {
    if job.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut updated = job.clone();
    updated.status = Some(status);
    match context.jobs.replace_status(&updated).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}
