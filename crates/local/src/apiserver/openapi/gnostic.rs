//! The OpenAPI document of version 2 as protobuf (`openapi.v2.Document` of gnostic): the messages
//! and fields that clients read, written by hand.

use prost::Message;
use serde_json::{Map, Value};

use crate::apiserver::object::text;

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Schemas>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// `Definitions` and `Properties`: named schemas.
#[derive(Clone, PartialEq, Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    list: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "20")]
    choices: Vec<Any>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<AdditionalProperties>>,
    #[prost(message, optional, tag = "22")]
    kind: Option<Kind>,
    #[prost(message, optional, tag = "23")]
    items: Option<Items>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    extensions: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct AdditionalProperties {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

/// A value as YAML, of which JSON is a part.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPath>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPath {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Path>,
}

#[derive(Clone, PartialEq, Message)]
struct Path {
    #[prost(message, optional, tag = "2")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "3")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, repeated, tag = "13")]
    extensions: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(message, optional, tag = "2")]
    non_body: Option<NonBodyParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBodyParameter {
    #[prost(message, optional, tag = "3")]
    query: Option<QueryParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryParameter {
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    kind: String,
}

/// Encodes a document that was made as JSON.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let map = |key: &str| document.get(key).and_then(Value::as_object);
    let message = Document {
        swagger: text(document, &["swagger"]).to_owned(),
        info: Some(Info {
            title: text(document, &["info", "title"]).to_owned(),
            version: text(document, &["info", "version"]).to_owned(),
        }),
        paths: map("paths").map(paths),
        definitions: map("definitions").map(schemas),
    };
    message.encode_to_vec()
}

fn schemas(map: &Map<String, Value>) -> Schemas {
    let list = map.iter().map(|(name, value)| NamedSchema {
        name: name.clone(),
        value: Some(schema(value)),
    });
    Schemas {
        list: list.collect(),
    }
}

fn schema(value: &Value) -> Schema {
    let owned = |key: &str| text(value, &[key]).to_owned();
    let list = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let child = |key: &str| value.get(key).filter(|child| child.is_object());
    Schema {
        reference: owned("$ref"),
        format: owned("format"),
        description: owned("description"),
        required: list("required")
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        choices: list("enum").map(any).collect(),
        additional_properties: child("additionalProperties").map(|child| {
            Box::new(AdditionalProperties {
                schema: Some(Box::new(schema(child))),
            })
        }),
        kind: value.get("type").and_then(Value::as_str).map(|kind| Kind {
            value: vec![kind.to_owned()],
        }),
        items: child("items").map(|child| Items {
            schema: vec![schema(child)],
        }),
        properties: child("properties").and_then(Value::as_object).map(schemas),
        extensions: extensions(value),
    }
}

fn any(value: &Value) -> Any {
    Any {
        yaml: format!("{value}\n"),
    }
}

fn extensions(value: &Value) -> Vec<NamedAny> {
    let map = value.as_object().into_iter().flatten();
    map.filter(|(key, _)| key.starts_with("x-"))
        .map(|(key, value)| NamedAny {
            name: key.clone(),
            value: Some(any(value)),
        })
        .collect()
}

fn paths(map: &Map<String, Value>) -> Paths {
    let path = map.iter().map(|(name, value)| NamedPath {
        name: name.clone(),
        value: Some(Path {
            get: value.get("get").map(operation),
            put: value.get("put").map(operation),
            post: value.get("post").map(operation),
            delete: value.get("delete").map(operation),
            patch: value.get("patch").map(operation),
        }),
    });
    Paths {
        path: path.collect(),
    }
}

fn operation(value: &Value) -> Operation {
    let parameters = value.get("parameters").and_then(Value::as_array);
    let parameters = parameters.into_iter().flatten().map(|one| ParametersItem {
        parameter: Some(Parameter {
            non_body: Some(NonBodyParameter {
                query: Some(QueryParameter {
                    place: text(one, &["in"]).to_owned(),
                    name: text(one, &["name"]).to_owned(),
                    kind: text(one, &["type"]).to_owned(),
                }),
            }),
        }),
    });
    Operation {
        parameters: parameters.collect(),
        extensions: extensions(value),
    }
}
