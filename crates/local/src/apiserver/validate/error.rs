//! One thing that is wrong with one field.

use serde_json::Value;

/// An error about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    reason: &'static str,
    field: String,
    message: String,
}

// === impl FieldError ===

impl FieldError {
    fn new(reason: &'static str, field: &str, message: String) -> Self {
        Self {
            reason,
            // What is wrong with the object as a whole has no path.
            field: if field.is_empty() { "<nil>" } else { field }.to_owned(),
            message,
        }
    }

    pub(crate) fn required(field: &str, detail: &str) -> Self {
        let message = match detail {
            "" => "Required value".to_owned(),
            detail => format!("Required value: {detail}"),
        };
        Self::new("FieldValueRequired", field, message)
    }

    pub(crate) fn invalid(field: &str, value: &Value, detail: &str) -> Self {
        let message = format!("Invalid value: {value}: {detail}");
        Self::new("FieldValueInvalid", field, message)
    }

    /// The value shown is the name of its type.
    pub(crate) fn wrong_type(field: &str, found: &str, detail: &str) -> Self {
        let message = format!("Invalid value: \"{found}\": {detail}");
        Self::new("FieldValueTypeInvalid", field, message)
    }

    pub(crate) fn immutable(field: &str, value: &Value) -> Self {
        Self::invalid(field, value, "field is immutable")
    }

    pub(crate) fn duplicate(field: &str, value: &Value) -> Self {
        let message = format!("Duplicate value: {value}");
        Self::new("FieldValueDuplicate", field, message)
    }

    pub(crate) fn forbidden(field: &str, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {detail}"))
    }

    pub(crate) fn not_supported(field: &str, value: &Value, allowed: &[Value]) -> Self {
        let list: Vec<String> = allowed.iter().map(Value::to_string).collect();
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            list.join(", ")
        );
        Self::new("FieldValueNotSupported", field, message)
    }

    pub(crate) fn not_found(field: &str, value: &Value) -> Self {
        Self::new("FieldValueNotFound", field, format!("Not found: {value}"))
    }

    pub(crate) fn too_long(field: &str, limit: u64) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self::new("FieldValueTooLong", field, message)
    }

    pub(crate) fn too_many(field: &str, found: u64, limit: u64) -> Self {
        let message = format!("Too many: {found}: must have at most {limit} items");
        Self::new("FieldValueTooMany", field, message)
    }

    /// Reason, message and field, as causes of a `Status` have them.
    pub(crate) fn into_cause(self) -> (&'static str, String, String) {
        (self.reason, self.message, self.field)
    }
}
