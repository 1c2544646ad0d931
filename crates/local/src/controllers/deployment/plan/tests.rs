use k8s_openapi::api::apps::v1::{
    DeploymentSpec, DeploymentStrategy, ReplicaSetStatus, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;
use crate::controllers::pods::testing::{at, pod};

pub(in super::super) fn deployment(replicas: i32, image: &str) -> Deployment {
    let labels: BTreeMap<_, _> = [("app".to_owned(), "a".to_owned())].into();
    Deployment {
        metadata: ObjectMeta {
            namespace: Some("default".into()),
            name: Some("web".into()),
            uid: Some("uid-web".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some(labels.clone()),
                match_expressions: None,
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![Container {
                        name: "main".into(),
                        image: Some(image.into()),
                        ..Container::default()
                    }],
                    ..PodSpec::default()
                }),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

pub(in super::super) fn rolling(
    mut deployment: Deployment,
    surge: &str,
    unavailable: &str,
) -> Deployment {
    let number = |text: &str| match text.parse() {
        Ok(number) => IntOrString::Int(number),
        Err(_) => IntOrString::String(text.into()),
    };
    deployment.spec.get_or_insert_default().strategy = Some(DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(number(surge)),
            max_unavailable: Some(number(unavailable)),
        }),
    });
    deployment
}

/// A cluster of one Deployment, in which sets do what they are told when `settle` is called.
pub(in super::super) struct World {
    pub(in super::super) deployment: Deployment,
    pub(in super::super) sets: Vec<Arc<ReplicaSet>>,
    pub(in super::super) clock: i64,
}

impl World {
    pub(in super::super) fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            sets: Vec::new(),
            clock: 0,
        }
    }

    /// Makes one plan and does what it says.
    pub(in super::super) fn step(&mut self) -> Vec<Action> {
        let observed = Observed {
            deployment: &self.deployment,
            sets: &self.sets,
            pods: &[],
        };
        let actions = plan(&observed);
        for action in actions.clone() {
            self.apply(action);
        }
        actions
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Create(mut set) => {
                self.clock += 1;
                set.metadata.creation_timestamp = Some(Time(at(self.clock)));
                set.metadata.uid = set.metadata.name.clone();
                set.metadata.generation = Some(1);
                self.sets.push(Arc::new(*set));
            }
            Action::Update {
                set,
                replicas,
                annotations,
            } => {
                let name = set.metadata.name.clone();
                let known = self
                    .sets
                    .iter_mut()
                    .find(|known| known.metadata.name == name);
                let known = Arc::make_mut(known.expect("it is known"));
                known.spec.get_or_insert_default().replicas = Some(replicas);
                known.metadata.annotations = Some(annotations);
            }
            Action::Delete(set) => self
                .sets
                .retain(|known| known.metadata.name != set.metadata.name),
            Action::SetRevision(revision) => {
                let annotations = self.deployment.metadata.annotations.get_or_insert_default();
                annotations.insert(revision::REVISION.into(), revision);
            }
        }
    }

    /// Brings one pod up or down in each set that is not as wished; answers whether any was.
    pub(in super::super) fn settle_one(&mut self) -> bool {
        let mut has_changed = false;
        for set in &mut self.sets {
            let wished = set_replicas(set);
            let status = set.status.clone().unwrap_or_default();
            if status.replicas != wished || status.observed_generation.is_none() {
                let replicas = status.replicas + (wished - status.replicas).signum();
                Arc::make_mut(set).status = Some(ReplicaSetStatus {
                    replicas,
                    ready_replicas: Some(replicas),
                    available_replicas: Some(replicas),
                    observed_generation: Some(1),
                    ..ReplicaSetStatus::default()
                });
                has_changed = true;
            }
        }
        has_changed
    }

    /// Steps and settles until nothing moves, and checks the bounds all along.
    pub(in super::super) fn run(&mut self) {
        let bounds = Bounds::of(&self.deployment);
        let wished = replicas(&self.deployment);
        let was_available = self.available();
        for _ in 0..200 {
            let has_acted = !self.step().is_empty();
            let total: i32 = self.sets.iter().map(|set| set_replicas(set)).sum();
            assert!(total <= wished + bounds.surge, "{total} pods");
            if !self.settle_one() && !has_acted {
                return;
            }
            let floor = (wished - bounds.unavailable).min(was_available);
            assert!(self.available() >= floor, "{} available", self.available());
        }
        panic!("it does not come to rest");
    }

    fn available(&self) -> i32 {
        self.sets
            .iter()
            .map(|set| revision::set_available(set))
            .sum()
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(|set| set_replicas(set)).collect()
    }

    pub(in super::super) fn set_image(&mut self, image: &str) {
        let spec = self.deployment.spec.get_or_insert_default();
        spec.template.spec.get_or_insert_default().containers[0].image = Some(image.into());
    }

    fn scale(&mut self, replicas: i32) {
        self.deployment.spec.get_or_insert_default().replicas = Some(replicas);
    }

    fn revisions(&self) -> Vec<i64> {
        self.sets
            .iter()
            .map(|set| revision::revision(set))
            .collect()
    }
}

#[test]
fn the_first_set_has_every_replica_at_once() {
    let mut world = World::new(deployment(3, "one"));
    let actions = world.step();
    assert!(matches!(&actions[..], [Action::Create(_)]));
    let set = world.sets[0].clone();
    assert_eq!(set_replicas(&set), 3);
    let hash = set
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    assert_eq!(set.metadata.name, hash.map(|hash| format!("web-{hash}")));
    world.run();
    assert_eq!(
        world
            .deployment
            .metadata
            .annotations
            .as_ref()
            .map(|a| a[revision::REVISION].as_str()),
        Some("1")
    );
    assert_eq!(world.step(), [], "it rests");
}

#[test]
fn rollouts_keep_their_bounds_and_end_with_the_new_template() {
    for (replicas, surge, unavailable) in [
        (1, "25%", "25%"),
        (3, "0", "1"),
        (4, "1", "0"),
        (10, "30%", "20%"),
        (10, "100%", "0"),
        (2, "0", "0"),
    ] {
        let mut world = World::new(rolling(deployment(replicas, "one"), surge, unavailable));
        world.run();
        world.set_image("two");
        world.run();
        assert_eq!(world.sizes(), [0, replicas]);
        assert_eq!(world.revisions(), [1, 2]);
    }
}

#[test]
fn pods_that_do_not_work_are_given_up_first() {
    let mut world = World::new(rolling(deployment(4, "one"), "1", "1"));
    world.run();
    world.set_image("broken");
    world.step();
    assert_eq!(world.sizes(), [4, 1]);
    world.step();
    // Nothing of the new set is available: only one old pod may go.
    assert_eq!(world.sizes(), [3, 1]);
    world.set_image("three");
    world.step();
    world.step();
    assert_eq!(world.sizes()[1], 0, "the broken one goes");
    world.run();
    assert_eq!(world.sizes(), [0, 0, 4]);
}

#[test]
fn a_rollback_takes_the_old_set_again_with_a_new_revision() {
    let mut world = World::new(deployment(2, "one"));
    world.run();
    world.set_image("two");
    world.run();
    world.set_image("one");
    world.run();
    assert_eq!(world.sizes(), [2, 0]);
    assert_eq!(world.revisions(), [3, 2]);
    let history = world.sets[0].metadata.annotations.as_ref();
    let history = history.and_then(|all| all.get("deployment.kubernetes.io/revision-history"));
    assert_eq!(history.map(String::as_str), Some("1"));
}

#[test]
fn scaling_changes_the_one_set_or_every_share() {
    let mut world = World::new(deployment(2, "one"));
    world.run();
    world.scale(5);
    world.step();
    assert_eq!(world.sizes(), [5]);
    world.run();
    world.scale(0);
    world.run();
    assert_eq!(world.sizes(), [0]);
    world.scale(10);
    world.run();
    // In the middle of a rollout both grow by their share.
    let spec = world.deployment.spec.get_or_insert_default();
    spec.strategy = rolling(deployment(1, ""), "3", "2")
        .spec
        .and_then(|spec| spec.strategy);
    world.set_image("two");
    world.step();
    world.step();
    assert_eq!(world.sizes(), [8, 3]);
    world.step();
    world.scale(20);
    world.step();
    let sizes = world.sizes();
    assert_eq!(sizes.iter().sum::<i32>(), 23, "{sizes:?}");
    assert!(sizes[0] > 12 && sizes[1] > 4, "{sizes:?}");
    world.run();
    assert_eq!(world.sizes(), [0, 20]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(deployment(2, "one"));
    world.run();
    world.deployment.spec.get_or_insert_default().paused = Some(true);
    world.set_image("two");
    world.scale(3);
    world.run();
    assert_eq!(world.sizes(), [3]);
    world.deployment.spec.get_or_insert_default().paused = None;
    world.run();
    assert_eq!(world.sizes(), [0, 3]);
}

#[test]
fn recreate_waits_until_the_last_old_pod_has_ended() {
    let mut recreate = deployment(2, "one");
    recreate.spec.get_or_insert_default().strategy = Some(DeploymentStrategy {
        type_: Some("Recreate".into()),
        rolling_update: None,
    });
    let mut world = World::new(recreate);
    world.run();
    world.set_image("two");
    world.step();
    assert_eq!(world.sizes(), [0]);
    let mut ending = pod("last", Some(1));
    ending.metadata.owner_references =
        Some(vec![meta::controller_reference(world.sets[0].as_ref())]);
    ending.metadata.deletion_timestamp = Some(Time(at(9)));
    let pods = [Arc::new(ending)];
    let observed = Observed {
        deployment: &world.deployment,
        sets: &world.sets,
        pods: &pods,
    };
    assert_eq!(plan(&observed), []);
    world.run();
    assert_eq!(world.sizes(), [0, 2]);
}

#[test]
fn empty_sets_beyond_the_history_are_deleted_oldest_first() {
    let mut first = deployment(1, "one");
    first.spec.get_or_insert_default().revision_history_limit = Some(1);
    let mut world = World::new(first);
    for image in ["one", "two", "three", "four"] {
        world.set_image(image);
        world.run();
    }
    assert_eq!(world.revisions(), [3, 4]);
}
