//! Carries out a probe of the application for the kubelet.
//!
//! The kubelet cannot do it: its requests come from outside of the mesh, which strict mutual TLS
//! refuses. The proxy asks at the pod's own address, past the capture.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::time::timeout;

use super::server::Response;
use super::{fetch, insecure};
use crate::settings::probers::{Action, Grpc, HttpGet, Prober};

/// Runs a probe: 200 if it succeeds, 500 with the reason if it does not.
pub async fn run(own: &[IpAddr], prober: &Prober) -> Response {
    let address = own.first().copied();
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let probe = async {
        match &prober.action {
            Action::HttpGet(get) => http(address, get).await,
            Action::TcpSocket(tcp) => {
                let to = SocketAddr::new(address, tcp.port);
                let connected = fetch::connect(to).await;
                connected
                    .map(drop)
                    .map_err(|error| format!("{to}: {error}"))
            }
            Action::Grpc(grpc) => Box::pin(grpc_health(address, grpc)).await,
        }
    };
    match timeout(prober.timeout(), probe).await {
        Ok(Ok(())) => Response::text(200, ""),
        Ok(Err(why)) => Response::text(500, format!("{why}\n")),
        Err(_) => Response::text(500, format!("no answer within {:?}\n", prober.timeout())),
    }
}

async fn http(address: IpAddr, get: &HttpGet) -> Result<(), String> {
    let to = SocketAddr::new(address, get.port);
    let head = head(to, get)?;
    let fetched = async {
        let mut stream = fetch::connect(to).await?;
        if get.scheme.eq_ignore_ascii_case("https") {
            let mut stream = insecure::wrap(stream, &get.host).await?;
            fetch::fetch(&mut stream, head.as_bytes()).await
        } else {
            fetch::fetch(&mut stream, head.as_bytes()).await
        }
    };
    match fetched.await {
        Ok((200..400, _)) => Ok(()),
        Ok((status, _)) => Err(format!("{to}{} answered {status}", get.path)),
        Err(error) => Err(format!("{to}{}: {error}", get.path)),
    }
}

fn head(to: SocketAddr, get: &HttpGet) -> Result<String, String> {
    let path = match get.path.as_str() {
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    let mut host = if get.host.is_empty() {
        to.to_string()
    } else {
        get.host.clone()
    };
    let mut fields = String::new();
    let mut has_agent = false;
    for header in &get.http_headers {
        if header.name.eq_ignore_ascii_case("host") {
            host.clone_from(&header.value);
            continue;
        }
        has_agent |= header.name.eq_ignore_ascii_case("user-agent");
        let _ = write!(fields, "{}: {}\r\n", header.name, header.value);
    }
    if !has_agent {
        fields.push_str("user-agent: kube-probe/lateen\r\n");
    }
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}connection: close\r\n\r\n");
    // Whoever writes a pod's probe could write any request, but not two.
    let lines = head.trim_end().split("\r\n").count();
    let expected = 3 + get.http_headers.len() + usize::from(!has_agent);
    if head.contains('\0') || lines > expected || head.replace("\r\n", "").contains(['\r', '\n']) {
        return Err(format!(
            "the probe of {to} has a line break in its path or headers"
        ));
    }
    Ok(head)
}

/// Asks the standard health service.
async fn grpc_health(address: IpAddr, probe: &Grpc) -> Result<(), String> {
    let to = SocketAddr::new(address, probe.port);
    let service = probe.service.clone().unwrap_or_default();
    match Box::pin(super::health::check(to, service.clone())).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{to}: the service {service:?} is not SERVING")),
        Err(error) => Err(format!("{to}: {error}")),
    }
}
