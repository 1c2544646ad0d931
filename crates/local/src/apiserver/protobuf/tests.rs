use super::*;

/// A field with a length, as the wire has it.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    field.extend_from_slice(content);
    field
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
}

#[test]
fn a_config_map_is_read_with_its_map() {
    let metadata = [bytes(1, b"cm"), bytes(3, b""), bytes(8, b"")].concat();
    let entry = [bytes(1, b"key"), bytes(2, b"value")].concat();
    let raw = [bytes(1, &metadata), bytes(2, &entry)].concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &raw)).unwrap(),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"},
            "data": {"key": "value"}})
    );
}

#[test]
fn a_replica_count_of_zero_is_a_value_and_an_inlined_message_is_flat() {
    let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
    let pod = bytes(2, &bytes(1, &volume));
    let spec = [varint(1, 0), bytes(3, &pod), varint(5, 0)].concat();
    let value = decode(&body("apps/v1", "Deployment", &bytes(2, &spec))).unwrap();
    assert_eq!(
        value["spec"],
        json!({"replicas": 0, "template": {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}})
    );
}

#[test]
fn bytes_become_base64_and_numbers_or_words_stay_what_they_are() {
    let entry = [bytes(1, b"k"), bytes(2, b"\x00\xff")].concat();
    let value = decode(&body("v1", "Secret", &bytes(2, &entry))).unwrap();
    assert_eq!(value["data"], json!({"k": "AP8="}));
    let port = [
        varint(3, 80),
        bytes(4, &[varint(1, 1), bytes(3, b"http")].concat()),
    ]
    .concat();
    let service = bytes(2, &bytes(1, &port));
    let value = decode(&body("v1", "Service", &service)).unwrap();
    assert_eq!(
        value["spec"]["ports"],
        json!([{"port": 80, "targetPort": "http"}])
    );
}

#[test]
fn nonsense_is_refused() {
    assert!(decode(b"").is_err());
    assert!(decode(b"k8s\0\xff").is_err());
    assert!(decode(&body("v1", "Foo", b"")).is_err());
    assert!(decode(&body("v1", "ConfigMap", &[0x0a, 0x7f])).is_err());
}

#[test]
fn every_message_of_the_table_is_a_definition_or_inlined() {
    let inlined: Vec<&str> = messages()
        .values()
        .flat_map(HashMap::values)
        .filter_map(|member| match member {
            Member::Inline(name) => Some(*name),
            Member::Named(..) => None,
        })
        .collect();
    for name in messages().keys() {
        let is_definition = definitions().contains_key(&format!("io.k8s.{name}"));
        assert!(is_definition || inlined.contains(name), "{name}");
    }
}
