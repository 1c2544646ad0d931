//! Schemas of types: of the built-in ones as definitions generated from `k8s-openapi`, of custom
//! ones as their CustomResourceDefinitions write them.
//!
//! ```text
//! decode      built-in types: drops unknown fields, refuses wrong types, as Go's decoder does
//! structural  custom types: prunes, sets defaults, validates
//! patch_keys  which lists of built-in types merge by which key
//! ```

pub(crate) mod decode;
mod patch_keys;
pub(crate) mod quantity;
pub(crate) mod structural;

use std::sync::{Arc, OnceLock};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::registry::builtin;

/// The schema of a type.
#[derive(Debug, Clone)]
pub(crate) enum Schema {
    /// The definition of a built-in type, by name.
    Builtin(&'static str),
    /// The structural schema of a custom type.
    Structural(Arc<Value>),
}

/// The definitions of all built-in types, by name (`io.k8s.api.core.v1.Pod`).
pub(crate) fn definitions() -> &'static Map<String, Value> {
    static DEFINITIONS: OnceLock<Map<String, Value>> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        let mut settings = SchemaSettings::draft07();
        settings.definitions_path = "/definitions".into();
        let mut generator = settings.into_generator();
        builtin::register_schemas(&mut generator);
        let mut definitions = generator.take_definitions(false);
        // The generated schema of "any JSON" wants an object.
        if let Some(Value::Object(any)) = definitions.get_mut(ANY_JSON) {
            any.remove("type");
        }
        patch_keys::annotate(&mut definitions);
        builtin::annotate_kinds(&mut definitions);
        definitions
    })
}

/// Follows a reference to a definition; a schema that is none is returned as it is, under the
/// name that it was reached by.
pub(crate) fn resolve<'a>(
    schema: &'a Value,
    name: &'a str,
    definitions: &'a Map<String, Value>,
) -> (&'a Value, &'a str) {
    match reference(schema) {
        Some(target) => definitions
            .get(target)
            .map_or((schema, name), |definition| (definition, target)),
        None => (schema, name),
    }
}

/// The name of the definition that a schema refers to.
pub(crate) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/definitions/")
}

/// The definition that all objects' metadata have.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The definition of values that may be any JSON.
const ANY_JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";

/// A `{"group", "version", "kind"}` as OpenAPI documents name a kind.
pub(crate) fn kind_reference(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}
