//! The echo program in the mesh: servers of several versions, and callers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::Mesh;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The image that the program goes by in every mesh of the tests.
pub const IMAGE: &str = "lateen/echo:1";

/// A Service `echo` with a port for each protocol, without pods.
pub const SERVICE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports:
  - {name: http, port: 8080}
  - {name: grpc, port: 8081}
  - {name: tcp, port: 9000}
  - {name: tcp-first, port: 9001}
  - {name: undeclared, port: 9002, targetPort: 9001}
  - {name: tls, port: 8443}
";

/// A Deployment of a version of the server, with these further arguments.
pub fn deployment(version: &str, replicas: usize, arguments: &[&str]) -> String {
    let all = [
        &[
            "serve",
            "--http=8080",
            "--http=8081",
            "--tcp=9000",
            "--server-first=9001",
            "--tls=8443",
        ],
        arguments,
    ]
    .concat();
    let arguments = serde_json::to_string(&all).unwrap_or_default();
    format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo-{version}, labels: {{app: echo, version: {version}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: echo, version: {version}}}}}
  template:
    metadata: {{labels: {{app: echo, version: {version}}}}}
    spec:
      containers:
      - name: echo
        image: {IMAGE}
        args: {arguments}
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
"
    )
}

/// Waits until a Deployment is as it should be.
pub fn wait_for(mesh: &Mesh, version: &str) -> anyhow::Result<()> {
    let name = format!("deployment/echo-{version}");
    mesh.kubectl(&["rollout", "status", &name, "--timeout=90s"])?;
    Ok(())
}

/// Runs the client in a pod of its own with a sidecar, and returns what each call told.
pub fn call(mesh: &Mesh, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let name = start_call(mesh, arguments)?;
    finish_call(mesh, &name, PATIENCE)
}

/// The same in a pod whose sidecar answers its DNS.
pub fn call_by_name(mesh: &Mesh, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let config = r#"{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}"#;
    let name = start(mesh, &[("proxy.istio.io/config", config)], arguments)?;
    finish_call(mesh, &name, PATIENCE)
}

/// Starts the client in a pod of its own and returns the pod's name.
pub fn start_call(mesh: &Mesh, arguments: &[&str]) -> anyhow::Result<String> {
    start(mesh, &[], arguments)
}

fn start(mesh: &Mesh, annotations: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<String> {
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    let annotations = serde_json::to_string(&annotations)?;
    let all = [&["call"], arguments].concat();
    let arguments = serde_json::to_string(&all)?;
    let pod = format!(
        r"
apiVersion: v1
kind: Pod
metadata:
  generateName: caller-
  labels: {{app: caller}}
  annotations: {annotations}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: caller, image: {IMAGE}, args: {arguments}}}
"
    );
    let name = mesh.create(&pod)?;
    Ok(name)
}

/// Waits for the end of a client.
pub fn wait_for_call(mesh: &Mesh, name: &str, within: Duration) -> anyhow::Result<()> {
    mesh.eventually("the caller is done", within, |mesh| {
        let path = "jsonpath={.status.containerStatuses[0].state.terminated.reason}";
        let reason = mesh.kubectl(&["get", "pod", name, "-o", path])?;
        Ok((!reason.is_empty()).then_some(()))
    })
}

/// Waits for the end of a client and returns what each call told.
pub fn finish_call(mesh: &Mesh, name: &str, within: Duration) -> anyhow::Result<Vec<Value>> {
    wait_for_call(mesh, name, within)?;
    let log = mesh.kubectl(&["logs", name, "-c", "caller"])?;
    mesh.kubectl(&["delete", "pod", name, "--wait=false"])?;
    let lines = log.lines().map(|line| {
        serde_json::from_str(line).with_context(|| format!("the caller said {line:?}"))
    });
    lines.collect()
}
