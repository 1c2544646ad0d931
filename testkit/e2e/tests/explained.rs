//! What the mesh tells of itself: `lateen why` on requests, `lateen proxy-config` and `proxy-status`
//! on proxies, held against what the mesh does; and a look into a pod by `kubectl port-forward`.

#![allow(
    clippy::print_stdout,
    reason = "a scenario shows what a person would see"
)]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lateen_e2e::mesh::{is_root, text};
use lateen_e2e::{Load, Mesh, Page, User};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const REVIEWS: &str = "http://reviews:9080/reviews/0";
const DETAILS: &str = "http://details:9080/details/0";
const RATINGS: &str = "http://ratings:9080/ratings/0";
const JASON: [&str; 2] = ["-H", "end-user: jason"];

/// Details fail for jason, and wait for no more than a second and a half for others.
const DETAILS_RULES: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: details}
spec:
  hosts: [details]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: details}}]
  - timeout: 1500ms
    route: [{destination: {host: details, subset: v1}}]
";

/// Ratings are sent to a version that no DestinationRule knows.
const RATINGS_RULES: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings}
spec:
  hosts: [ratings]
  http:
  - route: [{destination: {host: ratings, subset: v2}}]
";

fn bookinfo() -> anyhow::Result<Mesh> {
    let user = if is_root() {
        User::Unprivileged
    } else {
        User::Invoking
    };
    let mesh = Mesh::up(user, &["--bookinfo"])?;
    for file in ["destination-rule-all", "virtual-service-reviews-test-v2"] {
        let file = mesh.sample(&format!("networking/{file}.yaml"));
        mesh.kubectl(&["apply", "-f", &file])?;
    }
    Ok(mesh)
}

/// What `lateen why` tells programs.
fn why(mesh: &Mesh, arguments: &[&str]) -> anyhow::Result<Value> {
    let all = [&["why", "--from", "productpage", "-o", "json"], arguments].concat();
    let output = mesh.try_lateen(&all)?;
    serde_json::from_slice(&output.stdout).with_context(|| text(&output))
}

/// Loads pages until all of them look so.
fn pages(mesh: &Mesh, what: &str, cookie: &str, page: Page) -> anyhow::Result<()> {
    let load = Load {
        cookie: cookie.into(),
        count: 8,
        concurrency: 2,
        ..Load::new(&mesh.ingress, "bookinfo")
    };
    mesh.eventually(what, PATIENCE, |_| {
        let tally = load.run();
        Ok((tally.of(page) == tally.total()).then_some(()))
    })
}

/// The address and port of the only pod with these labels.
fn address(mesh: &Mesh, labels: &str) -> anyhow::Result<String> {
    let path = "jsonpath={.items[*].status.podIP}";
    let address = mesh.kubectl(&["get", "pods", "-l", labels, "-o", path])?;
    ensure!(!address.contains(' '), "{labels}: {address}");
    Ok(format!("{address}:9080"))
}

/// Expects a command to end with a code and to say something.
fn refuses(mesh: &Mesh, arguments: &[&str], code: i32, said: &[&str]) -> anyhow::Result<()> {
    let output = mesh.try_lateen(arguments)?;
    let told = text(&output);
    println!("lateen {}: {}", arguments.join(" "), told.trim_end());
    ensure!(
        output.status.code() == Some(code) && said.iter().all(|one| told.contains(one)),
        "lateen {}: {}, not {code} with {said:?}",
        arguments.join(" "),
        output.status
    );
    Ok(())
}

#[test]
fn why_tells_what_becomes_of_a_request() -> anyhow::Result<()> {
    let mesh = bookinfo()?;
    a_rule_with_its_object_and_endpoints(&mesh)?;
    files_give_the_same_rule(&mesh)?;
    faults_and_timeouts(&mesh)?;
    who_is_not_served_and_why(&mesh)
}

fn a_rule_with_its_object_and_endpoints(mesh: &Mesh) -> anyhow::Result<()> {
    pages(mesh, "jason sees black stars", "session=jason", Page::Black)?;
    pages(mesh, "others see none", "", Page::NoStars)?;
    let told = why(mesh, &[&[REVIEWS][..], &JASON].concat())?;
    for (field, wanted) in [
        ("/listener", json!("0.0.0.0_9080")),
        ("/routeTable", json!("9080")),
        ("/virtualHost", json!("reviews.default.svc.cluster.local")),
        (
            "/rule",
            json!("VirtualService/default/reviews rule 0 match 0"),
        ),
        ("/cluster/subset", json!("v2")),
        (
            "/cluster/destinationRules/0",
            json!("DestinationRule/default/reviews"),
        ),
        ("/outcome/kind", json!("forwarded")),
    ] {
        ensure!(told.pointer(field) == Some(&wanted), "{field}: {told:#}");
    }
    let endpoints = told["endpoints"].as_array().context("endpoints")?;
    let (taken, left): (Vec<_>, Vec<_>) =
        endpoints.iter().partition(|one| one["leftOut"].is_null());
    let own = address(mesh, "app=reviews,version=v2")?;
    ensure!(
        taken.len() == 1 && taken[0]["address"] == *own,
        "{taken:?}, not {own}"
    );
    ensure!(
        left.len() == 2
            && left.iter().all(|one| one["leftOut"]
                .as_str()
                .is_some_and(|why| why.contains("version=v2"))),
        "{left:?}"
    );
    let others = why(mesh, &[REVIEWS])?;
    ensure!(
        others["rule"] == "VirtualService/default/reviews rule 1 match 0"
            && others["cluster"]["subset"] == "v1"
            && others["passedOver"][0]["failed"]
                == "header \"end-user\" is exactly \"jason\", but it was absent",
        "{others:#}"
    );
    let words = [&["why", "--from", "productpage", REVIEWS][..], &JASON].concat();
    let words = mesh.lateen(&words)?;
    println!("{words}");
    for one in [
        "0.0.0.0_9080",
        "VirtualService/default/reviews rule 0",
        "|v2|",
        &own,
    ] {
        ensure!(words.contains(one), "{one} is not told");
    }
    Ok(())
}

fn files_give_the_same_rule(mesh: &Mesh) -> anyhow::Result<()> {
    let folder = mesh.sample("chosen");
    std::fs::create_dir(&folder)?;
    for file in [
        "platform/kube/bookinfo.yaml",
        "networking/destination-rule-all.yaml",
        "networking/virtual-service-reviews-test-v2.yaml",
    ] {
        let name = Path::new(file).file_name().context("a file")?;
        std::fs::copy(mesh.sample(file), Path::new(&folder).join(name))?;
    }
    for more in [&[][..], &JASON] {
        let live = why(mesh, &[&[REVIEWS], more].concat())?;
        let read = why(mesh, &[&[REVIEWS, "-f", &folder], more].concat())?;
        for field in [
            "listener",
            "routeTable",
            "virtualHost",
            "rule",
            "route",
            "outcome",
        ] {
            ensure!(live[field] == read[field], "{field}: {live:#}\n{read:#}");
        }
        ensure!(
            live["cluster"]["name"] == read["cluster"]["name"],
            "{read:#}"
        );
        println!("-f {more:?}: {}", read["rule"]);
    }
    Ok(())
}

fn faults_and_timeouts(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(DETAILS_RULES)?;
    let told = why(mesh, &[&[DETAILS][..], &JASON].concat())?;
    ensure!(
        told["rule"] == "VirtualService/default/details rule 0 match 0"
            && told["outcome"]["kind"] == "answered"
            && told["outcome"]["status"] == 418
            && told["route"]["fault"]["abort"]["httpStatus"] == 418,
        "{told:#}"
    );
    pages(
        mesh,
        "details fail for jason",
        "session=jason",
        Page::Degraded,
    )?;
    let told = why(mesh, &[DETAILS])?;
    ensure!(
        told["rule"] == "VirtualService/default/details rule 1 match 0"
            && told["route"]["timeout"] == "1500ms"
            && told["cluster"]["subset"] == "v1",
        "{told:#}"
    );
    pages(mesh, "others see details", "", Page::NoStars)?;
    mesh.kubectl(&["delete", "virtualservice", "details"])?;
    Ok(())
}

fn who_is_not_served_and_why(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(RATINGS_RULES)?;
    pages(
        mesh,
        "jason sees no ratings",
        "session=jason",
        Page::Degraded,
    )?;
    let from = ["why", "--from", "deploy/reviews-v2"];
    let unserved = [&from[..], &[RATINGS]].concat();
    let rule = "VirtualService/default/ratings rule 0";
    refuses(mesh, &unserved, 1, &[rule, "503 (NC", "subset"])?;
    let nobody = ["why", "--from", "nobody", REVIEWS];
    refuses(
        mesh,
        &nobody,
        1,
        &["nobody", "namespace \"default\"", "reviews-v2-"],
    )?;
    let no_header = [&from[..], &[REVIEWS, "-H", "jason"]].concat();
    refuses(mesh, &no_header, 2, &["name: value"])?;
    let no_scheme = [&from[..], &["ftp://reviews/"]].concat();
    refuses(mesh, &no_scheme, 2, &["ftp"])
}

#[test]
fn proxies_tell_what_they_have() -> anyhow::Result<()> {
    let mesh = bookinfo()?;
    tables_for_people(&mesh)?;
    values_for_programs(&mesh)?;
    an_endpoint_that_goes_is_no_longer_told(&mesh)?;
    everybody_is_in_sync(&mesh)?;
    for (arguments, code, said) in [
        (
            &["proxy-config", "routes", "nobody"][..],
            1,
            "productpage-v1-",
        ),
        (
            &["proxy-config", "routes", "productpage", "-o", "xml"],
            2,
            "xml",
        ),
        (
            &[
                "proxy-config",
                "endpoints",
                "productpage",
                "--status",
                "bad",
            ],
            2,
            "unhealthy",
        ),
        (
            &["proxy-config", "routes", "svc/productpage"],
            1,
            "neither a pod nor a deployment",
        ),
        (&["proxy-config", "routes"], 2, "POD"),
        (
            &["proxy-config", "all", "istiod", "-n", "istio-system"],
            1,
            "has no proxy",
        ),
    ] {
        refuses(&mesh, arguments, code, &[said])?;
    }
    Ok(())
}

fn tables_for_people(mesh: &Mesh) -> anyhow::Result<()> {
    let pod = mesh.kubectl(&["get", "pods", "-l", "app=productpage", "-o", "name"])?;
    let pod = pod.trim().trim_start_matches("pod/");
    let own = address(mesh, "app=reviews,version=v2")?;
    let subset = "outbound|9080|v2|reviews.default.svc.cluster.local";
    for (what, wanted) in [
        (
            "listeners",
            &["0.0.0.0", "9080", "Route: 9080", "15006"][..],
        ),
        (
            "routes",
            &[
                "header \"end-user\" is exactly \"jason\"",
                "reviews.default",
                subset,
            ],
        ),
        (
            "clusters",
            &["PassthroughCluster", "DESTINATION RULE", "details.default"],
        ),
        ("endpoints", &[&own, "HEALTHY", subset]),
        (
            "all",
            &[
                "ADDRESSES",
                "VIRTUAL SERVICE",
                "SERVICE FQDN",
                "OUTLIER CHECK",
                subset,
            ],
        ),
    ] {
        let told = mesh.eventually(what, PATIENCE, |mesh| {
            let told = mesh.lateen(&["proxy-config", what, pod])?;
            for one in wanted {
                ensure!(told.contains(one), "{one} is not in\n{told}");
            }
            Ok(Some(told))
        })?;
        println!("lateen proxy-config {what}: {} lines", told.lines().count());
    }
    Ok(())
}

fn values_for_programs(mesh: &Mesh) -> anyhow::Result<()> {
    let filtered = [
        "--name",
        "9080",
        "--fqdn",
        "reviews.default.svc.cluster.local",
    ];
    let routes = ["proxy-config", "routes", "deploy/productpage-v1"];
    let told = mesh.lateen(&[&routes[..], &filtered, &["-o", "json"]].concat())?;
    let told: Value = serde_json::from_str(&told)?;
    ensure!(
        told.as_array().map(Vec::len) == Some(1)
            && told[0]["virtualHosts"].as_array().map(Vec::len) == Some(1)
            && told[0]["virtualHosts"][0]["rules"][0]["source"]["object"]
                == "VirtualService/default/reviews",
        "{told:#}"
    );
    let told = mesh.lateen(&[&routes[..], &filtered, &["-o", "yaml"]].concat())?;
    ensure!(
        told.contains("object: VirtualService/default/reviews"),
        "{told}"
    );
    let told = mesh.lateen(&["proxy-config", "all", "productpage.default", "-o", "json"])?;
    let told: Value = serde_json::from_str(&told)?;
    ensure!(
        told["isFromSnapshot"] == false && told["plan"]["clusters"].is_array(),
        "{told:#}"
    );
    Ok(())
}

fn an_endpoint_that_goes_is_no_longer_told(mesh: &Mesh) -> anyhow::Result<()> {
    let of_reviews = |mesh: &Mesh| {
        let cluster = "outbound|9080||reviews.default.svc.cluster.local";
        let arguments = ["proxy-config", "endpoints", "ratings", "--cluster", cluster];
        let told = mesh.lateen(&[&arguments[..], &["-o", "json"]].concat())?;
        let told: Value = serde_json::from_str(&told)?;
        anyhow::Ok(told.as_array().map(Vec::len))
    };
    // One that nobody routes to by subset is told of as a whole.
    mesh.kubectl(&["delete", "virtualservice", "reviews"])?;
    mesh.eventually("three endpoints", PATIENCE, |mesh| {
        Ok((of_reviews(mesh)? == Some(3)).then_some(()))
    })?;
    mesh.kubectl(&["scale", "deployment/reviews-v3", "--replicas=0"])?;
    mesh.eventually("two endpoints", PATIENCE, |mesh| {
        Ok((of_reviews(mesh)? == Some(2)).then_some(()))
    })?;
    println!("an endpoint that goes is no longer told");
    Ok(())
}

fn everybody_is_in_sync(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.eventually("every proxy is in sync", PATIENCE, |mesh| {
        let told = mesh.lateen(&["proxy-status"])?;
        let told: Vec<_> = told.lines().skip(1).map(str::to_owned).collect();
        let in_sync = told.iter().filter(|line| line.contains(" SYNCED "));
        // Five applications without reviews-v3, and the gateway.
        Ok((told.len() == 6 && in_sync.count() == 6).then_some(()))
    })?;
    let told = mesh.lateen(&["proxy-status", "details", "-o", "json"])?;
    let told: Value = serde_json::from_str(&told)?;
    ensure!(
        told.as_array().map(Vec::len) == Some(1)
            && told[0]["proxy"]
                .as_str()
                .is_some_and(|name| name.starts_with("details-v1-"))
            && told[0]["subscriptions"][0]["state"] == "SYNCED",
        "{told:#}"
    );
    let told = mesh.try_lateen(&["proxy-status", "nobody"])?;
    ensure!(
        text(&told).contains("begins with \"nobody\""),
        "{}",
        text(&told)
    );
    Ok(())
}

#[test]
fn kubectl_forwards_ports_of_pods() -> anyhow::Result<()> {
    let mesh = bookinfo()?;
    let forward = mesh.forward("deploy/productpage-v1", 9080)?;
    let load = Load {
        count: 20,
        concurrency: 4,
        ..Load::new(&forward.address, "productpage")
    };
    let tally = load.run();
    println!("through kubectl port-forward: {tally:?}");
    ensure!(tally.total() == 20 && tally.failures() == 0, "{tally:?}");
    Ok(())
}
