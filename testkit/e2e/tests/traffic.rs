//! Traffic management end to end: faults, retries and timeouts in Bookinfo, and every protocol
//! that the mesh carries with the echo program.

#![allow(
    clippy::print_stdout,
    reason = "a scenario shows what a person would see"
)]

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lateen_e2e::mesh::is_root;
use lateen_e2e::{Load, Mesh, Page, Tally, User, echo};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);
const JASON: &str = "session=jason";

fn ordinary_user() -> User {
    if is_root() {
        User::Unprivileged
    } else {
        User::Invoking
    }
}

/// A VirtualService for one host with these rules.
fn routes(host: &str, rules: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {host}}}\n\
         spec:\n  hosts: [{host}]\n{rules}"
    )
}

/// Loads pages until they look as wanted.
fn page_of(
    mesh: &Mesh,
    what: &str,
    cookie: &str,
    is_wanted: impl Fn(&Tally) -> bool,
) -> anyhow::Result<Tally> {
    let load = Load {
        cookie: cookie.into(),
        count: 12,
        concurrency: 4,
        ..Load::new(&mesh.ingress, "bookinfo")
    };
    let tally = mesh.eventually(what, PATIENCE, |_| {
        let tally = load.run();
        Ok(is_wanted(&tally).then_some(tally))
    })?;
    println!("{what}: {tally:?}");
    Ok(tally)
}

/// Step 11 of the scenario.
#[test]
fn faults_hit_whom_they_are_meant_for_and_the_application_copes() -> anyhow::Result<()> {
    let mesh = Mesh::up(ordinary_user(), &["--bookinfo"])?;
    let whole = |tally: &Tally| tally.failures() == 0;
    page_of(&mesh, "the page is whole", "", whole)?;
    for status in ["500", "404"] {
        mesh.apply(&routes(
            "details",
            &format!(
                "  http:\n  - match:\n    - headers: {{end-user: {{exact: jason}}}}\n    fault:\n      \
                 abort: {{httpStatus: {status}, percentage: {{value: 100}}}}\n    route:\n    - \
                 destination: {{host: details}}\n  - route:\n    - destination: {{host: details}}\n"
            ),
        ))?;
        let broken = |tally: &Tally| tally.of(Page::Degraded) == tally.total();
        page_of(&mesh, "details fail for jason", JASON, broken)?;
        page_of(&mesh, "nobody else sees it", "", whole)?;
    }
    mesh.kubectl(&["delete", "vs", "details"])?;
    page_of(&mesh, "details are back for jason", JASON, whole)?;
    a_delay_is_felt(&mesh)
}

/// Half of the requests wait for two seconds.
fn a_delay_is_felt(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(&routes(
        "details",
        "  http:\n  - fault:\n      delay: {fixedDelay: 2s, percentage: {value: 50}}\n    route:\n    \
         - destination: {host: details}\n",
    ))?;
    let slow = |mesh: &Mesh| {
        let loads = (0..10).map(|_| {
            let began = std::time::Instant::now();
            let tally = Load::new(&mesh.ingress, "bookinfo").run();
            (
                tally.failures() == 0,
                began.elapsed() >= Duration::from_secs(2),
            )
        });
        let seen: Vec<_> = loads.collect();
        let whole = seen.iter().all(|(is_whole, _)| *is_whole);
        (whole, seen.iter().filter(|(_, is_slow)| *is_slow).count())
    };
    // Chances of none or all of ten are one in a thousand each; then it is looked at again.
    let (_, count) = mesh.eventually("some loads are slow, some are not", PATIENCE, |mesh| {
        let (is_whole, count) = slow(mesh);
        Ok((is_whole && (1..10).contains(&count)).then_some((is_whole, count)))
    })?;
    println!("a delay of 2 s for half of the requests: {count} of 10 loads were slow");
    Ok(())
}

/// A mesh with two versions of the echo server and a DestinationRule for them.
fn with_echo() -> anyhow::Result<Mesh> {
    let mesh = Mesh::up(ordinary_user(), &[])?;
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"])?;
    mesh.apply(echo::SERVICE)?;
    for version in ["v1", "v2"] {
        mesh.apply(&echo::deployment(
            version,
            1,
            &[&format!("--name={version}")],
        ))?;
    }
    for version in ["v1", "v2"] {
        echo::wait_for(&mesh, version)?;
    }
    mesh.apply(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: echo}\nspec:\n  \
         host: echo\n  subsets:\n  - {name: v1, labels: {version: v1}}\n  \
         - {name: v2, labels: {version: v2}}\n",
    )?;
    Ok(mesh)
}

/// Calls until every answer is as wanted.
fn calls(
    mesh: &Mesh,
    what: &str,
    arguments: &[&str],
    is_wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Vec<Value>> {
    let answers = mesh.eventually(what, PATIENCE, |mesh| {
        let answers = echo::call(mesh, arguments)?;
        let is_good = !answers.is_empty() && answers.iter().all(&is_wanted);
        if is_good {
            return Ok(Some(answers));
        }
        anyhow::bail!(
            "{}",
            answers.first().map(ToString::to_string).unwrap_or_default()
        )
    })?;
    println!("{what}: {}", answers[0]);
    Ok(answers)
}

/// Step 12 of the scenario, and that each protocol goes where its rules send it.
#[test]
fn retries_timeouts_and_every_protocol_follow_their_rules() -> anyhow::Result<()> {
    let mesh = with_echo()?;
    retries(&mesh)?;
    timeouts(&mesh)?;
    tcp(&mesh)?;
    grpc_and_websocket(&mesh)?;
    tls_by_server_name(&mesh)
}

fn retries(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(&routes(
        "echo",
        "  http:\n  - route:\n    - destination: {host: echo, subset: v1, port: {number: 8080}}\n    \
         retries: {attempts: 3, perTryTimeout: 1s, retryOn: \"5xx,connect-failure,refused-stream\"}\n",
    ))?;
    let third = |answer: &Value| {
        answer["status"] == 200
            && answer["body"]["headers"]["x-envoy-attempt-count"] == "3"
            && answer["body"]["name"] == "v1"
    };
    let url = "http://echo:8080/a?status=503&times=2&key=";
    let key = |url: &str, name: &str| format!("{url}{name}-{}", stamp());
    mesh.eventually("two failures, then success", PATIENCE, |mesh| {
        let answers = echo::call(mesh, &[&key(url, "fails")])?;
        let is_good = answers.iter().all(third);
        println!("retries: {}", answers[0]);
        Ok(is_good.then_some(()))
    })?;
    let slow = key("http://echo:8080/b?delay=3000&times=1&key=", "slow");
    let answers = echo::call(mesh, &[&slow])?;
    println!("perTryTimeout: {}", answers[0]);
    ensure!(
        answers[0]["status"] == 200
            && answers[0]["body"]["headers"]["x-envoy-attempt-count"] == "2",
        "{}",
        answers[0]
    );
    let hopeless = echo::call(mesh, &["http://echo:8080/c?status=503"])?;
    ensure!(hopeless[0]["status"] == 503, "{}", hopeless[0]);
    Ok(())
}

fn timeouts(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(&routes(
        "echo",
        "  http:\n  - timeout: 500ms\n    route:\n    - destination: {host: echo, port: {number: 8080}}\n",
    ))?;
    let url = "http://echo:8080/slow?delay=5000";
    calls(mesh, "a timeout answers 504", &[url], |answer| {
        answer["status"] == 504
            && answer["millis"]
                .as_f64()
                .is_some_and(|millis| millis < 4000.0)
    })?;
    Ok(())
}

fn tcp(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(&routes(
        "echo",
        "  tcp:\n  - match: [{port: 9000}]\n    route:\n    \
         - destination: {host: echo, subset: v2, port: {number: 9000}}\n  \
         - match: [{port: 9001}]\n    route:\n    \
         - destination: {host: echo, subset: v1, port: {number: 9001}}\n",
    ))?;
    let arguments = ["tcp://echo:9000", "-d", "hello", "--count=20"];
    calls(mesh, "TCP goes to v2", &arguments, |answer| {
        answer["line"] == "v2 hello"
    })?;
    let arguments = ["tcp://echo:9001", "--count=20"];
    calls(
        mesh,
        "servers that speak first are heard",
        &arguments,
        |answer| answer["line"] == "220 v1 ready",
    )?;
    let arguments = ["tcp://echo:9002", "--count=5"];
    calls(mesh, "on an undeclared port too", &arguments, |answer| {
        answer["line"]
            .as_str()
            .is_some_and(|line| line.starts_with("220 v"))
    })?;
    Ok(())
}

fn grpc_and_websocket(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(&routes(
        "echo",
        "  http:\n  - match: [{uri: {prefix: /pinned}}]\n    route:\n    \
         - destination: {host: echo, subset: v2, port: {number: 8081}}\n  \
         - match: [{uri: {prefix: /refused}}]\n    fault:\n      \
         abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}\n    route:\n    \
         - destination: {host: echo, port: {number: 8081}}\n  \
         - route:\n    - destination: {host: echo, subset: v1}\n",
    ))?;
    let pinned = [
        "grpc://echo:8081/pinned.Echo/Say",
        "-d",
        "hello",
        "--count=20",
    ];
    calls(mesh, "gRPC goes to v2", &pinned, |answer| {
        answer["body"][0] == "hello"
            && answer["trailers"]["grpc-status"] == "0"
            && answer["headers"]["x-served-by"] == "v2"
    })?;
    let refused = ["grpc://echo:8081/refused.Echo/Say", "-d", "hello"];
    calls(mesh, "the mesh answers gRPC as gRPC", &refused, |answer| {
        answer["status"] == 200 && answer["headers"]["grpc-status"] == "14"
    })?;
    let h2 = ["h2://echo:8081/x", "-d", "hello"];
    calls(mesh, "HTTP/2 stays HTTP/2", &h2, |answer| {
        answer["protocol"] == "HTTP/2" && answer["body"]["protocol"] == "HTTP/2"
    })?;
    let websocket = ["ws://echo:8080/chat", "-d", "hello"];
    calls(mesh, "WebSocket is tunnelled", &websocket, |answer| {
        answer["status"] == 101 && answer["body"] == "hello"
    })?;
    Ok(())
}

fn tls_by_server_name(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(&routes(
        "echo",
        "  tls:\n  - match: [{port: 8443, sniHosts: [echo]}]\n    route:\n    \
         - destination: {host: echo, subset: v2, port: {number: 8443}}\n",
    ))?;
    let arguments = ["https://echo:8443/x", "--count=10"];
    calls(
        mesh,
        "TLS goes to v2 by its server name",
        &arguments,
        |answer| answer["body"]["name"] == "v2" && answer["body"]["sni"] == "echo",
    )?;
    mesh.apply(
        r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: passthrough}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: tls, protocol: TLS}
    tls: {mode: PASSTHROUGH}
    hosts: ["echo.example"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: passthrough}
spec:
  hosts: [echo.example]
  gateways: [passthrough]
  tls:
  - match: [{port: 443, sniHosts: [echo.example]}]
    route:
    - destination: {host: echo, subset: v1, port: {number: 8443}}
"#,
    )?;
    let address = mesh.variable("SECURE_INGRESS_PORT")?;
    let connect = format!("--connect=127.0.0.1:{address}");
    let arguments = ["call", "https://echo.example:443/y", &connect];
    let answer = mesh.eventually("the gateway passes TLS through", PATIENCE, |mesh| {
        let line = mesh.run("lateen-echo", &arguments)?;
        let answer: Value = serde_json::from_str(line.trim()).context("a line of JSON")?;
        Ok((answer["body"]["name"] == "v1").then_some(answer))
    })?;
    println!("the gateway passes TLS through: {answer}");
    ensure!(answer["body"]["sni"] == "echo.example", "{answer}");
    Ok(())
}

fn stamp() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos())
}
