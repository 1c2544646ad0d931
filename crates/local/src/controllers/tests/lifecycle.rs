//! Jobs, ownership, namespaces, accounts and published services.

use kube::runtime::conditions::is_deleted;

use super::*;

#[tokio::test]
async fn a_job_completes_and_is_deleted_when_its_time_is_over() {
    let cluster = Cluster::start().await;
    let job = json!({
        "metadata": {"name": "once"},
        "spec": {
            "completions": 3,
            "parallelism": 2,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "one"}]}},
        },
    });
    cluster.create::<Job>(job).await;
    let done = cluster
        .until::<Job>("once", |job| has(job, "/status/succeeded", &json!(3)))
        .await;
    let done = match done
        .status
        .clone()
        .and_then(|status| status.completion_time)
    {
        Some(_) => done,
        None => {
            cluster
                .until::<Job>("once", |job| {
                    job.status
                        .as_ref()
                        .is_some_and(|s| s.completion_time.is_some())
                })
                .await
        }
    };
    let conditions = done
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    assert!(
        conditions
            .iter()
            .any(|condition| condition.type_ == "Complete" && condition.status == "True")
    );
    let uid = done.metadata.uid.expect("it has one");
    cluster
        .patch::<Job>("once", json!({"spec": {"ttlSecondsAfterFinished": 0}}))
        .await;
    let gone = await_condition(cluster.api::<Job>("default"), "once", is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("in time")
        .expect("the watch works");
    cluster.until_all::<Pod>("default", <[Pod]>::is_empty).await;
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner_or_stays_when_it_is_let_go() {
    let cluster = Cluster::start().await;
    for (name, how) in [
        ("one", DeleteParams::background()),
        ("two", DeleteParams::foreground()),
    ] {
        cluster.create::<Deployment>(deployment(name, 2)).await;
        cluster
            .until_all::<Pod>("default", |pods| pods.len() == 2)
            .await;
        cluster.delete::<Deployment>(name, how).await;
        cluster.until_all::<Pod>("default", <[Pod]>::is_empty).await;
        cluster
            .until_all::<ReplicaSet>("default", <[ReplicaSet]>::is_empty)
            .await;
        cluster
            .until_all::<Deployment>("default", <[Deployment]>::is_empty)
            .await;
    }
    cluster.create::<Deployment>(deployment("three", 1)).await;
    cluster
        .until_all::<Pod>("default", |pods| pods.len() == 1)
        .await;
    cluster
        .delete::<Deployment>("three", DeleteParams::orphan())
        .await;
    cluster
        .until_all::<Deployment>("default", <[Deployment]>::is_empty)
        .await;
    let sets = cluster
        .until_all::<ReplicaSet>("default", |sets| sets.len() == 1)
        .await;
    assert_eq!(
        sets[0]
            .metadata
            .owner_references
            .clone()
            .unwrap_or_default(),
        []
    );
    // Another one of the same selector takes it.
    cluster.create::<Deployment>(deployment("three", 1)).await;
    cluster
        .until_all::<ReplicaSet>("default", |sets| {
            sets.len() == 1 && meta::controller_of(&sets[0].metadata).is_some()
        })
        .await;
}

#[tokio::test]
async fn an_object_whose_owner_never_existed_is_collected() {
    let cluster = Cluster::start().await;
    let map = json!({
        "metadata": {"name": "lost", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "never", "uid": "1"},
        ]},
    });
    let lost = cluster.create::<ConfigMap>(map).await;
    let uid = lost.metadata.uid.expect("it has one");
    let gone = await_condition(
        cluster.api::<ConfigMap>("default"),
        "lost",
        is_deleted(&uid),
    );
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("in time")
        .expect("the watch works");
}

async fn define_widgets(cluster: &Cluster) {
    let definition = json!({
        "metadata": {"name": "widgets.example.dev"},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    let definitions = Api::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>::all(cluster.client.clone());
    definitions
        .create(&PostParams::default(), &from(definition))
        .await
        .expect("it is created");
}

#[tokio::test]
async fn a_namespace_begins_with_an_account_and_ends_with_everything_in_it() {
    let cluster = Cluster::start().await;
    define_widgets(&cluster).await;
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    let namespace = from(json!({"metadata": {"name": "shop"}}));
    let created = namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .expect("it is created");
    cluster
        .until_all::<ServiceAccount>("shop", |accounts| {
            accounts
                .iter()
                .any(|account| account.name_any() == "default")
        })
        .await;
    let maps = cluster
        .until_all::<ConfigMap>("shop", |maps| !maps.is_empty())
        .await;
    assert!(has(&maps[0], "/data/ca.crt", &json!("the authority")));
    let mut web = deployment("web", 2);
    web["metadata"]["namespace"] = "shop".into();
    cluster.create::<Deployment>(web).await;
    let widget = json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}});
    let widgets = custom(&cluster.client, "shop");
    widgets
        .create(&PostParams::default(), &from(widget))
        .await
        .expect("it is created");
    cluster
        .until_all::<Pod>("shop", |pods| pods.len() == 2)
        .await;
    namespaces
        .delete("shop", &DeleteParams::default())
        .await
        .expect("it is deleted");
    let uid = created.metadata.uid.expect("it has one");
    let gone = await_condition(namespaces.clone(), "shop", is_deleted(&uid));
    let ended = tokio::time::timeout(PATIENCE, gone).await;
    assert!(
        ended.is_ok(),
        "it does not end: {:#?}",
        namespaces.get_opt("shop").await
    );
    assert!(
        widgets
            .list(&ListParams::default())
            .await
            .expect("they are listed")
            .items
            .is_empty()
    );
    assert!(
        cluster
            .api::<Pod>("shop")
            .list(&ListParams::default())
            .await
            .expect("they are listed")
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn what_the_publisher_reports_is_in_the_status() {
    let mut cluster = Cluster::start().await;
    let service = json!({
        "metadata": {"name": "ingress"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    cluster.create::<Service>(service).await;
    while cluster.publisher.wanted().is_empty() {
        assert!(cluster.publisher.changed().await);
    }
    let (name, wanted) = cluster.publisher.wanted().pop_first().expect("it is there");
    assert_eq!(wanted.ports[0].port, 80);
    cluster.publisher.report(load_balancer::Report {
        name,
        uid: wanted.uid,
        addresses: vec![load_balancer::Address {
            ip: "127.0.0.1".parse().expect("it is one"),
            ports: vec![(8080, "TCP".into(), None)],
        }],
        problem: None,
    });
    let service = cluster
        .until::<Service>("ingress", |service| {
            has(
                service,
                "/status/loadBalancer/ingress/0/ip",
                &json!("127.0.0.1"),
            )
        })
        .await;
    assert!(has(
        &service,
        "/status/loadBalancer/ingress/0/ports/0/port",
        &json!(8080)
    ));
    cluster
        .patch::<Service>("ingress", json!({"spec": {"type": "ClusterIP"}}))
        .await;
    cluster
        .until::<Service>("ingress", |service| {
            let status = service.status.clone().unwrap_or_default().load_balancer;
            status
                .unwrap_or_default()
                .ingress
                .unwrap_or_default()
                .is_empty()
        })
        .await;
    assert!(cluster.publisher.changed().await);
    assert!(cluster.publisher.wanted().is_empty());
}
