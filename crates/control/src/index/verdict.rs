//! What the control plane thinks of an object that a user wrote.

use lateen_api::lower::{Error, Lowered};
use lateen_api::{Object, Problem};
use serde_json::Value;

/// Whether an object is in effect, and what of it is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The generation that was judged.
    pub generation: i64,
    /// Why it is not in effect at all; empty if it is.
    pub errors: Vec<Problem>,
    /// Fields that are set, but not in effect in this version.
    pub unsupported: Vec<String>,
    /// `status.addresses` of a ServiceEntry, if it is to be written.
    pub addresses: Option<Vec<Value>>,
}

impl Verdict {
    pub(super) fn of(value: &Value, lowered: &Result<Lowered, Error>) -> Self {
        let generation = Object(value).source().generation;
        match lowered {
            Ok(lowered) => Self {
                generation,
                errors: Vec::new(),
                unsupported: lowered.unsupported.clone(),
                addresses: None,
            },
            Err(Error::Invalid { report, .. }) => Self {
                generation,
                errors: report.errors.clone(),
                unsupported: Vec::new(),
                addresses: None,
            },
            Err(error @ Error::UnknownKind { .. }) => Self {
                generation,
                errors: vec![Problem {
                    path: "kind".into(),
                    reason: error.to_string(),
                }],
                unsupported: Vec::new(),
                addresses: None,
            },
        }
    }
}
