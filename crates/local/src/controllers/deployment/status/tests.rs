use super::super::plan::tests::{World, deployment};
use super::*;
use crate::controllers::pods::testing::at;

/// Reports and keeps the report, as the controller does.
fn report(world: &mut World, step: &Step<'_>, second: i64) -> Again {
    let (status, again) = status(&world.deployment, &world.sets, step, at(second));
    world.deployment.status = Some(status);
    again
}

fn reason(world: &World, kind: &str) -> (String, String) {
    let conditions = world
        .deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone());
    let conditions = conditions.unwrap_or_default();
    let condition = find(&conditions, kind).expect("there is one");
    (
        condition.status.clone(),
        condition.reason.clone().unwrap_or_default(),
    )
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

#[test]
fn a_rollout_is_reported_from_its_beginning_to_its_end() {
    let mut world = World::new(deployment(2, "one"));
    world.step();
    let step = Step {
        created: Some("web-1"),
        failure: None,
    };
    report(&mut world, &step, 10);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("True", "NewReplicaSetCreated")
    );
    assert_eq!(
        reason(&world, "Available"),
        pair("False", "MinimumReplicasUnavailable")
    );
    world.settle_one();
    report(&mut world, &Step::default(), 11);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("True", "ReplicaSetUpdated")
    );
    world.settle_one();
    let again = report(&mut world, &Step::default(), 12);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("True", "NewReplicaSetAvailable")
    );
    assert_eq!(
        reason(&world, "Available"),
        pair("True", "MinimumReplicasAvailable")
    );
    assert_eq!(again, Again::Never);
    let status = world.deployment.status.clone().unwrap_or_default();
    assert_eq!(
        (
            status.replicas,
            status.updated_replicas,
            status.available_replicas
        ),
        (Some(2), Some(2), Some(2))
    );
    assert_eq!(status.unavailable_replicas, None);
    let before = world.deployment.status.clone();
    report(&mut world, &Step::default(), 99);
    assert_eq!(
        world.deployment.status, before,
        "nothing changed, nothing is written"
    );
}

#[test]
fn a_rollout_without_progress_is_late_after_its_deadline() {
    let mut world = World::new(deployment(1, "one"));
    world
        .deployment
        .spec
        .get_or_insert_default()
        .progress_deadline_seconds = Some(60);
    world.step();
    let step = Step {
        created: Some("web-1"),
        failure: None,
    };
    let again = report(&mut world, &step, 10);
    assert_eq!(again, Again::After(std::time::Duration::from_secs(61)));
    report(&mut world, &Step::default(), 71);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("False", "ProgressDeadlineExceeded")
    );
    world.settle_one();
    report(&mut world, &Step::default(), 72);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("True", "NewReplicaSetAvailable")
    );
}

#[test]
fn a_pod_that_fails_later_makes_no_rollout() {
    let mut world = World::new(deployment(1, "one"));
    world.run();
    report(&mut world, &Step::default(), 10);
    let set = Arc::make_mut(&mut world.sets[0]);
    set.status.get_or_insert_default().available_replicas = Some(0);
    report(&mut world, &Step::default(), 700);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("True", "NewReplicaSetAvailable")
    );
    assert_eq!(
        reason(&world, "Available"),
        pair("False", "MinimumReplicasUnavailable")
    );
}

#[test]
fn pausing_and_a_failure_to_make_the_set_are_told() {
    let mut world = World::new(deployment(1, "one"));
    let step = Step {
        created: Some("web-1"),
        failure: Some("quota".into()),
    };
    report(&mut world, &step, 10);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("False", "ReplicaSetCreateError")
    );
    world.run();
    world.deployment.spec.get_or_insert_default().paused = Some(true);
    report(&mut world, &Step::default(), 11);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("Unknown", "DeploymentPaused")
    );
    world.deployment.spec.get_or_insert_default().paused = None;
    report(&mut world, &Step::default(), 12);
    assert_eq!(
        reason(&world, "Progressing"),
        pair("Unknown", "DeploymentResumed")
    );
}
