//! DNS in the sidecar, end to end: what only the mesh knows by name is reached by that name.

#![allow(
    clippy::print_stdout,
    reason = "a scenario shows what a person would see"
)]

use std::time::Duration;

use anyhow::ensure;
use lateen_e2e::mesh::is_root;
use lateen_e2e::{Mesh, User, echo};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

fn ordinary_user() -> User {
    if is_root() {
        User::Unprivileged
    } else {
        User::Invoking
    }
}

/// A server of this name with a Service of the same.
fn server(name: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{version: {name}}}
  ports: [{{name: tcp, port: 9000}}]
---
{}",
        echo::deployment(name, 1, &[&format!("--name={name}")]).trim_start()
    )
}

/// A ServiceEntry for TCP that leads to one of the servers.
fn entry(name: &str, host: &str, more: &str, server: &str) -> String {
    format!(
        r"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: ['{host}']
  {more}
  ports: [{{number: 9000, name: tcp, protocol: TCP}}]
  resolution: DNS
  endpoints: [{{address: {server}.default.svc.cluster.local}}]
"
    )
}

/// Pods with names of their own, and another name for a service.
const HEADLESS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: set}
spec:
  clusterIP: None
  selector: {app: set}
  ports: [{name: tcp, port: 9000}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: set}
spec:
  serviceName: set
  replicas: 2
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: echo
        image: lateen/echo:1
        args: [serve, --http=8080, --tcp=9000, --name=set]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: another}
spec:
  type: ExternalName
  externalName: one.default.svc.cluster.local
";

/// Calls a host by TCP until the server answers that is meant.
fn reaches(mesh: &Mesh, host: &str, server: &str) -> anyhow::Result<()> {
    let url = format!("tcp://{host}:9000");
    let expected = format!("{server} hello");
    let answers = mesh.eventually(&format!("{host} is {server}"), PATIENCE, |mesh| {
        let answers = echo::call_by_name(mesh, &[&url, "-d", "hello", "--count=10"])?;
        let is_good = |answer: &Value| answer["line"] == expected.as_str();
        if !answers.is_empty() && answers.iter().all(is_good) {
            return Ok(Some(answers));
        }
        anyhow::bail!("{answers:?}")
    })?;
    println!("{host}: {}", answers[0]);
    Ok(())
}

#[test]
fn what_only_the_mesh_knows_by_name_is_reached_by_that_name() -> anyhow::Result<()> {
    let mesh = Mesh::up(ordinary_user(), &[])?;
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"])?;
    for name in ["one", "two"] {
        mesh.apply(&server(name))?;
    }
    mesh.apply(HEADLESS)?;
    for (name, more, server) in [
        ("db-one.external.test", "", "one"),
        ("db-two.external.test", "", "two"),
        ("*.wild.external.test", "addresses: [192.0.2.10]", "two"),
    ] {
        let object = name.replace("*.", "").replace('.', "-");
        mesh.apply(&entry(&object, name, more, server))?;
    }
    for name in ["one", "two"] {
        echo::wait_for(&mesh, name)?;
    }
    mesh.kubectl(&["rollout", "status", "statefulset/set", "--timeout=90s"])?;

    // Two entries on one port, told apart by nothing but their addresses, which nobody wrote.
    reaches(&mesh, "db-one.external.test", "one")?;
    reaches(&mesh, "db-two.external.test", "two")?;
    reaches(&mesh, "any.wild.external.test", "two")?;
    // What the cluster knows too.
    reaches(&mesh, "one", "one")?;
    reaches(&mesh, "two.default.svc", "two")?;
    reaches(&mesh, "set", "set")?;
    reaches(&mesh, "set-1.set", "set")?;
    reaches(&mesh, "another", "one")?;

    // Nobody else knows these names, and the proxy does not invent any.
    let without = echo::call(&mesh, &["tcp://db-one.external.test:9000"])?;
    ensure!(without[0]["error"].is_string(), "{}", without[0]);
    println!("without DNS in the sidecar: {}", without[0]["error"]);
    let unknown = echo::call_by_name(&mesh, &["tcp://db-three.external.test:9000"])?;
    ensure!(unknown[0]["error"].is_string(), "{}", unknown[0]);
    println!("a name that nobody knows: {}", unknown[0]["error"]);
    Ok(())
}
