use super::*;

#[test]
fn the_name_is_a_dns_label() {
    let object = |name: &str| {
        let port = json!({"number": 80, "name": "a", "protocol": "HTTP"});
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": name},
            "spec": {"servers": [{"hosts": ["*"], "port": port}]},
        })
    };
    assert!(validate(&object("a-b")).is_valid());
    assert_eq!(validate(&object("a.b")).errors[0].path, "metadata.name");
}
