//! Lists and watches.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use lateen_local::apiserver::{ApiServer, Options, User};
use serde_json::{Value, json};

pub(crate) fn server() -> (ApiServer, Client) {
    let options = Options {
        history: 5,
        ..Options::default()
    };
    let server = ApiServer::open(options).unwrap();
    let client = server.client(User::admin());
    (server, client)
}

pub(crate) fn config_map(name: &str, label: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(BTreeMap::from([("app".into(), label.into())])),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::default_namespaced(client.clone())
}

async fn relabel(api: &Api<ConfigMap>, name: &str, label: &str) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"app": label}}}));
    api.patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// What a watch sent: the kind of the event and the object's name.
fn seen(event: &WatchEvent<ConfigMap>) -> (&'static str, String) {
    match event {
        WatchEvent::Added(object) => ("added", object.name_any()),
        WatchEvent::Modified(object) => ("modified", object.name_any()),
        WatchEvent::Deleted(object) => ("deleted", object.name_any()),
        WatchEvent::Bookmark(_) => ("bookmark", String::new()),
        WatchEvent::Error(status) => ("error", status.code.to_string()),
    }
}

#[tokio::test]
async fn a_watch_goes_on_from_where_the_list_was() {
    let (_server, client) = server();
    let api = maps(&client);
    api.create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    let list = api.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    api.create(&PostParams::default(), &config_map("b", "x"))
        .await
        .unwrap();
    relabel(&api, "a", "y").await;
    api.delete("b", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    let stream = api.watch(&WatchParams::default(), &version).await.unwrap();
    let events: Vec<_> = stream
        .take(3)
        .map_ok(|event| seen(&event))
        .try_collect()
        .await
        .unwrap();
    let expected = [("added", "b"), ("modified", "a"), ("deleted", "b")];
    assert_eq!(events, expected.map(|(kind, name)| (kind, name.to_owned())));
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection() {
    let (_server, client) = server();
    let api = maps(&client);
    let params = WatchParams::default().labels("app=x");
    let mut stream = api.watch(&params, "0").await.unwrap().boxed();
    api.create(&PostParams::default(), &config_map("a", "y"))
        .await
        .unwrap();
    relabel(&api, "a", "x").await;
    relabel(&api, "a", "z").await;
    let mut events = Vec::new();
    for _ in 0..2 {
        events.push(stream.try_next().await.unwrap().unwrap());
    }
    assert_eq!(seen(&events[0]), ("added", "a".into()));
    assert_eq!(seen(&events[1]), ("deleted", "a".into()));
    // The last state that was selected is shown, with the revision of the change.
    let WatchEvent::Deleted(last) = &events[1] else {
        unreachable!()
    };
    assert_eq!(last.labels()["app"], "x");
}

#[tokio::test]
async fn a_watch_from_before_the_history_is_told_that_it_expired() {
    let (_server, client) = server();
    let api = maps(&client);
    let list = api.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    for number in 0..7 {
        let map = config_map(&format!("m{number}"), "x");
        api.create(&PostParams::default(), &map).await.unwrap();
    }
    let stream = api.watch(&WatchParams::default(), &version).await.unwrap();
    let events: Vec<_> = stream
        .map_ok(|event| seen(&event))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(events, [("error", "410".to_owned())]);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let (_server, client) = server();
    maps(&client)
        .create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    let query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true\
                 &resourceVersionMatch=NotOlderThan";
    let uri = format!("/api/v1/namespaces/default/configmaps?{query}");
    let request = Request::get(uri).body(Vec::new()).unwrap();
    let stream = client.request_events::<Value>(request).await.unwrap();
    let events: Vec<_> = stream.take(2).try_collect().await.unwrap();
    assert!(matches!(&events[0], WatchEvent::Added(_)));
    let WatchEvent::Bookmark(bookmark) = &events[1] else {
        panic!("{:?}", events[1])
    };
    assert_eq!(
        bookmark.metadata.annotations["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_up() {
    let (_server, client) = server();
    let params = WatchParams::default().timeout(1);
    let stream = maps(&client).watch(&params, "0").await.unwrap();
    assert_eq!(stream.count().await, 0);
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let (_server, client) = server();
    let api = maps(&client);
    for name in ["a", "b", "c"] {
        api.create(&PostParams::default(), &config_map(name, "x"))
            .await
            .unwrap();
    }
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.items.len(), 2);
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    let token = first.metadata.continue_.unwrap();
    let rest = api
        .list(&ListParams::default().limit(2).continue_token(&token))
        .await
        .unwrap();
    assert_eq!(rest.items[0].name_any(), "c");
    assert!(rest.metadata.continue_.is_none_or(|token| token.is_empty()));
    assert_eq!(
        rest.metadata.resource_version,
        first.metadata.resource_version
    );
}

#[tokio::test]
async fn who_has_not_seen_the_newest_state_gets_a_conflict() {
    let (_server, client) = server();
    let api = maps(&client);
    let old = api
        .create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    relabel(&api, "a", "y").await;
    let error = api
        .replace("a", &PostParams::default(), &old)
        .await
        .unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert!(
        status.message.contains("the object has been modified"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_no_change() {
    let (_server, client) = server();
    let api = maps(&client);
    let before = api
        .create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    relabel(&api, "a", "x").await;
    let after = api.get("a").await.unwrap();
    assert_eq!(before.resource_version(), after.resource_version());
}

#[tokio::test]
async fn patches_at_once_all_take_effect() {
    let (_server, client) = server();
    let api = maps(&client);
    api.create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    let patches = (0..20).map(|number| {
        let api = api.clone();
        async move {
            let patch = Patch::Merge(json!({"data": {format!("k{number}"): "v"}}));
            api.patch("a", &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    });
    futures::future::join_all(patches).await;
    assert_eq!(api.get("a").await.unwrap().data.unwrap().len(), 20);
}

#[tokio::test]
async fn a_generated_name_is_completed() {
    let (_server, client) = server();
    let mut map = config_map("", "x");
    map.metadata.name = None;
    map.metadata.generate_name = Some("map-".into());
    let created = maps(&client)
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
    assert!(created.name_any().starts_with("map-") && created.name_any().len() == 9);
    assert!(created.uid().is_some());
}

#[tokio::test]
async fn only_metadata_is_sent_to_who_asks_for_no_more() {
    let (_server, client) = server();
    let api = maps(&client);
    api.create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    assert_eq!(api.get_metadata("a").await.unwrap().labels()["app"], "x");
    let list = api.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
}

#[tokio::test]
async fn a_watch_from_a_revision_that_was_never_reached_is_told_to_list_again() {
    let (_server, client) = server();
    let api = maps(&client);
    let future = api
        .watch(&WatchParams::default(), "18446744073709551615")
        .await;
    match future.map(drop) {
        Err(kube::Error::Api(status)) => {
            assert_eq!((status.code, &*status.reason), (410, "Expired"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_that_asks_for_more_than_a_life_is_served() {
    let (server, client) = server();
    drop(server);
    let path = format!("/api/v1/configmaps?watch=true&timeoutSeconds={}", i64::MAX);
    let request = Request::get(path).body(Vec::new()).unwrap();
    let events = client.request_events::<ConfigMap>(request).await;
    assert!(events.is_ok());
}
