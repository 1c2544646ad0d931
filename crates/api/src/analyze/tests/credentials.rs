//! The Secrets that Gateways name, and certificates that several show.

use super::super::credential::{Credential, Flaw, missing};
use super::*;

/// A Gateway of the ingress gateway's with these servers' `tls`.
fn gateway(name: &str, tls: &[&str]) -> String {
    let servers = tls.iter().enumerate().map(|(index, tls)| {
        format!(
            "{{port: {{number: 443, name: https-{index}, protocol: HTTPS}}, \
             hosts: [{name}-{index}.example], tls: {tls}}}"
        )
    });
    let servers: Vec<String> = servers.collect();
    let spec = format!(
        "{{selector: {{istio: ingressgateway}}, servers: [{}]}}",
        servers.join(", ")
    );
    networking("Gateway", name, &spec)
}

fn secret(namespace: &str, name: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {namespace}}}, {rest}}}\n---\n"
    )
}

/// A Secret of the cluster of which only the name is known.
fn listed(namespace: &str, name: &str) -> Entry {
    Entry {
        value: json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "namespace": namespace, "name": name } }),
        origin: Origin::Cluster,
    }
}

/// Finds fault with whatever holds the word `bad`, and says what it was given.
fn judge(credential: &Credential<'_>) -> Vec<Flaw> {
    let all = credential.own.into_iter().chain(credential.base).flatten();
    let bad = all.filter(|(_, value)| value.as_slice() == b"bad");
    let flaws = bad.map(|(key, _)| Flaw {
        level: Level::Error,
        text: format!("{key} of {} for {:?}", credential.name, credential.need),
    });
    flaws.collect()
}

/// The messages about credentials as `code field text`.
fn about(text: &str, cluster: &[Entry]) -> Vec<String> {
    let options = Options::default();
    let mut entries = installation(&options);
    entries.extend(read("g.yaml", text).unwrap());
    entries.extend(cluster.iter().cloned());
    let messages = analyze(&entries, &options, &judge);
    let codes = ["IST0101", "IST0138", "IST0161"];
    let messages = messages.iter().filter(|m| codes.contains(&m.code.id));
    messages
        .map(|m| format!("{} {} {}", m.code.id, m.field, m.text))
        .collect()
}

#[test]
fn a_gateways_secret_must_be_beside_its_pods_where_secrets_are_known() {
    let gateway = gateway(
        "secured",
        &[
            "{mode: SIMPLE, credentialName: there}",
            "{mode: MUTUAL, credentialNames: ['kubernetes://there', elsewhere], caCertCredentialName: ca}",
            "{mode: SIMPLE, credentialName: 'other://x'}",
        ],
    );
    assert_eq!(about(&gateway, &[]), Vec::<String>::new());
    let secrets = [
        listed("istio-system", "there"),
        listed("default", "elsewhere"),
    ];
    let text = "must be in the namespace of the gateway's pods";
    assert_eq!(
        about(&gateway, &secrets),
        [
            format!(
                "IST0101 spec.servers[1].tls.caCertCredentialName the Secret istio-system/ca does not exist; it {text}"
            ),
            format!(
                "IST0101 spec.servers[1].tls.credentialNames[1] the Secret istio-system/elsewhere does not exist; it {text}, and the one in default is not"
            ),
        ]
    );
}

#[test]
fn what_a_secret_of_a_file_holds_is_judged() {
    let gateway = gateway("secured", &["{mode: SIMPLE, credentialName: c}"]);
    let field = "IST0161 spec.servers[0].tls.credentialName";
    // "YmFk" is "bad".
    for (data, expected) in [
        ("data: {tls.crt: YmFk}", vec!["tls.crt of c for Pair"]),
        ("stringData: {key: bad}", vec!["key of c for Pair"]),
        ("data: {tls.crt: YQ==}", vec![]),
        (
            "data: {tls.crt: '-'}",
            vec!["Secret istio-system/c is not valid: data.tls.crt is not base64"],
        ),
    ] {
        let text = format!("{gateway}{}", secret("istio-system", "c", data));
        let expected: Vec<String> = expected.iter().map(|it| format!("{field} {it}")).collect();
        assert_eq!(about(&text, &[]), expected, "{data}");
    }
}

#[test]
fn authorities_are_judged_where_clients_are_asked() {
    let bad = secret("istio-system", "c", "stringData: {ca.crt: bad}");
    let field = "IST0161 spec.servers[0].tls.credentialName";
    for (mode, expected) in [
        ("SIMPLE", vec!["ca.crt of c for Pair"]),
        (
            "MUTUAL",
            vec!["ca.crt of c for Pair", "ca.crt of c-cacert for Authorities"],
        ),
        ("PASSTHROUGH", vec![]),
    ] {
        let tls = format!("{{mode: {mode}, credentialName: c}}");
        let text = format!("{}{bad}", gateway("secured", &[&tls]));
        let expected: Vec<String> = expected.iter().map(|it| format!("{field} {it}")).collect();
        assert_eq!(about(&text, &[]), expected, "{mode}");
    }
}

#[test]
fn only_secrets_that_gateways_name_are_wanted_from_the_cluster() {
    let options = Options::default();
    let text = format!(
        "{}{}",
        gateway("secured", &["{mode: MUTUAL, credentialNames: [a, b]}"]),
        secret("istio-system", "b", "data: {}")
    );
    let mut entries = installation(&options);
    entries.extend(read("g.yaml", &text).unwrap());
    for name in ["a", "a-cacert", "b", "c"] {
        entries.push(listed("istio-system", name));
    }
    entries.push(listed("default", "a"));
    let wanted = missing(&entries, &options).into_iter();
    let wanted: Vec<String> = wanted.map(|(ns, name)| format!("{ns}/{name}")).collect();
    assert_eq!(wanted, ["istio-system/a", "istio-system/a-cacert"]);
}

#[test]
fn a_secret_whose_content_nobody_may_read_is_not_judged() {
    let gateway = gateway("secured", &["{mode: MUTUAL, credentialName: c}"]);
    let secrets = [listed("istio-system", "c")];
    assert_eq!(about(&gateway, &secrets), Vec::<String>::new());
}

#[test]
fn a_certificate_of_several_gateways_is_told_at_both() {
    let (one, other) = (
        "{mode: SIMPLE, credentialName: c}",
        "{mode: SIMPLE, credentialName: d}",
    );
    let text = [
        gateway("a", &[other, one]),
        gateway("b", &[one]),
        gateway(
            "c",
            &["{mode: SIMPLE, serverCertificate: /c, privateKey: /k}"],
        ),
    ]
    .concat();
    let found = about(&text, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("IST0138 spec.servers[1].tls "),
        "{found:?}"
    );
    assert!(found[0].contains("default/b"), "{found:?}");
    assert!(found[1].contains("default/a"), "{found:?}");
}
