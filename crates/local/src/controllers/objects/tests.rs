use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;

use super::*;
use crate::apiserver;

fn pod(name: &str, uid: &str, version: u64) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = Some("default".into());
    pod.metadata.name = Some(name.into());
    pod.metadata.uid = Some(uid.into());
    pod.metadata.resource_version = Some(version.to_string());
    pod
}

/// Objects that follow the events given, with a client that is not used.
async fn following(events: Vec<Event<Pod>>) -> Objects<Pod> {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("not a server"))
    });
    let (synced, is_synced) = watch::channel(false);
    let objects = Objects {
        client: Client::new(service, "default"),
        known: Arc::default(),
        listeners: Arc::default(),
        is_synced,
    };
    let events = stream::iter(events.into_iter().map(Ok));
    objects.clone().follow(events, synced).await;
    objects
}

fn names(objects: &Objects<Pod>) -> Vec<String> {
    objects.all().iter().map(|pod| pod.name_any()).collect()
}

#[tokio::test]
async fn an_older_event_does_not_undo_an_own_write() {
    let objects = following(vec![Event::Apply(pod("a", "1", 5))]).await;
    objects.observe(pod("a", "1", 7));
    objects.observe(pod("a", "1", 6));
    let key = Key::new("default", "a");
    let version = objects.get(&key).and_then(|pod| pod.resource_version());
    assert_eq!(version.as_deref(), Some("7"));
}

#[tokio::test]
async fn what_we_deleted_does_not_come_back_by_an_older_event() {
    let objects = following(vec![Event::Apply(pod("a", "1", 5))]).await;
    objects.observe_own_end(&pod("a", "1", 5));
    objects.observe(pod("a", "1", 6));
    assert_eq!(names(&objects), [""; 0]);
    objects.observe_end(&pod("a", "1", 7));
    objects.observe(pod("a", "2", 8));
    assert_eq!(names(&objects), ["a"], "another object of the name is new");
}

#[tokio::test]
async fn a_new_list_ends_what_is_not_in_it() {
    let objects = following(vec![
        Event::Init,
        Event::InitApply(pod("a", "1", 1)),
        Event::InitApply(pod("b", "2", 2)),
        Event::InitDone,
        Event::Init,
        Event::InitApply(pod("b", "2", 3)),
        Event::InitApply(pod("c", "3", 4)),
        Event::InitDone,
    ])
    .await;
    objects.synced().await;
    assert_eq!(names(&objects), ["b", "c"]);
}

#[tokio::test]
async fn listeners_hear_of_old_and_new_objects() {
    let objects = following(vec![Event::Apply(pod("a", "1", 1))]).await;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    objects.listen(move |change| {
        counted.fetch_add(change.both().count(), Ordering::Relaxed);
    });
    objects.observe(pod("a", "1", 2));
    objects.observe_end(&pod("a", "1", 2));
    assert_eq!(count.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_write_is_known_when_it_returns() {
    let server = apiserver::ApiServer::open(apiserver::Options::default()).expect("it opens");
    let client = server.client(apiserver::User::admin());
    let (objects, _watching) =
        Objects::<k8s_openapi::api::core::v1::ConfigMap>::watch(client, watcher::Config::default());
    let mut map = k8s_openapi::api::core::v1::ConfigMap::default();
    map.metadata.namespace = Some("default".into());
    map.metadata.generate_name = Some("map-".into());
    let created = objects.create(&map).await.expect("it is created");
    assert!(objects.get(&Key::of(&created)).is_some());
    objects
        .delete(&created, DeleteParams::default())
        .await
        .expect("it is deleted");
    assert!(objects.all().is_empty());
}
