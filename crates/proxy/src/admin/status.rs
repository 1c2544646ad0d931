//! The pages of the status, health and metrics ports, which others in the cluster can reach.

use std::rc::Rc;

use lateen_wire::h1::request::Method;

use super::pages::metrics;
use super::probe;
use super::scrape;
use super::server::{Request, Response};
use super::{Context, Readiness};

/// What the status port has.
const PAGES: &str = "\
GET  /healthz/ready      whether the proxy serves
GET  /stats/prometheus   metrics, with the application's
GET  /app-health/…       the application's probes
POST /quitquitquit       ends the proxy, from the pod itself only";

/// A page of the status port.
pub async fn page(context: Rc<Context>, request: Request) -> Response {
    let path = request.path.as_str();
    match path {
        "/healthz/ready" => ready(&context),
        "/stats/prometheus" | "/metrics" => scrape::merged(&context).await,
        "/quitquitquit" => quit(&context, &request),
        _ if path.starts_with("/app-health/") => match context.settings.probers.get(path) {
            Some(prober) => probe::run(&context.settings.addresses, prober).await,
            None => Response::text(404, format!("no probe was rewritten to {path}\n")),
        },
        _ => Response::not_found(PAGES),
    }
}

/// A page of the health port.
pub fn health_page(context: &Context, request: &Request) -> Response {
    match request.path.as_str() {
        "/healthz/ready" => ready(context),
        _ => Response::not_found("GET /healthz/ready"),
    }
}

/// A page of the metrics port.
pub fn metrics_page(context: &Context, request: &Request) -> Response {
    match request.path.as_str() {
        "/stats/prometheus" => metrics(context),
        _ => Response::not_found("GET /stats/prometheus"),
    }
}

fn ready(context: &Context) -> Response {
    match context.readiness() {
        Readiness::Ready => Response::text(200, ""),
        Readiness::NotReady(why) => Response::text(503, format!("{why}\n")),
    }
}

/// Jobs end their proxy so. Anybody else's request is refused.
fn quit(context: &Context, request: &Request) -> Response {
    let is_local = request.peer.ip().is_loopback();
    match (is_local, request.method) {
        (false, _) => Response::text(403, "only from the pod itself\n"),
        (true, Method::Post) => {
            context.lifecycle.ask_to_end();
            Response::text(200, "OK\n")
        }
        (true, _) => Response::needs_post(),
    }
}
