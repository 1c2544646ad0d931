//! Documents about the server itself: version, health, keys, and the way to discovery.

use http::{HeaderMap, Response, StatusCode};
use serde_json::json;

use super::body::{self, Body};
use super::registry::Types;
use super::server::Core;
use super::status::Failure;
use super::{discovery, openapi};

/// The version of Kubernetes whose API this is.
const MINOR: &str = "33";

/// Answers a request for a document.
pub(crate) fn answer(
    core: &Core,
    types: &std::sync::Arc<Types>,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match segments.as_slice() {
        [] => Ok(body::json(
            StatusCode::OK,
            &json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez",
                "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"]}),
        )),
        ["healthz" | "livez" | "readyz", ..] => Ok(body::text(StatusCode::OK, "ok")),
        ["version"] => Ok(body::json(StatusCode::OK, &version())),
        ["api" | "apis", ..] => discovery::answer(types, &segments, headers),
        ["openapi", "v2"] => Ok(openapi::v2(core, types, headers)),
        ["openapi", "v3"] => Ok(openapi::index(types)),
        ["openapi", "v3", group @ ..] => openapi::v3(core, types, &group.join("/"), headers),
        [".well-known", "openid-configuration"] => {
            let issuer = core.signer.issuer();
            Ok(body::json(
                StatusCode::OK,
                &json!({
                    "issuer": issuer,
                    "jwks_uri": format!("{issuer}/openid/v1/jwks"),
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                }),
            ))
        }
        ["openid", "v1", "jwks"] => Ok(body::json(StatusCode::OK, &core.signer.key_set())),
        _ => Err(Failure::no_such_resource()),
    }
}

fn version() -> serde_json::Value {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        _ => "linux",
    };
    json!({
        "major": "1",
        "minor": MINOR,
        "gitVersion": format!("v1.{MINOR}.0+lateen"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": platform,
    })
}
