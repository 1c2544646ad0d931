use clap::Parser;
use serde_json::json;

use super::*;

/// The command as it is typed.
#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    config: ProxyConfig,
}

fn part(words: &str) -> Part {
    let words = std::iter::once("pc").chain(words.split(' '));
    Typed::try_parse_from(words).unwrap().config.part
}

/// A small plan in the form that the proxy documents.
fn plan() -> Value {
    let rule = json!({ "name": "jason", "matches": ["header \"end-user\" is exactly \"jason\""],
        "source": { "object": "VirtualService/default/reviews", "rule": 0, "match": 0 },
        "action": { "forward": [
            { "cluster": "outbound|9080|v2|reviews.default.svc.cluster.local", "weight": 80 },
            { "cluster": null, "weight": 20 }] } });
    let plain = json!({ "matches": [], "source": { "object": "Service/default/reviews" },
        "action": { "forward": [
            { "cluster": "outbound|9080||reviews.default.svc.cluster.local", "weight": 1 }] } });
    let redirect = json!({ "matches": ["path is exactly \"/\""],
        "source": { "object": "VirtualService/default/web" },
        "action": { "redirect": { "code": 301 } } });
    json!({
        "listeners": [
            { "name": "0.0.0.0_9080", "address": "0.0.0.0", "port": 9080,
              "serves": [{ "match": "HTTP", "routes": "9080" }, { "match": "ALL", "route": plain }] },
            { "name": "virtualInbound", "address": "0.0.0.0", "port": 15006,
              "serves": [{ "match": "Port: 9080; HTTP", "cluster": "inbound|9080||" }] },
        ],
        "routes": [{ "name": "9080", "otherwise": { "refuse": 502 }, "virtualHosts": [
            { "name": "reviews.default.svc.cluster.local", "rules": [rule, plain] },
            { "name": "web.default.svc.cluster.local", "rules": [redirect] }] }],
        "clusters": [
            { "name": "outbound|9080|v2|reviews.default.svc.cluster.local", "direction": "outbound",
              "service": { "host": "reviews.default.svc.cluster.local" }, "port": 9080,
              "subset": "v2", "type": "ENDPOINTS",
              "destinationRules": ["DestinationRule/default/reviews"] },
            { "name": "BlackHoleCluster", "direction": "outbound", "type": "BLACK_HOLE",
              "destinationRules": [] },
        ],
        "endpoints": [
            { "cluster": "a", "address": "10.0.0.1:9080", "health": "HEALTHY", "outlier": "OK" },
            { "cluster": "a", "address": "[fd00::1]:81", "health": "DRAINING", "outlier": "FAILED" },
        ],
    })
}

#[test]
fn listeners_say_what_serves_them() {
    assert_eq!(
        text(&part("listeners a"), &plan()),
        "ADDRESSES   PORT    MATCH              DESTINATION\n\
         0.0.0.0     9080    HTTP               Route: 9080\n\
         0.0.0.0     9080    ALL                Cluster: outbound|9080||reviews.default.svc.cluster.local\n\
         0.0.0.0     15006   Port: 9080; HTTP   Cluster: inbound|9080||\n"
    );
    let one = text(&part("l a --port 15006"), &plan());
    assert_eq!(one.lines().count(), 2, "{one}");
}

#[test]
fn routes_are_shown_in_their_order_with_shares() {
    let shown = text(&part("routes a"), &plan());
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("NAME   VHOST NAME"), "{shown}");
    assert!(
        lines[1].contains("end-user") && lines[1].contains("reviews.default "),
        "{shown}"
    );
    assert!(
        lines[1].ends_with("v2|reviews.default.svc.cluster.local 80%, (does not exist) 20%"),
        "{shown}"
    );
    assert!(lines[2].contains(" /* "), "{shown}");
    assert!(lines[3].ends_with("Redirect: 301"), "{shown}");
    assert!(
        lines[4].contains("(any other)") && lines[4].ends_with("502"),
        "{shown}"
    );
    let one = selected(
        &part("r a --fqdn web.default.svc.cluster.local -o json"),
        &Value::Null,
        &plan(),
    );
    assert_eq!(one[0]["virtualHosts"].as_array().unwrap().len(), 1);
    assert_eq!(
        selected(&part("r a --name 80"), &Value::Null, &plan()),
        json!([])
    );
}

#[test]
fn clusters_have_the_columns_of_istioctl() {
    assert_eq!(
        text(&part("clusters a"), &plan()),
        "SERVICE FQDN                        PORT   SUBSET   DIRECTION   TYPE     DESTINATION RULE\n\
         BlackHoleCluster                    -      -        outbound    STATIC\n\
         reviews.default.svc.cluster.local   9080   v2       outbound    EDS      reviews.default\n"
    );
    for (filter, count) in [
        ("--subset v2", 2),
        ("--subset v3", 1),
        ("--port 9080", 2),
        ("--fqdn reviews.default.svc.cluster.local", 2),
        ("--direction inbound", 1),
    ] {
        let shown = text(&part(&format!("c a {filter}")), &plan());
        assert_eq!(shown.lines().count(), count, "{filter}: {shown}");
    }
}

#[test]
fn endpoints_are_filtered_by_address_port_and_state() {
    let shown = text(&part("endpoints a"), &plan());
    assert!(
        shown.contains("10.0.0.1:9080   HEALTHY    OK              a"),
        "{shown}"
    );
    for filter in ["--address fd00::1", "--port 81", "--status draining"] {
        let shown = text(&part(&format!("ep a {filter}")), &plan());
        assert!(
            shown.lines().count() == 2 && shown.contains("fd00::1"),
            "{filter}: {shown}"
        );
    }
}

#[test]
fn everything_has_every_table() {
    let shown = text(&part("all a"), &plan());
    for head in ["SERVICE FQDN", "ADDRESSES", "VHOST NAME", "ENDPOINT "] {
        assert!(shown.contains(head), "{head}");
    }
}

#[test]
fn a_dump_without_a_plan_says_what_it_means() {
    let waiting = json!({ "plan": null });
    let waiting = plan_of(&waiting).unwrap_err().to_string();
    assert!(waiting.contains("waits for the control plane"), "{waiting}");
    let other = json!({ "configs": [] });
    let other = plan_of(&other).unwrap_err().to_string();
    assert!(other.contains("not from a proxy of Lateen"), "{other}");
}

#[test]
fn a_pod_or_a_file_must_be_named() {
    assert!(Typed::try_parse_from(["pc", "routes"]).is_err());
    assert!(Typed::try_parse_from(["pc", "routes", "-f", "dump.json"]).is_ok());
    assert!(Typed::try_parse_from(["pc", "routes", "a", "-o", "table"]).is_err());
}
