//! OpenAPI documents: what clients validate, explain and merge by.
//!
//! Version 2 is one document for everything, in JSON or in the protobuf that kubectl 1.20 insists
//! on; version 3 is one per group and version. Both are made from the registry and kept until it
//! changes.

mod gnostic;
mod paths;
mod shapes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::body::{self, Body};
use super::call::api_version;
use super::registry::Types;
use super::server::Core;
use super::status::Failure;

/// Clients ask for it with an `@` in the name, which is no valid media type.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Documents that were made, for the types that they are of.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Option<Made>>);

/// The types, and their documents by name.
type Made = (Arc<Types>, HashMap<String, Document>);

#[derive(Clone)]
struct Document {
    bytes: Bytes,
    etag: String,
}

// === impl Cache ===

impl Cache {
    fn get(&self, types: &Arc<Types>, name: &str, make: impl FnOnce() -> Vec<u8>) -> Document {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, documents)) = lock().as_ref()
            && Arc::ptr_eq(known, types)
            && let Some(document) = documents.get(name)
        {
            return document.clone();
        }
        let bytes = make();
        let etag = URL_SAFE_NO_PAD.encode(digest(&SHA256, &bytes));
        let document = Document {
            bytes: bytes.into(),
            etag: format!("\"{etag}\""),
        };
        let mut cache = lock();
        let entry = match cache.take() {
            Some((known, documents)) if Arc::ptr_eq(&known, types) => (known, documents),
            _ => (types.clone(), HashMap::new()),
        };
        cache
            .insert(entry)
            .1
            .insert(name.to_owned(), document.clone());
        document
    }
}

// === impl Document ===

impl Document {
    /// The document, unless the client has it already.
    fn respond(self, headers: &HeaderMap, media: &'static str) -> Response<Body> {
        let is_known = headers
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| known.as_bytes() == self.etag.as_bytes());
        let mut response = if is_known {
            body::typed(StatusCode::NOT_MODIFIED, media, body::full(Bytes::new()))
        } else {
            body::typed(StatusCode::OK, media, body::full(self.bytes))
        };
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        let cache = HeaderValue::from_static("no-cache, private");
        response.headers_mut().insert(header::CACHE_CONTROL, cache);
        response
    }
}

/// The document of version 2.
pub(crate) fn v2(core: &Core, types: &Arc<Types>, headers: &HeaderMap) -> Response<Body> {
    let wants_protobuf = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("proto-openapi.spec.v2"));
    if wants_protobuf {
        let make = || gnostic::encode(&v2_value(types));
        return core
            .documents
            .get(types, "v2.pb", make)
            .respond(headers, PROTOBUF);
    }
    let make = || v2_value(types).to_string().into_bytes();
    core.documents
        .get(types, "v2.json", make)
        .respond(headers, "application/json")
}

fn v2_value(types: &Types) -> Value {
    let mut definitions = shapes::built_in_v2();
    let mut paths = Map::new();
    for resource in types.iter() {
        for version in &resource.versions {
            shapes::add_custom(&mut definitions, resource, version, &shapes::V2);
            paths::add(&mut paths, resource, version, paths::Form::V2);
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": paths,
        "definitions": definitions,
    })
}

/// The list of the documents of version 3.
pub(crate) fn index(types: &Arc<Types>) -> Response<Body> {
    let mut paths = Map::new();
    for (group, versions) in types.groups() {
        for version in versions {
            let name = document_name(&group, &version);
            let url = json!({"serverRelativeURL": format!("/openapi/v3/{name}")});
            paths.insert(name, url);
        }
    }
    body::json(StatusCode::OK, &json!({"paths": paths}))
}

fn document_name(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", api_version(group, version))
}

/// The document of version 3 of a group in one version, by its name in the list.
pub(crate) fn v3(
    core: &Core,
    types: &Arc<Types>,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    let groups = types.groups();
    let (group, version) = groups
        .iter()
        .flat_map(|(group, versions)| versions.iter().map(move |version| (group, version)))
        .find(|(group, version)| document_name(group, version) == name)
        .ok_or_else(Failure::no_such_resource)?;
    let make = || v3_value(types, group, version).to_string().into_bytes();
    let document = core.documents.get(types, name, make);
    Ok(document.respond(headers, "application/json"))
}

fn v3_value(types: &Types, group: &str, version: &str) -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for resource in types.iter().filter(|resource| resource.group == group) {
        if let Some(own) = resource.version(version) {
            shapes::add_built_in_v3(&mut schemas, own);
            shapes::add_custom(&mut schemas, resource, own, &shapes::V3);
            paths::add(&mut paths, resource, own, paths::Form::V3);
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}
