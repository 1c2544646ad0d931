//! From the body of a request to an object of its type: the kind must fit, unknown fields are
//! refused, warned about or ignored as the client asks (`fieldValidation`).

use serde_json::Value;

use crate::apiserver::call::Call;
use crate::apiserver::object;
use crate::apiserver::schema::{Schema, decode, definitions, structural};
use crate::apiserver::status::Failure;

/// Decodes an object of the call's type and version.
pub(super) fn object(call: &mut Call, mut value: Value) -> Result<Value, Failure> {
    check_kind(call, &mut value)?;
    let unknown = normalize(call, &mut value).map_err(|error| unfit(call, &error))?;
    if unknown.is_empty() {
        return Ok(value);
    }
    let text = |path: &String| format!("unknown field \"{path}\"");
    match call.query.get("fieldValidation") {
        "Strict" => {
            let list: Vec<String> = unknown.iter().map(text).collect();
            let error = format!("strict decoding error: {}", list.join(", "));
            Err(unfit(call, &error))
        }
        "Ignore" => Ok(value),
        "" | "Warn" => {
            call.warnings.extend(unknown.iter().map(text));
            Ok(value)
        }
        other => Err(Failure::bad_request(format!(
            "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \
             \"Strict\", \"Warn\""
        ))),
    }
}

/// Drops what the type does not know and refuses what has a wrong type; names what was dropped.
pub(super) fn normalize(call: &Call, value: &mut Value) -> Result<Vec<String>, String> {
    let unknown = match &call.version().schema {
        Schema::Builtin(definition) => decode::decode(value, definition, definitions())?,
        Schema::Structural(schema) => {
            let mut unknown = structural::prune(value, schema);
            unknown.extend(decode::decode_metadata(value)?);
            unknown
        }
    };
    // Who set which field is not tracked (no server-side apply), and nothing has a self link.
    let metadata = object::metadata(value);
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    Ok(unknown)
}

fn check_kind(call: &Call, value: &mut Value) -> Result<(), Failure> {
    let Value::Object(map) = value else {
        return Err(Failure::bad_request(
            "the body of the request must be a JSON object",
        ));
    };
    let (kind, version) = (call.resource.kind.as_str(), call.api_version());
    let found = object::default(map, "kind", kind);
    if found != kind {
        return Err(Failure::bad_request(format!(
            "the kind in the data ({found}) does not match the expected kind ({kind})"
        )));
    }
    let found = object::default(map, "apiVersion", version.as_str());
    if found.as_str() != Some(version.as_str()) {
        let found = found.as_str().unwrap_or_default();
        return Err(Failure::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version \
             ({version})"
        )));
    }
    Ok(())
}

fn unfit(call: &Call, error: &str) -> Failure {
    let (kind, version) = (&call.resource.kind, &call.version().name);
    Failure::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"
    ))
}
