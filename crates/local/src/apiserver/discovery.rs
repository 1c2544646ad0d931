//! Discovery: which types there are, in the old form (a document per group and version) and in the
//! aggregated one (one document for all).

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::body::{self, Body};
use super::call::api_version;
use super::registry::{CREATE_ONLY, Resource, Types, Version};
use super::status::Failure;

/// The forms of the aggregated document, the preferred one first.
const AGGREGATED: [(&str, &str); 2] = [
    (
        "v2",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    ),
    (
        "v2beta1",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    ),
];

/// What a subresource's body is, and what can be done with it.
struct Subresource {
    group: String,
    version: String,
    kind: String,
    verbs: &'static [&'static str],
}

pub(crate) fn answer(
    types: &Types,
    segments: &[&str],
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    if let (["api" | "apis"], Some((version, media))) = (segments, aggregated_version(headers)) {
        return Ok(aggregated(types, version, media, segments == ["api"]));
    }
    let value = match segments {
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let groups = types.groups();
            let groups = groups.iter().filter(|(name, _)| !name.is_empty());
            let groups: Vec<Value> = groups
                .map(|(name, versions)| group(name, versions))
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", version] => resources(types, "", version)?,
        ["apis", name] => {
            let groups = types.groups();
            let found = groups
                .iter()
                .find(|(group, _)| group == name && !group.is_empty());
            let (name, versions) = found.ok_or_else(Failure::no_such_resource)?;
            let mut value = group(name, versions);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        ["apis", group, version] => resources(types, group, version)?,
        _ => return Err(Failure::no_such_resource()),
    };
    Ok(body::json(StatusCode::OK, &value))
}

/// The aggregated form that the client accepts, if it does.
fn aggregated_version(headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> = accepted.flat_map(|value| value.split(',')).collect();
    AGGREGATED.into_iter().find(|(version, _)| {
        accepted.iter().any(|media| {
            let has = |part: &str| media.split(';').any(|one| one.trim() == part);
            has("g=apidiscovery.k8s.io")
                && has("as=APIGroupDiscoveryList")
                && has(&format!("v={version}"))
        })
    })
}

fn group(name: &str, versions: &[String]) -> Value {
    let version =
        |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({
        "name": name,
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

/// The types of a group in one version.
fn of_version<'a>(
    types: &'a Types,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = (&'a Resource, &'a Version)> {
    types
        .iter()
        .filter(move |resource| resource.group == group)
        .filter_map(move |resource| Some((resource.as_ref(), resource.version(version)?)))
}

fn resources(types: &Types, group: &str, version: &str) -> Result<Value, Failure> {
    let mut list = Vec::new();
    for (resource, own) in of_version(types, group, version) {
        let mut value = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs,
        });
        if !resource.short_names.is_empty() {
            value["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            value["categories"] = json!(resource.categories);
        }
        list.push(value);
        for name in &own.subresources {
            let sub = subresource(resource, version, name);
            let mut value = json!({
                "name": format!("{}/{name}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": sub.kind,
                "verbs": sub.verbs,
            });
            if (sub.group.as_str(), sub.version.as_str()) != (group, version) {
                value["group"] = sub.group.into();
                value["version"] = sub.version.into();
            }
            list.push(value);
        }
    }
    if list.is_empty() {
        return Err(Failure::no_such_resource());
    }
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version(group, version),
        "resources": list,
    }))
}

fn subresource(resource: &Resource, version: &str, name: &str) -> Subresource {
    let own = resource.kind.as_str();
    let (group, version, kind, verbs): (_, _, _, &'static [&'static str]) = match name {
        "scale" => ("autoscaling", "v1", "Scale", &["get", "patch", "update"]),
        "eviction" => ("policy", "v1", "Eviction", CREATE_ONLY),
        "token" => ("authentication.k8s.io", "v1", "TokenRequest", CREATE_ONLY),
        "binding" => ("", "v1", "Binding", CREATE_ONLY),
        "log" => ("", "v1", "Pod", &["get"]),
        "exec" => ("", "v1", "PodExecOptions", &["create", "get"]),
        "attach" => ("", "v1", "PodAttachOptions", &["create", "get"]),
        "portforward" => ("", "v1", "PodPortForwardOptions", &["create", "get"]),
        "proxy" => {
            let kind = match own {
                "Pod" => "PodProxyOptions",
                "Node" => "NodeProxyOptions",
                _ => "ServiceProxyOptions",
            };
            (
                "",
                "v1",
                kind,
                &["create", "delete", "get", "patch", "update"],
            )
        }
        "finalize" => (resource.group.as_str(), version, own, &["update"]),
        _ => (
            resource.group.as_str(),
            version,
            own,
            &["get", "patch", "update"],
        ),
    };
    Subresource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs,
    }
}

fn aggregated(types: &Types, form: &str, media: &'static str, is_core: bool) -> Response<Body> {
    let groups = types.groups();
    let items: Vec<Value> = groups
        .iter()
        .filter(|(name, _)| name.is_empty() == is_core)
        .map(|(name, versions)| {
            let versions = versions.iter().map(|version| {
                let resources = of_version(types, name, version);
                json!({
                    "version": version,
                    "resources": resources.map(|(resource, version)| aggregated_resource(resource, version)).collect::<Vec<_>>(),
                    "freshness": "Current",
                })
            });
            let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
            json!({"metadata": metadata, "versions": versions.collect::<Vec<_>>()})
        })
        .collect();
    let value = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {},
        "items": items,
    });
    let mut response = body::json(StatusCode::OK, &value);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn aggregated_resource(resource: &Resource, version: &Version) -> Value {
    let subresources: Vec<Value> = version
        .subresources
        .iter()
        .map(|name| {
            let sub = subresource(resource, &version.name, name);
            json!({
                "subresource": name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sub.verbs,
            })
        })
        .collect();
    let mut value = json!({
        "resource": resource.plural,
        "responseKind":
            {"group": resource.group, "version": version.name, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    for (key, list) in [
        ("shortNames", json!(resource.short_names)),
        ("categories", json!(resource.categories)),
        ("subresources", Value::Array(subresources)),
    ] {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            value[key] = list;
        }
    }
    value
}
