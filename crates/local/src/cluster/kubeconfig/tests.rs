use super::*;

const MINE: &str = "\
# my clusters
apiVersion: v1
kind: Config
clusters:
# the one at work
- cluster:
    server: https://work.example:6443
  name: work
contexts:
- context:
    cluster: work
    user: me
    namespace: team # not default
  name: work
current-context: work
preferences: {}
users:
- name: me
  user:
    token: abc
";

fn access() -> Access {
    Access {
        server: "https://127.0.0.1:6443".into(),
        authority: "-----BEGIN CERTIFICATE-----\nCA\n".into(),
        certificate: "-----BEGIN CERTIFICATE-----\nME\n".into(),
        key: "-----BEGIN PRIVATE KEY-----\nK\n".into(),
    }
}

#[test]
fn everything_else_stays_and_the_new_context_is_selected() {
    let (text, previous) = added(MINE, "lateen", &access()).unwrap();
    assert_eq!(previous.as_deref(), Some("work"));
    for kept in [
        "# my clusters",
        "# the one at work",
        "# not default",
        "token: abc",
    ] {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    let document = parse(&text).unwrap();
    assert_eq!(document[CURRENT], "lateen");
    assert_eq!(
        document["clusters"][1]["cluster"]["server"],
        "https://127.0.0.1:6443"
    );
    assert_eq!(document["contexts"][0]["context"]["namespace"], "team");
}

#[test]
fn what_was_added_is_removed_without_a_trace() {
    let (text, previous) = added(MINE, "lateen", &access()).unwrap();
    let after = removed(&text, "lateen", previous.as_deref()).unwrap();
    assert_eq!(after.replace('"', ""), MINE);
}

#[test]
fn adding_twice_replaces() {
    let (once, _) = added(MINE, "lateen", &access()).unwrap();
    let other = Access {
        server: "https://127.0.0.1:7443".into(),
        ..access()
    };
    let (twice, previous) = added(&once, "lateen", &other).unwrap();
    assert_eq!(previous.as_deref(), Some("lateen"));
    assert_eq!(
        parse(&twice).unwrap()["clusters"].as_array().unwrap().len(),
        2
    );
    assert!(twice.contains("7443") && !twice.contains("https://127.0.0.1:6443"));
}

#[test]
fn a_context_selected_since_is_left_selected() {
    let (text, _) = added(MINE, "lateen", &access()).unwrap();
    let text = text.replace("current-context: \"lateen\"", "current-context: work");
    let after = removed(&text, "lateen", Some("gone")).unwrap();
    assert_eq!(parse(&after).unwrap()[CURRENT], "work");
}

#[test]
fn a_previous_context_that_no_longer_exists_is_not_selected() {
    let (text, _) = added(MINE, "lateen", &access()).unwrap();
    let after = removed(&text, "lateen", Some("gone")).unwrap();
    assert_eq!(parse(&after).unwrap()[CURRENT], "");
}

#[test]
fn a_file_that_is_missing_empty_or_in_json_is_no_problem() {
    let json = r#"{"apiVersion":"v1","kind":"Config","clusters":null,"contexts":[],"extra":{"a":[1,"x: y"]}}"#;
    for before in [
        "",
        "\n",
        "# nothing yet\n",
        "clusters: []\nusers: null\n",
        json,
    ] {
        let (text, previous) = added(before, "lateen", &access()).unwrap();
        assert_eq!(previous, None);
        let document = parse(&text).unwrap();
        assert_eq!(document["users"][0]["name"], "lateen", "{text}");
        let after = parse(&removed(&text, "lateen", None).unwrap()).unwrap();
        assert!(after.get("users").is_none());
        if before == json {
            assert_eq!(after["extra"]["a"][1], "x: y");
        }
    }
}

#[test]
fn indented_lists_and_names_in_front_are_understood() {
    let before = "clusters:\n  - name: a\n    cluster:\n      server: x\n  - name: lateen\n    cluster: {server: y}\n";
    let (text, _) = added(before, "lateen", &access()).unwrap();
    let document = parse(&text).unwrap();
    assert_eq!(document["clusters"].as_array().unwrap().len(), 2);
    assert!(
        text.contains("  - name: a\n    cluster:\n      server: x\n  - "),
        "{text}"
    );
}

#[test]
fn what_is_no_kubeconfig_is_refused_and_left_alone() {
    assert!(added("just words", "lateen", &access()).is_err());
    assert!(added("- a\n- b\n", "lateen", &access()).is_err());
    assert!(added("clusters: {a: b}\n", "lateen", &access()).is_err());
}

#[test]
fn the_file_is_private_and_replaced_through_a_link() {
    use std::os::unix::fs::PermissionsExt;

    let directory = std::env::temp_dir().join(format!("lateen-kubeconfig-{}", std::process::id()));
    let (real, link) = (directory.join("real"), directory.join(".kube/config"));
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::write(&real, MINE).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    add(&link, "lateen", &access()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o600
    );
    remove(&link, "lateen", Some("work")).unwrap();
    assert_eq!(fs::read_to_string(&real).unwrap().replace('"', ""), MINE);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_access_is_read_back_as_it_was_written() {
    let path = std::env::temp_dir().join(format!("lateen-access-{}", std::process::id()));
    fs::write(&path, access().document("lateen")).unwrap();
    assert_eq!(Access::load(&path).unwrap(), access());
    fs::remove_file(path).unwrap();
}
