//! In which form the client wants the answer.

use http::{HeaderMap, header};

use super::Query;
use crate::apiserver::status::Failure;

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The objects themselves.
    Objects,
    /// Rows for people, in this version of `meta.k8s.io`.
    Table(&'static str),
    /// Only the metadata.
    Metadata,
}

/// Chooses the form of the answer that the client prefers among those there are.
pub(super) fn choose(
    headers: &HeaderMap,
    query: &Query,
    subresource: &str,
) -> Result<Form, Failure> {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .collect();
    if accepted.is_empty() || matches!(subresource, "log" | "proxy") {
        return Ok(Form::Objects);
    }
    for media in &accepted {
        let mut parts = media.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("");
        let parameters: Vec<&str> = parts.collect();
        let parameter = |name: &str| {
            parameters
                .iter()
                .find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or("")
        };
        match (kind, parameter("as")) {
            ("application/json", "Table") => match parameter("v") {
                "v1" => return Ok(Form::Table("v1")),
                "v1beta1" => return Ok(Form::Table("v1beta1")),
                _ => {}
            },
            ("application/json", "PartialObjectMetadata" | "PartialObjectMetadataList") => {
                return Ok(Form::Metadata);
            }
            ("application/json" | "application/*" | "*/*", "") => return Ok(Form::Objects),
            _ => {}
        }
    }
    // Watches of old clients ask for a stream type that is the same JSON.
    let is_stream = accepted
        .iter()
        .any(|media| media.starts_with("application/json;stream"));
    if is_stream && query.flag("watch") {
        return Ok(Form::Objects);
    }
    Err(Failure::not_acceptable(
        "only the following media types are accepted: application/json",
    ))
}
