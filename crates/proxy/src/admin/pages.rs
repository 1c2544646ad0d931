//! The pages of the admin port.

use std::fmt::Write;
use std::rc::Rc;

use lateen_decide::{Upstream, describe};
use lateen_model::proxy::Role;
use lateen_wire::h1::request::Method;
use serde_json::json;

use super::server::{Request, Response};
use super::{Context, Readiness};
use crate::clock;

/// What there is.
const PAGES: &str = "\
GET  /config_dump       the plan in use, and everything that the control plane has sent
GET  /config_dump?resource=plan   the plan alone: listeners, routes, clusters, endpoints
GET  /clusters          destinations and their endpoints
GET  /listeners         what the plan listens to
GET  /ready             whether the proxy serves
GET  /server_info       version, state, node
GET  /stats             gauges
GET  /stats/prometheus  metrics
GET  /memory            memory of the process
POST /logging?level=L   what is logged, such as info or warn,lateen_proxy=debug
POST /drain             begins to drain and answers when the drain is over
POST /drain_listeners   begins to drain
POST /quitquitquit      ends the process as SIGTERM does";

/// Makes a page.
pub async fn page(context: Rc<Context>, request: Request) -> Response {
    let is_post = request.method == Method::Post;
    match request.path.as_str() {
        "/" | "/help" => Response::text(200, format!("{PAGES}\n")),
        "/config_dump" => config_dump(&context, &request),
        "/clusters" => clusters(&context),
        "/listeners" => listeners(&context),
        "/ready" => ready(&context),
        "/server_info" => server_info(&context),
        "/stats" => stats(&context),
        "/stats/prometheus" => metrics(&context),
        "/memory" => memory(),
        "/logging" | "/drain" | "/drain_listeners" | "/quitquitquit" if !is_post => {
            Response::needs_post()
        }
        "/logging" => logging(&context, &request),
        "/drain" => {
            context.lifecycle.drain().await;
            Response::text(200, "drained\n")
        }
        "/drain_listeners" => {
            context.lifecycle.begin_drain();
            Response::text(200, "OK\n")
        }
        "/quitquitquit" => {
            context.lifecycle.ask_to_end();
            Response::text(200, "OK\n")
        }
        _ => Response::not_found(PAGES),
    }
}

/// The metrics in Prometheus' format.
pub fn metrics(context: &Context) -> Response {
    let mut text = context.shown.borrow().registry.render();
    if let Some(dns) = &context.dns {
        text.push_str(&dns.metrics());
    }
    let mut response = Response::text(200, text);
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response
}

fn ready(context: &Context) -> Response {
    match context.readiness() {
        Readiness::Ready => Response::text(200, "LIVE\n"),
        Readiness::NotReady(why) => Response::text(503, format!("{why}\n")),
    }
}

/// What the proxy is and has. `plan` is what its data path does, in the form that
/// [`lateen_decide::describe`] documents; `resources` and `endpoints` are what it was made from.
fn config_dump(context: &Context, request: &Request) -> Response {
    let shown = context.shown.borrow();
    let published = shown.published.as_ref();
    let node = &context.settings.node.id;
    let ports = &context.settings.ports;
    let sockets = match context.settings.role {
        Role::Gateway => None,
        Role::Sidecar => Some(describe::Sockets {
            bind: context.settings.bind,
            outbound: ports.outbound_port,
            inbound: ports.inbound_port,
        }),
    };
    let now = clock::millis(clock::now());
    let mut dump = json!({
        "proxy": node.to_string(),
        "proxyVersion": env!("CARGO_PKG_VERSION"),
        "version": shown.link.system_version,
        "planVersion": published.map(|published| published.version),
        "isFromSnapshot": shown.link.is_from_snapshot,
        "plan": published.map(|published| describe::plan(&published.plan, sockets, now)),
        "credentials": shown.credentials,
        "listenerErrors": shown.listener_errors,
    });
    if request.parameter("resource") == Some("plan") {
        return Response::json(&dump);
    }
    let notices = published.map_or(&[][..], |published| published.plan.notices());
    let notices = notices
        .iter()
        .map(|(object, notice)| json!({ "object": object.to_string(), "notice": notice }));
    dump["notices"] = notices.collect();
    dump["resources"] = json!(shown.inventory.resources().collect::<Vec<_>>());
    dump["endpoints"] = json!(shown.inventory.endpoints().collect::<Vec<_>>());
    Response::json(&dump)
}

fn clusters(context: &Context) -> Response {
    let shown = context.shown.borrow();
    let mut text = String::new();
    for cluster in shown.published.iter().flat_map(|it| it.plan.clusters()) {
        let name = &cluster.name;
        match &cluster.upstream {
            Upstream::Endpoints(set) => {
                if set.all().is_empty() {
                    let _ = writeln!(text, "{name}::no endpoints");
                }
                for endpoint in set.all() {
                    let _ = writeln!(
                        text,
                        "{name}::{}::health={:?} active={} weight={}",
                        endpoint.address,
                        endpoint.health,
                        endpoint.load.active(),
                        endpoint.weight,
                    );
                }
            }
            Upstream::OriginalDst => {
                let _ = writeln!(text, "{name}::original destination");
            }
            Upstream::Dynamic(port) => {
                let _ = writeln!(text, "{name}::the name that is asked for, port {port}");
            }
            Upstream::BlackHole => {
                let _ = writeln!(text, "{name}::black hole");
            }
        }
    }
    Response::text(200, text)
}

fn listeners(context: &Context) -> Response {
    let shown = context.shown.borrow();
    let mut text = String::new();
    for listener in shown.published.iter().flat_map(|it| it.plan.listeners()) {
        let bind = listener.bind.unwrap_or(context.settings.bind);
        let origins: Vec<_> = listener.origins.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "{bind}:{}::{}", listener.port, origins.join(","));
    }
    if context.settings.role == Role::Sidecar {
        let ports = &context.settings.ports;
        let _ = writeln!(text, "virtualOutbound::{}", ports.outbound_port);
        let _ = writeln!(text, "virtualInbound::{}", ports.inbound_port);
    }
    Response::text(200, text)
}

fn server_info(context: &Context) -> Response {
    let state = match context.readiness() {
        Readiness::Ready => "LIVE",
        Readiness::NotReady(_) if context.lifecycle.is_draining() => "DRAINING",
        Readiness::NotReady(_) => "INITIALIZING",
    };
    let shown = context.shown.borrow();
    Response::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": state,
        "uptimeSeconds": context.started.elapsed().as_secs(),
        "node": { "id": context.settings.node.id.to_string(), "cluster": context.settings.node.cluster },
        "concurrency": context.crew.len(),
        "controlPlane": {
            "address": context.settings.discovery_address,
            "isConnected": shown.link.is_connected,
            "secondsInThisState": shown.link.since.map(|since| since.elapsed().as_secs()),
            "lastError": shown.link.last_error,
            "version": shown.link.system_version,
        },
    }))
}

fn stats(context: &Context) -> Response {
    let crew = &context.crew;
    let mut text = String::new();
    for (name, value) in [
        ("downstream_cx_total", crew.sum(|it| &it.accepted)),
        ("downstream_cx_active", crew.sum(|it| &it.connections)),
        ("downstream_rq_active", crew.sum(|it| &it.exchanges)),
        ("downstream_tunnels_active", crew.sum(|it| &it.tunnels)),
        ("mirror_active", crew.sum(|it| &it.mirrors)),
        ("mirror_total", crew.sum(|it| &it.mirrored)),
        ("mirror_dropped", crew.sum(|it| &it.unmirrored)),
        ("access_log.dropped", context.sink.dropped()),
    ] {
        let _ = writeln!(text, "{name}: {value}");
    }
    for (index, shared) in crew.shared().enumerate() {
        let version = shared.activity.plan_version.get();
        let _ = writeln!(text, "worker.{index}.plan_version: {version}");
    }
    Response::text(200, text)
}

fn memory() -> Response {
    let status = match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => status,
        Err(error) => return Response::text(500, format!("/proc/self/status: {error}\n")),
    };
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Response::json(&json!({
        "residentBytes": kib("VmRSS:").map(|kib| kib * 1024),
        "peakResidentBytes": kib("VmHWM:").map(|kib| kib * 1024),
        "virtualBytes": kib("VmSize:").map(|kib| kib * 1024),
    }))
}

fn logging(context: &Context, request: &Request) -> Response {
    let Some(level) = request.parameter("level") else {
        return Response::text(400, "say what: /logging?level=debug\n");
    };
    // Commas and equals signs of a filter come percent-encoded from careful clients.
    let level = level.replace("%2C", ",").replace("%3D", "=");
    match (context.set_level)(&level) {
        Ok(()) => Response::text(200, format!("logging {level}\n")),
        Err(error) => Response::text(400, format!("{level:?}: {error}\n")),
    }
}
