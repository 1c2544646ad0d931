//! A request, understood: which type, which object, which verb, and how the answer should look.

mod form;
mod query;

pub(crate) use form::Form;
pub(crate) use query::Query;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::auth::User;
use super::protobuf;
use super::registry::{Resource, Types, Version};
use super::status::Failure;

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

/// A request about objects.
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) types: Arc<Types>,
    pub(crate) resource: Arc<Resource>,
    /// The index of the version in the resource.
    version: usize,
    /// Empty for all namespaces and for types of the cluster.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
    /// What follows the subresource in the path; only `proxy` has a use for it.
    pub(crate) tail: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) user: User,
    pub(crate) form: Form,
    /// What the user is told beside the answer.
    pub(crate) warnings: Vec<String>,
    /// The connection under the request, if the client wants to use it otherwise.
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// What a path means.
pub(crate) enum Target {
    /// A document about the server, such as `/version`.
    Document(Box<http::request::Parts>),
    /// Objects.
    Objects(Box<Call>),
}

// === impl Call ===

impl Call {
    pub(crate) fn version(&self) -> &Version {
        // The index comes from a search in the same list.
        &self.resource.versions[self.version]
    }

    /// `apps/v1`, as objects of the requested version write it.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.resource.group, &self.version().name)
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.query.all("dryRun").any(|value| value == "All")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        decode_body(&self.headers, &self.body)
    }

    /// Replaces the call's target by another object and verb, for operations made of others.
    pub(crate) fn again(&self, verb: Verb, namespace: &str, name: &str) -> Self {
        Self {
            verb,
            types: self.types.clone(),
            resource: self.resource.clone(),
            version: self.version,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            tail: String::new(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            user: self.user.clone(),
            form: self.form,
            warnings: Vec::new(),
            upgrade: None,
        }
    }
}

/// `group/version`, or `version` alone for the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The content type without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .unwrap_or_default()
}

/// Reads a body by its content type.
pub(crate) fn decode_body(headers: &HeaderMap, body: &[u8]) -> Result<Value, Failure> {
    match media_type(headers).as_str() {
        "" | "application/json" | "text/plain" => parse_json(body),
        protobuf::MEDIA_TYPE => protobuf::decode(body).map_err(|error| {
            Failure::bad_request(format!("the body of the request is not valid: {error}"))
        }),
        media => Err(Failure::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/vnd.kubernetes.protobuf; got {media}"
        ))),
    }
}

pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::bad_request(format!(
            "the body of the request is not valid JSON: {error}"
        ))
    })
}

/// Understands a request.
pub(crate) fn target(
    types: Arc<Types>,
    request: Request<Bytes>,
    user: User,
) -> Result<Target, Failure> {
    let (mut head, body) = request.into_parts();
    let path = decode_path(head.uri.path())?;
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(Target::Document(Box::new(head))),
    };
    // `/namespaces/x/status` is a subresource of the namespace, `/namespaces/x/pods` is not.
    let (namespace, rest) = match rest {
        ["namespaces", namespace, tail @ ..]
            if !(tail.is_empty() || group.is_empty() && is_of_namespace(tail)) =>
        {
            (*namespace, tail)
        }
        rest => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource, ..] => (*plural, *name, *subresource),
        [] => return Err(Failure::no_such_resource()),
    };
    let resource = types
        .get(group, plural)
        .filter(|resource| resource.namespaced || namespace.is_empty())
        .cloned()
        .ok_or_else(Failure::no_such_resource)?;
    let index = resource
        .versions
        .iter()
        .position(|one| one.name == version && (subresource.is_empty() || one.has(subresource)))
        .ok_or_else(Failure::no_such_resource)?;
    let query = Query::parse(head.uri.query().unwrap_or(""));
    let verb = verb(&head.method, name, &query)?;
    Ok(Target::Objects(Box::new(Call {
        verb,
        form: form::choose(&head.headers, &query, subresource)?,
        types,
        resource,
        version: index,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        tail: tail(head.uri.path(), rest.len()),
        query,
        headers: head.headers,
        body,
        user,
        warnings: Vec::new(),
        upgrade: head.extensions.remove(),
    })))
}

/// The part of a path behind the subresource, as the client wrote it. `parts` counts the segments
/// from the resource's on: what follows the first three of them is wanted.
fn tail(path: &str, parts: usize) -> String {
    let wanted = parts.saturating_sub(3);
    let is_slashed = wanted > 0 && path.ends_with('/');
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let mut tail = segments[segments.len() - wanted..].join("/");
    if is_slashed {
        tail.push('/');
    }
    tail
}

fn is_of_namespace(tail: &[&str]) -> bool {
    matches!(tail, ["status" | "finalize"])
}

fn verb(method: &Method, name: &str, query: &Query) -> Result<Verb, Failure> {
    let is_collection = name.is_empty();
    Ok(match *method {
        Method::GET | Method::HEAD if query.flag("watch") => Verb::Watch,
        Method::GET | Method::HEAD if is_collection => Verb::List,
        Method::GET | Method::HEAD => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT if !is_collection => Verb::Update,
        Method::PATCH if !is_collection => Verb::Patch,
        Method::DELETE if is_collection => Verb::DeleteCollection,
        Method::DELETE => Verb::Delete,
        _ => {
            return Err(Failure::method_not_allowed(
                "the server does not allow this method on the requested resource",
            ));
        }
    })
}

/// Splits a path into segments and undoes their percent encoding.
fn decode_path(path: &str) -> Result<Vec<String>, Failure> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            percent_decode(segment)
                .ok_or_else(|| Failure::bad_request(format!("the path {path:?} is malformed")))
        })
        .collect()
}

fn percent_decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::registry::Registry;
    use super::*;

    fn call(method: &str, uri: &str) -> Result<Call, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Bytes::new())
            .unwrap();
        match target(Registry::new().types(), request, User::admin())? {
            Target::Objects(call) => Ok(*call),
            Target::Document(_) => panic!("{uri} was taken for a document"),
        }
    }

    #[test]
    fn paths_name_types_objects_and_subresources() {
        let call = call("GET", "/api/v1/namespaces/default/pods/a/log?follow=true").unwrap();
        assert_eq!((call.verb, call.resource.kind.as_str()), (Verb::Get, "Pod"));
        assert_eq!(
            (
                call.namespace.as_str(),
                call.name.as_str(),
                call.subresource.as_str()
            ),
            ("default", "a", "log")
        );
    }

    #[test]
    fn a_path_behind_the_proxy_is_the_pods() {
        let base = "/api/v1/namespaces/default/pods/a:80/proxy";
        for (uri, tail) in [
            ("", ""),
            ("/", ""),
            ("/x/y%2Fz?q=1", "x/y%2Fz"),
            ("/x/", "x/"),
        ] {
            let call = call("GET", &format!("{base}{uri}")).unwrap();
            assert_eq!(
                (call.name.as_str(), call.tail.as_str()),
                ("a:80", tail),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_namespace_is_an_object_and_a_place() {
        for (uri, kind, verb) in [
            ("/api/v1/namespaces", "Namespace", Verb::List),
            ("/api/v1/namespaces/default", "Namespace", Verb::Get),
            ("/api/v1/namespaces/default/status", "Namespace", Verb::Get),
            ("/api/v1/namespaces/default/pods", "Pod", Verb::List),
            (
                "/apis/apps/v1/deployments?watch=1",
                "Deployment",
                Verb::Watch,
            ),
        ] {
            let call = call("GET", uri).unwrap();
            assert_eq!(
                (call.resource.kind.as_str(), call.verb),
                (kind, verb),
                "{uri}"
            );
        }
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
        for uri in [
            "/api/v1/foos",
            "/apis/apps/v2/deployments",
            "/api/v1/pods/a/foo",
        ] {
            assert!(
                call("GET", uri).is_err_and(|failure| failure.is_not_found()),
                "{uri}"
            );
        }
    }
}
