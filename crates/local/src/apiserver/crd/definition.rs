//! From a definition to the type that it defines.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::apiserver::object::{at, is_terminating, items, name, text};
use crate::apiserver::registry::{
    ALL_VERBS, Column, Resource, ScalePaths, Types, Version, version_priority,
};
use crate::apiserver::schema::Schema;

/// The verbs of a type whose definition is going.
const NO_CREATE: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The type that a definition defines.
pub(super) fn resource(definition: &Value) -> Resource {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let mut versions: Vec<Version> = items(spec, &["versions"])
        .iter()
        .filter(|one| one["served"] == true)
        .map(|one| version(spec, one))
        .collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version_priority(&version.name)));
    let storage = items(spec, &["versions"])
        .iter()
        .find(|version| version["storage"] == true);
    let mut selectable: Vec<String> = items(spec, &["versions"])
        .iter()
        .flat_map(|version| items(version, &["selectableFields"]))
        .map(|field| {
            text(field, &["jsonPath"])
                .trim_start_matches('.')
                .to_owned()
        })
        .collect();
    selectable.sort();
    selectable.dedup();
    Resource {
        group: text(spec, &["group"]).to_owned(),
        kind: text(names, &["kind"]).to_owned(),
        list_kind: text(names, &["listKind"]).to_owned(),
        plural: text(names, &["plural"]).to_owned(),
        singular: text(names, &["singular"]).to_owned(),
        short_names: texts(names, "shortNames"),
        categories: texts(names, "categories"),
        namespaced: text(spec, &["scope"]) == "Namespaced",
        versions,
        storage_version: storage
            .map_or("", |version| text(version, &["name"]))
            .to_owned(),
        table: name(definition).to_owned(),
        has_generation: true,
        verbs: if is_terminating(definition) {
            NO_CREATE
        } else {
            ALL_VERBS
        },
        is_custom: true,
        selectable,
    }
}

fn version(spec: &Value, value: &Value) -> Version {
    let schema = at(value, &["schema", "openAPIV3Schema"]).cloned();
    let mut subresources = Vec::new();
    if at(value, &["subresources", "status"]).is_some() {
        subresources.push("status".to_owned());
    }
    let scale = at(value, &["subresources", "scale"]).map(scale_paths);
    if scale.is_some() {
        subresources.push("scale".to_owned());
    }
    let version_name = text(value, &["name"]);
    let warning = (value["deprecated"] == true).then(|| {
        let own = text(value, &["deprecationWarning"]);
        if own.is_empty() {
            let (group, kind) = (text(spec, &["group"]), text(spec, &["names", "kind"]));
            format!("{group}/{version_name} {kind} is deprecated")
        } else {
            own.to_owned()
        }
    });
    Version {
        name: version_name.to_owned(),
        // A definition without a schema keeps everything.
        schema: Schema::Structural(Arc::new(schema.unwrap_or_else(
            || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        ))),
        subresources,
        scale,
        columns: items(value, &["additionalPrinterColumns"])
            .iter()
            .map(column)
            .collect(),
        warning,
    }
}

fn column(value: &Value) -> Column {
    Column {
        name: text(value, &["name"]).to_owned(),
        kind: text(value, &["type"]).to_owned(),
        format: text(value, &["format"]).to_owned(),
        description: text(value, &["description"]).to_owned(),
        priority: value["priority"].as_i64().unwrap_or(0),
        path: text(value, &["jsonPath"]).to_owned(),
    }
}

fn scale_paths(value: &Value) -> ScalePaths {
    let path = |key: &str| -> Vec<String> {
        text(value, &[key])
            .split('.')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let selector = path("labelSelectorPath");
    ScalePaths {
        spec: path("specReplicasPath"),
        status: path("statusReplicasPath"),
        // Without one there is no selector; an empty path would be the object itself.
        selector: Some(if selector.is_empty() {
            vec!["-".to_owned()]
        } else {
            selector
        }),
    }
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let list = items(value, &[key]).iter();
    list.filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

/// The reason and message of a conflict of names with another type of the same group.
pub(super) fn name_conflict(types: &Types, definition: &Value) -> Option<(String, String)> {
    let spec = &definition["spec"];
    let group = text(spec, &["group"]);
    let names = &spec["names"];
    let plural = text(names, &["plural"]);
    let others = || {
        types
            .iter()
            .filter(|one| one.group == group && one.plural != plural)
    };
    if types.get(group, plural).is_some_and(|own| !own.is_custom) {
        let message = format!("\"{plural}\" is a built-in type of {group}");
        return Some(("PluralConflict".to_owned(), message));
    }
    let is_resource_name = |word: &str| {
        others().any(|one| {
            one.plural == word
                || one.singular == word
                || one.short_names.iter().any(|short| short == word)
        })
    };
    let is_kind = |word: &str| others().any(|one| one.kind == word || one.list_kind == word);
    let taken = |reason: &str, word: &str| {
        Some((reason.to_owned(), format!("\"{word}\" is already in use")))
    };
    for (key, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
    ] {
        let word = text(names, &[key]);
        if is_resource_name(word) {
            return taken(reason, word);
        }
    }
    if let Some(word) = texts(names, "shortNames")
        .iter()
        .find(|word| is_resource_name(word))
    {
        return taken("ShortNamesConflict", word);
    }
    for (key, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        let word = text(names, &[key]);
        if is_kind(word) {
            return taken(reason, word);
        }
    }
    None
}
