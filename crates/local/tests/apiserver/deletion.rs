//! Finalizers, propagation, preconditions, collections, persistence.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::{Api, ResourceExt};
use lateen_local::apiserver::{ApiServer, Options, User};
use serde_json::json;

use crate::watching::{config_map, server};

#[tokio::test]
async fn an_object_stays_until_its_last_finalizer_is_gone() {
    let (_server, client) = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let mut map = config_map("a", "x");
    map.metadata.finalizers = Some(vec!["lateen.dev/hold".into()]);
    api.create(&PostParams::default(), &map).await.unwrap();
    let marked = api
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    let more = json!({"metadata": {"finalizers": ["lateen.dev/hold", "lateen.dev/more"]}});
    let error = api
        .patch("a", &PatchParams::default(), &Patch::Merge(more))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no new finalizers can be added"),
        "{error}"
    );
    let none = json!({"metadata": {"finalizers": null}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(none))
        .await
        .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn propagation_is_written_as_a_finalizer() {
    let (_server, client) = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for (policy, finalizer) in [
        (PropagationPolicy::Foreground, "foregroundDeletion"),
        (PropagationPolicy::Orphan, "orphan"),
    ] {
        let name = finalizer.to_lowercase();
        api.create(&PostParams::default(), &config_map(&name, "x"))
            .await
            .unwrap();
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        let marked = api.delete(&name, &params).await.unwrap().left().unwrap();
        assert_eq!(marked.finalizers(), [finalizer]);
    }
}

#[tokio::test]
async fn only_the_object_that_is_meant_is_deleted() {
    let (_server, client) = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("other".into()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let error = api.delete("a", &params).await.unwrap_err();
    assert!(
        error.to_string().contains("Precondition failed: UID"),
        "{error}"
    );
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let (_server, client) = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        api.create(&PostParams::default(), &config_map(name, label))
            .await
            .unwrap();
    }
    let selected = ListParams::default().labels("app=x");
    api.delete_collection(&DeleteParams::default(), &selected)
        .await
        .unwrap();
    let rest = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(
        rest.items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>(),
        ["b"]
    );
}

#[tokio::test]
async fn objects_definitions_and_keys_survive_a_restart() {
    let directory = std::env::temp_dir().join(format!("lateen-data-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let options = || Options {
        data: Some(directory.join("objects")),
        ..Options::default()
    };
    let server = ApiServer::open(options()).unwrap();
    let authority = server.ca().to_owned();
    {
        let api: Api<ConfigMap> = Api::default_namespaced(server.client(User::admin()));
        api.create(&PostParams::default(), &config_map("a", "x"))
            .await
            .unwrap();
    }
    assert!(
        ApiServer::open(options()).is_err(),
        "two servers opened one file"
    );
    // The client's task keeps the server until it notices that its handle is gone.
    drop(server);
    let server = loop {
        match ApiServer::open(options()) {
            Ok(server) => break server,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(server.ca(), authority);
    let api: Api<ConfigMap> = Api::default_namespaced(server.client(User::admin()));
    assert!(api.get_opt("a").await.unwrap().is_some());
    std::fs::remove_dir_all(&directory).unwrap();
}
