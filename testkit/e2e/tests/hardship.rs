//! What a mesh must bear: proxies that stop or die, a control plane that is away, rules that are
//! wrong, and its own end. Each with a mesh of its own, run by a user without rights.

#![allow(
    clippy::print_stdout,
    reason = "a scenario shows what a person would see"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lateen_e2e::mesh::is_root;
use lateen_e2e::{Load, Mesh, User, process};

const PATIENCE: Duration = Duration::from_secs(90);
/// How long the control plane is away.
const OUTAGE: Duration = Duration::from_secs(30);

/// A pod that asks details again and again, and logs status and curl's exit code.
const CALLER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: NAMESPACE, labels: {app: NAME}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: caller
    image: curlimages/curl
    command: [sh, -c]
    args: ["while true; do curl -s -m 2 -o /dev/null -w '%{http_code} %{exitcode}\\n' http://details.default:9080/details/0; sleep 0.1; done"]
"#;

fn ordinary_user() -> User {
    if is_root() {
        User::Unprivileged
    } else {
        User::Invoking
    }
}

fn caller(name: &str, namespace: &str) -> String {
    CALLER.replace("NAMESPACE", namespace).replace("NAME", name)
}

/// The last line that a caller logged.
fn last_answer(mesh: &Mesh, name: &str, namespace: &str) -> anyhow::Result<String> {
    let log = mesh.kubectl(&["logs", "-n", namespace, name, "-c", "caller", "--tail=1"])?;
    Ok(log.trim().to_owned())
}

fn expect_answer(mesh: &Mesh, name: &str, namespace: &str, wanted: &str) -> anyhow::Result<()> {
    mesh.eventually(
        &format!("{namespace}/{name} gets {wanted:?}"),
        PATIENCE,
        |mesh| {
            let answer = last_answer(mesh, name, namespace)?;
            Ok((answer == wanted).then_some(()))
        },
    )
}

/// Requests that the proxy of details has counted as the destination, by source.
fn counted(mesh: &Mesh, pod: &str, source: &str) -> anyhow::Result<u64> {
    let address = mesh.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"])?;
    let name = format!("scrape-{}", stamp());
    let scrape = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: plain}}\nspec:\n  restartPolicy: Never\n  \
         containers:\n  - name: caller\n    image: curlimages/curl\n    \
         args: [\"-s\", \"http://{address}:15020/stats/prometheus\"]\n"
    );
    mesh.apply(&scrape)?;
    mesh.eventually("the scrape is done", PATIENCE, |mesh| {
        let phase = mesh.kubectl(&[
            "get",
            "pod",
            "-n",
            "plain",
            &name,
            "-o",
            "jsonpath={.status.phase}",
        ])?;
        Ok((phase == "Succeeded").then_some(()))
    })?;
    let metrics = mesh.kubectl(&["logs", "-n", "plain", &name])?;
    mesh.kubectl(&["delete", "pod", "-n", "plain", &name, "--wait=false"])?;
    let source = format!("source_workload=\"{source}\"");
    let lines = metrics.lines().filter(|line| {
        line.starts_with("istio_requests_total{")
            && line.contains("reporter=\"destination\"")
            && line.contains("response_code=\"200\"")
            && line.contains(&source)
    });
    Ok(lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}

fn stamp() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() % 1_000_000_000_000)
}

fn proxy_pid(pod: &str) -> anyhow::Result<u32> {
    let found = process::proxy_of(pod)?;
    found
        .first()
        .copied()
        .with_context(|| format!("no proxy process of {pod}"))
}

#[test]
fn all_traffic_of_a_pod_passes_its_proxy() -> anyhow::Result<()> {
    let mesh = Mesh::up(ordinary_user(), &["--bookinfo"])?;
    mesh.kubectl(&["create", "namespace", "plain"])?;
    mesh.apply(&caller("outsider", "plain"))?;
    mesh.apply(&caller("insider", "default"))?;
    expect_answer(&mesh, "outsider", "plain", "200 0")?;
    expect_answer(&mesh, "insider", "default", "200 0")?;
    let details = mesh.kubectl(&[
        "get",
        "pods",
        "-l",
        "app=details",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])?;
    for source in ["outsider", "insider"] {
        // Who a caller is, the proxy asks for when it first sees it, so a first look may not tell.
        let count = mesh.eventually(
            &format!("requests of {source} are counted"),
            PATIENCE,
            |mesh| {
                let count = counted(mesh, &details, source)?;
                Ok((count > 0).then_some(count))
            },
        )?;
        println!("details counted {count} requests of {source}");
    }

    a_stopped_proxy_lets_wait(&mesh, &details)?;
    a_dead_proxy_refuses(&mesh)
}

/// What the application asks, and what others ask of it, waits for its proxy.
fn a_stopped_proxy_lets_wait(mesh: &Mesh, details: &str) -> anyhow::Result<()> {
    let own = proxy_pid("insider")?;
    process::signal(own, "STOP")?;
    expect_answer(mesh, "insider", "default", "000 28")?;
    process::signal(own, "CONT")?;
    expect_answer(mesh, "insider", "default", "200 0")?;
    let callee = proxy_pid(details)?;
    process::signal(callee, "STOP")?;
    expect_answer(mesh, "outsider", "plain", "000 28")?;
    process::signal(callee, "CONT")?;
    expect_answer(mesh, "outsider", "plain", "200 0")
}

/// Connections are refused until the proxy is back; nothing goes around it.
fn a_dead_proxy_refuses(mesh: &Mesh) -> anyhow::Result<()> {
    let first = proxy_pid("insider")?;
    process::signal(first, "KILL")?;
    let second = mesh.eventually("the proxy has started again", PATIENCE, |_| {
        Ok(process::proxy_of("insider")?
            .first()
            .copied()
            .filter(|pid| *pid != first))
    })?;
    expect_answer(mesh, "insider", "default", "200 0")?;
    // The first restart comes at once; the second one waits, long enough to look.
    process::signal(second, "KILL")?;
    expect_answer(mesh, "insider", "default", "000 7")?;
    expect_answer(mesh, "insider", "default", "200 0")
}

#[test]
fn the_mesh_works_on_while_the_control_plane_is_away() -> anyhow::Result<()> {
    let mesh = Mesh::up(ordinary_user(), &["--bookinfo"])?;
    let scale = |replicas: &str| {
        mesh.kubectl(&[
            "scale",
            "-n",
            "istio-system",
            "deployment/istiod",
            &format!("--replicas={replicas}"),
        ])
    };
    let stop = Arc::new(AtomicBool::new(false));
    let load = Load {
        count: usize::MAX,
        concurrency: 4,
        ..Load::new(&mesh.ingress, "bookinfo")
    };
    let running = {
        let (stop, load) = (Arc::clone(&stop), load.clone());
        std::thread::spawn(move || load.run_until(&stop))
    };
    scale("0")?;
    mesh.eventually("istiod is away", PATIENCE, |mesh| {
        let pods = mesh.kubectl(&[
            "get",
            "pods",
            "-n",
            "istio-system",
            "-l",
            "app=istiod",
            "--no-headers",
        ])?;
        Ok(pods.trim().is_empty().then_some(()))
    })?;
    std::thread::sleep(OUTAGE);
    stop.store(true, Ordering::Relaxed);
    let tally = running
        .join()
        .map_err(|_| anyhow::anyhow!("the load panicked"))?;
    println!("30 s without control plane: {tally:?}");
    ensure!(tally.failures() == 0 && tally.total() > 100, "{tally:?}");

    a_restarted_proxy_knows_its_last_configuration(&mesh, &load)?;
    scale("1")?;
    mesh.kubectl(&[
        "rollout",
        "status",
        "-n",
        "istio-system",
        "deployment/istiod",
        "--timeout=60s",
    ])?;
    Ok(())
}

/// A proxy that starts now knows nothing but its last configuration.
fn a_restarted_proxy_knows_its_last_configuration(mesh: &Mesh, load: &Load) -> anyhow::Result<()> {
    let page = mesh.kubectl(&[
        "get",
        "pods",
        "-l",
        "app=productpage",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])?;
    let before = proxy_pid(&page)?;
    process::signal(before, "KILL")?;
    mesh.eventually("the proxy has started again", PATIENCE, |_| {
        Ok((proxy_pid(&page)? != before).then_some(()))
    })?;
    mesh.eventually("it serves from its last configuration", PATIENCE, |_| {
        Ok((Load {
            count: 20,
            ..load.clone()
        }
        .run()
        .failures()
            == 0)
            .then_some(()))
    })
}

#[test]
fn a_bad_rule_that_got_in_changes_nothing_else_and_says_so() -> anyhow::Result<()> {
    let mesh = Mesh::up(ordinary_user(), &["--bookinfo"])?;
    mesh.kubectl(&[
        "delete",
        "validatingwebhookconfiguration",
        "istio-validator-istio-system",
    ])?;
    let bad = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad}\nspec:\n  \
               hosts: [details]\n  http:\n  - match:\n    - uri: {regex: '(['}\n    route:\n    - destination: {host: details}\n";
    mesh.apply(bad)?;
    let message = mesh.eventually("the object says what is wrong with it", PATIENCE, |mesh| {
        let status = mesh.kubectl(&["get", "vs", "bad", "-o", "jsonpath={.status}"])?;
        Ok(status.contains("regex").then_some(status))
    })?;
    println!("{message}");
    let tally = Load {
        count: 200,
        concurrency: 4,
        ..Load::new(&mesh.ingress, "bookinfo")
    }
    .run();
    ensure!(tally.failures() == 0, "{tally:?}");
    let good = bad
        .replace("(['", "/details/.*'")
        .replace("name: bad", "name: good")
        .replace("[details]", "[ratings]");
    mesh.apply(&good)?;
    let status = mesh.lateen(&["proxy-status"])?;
    println!("{status}");
    Ok(())
}

#[test]
fn nothing_of_a_mesh_stays_behind() -> anyhow::Result<()> {
    let links = || -> anyhow::Result<BTreeSet<_>> {
        Ok(std::fs::read_dir("/sys/class/net")?
            .flatten()
            .map(|entry| entry.file_name())
            .collect())
    };
    let mounts = || std::fs::read_to_string("/proc/self/mounts");
    let (links_before, mounts_before) = (links()?, mounts()?);
    for how in ["down", "kill"] {
        let mesh = Mesh::up(ordinary_user(), &[])?;
        let (publisher, supervisor) = mesh.processes()?;
        let processes = process::tree(publisher)?;
        let namespaces = process::namespaces(&processes);
        println!(
            "{} processes, {} namespaces",
            processes.len(),
            namespaces.len()
        );
        ensure!(
            processes.len() > 3 && namespaces.len() > 6,
            "the mesh has processes: {processes:?}"
        );
        if how == "down" {
            mesh.lateen(&["down"])?;
        } else {
            process::signal(supervisor, "KILL")?;
        }
        mesh.eventually("every process has gone", PATIENCE, |_| {
            Ok(processes
                .iter()
                .all(|pid| !process::exists(*pid))
                .then_some(()))
        })?;
        let left = process::in_namespaces(&namespaces)?;
        ensure!(left.is_empty(), "after {how}: processes {left:?}");
        ensure!(
            links()? == links_before,
            "after {how}: links {:?}",
            links()?
        );
        ensure!(mounts()? == mounts_before, "after {how}: {}", mounts()?);
        println!("after {how}: no process, namespace, link or mount is left");
    }
    Ok(())
}
