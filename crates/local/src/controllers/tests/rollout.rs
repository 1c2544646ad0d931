//! Deployments from their first pod to their last.

use super::*;

fn is_rolled_out(deployment: &Deployment) -> bool {
    let spec = deployment.spec.clone().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    // What `kubectl rollout status` looks at.
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas == spec.replicas
        && status.replicas == spec.replicas
        && status.available_replicas == spec.replicas
}

#[tokio::test]
async fn a_deployment_gets_its_pods_and_its_service_their_addresses() {
    let cluster = Cluster::start().await;
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    cluster.create::<Service>(service).await;
    cluster.create::<Deployment>(deployment("web", 3)).await;
    cluster.until::<Deployment>("web", is_rolled_out).await;
    let slices = cluster
        .until_all::<EndpointSlice>("default", |slices| {
            let all = slices.iter().flat_map(|slice| &slice.endpoints);
            let ready = all.filter(|endpoint| {
                endpoint
                    .conditions
                    .as_ref()
                    .and_then(|conditions| conditions.ready)
                    == Some(true)
            });
            ready.count() >= 3
        })
        .await;
    let ours = slices
        .iter()
        .find(|slice| slice.name_any().starts_with("web-"))
        .expect("there is one");
    assert_eq!(
        ours.ports.as_ref().and_then(|ports| ports[0].port),
        Some(8080)
    );
    cluster
        .until::<Endpoints>("web", |endpoints| {
            has(
                endpoints,
                "/subsets/0/addresses/2/targetRef/kind",
                &json!("Pod"),
            )
        })
        .await;
    let reasons = cluster.reasons().await;
    for reason in ["ScalingReplicaSet", "SuccessfulCreate"] {
        assert!(
            reasons.iter().any(|known| known == reason),
            "{reason} of {reasons:?}"
        );
    }
}

#[tokio::test]
async fn a_new_template_replaces_every_pod_and_the_old_set_stays_empty() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment("web", 4)).await;
    cluster.until::<Deployment>("web", is_rolled_out).await;
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}});
    cluster.patch::<Deployment>("web", image).await;
    let rolled = cluster.until::<Deployment>("web", is_rolled_out).await;
    assert_eq!(
        meta::annotation(&rolled.metadata, "deployment.kubernetes.io/revision"),
        Some("2")
    );
    assert!(
        has(
            &rolled,
            "/status/conditions/1/reason",
            &json!("NewReplicaSetAvailable")
        ),
        "{rolled:#?}"
    );
    let sets = cluster
        .api::<ReplicaSet>("default")
        .list(&ListParams::default())
        .await;
    let mut sizes: Vec<_> = sets
        .expect("they are listed")
        .iter()
        .map(|set| set.status.as_ref().map(|s| s.replicas))
        .collect();
    sizes.sort();
    assert_eq!(sizes, [Some(0), Some(4)]);
    let pods = cluster
        .until_all::<Pod>("default", |pods| pods.len() == 4)
        .await;
    let image = |pod: &Pod| {
        pod.spec
            .as_ref()
            .and_then(|spec| spec.containers[0].image.clone())
    };
    assert!(pods.iter().all(|pod| image(pod).as_deref() == Some("two")));
}

#[tokio::test]
async fn pods_that_go_are_replaced_and_scaling_is_followed() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment("web", 2)).await;
    cluster.until::<Deployment>("web", is_rolled_out).await;
    let pods = cluster
        .until_all::<Pod>("default", |pods| pods.len() == 2)
        .await;
    let gone = pods[0].name_any();
    cluster.delete::<Pod>(&gone, DeleteParams::default()).await;
    cluster
        .until_all::<Pod>("default", |pods| {
            pods.len() == 2 && pods.iter().all(|pod| pod.name_any() != gone)
        })
        .await;
    cluster
        .patch::<Deployment>("web", json!({"spec": {"replicas": 5}}))
        .await;
    cluster.until::<Deployment>("web", is_rolled_out).await;
    cluster
        .patch::<Deployment>("web", json!({"spec": {"replicas": 0}}))
        .await;
    cluster.until_all::<Pod>("default", <[Pod]>::is_empty).await;
}

#[tokio::test]
async fn a_pod_with_the_right_labels_is_adopted() {
    let cluster = Cluster::start().await;
    let pod = json!({
        "metadata": {"name": "lonely", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "one"}]},
    });
    cluster.create::<Pod>(pod).await;
    let mut set = deployment("web", 2);
    set["spec"]["template"]["spec"]["containers"][0]["image"] = "two".into();
    cluster.create::<ReplicaSet>(set).await;
    cluster
        .until::<Pod>("lonely", |pod| {
            meta::controller_of(&pod.metadata).is_some_and(|owner| owner.name == "web")
        })
        .await;
    let pods = cluster
        .until_all::<Pod>("default", |pods| pods.len() >= 2)
        .await;
    assert_eq!(pods.len(), 2, "one was there already");
    // Without the label it is let go, and replaced.
    cluster
        .patch::<Pod>("lonely", json!({"metadata": {"labels": {"app": "other"}}}))
        .await;
    cluster
        .until::<Pod>("lonely", |pod| meta::controller_of(&pod.metadata).is_none())
        .await;
    cluster
        .until_all::<Pod>("default", |pods| pods.len() == 3)
        .await;
}

#[tokio::test]
async fn stateful_and_daemon_sets_have_their_pods() {
    let cluster = Cluster::start().await;
    let mut stateful = deployment("db", 2);
    stateful["spec"]["serviceName"] = "db".into();
    cluster.create::<StatefulSet>(stateful).await;
    let mut daemon = deployment("agent", 1);
    daemon["spec"]
        .as_object_mut()
        .expect("it is one")
        .remove("replicas");
    cluster.create::<DaemonSet>(daemon).await;
    let set = cluster
        .until::<StatefulSet>("db", |set| has(set, "/status/availableReplicas", &json!(2)))
        .await;
    let status = set.status.unwrap_or_default();
    assert_eq!(status.current_revision, status.update_revision);
    cluster
        .until::<DaemonSet>("agent", |set| {
            has(set, "/status/numberAvailable", &json!(1))
        })
        .await;
    let pods = cluster
        .until_all::<Pod>("default", |pods| pods.len() == 3)
        .await;
    let mut names: Vec<_> = pods.iter().map(kube::ResourceExt::name_any).collect();
    names.sort();
    assert_eq!(names[1..], ["db-0", "db-1"]);
    assert!(names[0].starts_with("agent-"));
}
