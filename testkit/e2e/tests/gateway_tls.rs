//! TLS that ends at the gateway, as its users set it up: `kubectl create secret tls`, a Gateway that
//! names it, and curl. Certificates are chosen by server name, renewed under way, and only those of
//! the gateway's own namespace are ever used.

#![allow(
    clippy::print_stdout,
    reason = "a scenario shows what a person would see"
)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lateen_certificates::Authority;
use lateen_e2e::mesh::{is_root, text};
use lateen_e2e::{Mesh, User, echo};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);

/// A directory with the files of the test; goes with the value.
struct Files(PathBuf);

/// A certificate with its key, as files.
struct Pair {
    certificate: String,
    key: String,
}

const ROUTES: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [one.example, "*.two.example"]
    tls: {httpsRedirect: true}
  - port: {number: 443, name: https-one, protocol: HTTPS}
    hosts: [one.example]
    tls: {mode: SIMPLE, credentialName: one}
  - port: {number: 443, name: https-two, protocol: HTTPS}
    hosts: ["*.two.example"]
    tls: {mode: SIMPLE, credentialName: two}
  - port: {number: 443, name: https-mutual, protocol: HTTPS}
    hosts: [mutual.example]
    tls: {mode: MUTUAL, credentialName: mutual}
  - port: {number: 443, name: https-elsewhere, protocol: HTTPS}
    hosts: [elsewhere.example]
    tls: {mode: SIMPLE, credentialName: elsewhere}
  - port: {number: 443, name: tls, protocol: TLS}
    hosts: [through.example]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: one}
spec:
  hosts: [one.example, mutual.example, elsewhere.example]
  gateways: [edge]
  http: [{route: [{destination: {host: echo, subset: v1, port: {number: 8080}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: two}
spec:
  hosts: ["*.two.example"]
  gateways: [edge]
  http: [{route: [{destination: {host: echo, subset: v2, port: {number: 8080}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: through}
spec:
  hosts: [through.example]
  gateways: [edge]
  tls:
  - match: [{port: 443, sniHosts: [through.example]}]
    route: [{destination: {host: echo, subset: v1, port: {number: 8443}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"#;

/// A Gateway that is never applied.
const WRONG: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: wrong}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https-wrong, protocol: HTTPS}
    hosts: [wrong.example]
    tls: {mode: SIMPLE, credentialName: wrong}
";

#[test]
fn a_gateway_ends_tls_with_the_secrets_of_its_own_namespace() -> anyhow::Result<()> {
    let files = Files::new()?;
    let user = if is_root() {
        User::Unprivileged
    } else {
        User::Invoking
    };
    let mesh = Mesh::up(user, &[])?;
    mesh.apply(echo::SERVICE)?;
    for version in ["v1", "v2"] {
        let name = format!("--name={version}");
        mesh.apply(&echo::deployment(version, 1, &[&name]))?;
    }
    for version in ["v1", "v2"] {
        echo::wait_for(&mesh, version)?;
    }
    let authority = Authority::new("first");
    let ca = files.write("ca.pem", &authority.pem)?;
    for (name, host) in [("one", "one.example"), ("two", "*.two.example")] {
        let pair = Pair::new(&authority, &files, name, host)?;
        pair.into_secret(&mesh, "istio-system", name)?;
    }
    let elsewhere = Pair::new(&authority, &files, "elsewhere", "elsewhere.example")?;
    elsewhere.into_secret(&mesh, "default", "elsewhere")?;
    let mutual = Pair::new(&authority, &files, "mutual", "mutual.example")?;
    mesh.kubectl(&[
        "create",
        "secret",
        "generic",
        "mutual",
        "-n",
        "istio-system",
        &format!("--from-file=tls.crt={}", mutual.certificate),
        &format!("--from-file=tls.key={}", mutual.key),
        &format!("--from-file=ca.crt={ca}"),
    ])?;
    mesh.apply(ROUTES)?;

    certificates_by_server_name(&mesh, &ca)?;
    plaintext_is_sent_to_https(&mesh)?;
    clients_show_certificates(&mesh, &files, &authority, &ca)?;
    other_namespaces_lend_nothing(&mesh, &ca)?;
    mistakes_are_found(&mesh, &files, &authority)?;
    passed_through_beside(&mesh)?;
    why_tells_the_same(&mesh)?;
    a_certificate_is_renewed(&mesh, &files, &ca)?;
    keys_are_printed_nowhere(&mesh)
}

fn certificates_by_server_name(mesh: &Mesh, ca: &str) -> anyhow::Result<()> {
    for (host, version) in [("one.example", "v1"), ("a.two.example", "v2")] {
        let answer = eventually(mesh, host, &["--cacert", ca])?;
        ensure!(answer["name"] == version, "{host}: {answer}");
        let header = &answer["headers"]["x-forwarded-proto"];
        ensure!(header == "https", "{host}: {answer}");
    }
    let output = curl(
        mesh,
        "one.example",
        &["--cacert", ca, "--http2", "-w", " %{http_version}"],
    )?;
    ensure!(text(&output).ends_with(" 2"), "{}", text(&output));
    let output = curl(mesh, "one.example", &["--cacert", ca, "--http1.1"])?;
    ensure!(output.status.success(), "{}", text(&output));
    let output = curl(mesh, "one.example", &["--cacert", ca, "--tls-max", "1.2"])?;
    ensure!(output.status.success(), "{}", text(&output));
    let output = curl(mesh, "nobody.example", &["-k"])?;
    ensure!(
        !output.status.success(),
        "a name that no server has was answered"
    );
    // The routes of a server are for its own hosts.
    let foreign = [
        "--cacert",
        ca,
        "-H",
        "Host: a.two.example",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ];
    let output = curl(mesh, "one.example", &foreign)?;
    ensure!(text(&output) == "404", "{}", text(&output));
    println!("certificates by server name, over HTTP/2 and HTTP/1.1");
    Ok(())
}

fn plaintext_is_sent_to_https(mesh: &Mesh) -> anyhow::Result<()> {
    let url = format!("http://{}/x?y=z", mesh.ingress);
    let output = Command::new("curl")
        .args([
            "-sS",
            "-m",
            "10",
            "-H",
            "Host: a.two.example",
            "-o",
            "/dev/null",
        ])
        .args(["-w", "%{http_code} %{redirect_url}", &url])
        .output()?;
    ensure!(
        text(&output) == "301 https://a.two.example/x?y=z",
        "{}",
        text(&output)
    );
    println!("plaintext: {}", text(&output));
    Ok(())
}

fn clients_show_certificates(
    mesh: &Mesh,
    files: &Files,
    authority: &Authority,
    ca: &str,
) -> anyhow::Result<()> {
    let of = |authority: &Authority, name| Pair::new(authority, files, name, "client");
    let (known, unknown) = (
        of(authority, "known")?,
        of(&Authority::new("other"), "unknown")?,
    );
    let arguments = [
        "--cacert",
        ca,
        "--cert",
        &known.certificate,
        "--key",
        &known.key,
    ];
    let answer = eventually(mesh, "mutual.example", &arguments)?;
    ensure!(answer["name"] == "v1", "{answer}");
    let output = curl(mesh, "mutual.example", &["--cacert", ca])?;
    ensure!(
        !output.status.success(),
        "let in without a certificate: {}",
        text(&output)
    );
    let arguments = [
        "--cacert",
        ca,
        "--cert",
        &unknown.certificate,
        "--key",
        &unknown.key,
    ];
    let output = curl(mesh, "mutual.example", &arguments)?;
    ensure!(
        !output.status.success(),
        "let in with any certificate: {}",
        text(&output)
    );
    println!("MUTUAL: a client of the authority alone is let in");
    Ok(())
}

/// What lies in `default` is not the gateway's, which lives in `istio-system`.
fn other_namespaces_lend_nothing(mesh: &Mesh, ca: &str) -> anyhow::Result<()> {
    let output = curl(mesh, "elsewhere.example", &["--cacert", ca])?;
    ensure!(!output.status.success(), "{}", text(&output));
    println!("a Secret of another namespace: {}", text(&output).trim());
    Ok(())
}

/// `lateen analyze` says of Secrets what clients would find out.
fn mistakes_are_found(mesh: &Mesh, files: &Files, authority: &Authority) -> anyhow::Result<()> {
    let (a, b) = (
        Pair::new(authority, files, "a", "wrong.example")?,
        Pair::new(authority, files, "b", "wrong.example")?,
    );
    // `kubectl create secret tls` would refuse the pair.
    mesh.kubectl(&[
        "create",
        "secret",
        "generic",
        "wrong",
        "-n",
        "istio-system",
        &format!("--from-file=tls.crt={}", a.certificate),
        &format!("--from-file=tls.key={}", b.key),
    ])?;
    let gateway = files.write("wrong.yaml", WRONG)?;
    let output = mesh.try_lateen(&["analyze", &gateway])?;
    let told = text(&output);
    for wanted in [
        "[IST0101] (Gateway default/edge)",
        "the Secret istio-system/elsewhere does not exist",
        "[IST0161] (Gateway default/wrong",
        "Secret istio-system/wrong cannot be used: tls.key does not belong",
    ] {
        ensure!(told.contains(wanted), "{wanted} is not in\n{told}");
    }
    ensure!(output.status.code() == Some(79), "{}", output.status);
    ensure!(!told.contains("PRIVATE KEY"), "a key was printed");
    println!("{told}");
    Ok(())
}

fn passed_through_beside(mesh: &Mesh) -> anyhow::Result<()> {
    let connect = format!(
        "--connect=127.0.0.1:{}",
        mesh.variable("SECURE_INGRESS_PORT")?
    );
    let line = mesh.run(
        "lateen-echo",
        &["call", "https://through.example:443/", &connect],
    )?;
    let answer: Value = serde_json::from_str(line.trim()).context("a line of JSON")?;
    ensure!(answer["body"]["sni"] == "through.example", "{answer}");
    println!("passed through on the same port");
    Ok(())
}

/// What was seen above is what `lateen why` says.
fn why_tells_the_same(mesh: &Mesh) -> anyhow::Result<()> {
    let cluster = |port: u16, subset: &str| {
        json!(format!(
            "outbound|{port}|{subset}|echo.default.svc.cluster.local"
        ))
    };
    for (url, field, wanted) in [
        (
            "https://one.example/",
            "/tls/certificates/0",
            json!("Secret/istio-system/one"),
        ),
        (
            "https://one.example/",
            "/outcome/cluster",
            cluster(8080, "v1"),
        ),
        (
            "https://a.two.example/",
            "/tls/certificates/0",
            json!("Secret/istio-system/two"),
        ),
        (
            "https://a.two.example/",
            "/outcome/cluster",
            cluster(8080, "v2"),
        ),
        (
            "https://through.example/",
            "/outcome/cluster",
            cluster(8443, "v1"),
        ),
        ("https://nobody.example/", "/outcome/flag", json!("NR")),
        ("http://a.two.example/x", "/outcome/status", json!(301)),
    ] {
        let from = ["--from", "istio-ingressgateway", "-n", "istio-system"];
        let output = mesh.try_lateen(&[&["why", url, "-o", "json"][..], &from].concat())?;
        let told: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output))?;
        ensure!(
            told.pointer(field) == Some(&wanted),
            "{url} {field}: {told:#}"
        );
    }
    println!("lateen why tells the same");
    Ok(())
}

fn a_certificate_is_renewed(mesh: &Mesh, files: &Files, old: &str) -> anyhow::Result<()> {
    let authority = Authority::new("second");
    let ca = files.write("second.pem", &authority.pem)?;
    let pair = Pair::new(&authority, files, "renewed", "one.example")?;
    let secret = pair.secret(
        mesh,
        "istio-system",
        "one",
        &["--dry-run=client", "-o", "yaml"],
    )?;
    mesh.apply(&secret)?;
    eventually(mesh, "one.example", &["--cacert", &ca])?;
    let output = curl(mesh, "one.example", &["--cacert", old])?;
    ensure!(
        !output.status.success(),
        "the old certificate is still shown"
    );
    println!("renewed");
    Ok(())
}

fn keys_are_printed_nowhere(mesh: &Mesh) -> anyhow::Result<()> {
    let gateway = "deploy/istio-ingressgateway";
    let pod = mesh.kubectl(&[
        "get",
        "pods",
        "-n",
        "istio-system",
        "-l",
        "istio=ingressgateway",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])?;
    let shown = [
        mesh.kubectl(&["logs", "-n", "istio-system", gateway])?,
        mesh.kubectl(&["logs", "-n", "istio-system", "deploy/istiod"])?,
        mesh.lateen(&[
            "proxy-config",
            "all",
            &format!("{pod}.istio-system"),
            "-o",
            "json",
        ])?,
    ];
    for text in shown {
        ensure!(!text.contains("PRIVATE KEY"), "a key was printed");
    }
    Ok(())
}

/// What the echo server answers once everything is in place.
fn eventually(mesh: &Mesh, host: &str, arguments: &[&str]) -> anyhow::Result<Value> {
    mesh.eventually(&format!("https://{host}"), PATIENCE, |mesh| {
        let output = curl(mesh, host, arguments)?;
        ensure!(output.status.success(), "{}", text(&output));
        let answer = serde_json::from_slice(&output.stdout);
        Ok(Some(answer.with_context(|| text(&output))?))
    })
}

/// Asks the gateway's HTTPS port for `host`.
fn curl(mesh: &Mesh, host: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let port = mesh.variable("SECURE_INGRESS_PORT")?;
    let connect = format!("{host}:443:127.0.0.1:{port}");
    let output = Command::new("curl")
        .args(["-sS", "-m", "10", "--connect-to", &connect])
        .args(arguments)
        .arg(format!("https://{host}/"))
        .output()?;
    Ok(output)
}

// === impl Files ===

impl Files {
    fn new() -> anyhow::Result<Self> {
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_nanos();
        let name = format!("lateen-tls-{}-{stamp}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

// === impl Pair ===

impl Pair {
    /// Signed by this authority, for a host.
    fn new(authority: &Authority, files: &Files, name: &str, host: &str) -> anyhow::Result<Self> {
        let signed = authority.sign(&[host]);
        Ok(Self {
            certificate: files.write(&format!("{name}.crt"), &signed.chain)?,
            key: files.write(&format!("{name}.key"), &signed.key)?,
        })
    }

    fn into_secret(self, mesh: &Mesh, namespace: &str, name: &str) -> anyhow::Result<()> {
        self.secret(mesh, namespace, name, &[]).map(drop)
    }

    fn secret(
        &self,
        mesh: &Mesh,
        namespace: &str,
        name: &str,
        further: &[&str],
    ) -> anyhow::Result<String> {
        let certificate = format!("--cert={}", self.certificate);
        let key = format!("--key={}", self.key);
        let arguments = [
            "create",
            "secret",
            "tls",
            name,
            "-n",
            namespace,
            &certificate,
            &key,
        ];
        mesh.kubectl(&[&arguments, further].concat())
    }
}
