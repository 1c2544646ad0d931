//! Readiness and debug pages on port 8080.
//!
//! Everybody in the cluster reaches the port, and the pages show the objects of all namespaces: those
//! are for whoever may forward a port of this pod, which Kubernetes decides.

use std::sync::Arc;

use lateen_model::endpoint::Health;
use lateen_model::proxy::Role;
use lateen_xds::server::{ConnectionStatus, SubscriptionStatus};
use lateen_xds::version::Version;
use lateen_xds::{Kind, proto};
use serde_json::{Value, json};

use crate::Settings;
use crate::engine::State;
use crate::http::{Handler, Request, Response};

/// The pages with what they are for.
const PAGES: [(&str, &str); 8] = [
    (
        "/ready",
        "Whether proxies and the API server may be sent here.",
    ),
    (
        "/debug/syncz",
        "What every connected proxy has, lacks and refuses.",
    ),
    ("/debug/connections", "The connected proxies."),
    (
        "/debug/configz",
        "The objects of Istio's API that are known.",
    ),
    (
        "/debug/resourcesz",
        "Everything that is published, by name, with its origin.",
    ),
    ("/debug/endpointz", "The endpoints of every service."),
    ("/debug/mesh", "The settings of the mesh."),
    ("/version", "The version of this program."),
];

/// The handler of the server.
pub(crate) fn handler(state: Arc<State>, settings: Settings) -> Handler {
    Arc::new(move |request| {
        let response = page(&state, &settings, &request);
        Box::pin(async { response })
    })
}

fn page(state: &State, settings: &Settings, request: &Request) -> Response {
    if !matches!(request.method, http::Method::GET | http::Method::HEAD) {
        return Response::text(
            http::StatusCode::METHOD_NOT_ALLOWED,
            "pages are read with GET\n",
        );
    }
    match request.path.as_str() {
        "/ready" | "/healthz/ready" => ready(state),
        "/version" => Response::text(http::StatusCode::OK, env!("CARGO_PKG_VERSION")),
        "/" | "/debug" | "/debug/list" => {
            let lines = PAGES.map(|(path, what)| format!("{path:<20} {what}\n"));
            Response::text(http::StatusCode::OK, lines.concat())
        }
        path if path.starts_with("/debug/") && !request.peer.is_loopback() => {
            let namespace = &settings.namespace;
            let why = format!(
                "{path} is shown on this pod's loopback address only; run `kubectl port-forward \
                 -n {namespace} deploy/istiod 8080` and open http://localhost:8080{path}\n"
            );
            Response::text(http::StatusCode::FORBIDDEN, why)
        }
        "/debug/syncz" => Response::json(&syncz(&state.publisher.connections())),
        "/debug/connections" => Response::json(&connections(state)),
        "/debug/configz" => {
            let index = state.index();
            Response::json(&index.objects().cloned().collect::<Vec<_>>().into())
        }
        "/debug/resourcesz" => Response::json(&resources(state)),
        "/debug/endpointz" => Response::json(&endpoints(state)),
        "/debug/mesh" => Response::json(&mesh(state, settings)),
        other => {
            let why = format!("there is no page {other}; /debug lists them\n");
            Response::text(http::StatusCode::NOT_FOUND, why)
        }
    }
}

fn ready(state: &State) -> Response {
    if state.is_ready() {
        return Response::text(http::StatusCode::OK, "ready\n");
    }
    let is_synced = *state.synced().borrow();
    let why = if is_synced {
        "the webhooks have no certificate yet\n"
    } else {
        "the cluster is not known yet\n"
    };
    Response::text(http::StatusCode::SERVICE_UNAVAILABLE, why)
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Sidecar => "sidecar",
        Role::Gateway => "router",
    }
}

/// What every proxy has: one entry a connection.
pub(crate) fn syncz(connections: &[ConnectionStatus]) -> Value {
    let entries = connections.iter().map(|connection| {
        let node = &connection.node;
        let subscriptions = connection.subscriptions.iter().map(subscription);
        json!({
            "proxy": format!("{}.{}", node.id.name, node.id.namespace),
            "proxy_id": node.id.to_string(),
            "proxy_type": role(node.id.role),
            "cluster_id": node.metadata.get("CLUSTER_ID"),
            "istio_version": node.version,
            "connected_seconds": connection.since.elapsed().as_secs(),
            "subscriptions": subscriptions.collect::<Vec<_>>(),
        })
    });
    entries.collect::<Vec<_>>().into()
}

fn subscription(status: &SubscriptionStatus) -> Value {
    let errors = status.refused.iter().map(|(name, refusal)| {
        json!({
            "name": name,
            "error": refusal.error,
            "version": refusal.version.to_string(),
            "seconds": refusal.since.elapsed().as_secs(),
        })
    });
    json!({
        "type": status.kind.as_str(),
        "type_url": status.kind.type_url(),
        "state": sync_state(status),
        "resources": status.resources,
        "sent": status.sent,
        "acked": status.answered,
        "waiting_seconds": status.waiting_since.map(|since| since.elapsed().as_secs()),
        "errors": errors.collect::<Vec<_>>(),
    })
}

/// Istio's words for how a proxy stands.
pub(crate) fn sync_state(status: &SubscriptionStatus) -> &'static str {
    if status.sent.is_none() {
        "NOT SENT"
    } else if !status.refused.is_empty() {
        "ERROR"
    } else if status.waiting_since.is_some() {
        "STALE"
    } else {
        "SYNCED"
    }
}

fn connections(state: &State) -> Value {
    let connections = state.publisher.connections();
    let clients = connections.iter().map(|connection| {
        json!({
            "connectionId": format!("{}-{}", connection.node.id, connection.id),
            "address": connection.peer,
            "identity": connection.identity.as_ref().map(|identity| identity.account.to_string()),
            "connected_seconds": connection.since.elapsed().as_secs(),
        })
    });
    let clients: Vec<Value> = clients.collect();
    json!({ "totalClients": clients.len(), "clients": clients })
}

fn resources(state: &State) -> Value {
    let index = state.index();
    let entries = index.snapshot().into_iter().map(|(name, output)| {
        json!({
            "type": name.kind.as_str(),
            "name": name.name,
            "origin": index.origin(&name).map(ToString::to_string),
            "version": Version::of(&output.bytes).to_string(),
            "bytes": output.bytes.len(),
            "visible_to": visibility(&output.audience),
        })
    });
    entries.collect::<Vec<_>>().into()
}

fn visibility(audience: &lateen_xds::server::Audience) -> Value {
    json!({
        "proxy_type": audience.role.map(role),
        "pod": audience.pod.as_ref().map(|(namespace, name)| format!("{namespace}/{name}")),
        "namespaces": audience.namespaces,
        "labels": audience.labels,
    })
}

fn endpoints(state: &State) -> Value {
    let index = state.index();
    let all = index
        .snapshot()
        .into_iter()
        .filter(|(name, _)| name.kind == Kind::Endpoints);
    let entries = all.filter_map(|(name, output)| {
        let decoded = proto::decode_endpoints(&name.name, &output.bytes).ok()?;
        let endpoints = decoded.endpoints.iter().map(|endpoint| {
            json!({
                "address": endpoint.address.to_string(),
                "ports": endpoint.ports.iter().map(|(port, target)| json!({
                    "port": port, "target": target,
                })).collect::<Vec<_>>(),
                "health": match endpoint.health {
                    Health::Ready => "READY",
                    Health::Draining => "DRAINING",
                    Health::NotReady => "NOT READY",
                },
                "labels": endpoint.labels,
                "locality": endpoint.locality,
                "service_account": endpoint.service_account,
                "is_meshed": endpoint.is_meshed,
            })
        });
        Some(json!({
            "service": name.name,
            "endpoints": endpoints.collect::<Vec<_>>(),
        }))
    });
    entries.collect::<Vec<_>>().into()
}

fn mesh(state: &State, settings: &Settings) -> Value {
    let index = state.index();
    let config = index.mesh();
    json!({
        "clusterDomain": config.mesh.cluster_domain,
        "rootNamespace": config.mesh.root_namespace,
        "trustDomain": config.mesh.trust_domain,
        "outboundTrafficPolicy": { "mode": match config.mesh.outbound_policy {
            lateen_model::mesh::OutboundPolicy::AllowAny => "ALLOW_ANY",
            lateen_model::mesh::OutboundPolicy::RegistryOnly => "REGISTRY_ONLY",
        } },
        "accessLogFile": config.mesh.access_log_file,
        "defaultConfig": config.default_config.settings,
        "enablePrometheusMerge": config.is_prometheus_merged,
        "notInEffect": config.warnings.iter().map(|problem| &problem.path).collect::<Vec<_>>(),
        "revision": settings.revision,
        "proxyImage": settings.proxy_image,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn objects_of_all_namespaces_are_shown_to_no_other_pod() {
        let settings = Settings::default();
        let state = State::new(&settings);
        let ask = |peer: &str, path: &str| {
            let request = Request {
                peer: peer.parse::<IpAddr>().unwrap(),
                method: http::Method::GET,
                path: path.to_owned(),
                body: bytes::Bytes::new(),
            };
            page(&state, &settings, &request)
        };
        let debug = PAGES.iter().filter(|(path, _)| path.starts_with("/debug/"));
        for (path, _) in debug {
            let refused = ask("10.244.0.9", path);
            assert_eq!(refused.status, http::StatusCode::FORBIDDEN, "{path}");
            let why = String::from_utf8(refused.body.to_vec()).unwrap();
            assert!(why.contains("port-forward -n istio-system"), "{why}");
            assert_eq!(ask("127.0.0.1", path).status, http::StatusCode::OK);
            assert_eq!(ask("::1", path).status, http::StatusCode::OK);
        }
        assert_eq!(ask("10.244.0.9", "/version").status, http::StatusCode::OK);
        assert_eq!(ask("10.244.0.9", "/debug").status, http::StatusCode::OK);
    }
}
