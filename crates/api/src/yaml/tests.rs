use serde_json::json;

use super::*;

fn one(text: &str) -> Value {
    value(text).unwrap()
}

#[test]
fn several_documents_know_their_lines_and_those_of_their_fields() {
    let text = "# a comment\na: 1\nb:\n  - x: y1\n    z: 2\n  - w\n---\n\n---\nkind: Second\nheaders:\n  end.user: {exact: jason}\n";
    let documents = documents(text).unwrap();
    assert_eq!(documents.len(), 2);
    assert_eq!(
        documents[0].value,
        json!({"a": 1, "b": [{"x": "y1", "z": 2}, "w"]})
    );
    assert_eq!(documents[0].line_of("b[0].z"), 5);
    assert_eq!(documents[0].line_of("b[1]"), 6);
    assert_eq!(documents[0].line_of("b[7].q"), 3);
    assert_eq!(documents[1].line, 10);
    assert_eq!(documents[1].line_of("headers[end.user].exact"), 12);
}

#[test]
fn plain_scalars_are_resolved_as_kubectl_does() {
    assert_eq!(
        one(
            "[yes, off, ~, 12, -3, 0x1F, 0777, 0o17, 1_000, 1.5, 1e3, .5, 1.2.3, 12h, 'no', \"8\"]"
        ),
        json!([
            true, false, null, 12, -3, 31, 511, 15, 1000, 1.5, 1000.0, 0.5, "1.2.3", "12h", "no",
            "8"
        ])
    );
    assert_eq!(one("80: a"), json!({"80": "a"}));
    assert_eq!(one("!!str 12"), json!("12"));
    assert_eq!(one("18446744073709551615"), json!(u64::MAX));
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    assert_eq!(
        one("base: &b {a: 1, b: 2}\nother:\n  <<: *b\n  b: 3\nlist: [*b]\n"),
        json!({"base": {"a": 1, "b": 2}, "other": {"a": 1, "b": 3}, "list": [{"a": 1, "b": 2}]})
    );
}

#[test]
fn errors_name_their_place() {
    let error = documents("a: 1\na: 2\n").unwrap_err();
    assert_eq!((error.line, error.reason.contains("twice")), (2, true));
    assert!(documents("a: [1, 2\nb: 3").is_err());
    assert!(documents("a: .nan").is_err());
    assert!(value("a: 1\n---\nb: 2\n").is_err());
    assert_eq!(value("").unwrap(), Value::Null);
}

#[test]
fn aliases_cannot_grow_a_text_without_limit() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let previous = format!("*a{}", level - 1);
        let list = vec![previous; 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert!(documents(&bomb).unwrap_err().reason.contains("values"));
}

#[test]
fn nesting_is_limited_directly_and_through_aliases() {
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    assert!(documents(&deep).is_err());
    let mut chain = String::from("- &a0 [x]\n");
    for level in 1..400 {
        chain.push_str(&format!("- &a{level} [*a{}]\n", level - 1));
    }
    assert!(documents(&chain).unwrap_err().reason.contains("nested"));
}
