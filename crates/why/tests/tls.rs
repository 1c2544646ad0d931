//! Questions about TLS: which server of a gateway takes a connection, and what comes after it; and
//! TLS that a sidecar carries on.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use lateen_model::Reason;
use lateen_why::{Answer, Outcome, Question, World, assume, explain, text};
use serde_json::{Value, json};

const GATEWAY: &str = "istio-ingressgateway.istio-system";

/// Servers of one port that end TLS, with requests and with bytes under it, and that pass it on.
fn servers() -> Value {
    let server = |number: u16, name: &str, protocol: &str, host: &str, tls: Value| {
        json!({ "port": { "number": number, "name": name, "protocol": protocol },
            "hosts": [host], "tls": tls })
    };
    let simple = |name: &str| json!({ "mode": "SIMPLE", "credentialName": name });
    let files =
        json!({ "mode": "SIMPLE", "serverCertificate": "/etc/c.pem", "privateKey": "/etc/k.pem" });
    let two = json!({ "mode": "SIMPLE", "credentialNames": ["rsa", "ecdsa"] });
    let mutual = json!({ "mode": "MUTUAL", "credentialName": "kubernetes://mutual" });
    let passed = json!({ "mode": "PASSTHROUGH" });
    json!([
        server(443, "one", "HTTPS", "one.example", simple("one")),
        server(443, "two", "HTTPS", "*.two.example", two),
        server(443, "files", "HTTPS", "files.two.example", files),
        server(443, "mutual", "HTTPS", "mutual.example", mutual),
        server(443, "db", "TLS", "db.example", simple("db")),
        server(443, "through", "TLS", "through.example", passed.clone()),
        server(443, "lost", "TLS", "lost.example", passed),
        server(
            80,
            "plain",
            "HTTP",
            "one.example",
            json!({ "httpsRedirect": true })
        ),
    ])
}

fn mesh() -> Vec<Value> {
    let deployment = |name: &str| {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": { "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app" }] } } } })
    };
    let service = |name: &str, ports: Value| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": { "app": name }, "ports": ports } })
    };
    let networking = |kind: &str, name: &str, spec: Value| {
        json!({ "apiVersion": "networking.istio.io/v1", "kind": kind,
            "metadata": { "name": name }, "spec": spec })
    };
    let to = |host: &str, port: u16| json!([{ "destination": { "host": host, "port": { "number": port } } }]);
    vec![
        deployment("web"),
        deployment("db"),
        service(
            "web",
            json!([{ "name": "http", "port": 80 }, { "name": "tls", "port": 8443 }]),
        ),
        service("db", json!([{ "name": "tcp", "port": 3306 }])),
        networking(
            "Gateway",
            "edge",
            json!({ "selector": { "istio": "ingressgateway" }, "servers": servers() }),
        ),
        networking(
            "VirtualService",
            "shop",
            json!({ "hosts": ["one.example", "*.two.example", "mutual.example"],
                "gateways": ["edge"], "http": [
                    { "match": [{ "uri": { "prefix": "/page" } }], "route": to("web", 80) }] }),
        ),
        networking(
            "VirtualService",
            "through",
            json!({ "hosts": ["through.example"], "gateways": ["edge"], "tls": [
                { "match": [{ "sniHosts": ["through.example"] }], "route": to("web", 8443) }] }),
        ),
        networking(
            "VirtualService",
            "db",
            json!({ "hosts": ["db.example"], "gateways": ["edge"], "tcp": [
                { "route": to("db", 3306) }] }),
        ),
    ]
}

fn ask(from: &str, question: &Question) -> Answer {
    let completed = assume::complete(mesh(), from, "default").unwrap();
    let world = World::new(&completed.objects, "istio-system").unwrap();
    let caller = world
        .caller(&completed.caller.0, &completed.caller.1)
        .unwrap();
    explain(&world, &world.configuration(&caller), &caller, question)
}

fn at_gateway(url: &str) -> Answer {
    ask(GATEWAY, &Question::new(url).unwrap())
}

fn forwarded(cluster: &str) -> Outcome {
    Outcome::Forwarded {
        cluster: format!("outbound|{cluster}.default.svc.cluster.local"),
    }
}

/// The name of the server that ends TLS, and what it shows.
fn shown(answer: &Answer) -> (&str, Vec<&str>) {
    let server = answer.server.as_ref().unwrap();
    let certificates = server.certificates.iter().map(String::as_str);
    (&server.name, certificates.collect())
}

#[test]
fn the_server_name_chooses_the_server_whose_routes_count() {
    for (url, server, certificates) in [
        (
            "https://one.example/page",
            "https.443.one.edge.default",
            vec!["Secret/istio-system/one"],
        ),
        (
            "https://ONE.example/page",
            "https.443.one.edge.default",
            vec!["Secret/istio-system/one"],
        ),
        (
            "https://a.two.example/page",
            "https.443.two.edge.default",
            vec!["Secret/istio-system/rsa", "Secret/istio-system/ecdsa"],
        ),
        (
            "https://files.two.example/page",
            "https.443.files.edge.default",
            vec!["file /etc/c.pem"],
        ),
    ] {
        let answer = at_gateway(url);
        assert_eq!(answer.outcome, forwarded("80||web"), "{url}: {answer:?}");
        assert_eq!(shown(&answer), (server, certificates), "{url}");
        assert_eq!(answer.table.as_deref(), Some(server));
        assert_eq!(
            answer.rule.as_deref(),
            Some("VirtualService/default/shop rule 0 match 0")
        );
        assert_eq!(answer.to_json()["tls"]["gateway"], "Gateway/default/edge");
    }
    let told = text::render(&at_gateway("https://one.example/page"));
    for words in [
        "GET https://one.example/page",
        "TLS ends at   https.443.one.edge.default (Gateway/default/edge)",
        "Certificate   Secret/istio-system/one",
        "the certificate can be used: Secret/istio-system/one",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
}

#[test]
fn rules_of_a_server_are_for_its_own_hosts() {
    let answer = at_gateway("https://one.example/else");
    assert_eq!(answer.outcome.status(), Some(404), "{answer:?}");
    assert_eq!(answer.passed_over.len(), 1);
    let question = Question::new("https://one.example/page")
        .unwrap()
        .with("Host", "a.two.example");
    let answer = ask(GATEWAY, &question);
    assert_eq!(answer.outcome.status(), Some(404), "{answer:?}");
    assert_eq!(shown(&answer).0, "https.443.one.edge.default");
}

#[test]
fn clients_that_have_to_show_a_certificate_are_taken_to_show_one() {
    let answer = at_gateway("https://mutual.example/page");
    assert_eq!(answer.outcome, forwarded("80||web"));
    let assumed = |answer: &Answer| {
        let mut all = answer.assumptions.iter();
        all.any(|one| one.contains("the client shows a certificate"))
    };
    assert!(assumed(&answer), "{:?}", answer.assumptions);
    assert!(!assumed(&at_gateway("https://one.example/page")));
}

#[test]
fn bytes_under_tls_go_by_the_rules_for_connections() {
    let answer = at_gateway("https://db.example/");
    assert_eq!(answer.outcome, forwarded("3306||db"), "{answer:?}");
    assert_eq!(shown(&answer).1, ["Secret/istio-system/db"]);
    assert_eq!(answer.table, None);
}

#[test]
fn tls_that_is_passed_on_goes_by_its_name() {
    let answer = at_gateway("https://through.example/");
    assert_eq!(answer.outcome, forwarded("8443||web"), "{answer:?}");
    assert_eq!(answer.server, None);
    assert_eq!(answer.virtual_host.as_deref(), Some("SNI through.example"));
    assert_eq!(
        answer.rule.as_deref(),
        Some("VirtualService/default/through rule 0 match 0")
    );
}

#[test]
fn connections_that_nobody_takes_are_closed_without_a_status() {
    for (url, why) in [
        ("https://nobody.example/", "is for the server name nobody"),
        ("https://lost.example/", "no tls rule of a VirtualService"),
        ("https://192.0.2.7/", "for clients that ask for no name"),
        ("http://one.example:443/", "takes TLS only"),
    ] {
        let answer = at_gateway(url);
        let Outcome::Refused {
            reason: Some(Reason::NoRoute),
            status: None,
            ..
        } = answer.outcome
        else {
            panic!("{url}: {answer:?}");
        };
        let told = text::render(&answer);
        assert!(told.contains("=> closed (NR"), "{told}");
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn a_port_of_plain_text_takes_tls_for_a_bad_request_and_sends_requests_to_https() {
    let answer = at_gateway("https://one.example:80/");
    assert_eq!(answer.outcome.status(), Some(400), "{answer:?}");
    let answer = at_gateway("http://one.example/page");
    assert_eq!(answer.outcome.status(), Some(301), "{answer:?}");
}

#[test]
fn a_sidecar_carries_tls_to_the_service_without_looking_into_it() {
    let question = Question::new("https://web:8443/page").unwrap();
    let answer = ask("db", &question);
    assert_eq!(answer.outcome, forwarded("8443||web"), "{answer:?}");
    assert_eq!((answer.table, answer.server), (None, None));
    assert!(answer.request.starts_with("a connection"));
}
