use serde_json::json;

use super::*;

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}})
}

fn store() -> Store {
    Store::open(None, 3).unwrap()
}

#[test]
fn revisions_rise_with_every_change_of_any_table() {
    let store = store();
    let one = store.insert("pods", pod("a")).unwrap();
    let two = store.insert("services", pod("a")).unwrap();
    assert!(object::revision(&two) > object::revision(&one));
}

#[test]
fn only_the_current_revision_can_be_replaced() {
    let store = store();
    let first = object::revision(&store.insert("pods", pod("a")).unwrap());
    let second = object::revision(&store.replace("pods", first, pod("a")).unwrap());
    assert!(matches!(
        store.replace("pods", first, pod("a")),
        Err(Refusal::Changed)
    ));
    assert!(matches!(
        store.insert("pods", pod("a")),
        Err(Refusal::Exists)
    ));
    let key = Key::new("default", "a");
    assert!(store.remove("pods", &key, second).is_ok());
    assert!(matches!(
        store.remove("pods", &key, second),
        Err(Refusal::Missing)
    ));
}

#[test]
fn a_watch_sees_every_change_after_its_revision_in_order() {
    let store = store();
    let start = store.revision();
    let first = object::revision(&store.insert("pods", pod("a")).unwrap());
    store
        .remove("pods", &Key::new("default", "a"), first)
        .unwrap();
    let (changes, upto) = store.changes("pods", start).unwrap();
    assert_eq!(
        changes
            .iter()
            .map(|change| change.is_deletion)
            .collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(upto, object::revision(&changes[1].object));
    assert!(store.changes("pods", upto).unwrap().0.is_empty());
}

#[test]
fn a_watch_from_before_the_history_is_expired() {
    let store = store();
    let start = store.revision();
    for name in ["a", "b", "c", "d"] {
        store.insert("pods", pod(name)).unwrap();
    }
    assert!(store.changes("pods", start).is_err());
    assert!(store.changes("pods", start + 1).is_ok());
}

#[test]
fn a_watch_of_a_type_that_nobody_used_before_reaches_back_to_the_start() {
    let store = store();
    let start = store.revision();
    for name in ["a", "b", "c", "d", "e"] {
        store.insert("pods", pod(name)).unwrap();
    }
    store.subscribe("services");
    assert!(store.changes("services", start).is_ok());
    store.insert("services", pod("a")).unwrap();
    assert_eq!(store.changes("services", start).unwrap().0.len(), 1);
}

#[test]
fn a_list_goes_on_after_the_last_key_of_the_page_before() {
    let store = store();
    for name in ["a", "b", "c"] {
        store.insert("pods", pod(name)).unwrap();
    }
    let (rest, _) = store.list("pods", "default", Some(&Key::new("default", "a")));
    assert_eq!(
        rest.iter().map(|pod| object::name(pod)).collect::<Vec<_>>(),
        ["b", "c"]
    );
    assert!(store.list("pods", "other", None).0.is_empty());
}

#[test]
fn objects_and_revisions_survive_a_restart_and_a_torn_line() {
    let directory = std::env::temp_dir().join(object::new_uid());
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("objects");
    let store = Store::open(Some(&path), 10).unwrap();
    assert!(
        Store::open(Some(&path), 10).is_err(),
        "two servers opened one file"
    );
    let first = object::revision(&store.insert("pods", pod("a")).unwrap());
    store.insert("pods", pod("b")).unwrap();
    store
        .remove("pods", &Key::new("default", "a"), first)
        .unwrap();
    let revision = store.revision();
    drop(store);
    let mut text = std::fs::read(&path).unwrap();
    text.extend_from_slice(b"{\"revision\":99,");
    std::fs::write(&path, text).unwrap();

    for _ in 0..2 {
        let store = Store::open(Some(&path), 10).unwrap();
        assert_eq!(store.revision(), revision);
        let (pods, _) = store.list("pods", "", None);
        assert_eq!(
            pods.iter().map(|pod| object::name(pod)).collect::<Vec<_>>(),
            ["b"]
        );
        assert!(
            store.changes("pods", first).is_err(),
            "the history is not kept"
        );
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_watch_that_begins_before_its_table_sees_all_of_it() {
    let store = store();
    let start = store.revision();
    store.insert("services", pod("a")).unwrap();
    drop(store.subscribe("pods"));
    assert_eq!(store.changes("pods", start).unwrap().0.len(), 0);
    store.insert("pods", pod("a")).unwrap();
    assert_eq!(store.changes("pods", start).unwrap().0.len(), 1);
}

#[test]
fn the_file_does_not_grow_with_changes_for_ever() {
    let directory = std::env::temp_dir().join(object::new_uid());
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("objects");
    let store = Store::open(Some(&path), 1).unwrap();
    let large = || {
        let mut large = pod("a");
        large["data"] = "x".repeat(200_000).into();
        large
    };
    let mut revision = object::revision(&store.insert("pods", large()).unwrap());
    for _ in 0..50 {
        revision = object::revision(&store.replace("pods", revision, large()).unwrap());
    }
    assert!(std::fs::metadata(&path).unwrap().len() < 5_000_000);
    drop(store);
    let store = Store::open(Some(&path), 1).unwrap();
    assert_eq!(store.revision(), revision);
    assert!(store.get("pods", &Key::new("default", "a")).is_some());
    std::fs::remove_dir_all(&directory).unwrap();
}
