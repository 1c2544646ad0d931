//! Questions about a small mesh, and their answers.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use lateen_decide::Millis;
use lateen_decide::describe::{self, Sockets};
use lateen_model::Reason;
use lateen_why::{Answer, Outcome, Question, World, assume, explain, text};
use serde_json::{Value, json};

/// A shop with a web page, two versions of reviews, and a gateway.
fn mesh(rules: &Value) -> Vec<Value> {
    let deployment = |name: &str, app: &str, version: &str| {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": { "template": {
                "metadata": { "labels": { "app": app, "version": version } },
                "spec": { "containers": [{ "name": "app" }] } } } })
    };
    let service = |name: &str, port: &str| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": { "app": name }, "ports": [{ "name": port, "port": 9080 }] } })
    };
    let subsets = json!([{ "name": "v1", "labels": { "version": "v1" } },
        { "name": "v2", "labels": { "version": "v2" } },
        { "name": "v9", "labels": { "version": "v9" } }]);
    let mut objects = vec![
        deployment("web", "web", "v1"),
        deployment("reviews-v1", "reviews", "v1"),
        deployment("reviews-v2", "reviews", "v2"),
        service("web", "http"),
        service("reviews", "http"),
        service("db", "tcp"),
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": { "name": "reviews" },
            "spec": { "host": "reviews", "subsets": subsets } }),
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": { "name": "edge" },
            "spec": { "selector": { "istio": "ingressgateway" }, "servers": [
                { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] }] } }),
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": { "name": "edge" },
            "spec": { "hosts": ["shop.example"], "gateways": ["edge"], "http": [
                { "match": [{ "uri": { "prefix": "/page" } }], "rewrite": { "uri": "/" },
                  "route": [{ "destination": { "host": "web" } }] }] } }),
    ];
    if !rules.is_null() {
        objects.push(
            json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": { "name": "reviews" },
            "spec": { "hosts": ["reviews"], "http": rules } }),
        );
    }
    objects
}

fn ask(rules: &Value, from: &str, question: &Question) -> Answer {
    let completed = assume::complete(mesh(rules), from, "default").unwrap();
    let world = World::new(&completed.objects, "istio-system").unwrap();
    let caller = world
        .caller(&completed.caller.0, &completed.caller.1)
        .unwrap();
    explain(&world, &world.configuration(&caller), &caller, question)
}

fn reviews() -> Question {
    Question::new("http://reviews:9080/reviews/0").unwrap()
}

/// A rule for one user, then one for all others.
fn by_user() -> Value {
    json!([
        { "match": [{ "headers": { "end-user": { "exact": "jason" } } }],
          "route": [{ "destination": { "host": "reviews", "subset": "v2" } }] },
        { "route": [{ "destination": { "host": "reviews", "subset": "v1" } }], "timeout": "3s" },
    ])
}

fn forwarded(cluster: &str) -> Outcome {
    Outcome::Forwarded {
        cluster: format!("outbound|9080|{cluster}.default.svc.cluster.local"),
    }
}

#[test]
fn the_rule_that_wins_and_those_before_it_are_named() {
    let answer = ask(&by_user(), "web", &reviews());
    assert_eq!(answer.outcome, forwarded("v1|reviews"));
    assert_eq!(answer.listener, "0.0.0.0_9080");
    assert_eq!(answer.passed_over.len(), 1);
    assert_eq!(
        answer.passed_over[0].failed,
        "header \"end-user\" is exactly \"jason\", but it was absent"
    );
    let rule = answer.rule.as_deref().unwrap();
    assert_eq!(rule, "VirtualService/default/reviews rule 1 match 0");
    assert_eq!(answer.route.as_ref().unwrap()["timeout"], "3s");
    let left_out: Vec<&str> = answer
        .endpoints
        .iter()
        .filter_map(|one| one.left_out.as_deref())
        .collect();
    assert_eq!(
        left_out,
        ["it is not in subset v1: version=v1, but it has version=v2"]
    );
    let jason = ask(&by_user(), "web", &reviews().with("End-User", "jason"));
    assert_eq!(jason.outcome, forwarded("v2|reviews"));
    let text = text::render(&answer);
    for words in [
        "no   VirtualService/default/reviews rule 0 match 0",
        "yes  VirtualService/default/reviews rule 1 match 0",
        "timeout: 3s",
        "By            DestinationRule/default/reviews",
        "=> forwarded to outbound|9080|v1|reviews",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

#[test]
fn a_split_is_shown_with_its_shares_and_a_draw_decides() {
    let split = json!([{ "route": [
        { "destination": { "host": "reviews", "subset": "v1" }, "weight": 20 },
        { "destination": { "host": "reviews", "subset": "v2" }, "weight": 80 }] }]);
    let likely = ask(&split, "web", &reviews());
    assert_eq!(likely.outcome, forwarded("v2|reviews"));
    let shares: Vec<_> = likely
        .shares
        .iter()
        .map(|one| (one.percent, one.is_chosen))
        .collect();
    assert_eq!(shares, [(20.0, false), (80.0, true)]);
    let drawn = Question {
        draw: Some(0.1),
        ..reviews()
    };
    assert_eq!(ask(&split, "web", &drawn).outcome, forwarded("v1|reviews"));
}

#[test]
fn what_a_rule_answers_is_served_and_what_is_missing_is_not() {
    for (rules, status, is_served) in [
        (json!([{ "directResponse": { "status": 418 } }]), 418, true),
        (json!([{ "redirect": { "uri": "/x" } }]), 301, true),
        (
            json!([{ "fault": { "abort": { "httpStatus": 555, "percentage": { "value": 100 } } },
                "route": [{ "destination": { "host": "reviews" } }] }]),
            555,
            true,
        ),
        (
            json!([{ "route": [{ "destination": { "host": "reviews", "subset": "none" } }] }]),
            503,
            false,
        ),
        (
            json!([{ "route": [{ "destination": { "host": "reviews", "subset": "v9" } }] }]),
            503,
            false,
        ),
        (
            json!([{ "match": [{ "uri": { "exact": "/x" } }],
                "route": [{ "destination": { "host": "reviews" } }] }]),
            404,
            false,
        ),
    ] {
        let answer = ask(&rules, "web", &reviews());
        assert_eq!(answer.outcome.status(), Some(status), "{rules}: {answer:?}");
        assert_eq!(answer.outcome.is_served(), is_served, "{rules}");
    }
}

#[test]
fn a_gateway_is_asked_by_the_port_of_its_service() {
    let gateway = "istio-ingressgateway.istio-system";
    let page = Question::new("http://shop.example/page/a").unwrap();
    let answer = ask(&Value::Null, gateway, &page);
    assert_eq!(answer.outcome, forwarded("|web"));
    assert_eq!(answer.rewritten.as_ref().unwrap().path, "//a");
    assert_eq!(answer.table.as_deref(), Some("http.8080"));
    let other = Question::new("http://other.example/").unwrap();
    let refused = ask(&Value::Null, gateway, &other);
    assert!(matches!(
        refused.outcome,
        Outcome::Refused {
            reason: Some(Reason::NoRoute),
            ..
        }
    ));
    let closed = Question::new("http://shop.example:81/").unwrap();
    let closed = text::render(&ask(&Value::Null, gateway, &closed));
    assert!(
        closed.contains("nothing listens to port 81") && closed.contains("80 (in pods 8080)"),
        "{closed}"
    );
}

#[test]
fn connections_and_names_of_the_world_outside_are_explained_too() {
    let db = ask(
        &Value::Null,
        "web",
        &Question::new("tcp://db:9080").unwrap(),
    );
    assert!(matches!(
        db.outcome,
        Outcome::Refused {
            reason: Some(Reason::NoHealthyUpstream),
            ..
        }
    ));
    let outside = ask(
        &Value::Null,
        "web",
        &Question::new("https://example.org/").unwrap(),
    );
    assert_eq!(
        outside.outcome,
        Outcome::Forwarded {
            cluster: "PassthroughCluster".into()
        }
    );
    assert!(
        outside
            .assumptions
            .iter()
            .any(|one| one.contains("no service is called example.org"))
    );
}

#[test]
fn a_host_that_the_proxy_looks_up_is_taken_to_have_an_address() {
    let mut objects = mesh(&Value::Null);
    objects.push(
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": { "name": "wild" },
        "spec": { "hosts": ["*.wild.test"], "resolution": "DYNAMIC_DNS",
            "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }] } }),
    );
    let completed = assume::complete(objects, "web", "default").unwrap();
    let world = World::new(&completed.objects, "istio-system").unwrap();
    let caller = world.caller("default", "web").unwrap();
    let question = Question::new("http://a.wild.test/").unwrap();
    let answer = explain(&world, &world.configuration(&caller), &caller, &question);
    let cluster = "outbound|80||*.wild.test".into();
    assert_eq!(answer.outcome, Outcome::Forwarded { cluster });
    let mut assumed = answer.assumptions.iter();
    assert!(
        assumed.any(|one| one.contains("else it says DF, dns_resolution_failure")),
        "{:?}",
        answer.assumptions
    );
}

#[test]
fn objects_that_are_not_in_effect_are_told() {
    let mut objects = mesh(&json!([{ "route": [] }]));
    objects.push(
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "bad" },
        "spec": { "hosts": ["x"], "http": [{ "match": [{ "uri": { "regex": "[" } }],
            "route": [{ "destination": { "host": "web" } }] }] } }),
    );
    let completed = assume::complete(objects, "web", "default").unwrap();
    let world = World::new(&completed.objects, "istio-system").unwrap();
    let caller = world.caller("default", "web").unwrap();
    let answer = explain(&world, &world.configuration(&caller), &caller, &reviews());
    let bad = answer
        .problems
        .iter()
        .filter(|one| one.contains("VirtualService/default/bad"));
    assert_eq!(bad.count(), 1, "{:?}", answer.problems);
    assert_eq!(answer.to_json()["outcome"]["kind"], "forwarded");
}

#[test]
fn a_caller_without_a_proxy_is_told_so() {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "plain", "namespace": "default" },
        "spec": { "containers": [{ "name": "app" }] } });
    let world = World::new(&[pod], "istio-system").unwrap();
    let error = world.caller("default", "plain").unwrap_err().to_string();
    assert!(error.contains("has no proxy"), "{error}");
    let error = world.caller("default", "nobody").unwrap_err().to_string();
    assert!(error.contains("there is no pod"), "{error}");
}

/// The plan of a caller, told as JSON.
fn described(rules: &Value, from: &str, sockets: Option<Sockets>) -> Value {
    let completed = assume::complete(mesh(rules), from, "default").unwrap();
    let world = World::new(&completed.objects, "istio-system").unwrap();
    let caller = world
        .caller(&completed.caller.0, &completed.caller.1)
        .unwrap();
    let configuration = world.configuration(&caller);
    describe::plan(&configuration.plan, sockets, Millis(1))
}

fn named<'v>(plan: &'v Value, part: &str, name: &str) -> &'v Value {
    let mut all = plan[part].as_array().unwrap().iter();
    let found = all.find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {}", plan[part]))
}

#[test]
fn a_sidecars_plan_is_told_in_its_documented_form() {
    let sockets = Sockets {
        bind: "0.0.0.0".parse().unwrap(),
        outbound: 15001,
        inbound: 15006,
    };
    let plan = described(&by_user(), "web", Some(sockets));
    let listener = named(&plan, "listeners", "0.0.0.0_9080");
    assert_eq!(
        listener["serves"][0],
        json!({ "match": "HTTP", "routes": "9080" })
    );
    let inbound = named(&plan, "listeners", "virtualInbound");
    assert_eq!(inbound["serves"][0]["cluster"], "inbound|9080||");
    assert_eq!(named(&plan, "listeners", "virtualOutbound")["port"], 15001);
    let table = named(&plan, "routes", "9080");
    let mut hosts = table["virtualHosts"].as_array().unwrap().iter();
    let reviews = hosts
        .find(|host| host["name"] == "reviews.default.svc.cluster.local")
        .unwrap();
    let rules = reviews["rules"].as_array().unwrap();
    assert_eq!(
        rules[0]["matches"],
        json!(["header \"end-user\" is exactly \"jason\""])
    );
    assert_eq!(
        rules[1]["source"]["object"],
        "VirtualService/default/reviews"
    );
    assert_eq!(
        (&rules[1]["source"]["rule"], &rules[1]["timeout"]),
        (&json!(1), &json!("3s"))
    );
    let v2 = "outbound|9080|v2|reviews.default.svc.cluster.local";
    assert_eq!(rules[0]["action"]["forward"][0]["cluster"], v2);
    let cluster = named(&plan, "clusters", v2);
    assert_eq!(
        cluster["destinationRules"],
        json!(["DestinationRule/default/reviews"])
    );
    assert_eq!(
        cluster["endpoints"],
        json!({ "all": 1, "ready": 1, "ejected": 0 })
    );
    let mut endpoints = plan["endpoints"].as_array().unwrap().iter();
    let endpoint = endpoints.find(|one| one["cluster"] == v2).unwrap();
    assert_eq!(
        (&endpoint["health"], &endpoint["active"]),
        (&json!("HEALTHY"), &json!(0))
    );
}

#[test]
fn a_gateways_plan_names_its_sources() {
    let plan = described(&Value::Null, "istio-ingressgateway.istio-system", None);
    let listener = named(&plan, "listeners", "0.0.0.0_8080");
    assert_eq!(listener["sources"], json!(["Gateway/default/edge"]));
    assert_eq!(listener["serverPort"], 80);
    let table = named(&plan, "routes", "http.8080");
    let rule = &table["virtualHosts"][0]["rules"][0];
    assert_eq!(rule["rewrite"], json!({ "uri": "/" }));
    assert_eq!(table["otherwise"], json!({ "refuse": 404 }));
}
