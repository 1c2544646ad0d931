//! Rolling restarts of an application that ends at once on SIGTERM, under steady load.

#![allow(
    clippy::print_stdout,
    reason = "a scenario shows what a person would see"
)]

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lateen_e2e::mesh::is_root;
use lateen_e2e::{Mesh, User, echo};
use serde_json::{Map, Value};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const WITHOUT_RETRIES: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - retries: {attempts: 0}
    route:
    - destination: {host: echo}
";

/// So that a request that is lost can be explained.
const ACCESS_LOG: &str =
    r#"{"data": {"mesh": "accessLogFile: /dev/stdout\ntrustDomain: cluster.local\n"}}"#;

/// How calls ended.
struct Told {
    /// How often each status was seen.
    statuses: Map<String, Value>,
    /// What there is to say about calls that failed.
    failures: String,
}

/// How often the application is restarted; `make soak` asks for more.
fn restarts() -> u64 {
    let wanted = std::env::var("LATEEN_RESTARTS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Restarts the echo server under load and returns how calls ended.
fn restart_under_load(mesh: &Mesh) -> anyhow::Result<Told> {
    let seconds = restarts() * 5 + 10;
    let stop = seconds.to_string();
    let caller = echo::start_call(
        mesh,
        &[
            "http://echo:8080/",
            "--seconds",
            &stop,
            "--concurrency=4",
            // Each call has a connection of its own, and a pod 28,000 ports for them a minute.
            "--pause=15",
        ],
    )?;
    mesh.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        &format!("pod/{caller}"),
    ])?;
    for _ in 0..restarts() {
        // kubectl refuses to restart what it restarted in the same second.
        mesh.eventually("a restart is taken", PATIENCE, |mesh| {
            mesh.kubectl(&["rollout", "restart", "deployment/echo-v1"])
                .map(Some)
        })?;
        echo::wait_for(mesh, "v1")?;
    }
    echo::wait_for_call(mesh, &caller, Duration::from_secs(seconds + 60))?;
    let sidecar = mesh.kubectl(&["logs", &caller, "-c", "istio-proxy"])?;
    let told = echo::finish_call(mesh, &caller, PATIENCE)?;
    let told = told.first().context("the caller told its numbers")?;
    let statuses = told["statuses"].as_object().context("statuses")?;
    println!("{} restarts: {statuses:?}", restarts());
    let failures = format!("{:#}\n{}", told["errors"], failed(&sidecar));
    Ok(Told {
        statuses: statuses.clone(),
        failures,
    })
}

/// The lines of a sidecar's log that do not tell of a success, of what is kept of it.
fn failed(log: &str) -> String {
    let lines = log
        .lines()
        .filter(|line| !line.contains("HTTP/1.1\" 200 - "));
    lines.fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn rolling_restarts_of_a_careless_application_lose_no_request() -> anyhow::Result<()> {
    let user = if is_root() {
        User::Unprivileged
    } else {
        User::Invoking
    };
    let mesh = Mesh::up(user, &[])?;
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"])?;
    let patch = ["--type=merge", "--patch", ACCESS_LOG];
    mesh.kubectl(
        &[
            &["patch", "configmap", "istio", "-n", "istio-system"],
            &patch[..],
        ]
        .concat(),
    )?;
    mesh.apply(echo::SERVICE)?;
    mesh.apply(&echo::deployment("v1", 2, &[]))?;
    echo::wait_for(&mesh, "v1")?;
    let told = restart_under_load(&mesh)?;
    let good = told.statuses.get("200").and_then(Value::as_u64);
    ensure!(
        told.statuses.len() == 1 && good.is_some_and(|count| count > 1000),
        "{:?}: {}",
        told.statuses,
        told.failures
    );
    // The same without retries is seen to lose some: else the load would prove nothing.
    mesh.apply(WITHOUT_RETRIES)?;
    let told = restart_under_load(&mesh)?;
    ensure!(told.statuses.len() > 1, "{:?}", told.statuses);
    Ok(())
}
