//! The scenario of the first user, step by step, by real `kubectl` against a real mesh: as the
//! user who runs the tests, and if that is root, as a user without any rights as well.

#![allow(
    clippy::print_stdout,
    reason = "a scenario shows what a person would see"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lateen_e2e::mesh::{is_root, text};
use lateen_e2e::{Load, Mesh, Page, Tally, User};

/// Long enough for a busy machine; a healthy one needs a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);
const HOST: &str = "bookinfo.local";
const OWN_GATEWAY: &str = r#"
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: bookinfo-gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["bookinfo.local"]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: bookinfo}
spec:
  hosts: [bookinfo.local]
  gateways: [bookinfo-gateway]
  http:
  - match:
    - uri: {exact: /productpage}
    - uri: {prefix: /static}
    - uri: {exact: /login}
    - uri: {exact: /logout}
    - uri: {prefix: /api/v1/products}
    route:
    - destination: {host: productpage, port: {number: 9080}}
"#;

#[test]
fn the_scenario_works_for_the_user_who_runs_the_tests() -> anyhow::Result<()> {
    scenario(User::Invoking)
}

#[test]
fn the_scenario_works_for_a_user_without_rights() -> anyhow::Result<()> {
    if !is_root() {
        // Only root can become somebody else; everybody else already is such a user.
        return Ok(());
    }
    scenario(User::Unprivileged)
}

fn scenario(user: User) -> anyhow::Result<()> {
    let mesh = Mesh::up(user, &[])?;
    installed(&mesh)?;
    bookinfo_with_sidecars(&mesh)?;
    checked(&mesh)?;
    way_in(&mesh)?;
    own_gateway_and_routes(&mesh)?;
    subsets(&mesh)?;
    traffic_shifting(&mesh)?;
    weights_change_under_load(&mesh)
}

/// Step 1: `lateen up` has installed the control plane and the gateway.
fn installed(mesh: &Mesh) -> anyhow::Result<()> {
    let pods = mesh.kubectl(&["get", "pods", "-n", "istio-system"])?;
    println!("{pods}");
    for name in ["istiod-", "istio-ingressgateway-"] {
        let line = pods
            .lines()
            .find(|line| line.starts_with(name))
            .context("the pod is listed")?;
        ensure!(line.contains("1/1") && line.contains("Running"), "{line}");
    }
    let service = mesh.kubectl(&["get", "svc", "-n", "istio-system", "istio-ingressgateway"])?;
    println!("{service}");
    ensure!(
        service.contains("LoadBalancer") && service.contains("127.0.0.1"),
        "{service}"
    );
    Ok(())
}

/// Steps 2 and 3: each new pod of a labelled namespace has a sidecar.
fn bookinfo_with_sidecars(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"])?;
    mesh.kubectl(&["apply", "-f", &mesh.sample("platform/kube/bookinfo.yaml")])?;
    let pods = mesh.eventually("six pods of Bookinfo are 2/2", PATIENCE, |mesh| {
        let pods = mesh.kubectl(&["get", "pods", "--no-headers"])?;
        let ready = pods
            .lines()
            .filter(|line| line.contains("2/2") && line.contains("Running"))
            .count();
        Ok((ready == 6 && pods.lines().count() == 6).then_some(pods))
    })?;
    println!("{pods}");
    Ok(())
}

/// Step 4: nothing to complain about, every proxy in sync.
fn checked(mesh: &Mesh) -> anyhow::Result<()> {
    let analysis = mesh.lateen(&["analyze"])?;
    println!("{analysis}");
    ensure!(
        analysis.contains("No validation issues found"),
        "{analysis}"
    );
    let status = mesh.eventually("every proxy is in sync", PATIENCE, |mesh| {
        let status = mesh.lateen(&["proxy-status"])?;
        let is_good = status.lines().count() == 8
            && status.lines().skip(1).all(|line| line.contains("SYNCED"));
        Ok(is_good.then_some(status))
    })?;
    println!("{status}");
    Ok(())
}

/// Steps 6 and 7: the sample's gateway, and loads through it.
fn way_in(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.kubectl(&[
        "apply",
        "-f",
        &mesh.sample("networking/bookinfo-gateway.yaml"),
    ])?;
    let load = Load::new(&mesh.ingress, "anything.example");
    mesh.eventually("the product page answers", PATIENCE, |_| {
        let tally = load.run();
        Ok((tally.failures() == 0).then_some(()))
    })?;
    let tally = Load {
        count: 300,
        concurrency: 8,
        ..load
    }
    .run();
    println!("through the gateway: {tally:?}");
    ensure!(tally.failures() == 0, "{tally:?}");
    for page in [Page::NoStars, Page::Black, Page::Red] {
        ensure!(tally.of(page) > 0, "all versions take part: {tally:?}");
    }
    Ok(())
}

/// Step 8: that gateway again, with an own host and own paths.
fn own_gateway_and_routes(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.kubectl(&[
        "delete",
        "-f",
        &mesh.sample("networking/bookinfo-gateway.yaml"),
    ])?;
    mesh.apply(OWN_GATEWAY)?;
    let status = |host: &str, path: &str| {
        let load = Load {
            path: path.into(),
            ..Load::new(&mesh.ingress, host)
        };
        load.run().pages.keys().next().copied()
    };
    mesh.eventually("the own gateway answers", PATIENCE, |_| {
        let is_page = matches!(
            status(HOST, "/productpage"),
            Some(Page::NoStars | Page::Black | Page::Red)
        );
        Ok(
            (is_page && status("other.example", "/productpage") == Some(Page::Status(404)))
                .then_some(()),
        )
    })?;
    for path in [
        "/static/bookinfo.css",
        "/api/v1/products",
        "/api/v1/products/0/reviews",
    ] {
        let seen = status(HOST, path);
        ensure!(
            matches!(seen, Some(Page::NoStars | Page::Black | Page::Red)),
            "{path}: {seen:?}"
        );
    }
    for path in ["/", "/productpage/x", "/health"] {
        let seen = status(HOST, path);
        ensure!(seen == Some(Page::Status(404)), "{path}: {seen:?}");
    }
    Ok(())
}

/// Step 9.
fn subsets(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.kubectl(&[
        "apply",
        "-f",
        &mesh.sample("networking/destination-rule-all.yaml"),
    ])?;
    let rules = mesh.kubectl(&["get", "dr"])?;
    println!("{rules}");
    ensure!(rules.lines().count() == 5, "{rules}");
    Ok(())
}

/// Step 10: of 4,000 loads a quarter shows black stars, none red, and none fails.
fn traffic_shifting(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(&weights(75, 25))?;
    settled(mesh, |tally| tally.of(Page::Red) == 0)?;
    let tally = Load {
        count: 4000,
        concurrency: 16,
        ..Load::new(&mesh.ingress, HOST)
    }
    .run();
    println!("75/25: {tally:?}");
    ensure!(
        tally.failures() == 0 && tally.of(Page::Red) == 0,
        "{tally:?}"
    );
    let per_mille = tally.of(Page::Black) * 1000 / tally.total();
    ensure!(
        (220..=280).contains(&per_mille),
        "share of v2: {per_mille} per mille; {tally:?}"
    );
    Ok(())
}

/// Step 10, the other half: weights change while 200 requests are in flight, and none is lost.
fn weights_change_under_load(mesh: &Mesh) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let load = Load {
        count: usize::MAX,
        concurrency: 200,
        ..Load::new(&mesh.ingress, HOST)
    };
    let running = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || load.run_until(&stop))
    };
    let changed =
        (1..=8).try_for_each(|step| mesh.apply(&weights(100 - 10 * step, 10 * step)).map(drop));
    let settled = settled(mesh, |tally| {
        tally.of(Page::Black) > tally.of(Page::NoStars)
    });
    stop.store(true, Ordering::Relaxed);
    let tally = running
        .join()
        .map_err(|_| anyhow::anyhow!("the load panicked"))?;
    println!("weights changed under load: {tally:?}");
    changed.and(settled)?;
    ensure!(
        tally.failures() == 0 && tally.of(Page::Red) == 0,
        "{tally:?}"
    );
    ensure!(tally.total() > 200, "{tally:?}");
    Ok(())
}

/// Waits until a small load looks as wanted: configuration travels while requests do.
fn settled(mesh: &Mesh, is_wanted: impl Fn(&Tally) -> bool) -> anyhow::Result<()> {
    mesh.eventually("the routes are live", PATIENCE, |mesh| {
        let tally = Load {
            count: 60,
            concurrency: 4,
            ..Load::new(&mesh.ingress, HOST)
        }
        .run();
        Ok((tally.failures() == 0 && is_wanted(&tally)).then_some(()))
    })
}

fn weights(v1: usize, v2: usize) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: reviews}}\nspec:\n  \
         hosts: [reviews]\n  http:\n  - route:\n    - destination: {{host: reviews, subset: v1}}\n      \
         weight: {v1}\n    - destination: {{host: reviews, subset: v2}}\n      weight: {v2}\n"
    )
}

#[test]
fn a_bad_rule_is_refused_with_its_field_and_reason() -> anyhow::Result<()> {
    let mesh = Mesh::up(User::Invoking, &[])?;
    let refused = mesh.eventually("the validating webhook answers", PATIENCE, |mesh| {
        let output = mesh.try_apply(&weights(0, 0))?;
        Ok((!output.status.success()).then(|| text(&output)))
    })?;
    println!("{refused}");
    ensure!(
        refused.contains("weight") && refused.contains("reviews"),
        "{refused}"
    );
    ensure!(
        mesh.kubectl(&["get", "vs", "--no-headers", "--ignore-not-found"])?
            .is_empty(),
        "it is stored"
    );
    Ok(())
}
