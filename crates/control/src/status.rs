//! What the control plane tells users about their objects, in `status`.
//!
//! An object that is in effect as written gets no status. One that is refused, by the control plane
//! or by a proxy, or that has fields which do nothing yet, gets conditions that say so:
//!
//! | condition    | False when                                            |
//! |--------------|-------------------------------------------------------|
//! | `Accepted`   | the object breaks rules of its kind; nothing of it is in effect |
//! | `Programmed` | a proxy refused what came of it, and keeps what it had; or a Gateway names a Secret that is missing or invalid |
//!
//! Once written they are kept up to date, so a corrected object says `True`. Conditions of others
//! are left alone. `validationMessages` carries Istio's code for tools that look there. The addresses
//! that a ServiceEntry was given are recorded in `addresses`.

mod credentials;
mod writer;

use std::collections::BTreeMap;

use lateen_api::told;
use lateen_model::ObjectRef;
use lateen_xds::Kind;
use lateen_xds::server::ConnectionStatus;
use serde_json::{Value, json};

use crate::index::{Index, Verdict, config_name};

pub(crate) use writer::run;

/// The longest message: Kubernetes' own limit for conditions.
const MAX_MESSAGE: usize = 32 << 10;

/// Istio's code of an object that breaks rules.
const INVALID: (&str, &str) = ("IST0106", "SchemaValidationError");

/// What proxies refused of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The first proxy, by id.
    pub proxy: String,
    /// Its words.
    pub error: String,
    /// How many proxies did.
    pub proxies: usize,
}

/// One of our conditions.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    kind: &'static str,
    is_true: bool,
    reason: &'static str,
    message: String,
}

/// What proxies refuse, by the object that it came from.
pub fn refused(index: &Index, connections: &[ConnectionStatus]) -> BTreeMap<ObjectRef, Refused> {
    let mut by_object: BTreeMap<ObjectRef, Refused> = BTreeMap::new();
    for connection in connections {
        let config = connection
            .subscriptions
            .iter()
            .filter(|s| s.kind == Kind::Config);
        for (name, refusal) in config.flat_map(|subscription| &subscription.refused) {
            let Some(object) = index.origin(&config_name(name)) else {
                continue; // It is gone, and soon from the proxy too.
            };
            let entry = by_object.entry(object.clone()).or_insert_with(|| Refused {
                proxy: connection.node.id.to_string(),
                error: refusal.error.clone(),
                proxies: 0,
            });
            entry.proxies += 1;
        }
    }
    by_object
}

/// What the `status` of an object should have, if it differs from what it has.
pub fn wanted(
    object: &Value,
    verdict: &Verdict,
    refused: Option<&Refused>,
    credentials: &[String],
    now: &str,
) -> Option<Value> {
    let conditions = judgement(object, verdict, refused, credentials, now);
    let Some(addresses) = &verdict.addresses else {
        return conditions;
    };
    let mut status = conditions.unwrap_or_else(|| json!({}));
    status["addresses"] = json!(addresses);
    Some(status)
}

/// The conditions that an object should have, if they differ from those that it has.
fn judgement(
    object: &Value,
    verdict: &Verdict,
    refused: Option<&Refused>,
    credentials: &[String],
    now: &str,
) -> Option<Value> {
    let status = &object["status"];
    let old = status["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let find = |kind: &str| old.iter().find(|condition| condition["type"] == kind);
    let has_ours = find("Accepted").or_else(|| find("Programmed")).is_some();
    let conditions = [accepted(verdict), programmed(verdict, refused, credentials)];
    let is_fine = |condition: &Condition| condition.is_true && condition.reason != PARTLY;
    if !has_ours && conditions.iter().all(is_fine) {
        return None;
    }
    let mut list: Vec<Value> = old
        .iter()
        .filter(|condition| !is_ours(condition))
        .cloned()
        .collect();
    for condition in &conditions {
        list.push(condition.to_json(find(condition.kind), verdict.generation, now));
    }
    let messages: Vec<Value> = told(&verdict.errors).iter().map(|p| message(p)).collect();
    let wanted = json!({
        "conditions": list,
        "validationMessages": messages,
        "observedGeneration": verdict.generation,
    });
    let is_same = wanted
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| is_equal(value, &status[key]));
    (!is_same).then_some(wanted)
}

/// The reason of an object that is in effect, but not all of it.
const PARTLY: &str = "PartlySupported";

fn accepted(verdict: &Verdict) -> Condition {
    let (is_true, reason, message) = if !verdict.errors.is_empty() {
        let list = told(&verdict.errors).join("; ");
        let message = format!("nothing of it is in effect: {list}");
        (false, "Invalid", message)
    } else if !verdict.unsupported.is_empty() {
        let list = verdict.unsupported.join(", ");
        let message = format!("in effect, except for {list}: not in effect in this version");
        (true, PARTLY, message)
    } else {
        (true, "Accepted", "in effect".to_owned())
    };
    Condition {
        kind: "Accepted",
        is_true,
        reason,
        message,
    }
}

fn programmed(verdict: &Verdict, refused: Option<&Refused>, credentials: &[String]) -> Condition {
    let (is_true, reason, message) = match refused {
        Some(refused) => {
            let proxies = match refused.proxies {
                1 => "1 proxy keeps what it had".to_owned(),
                n => format!("{n} proxies keep what they had"),
            };
            let message = format!("{proxies}; {} says: {}", refused.proxy, refused.error);
            (false, "Rejected", message)
        }
        None if verdict.errors.is_empty() && !credentials.is_empty() => {
            let list = credentials.join("; ");
            let message = format!("servers that need it cannot end TLS: {list}");
            (false, "InvalidCredential", message)
        }
        None if verdict.errors.is_empty() => (true, "Programmed", "no proxy refuses it".to_owned()),
        None => (false, "Invalid", "it is not sent to proxies".to_owned()),
    };
    Condition {
        kind: "Programmed",
        is_true,
        reason,
        message,
    }
}

fn is_ours(condition: &Value) -> bool {
    condition["type"] == "Accepted" || condition["type"] == "Programmed"
}

fn message(problem: &str) -> Value {
    let (code, name) = INVALID;
    json!({
        "level": "ERROR",
        "type": { "code": code, "name": name },
        "message": cut(problem),
    })
}

fn cut(text: &str) -> String {
    let end = text
        .char_indices()
        .nth(MAX_MESSAGE / 4)
        .map_or(text.len(), |(end, _)| end);
    text[..end].to_owned()
}

/// Equality that takes a missing value for an empty list.
fn is_equal(wanted: &Value, have: &Value) -> bool {
    wanted == have || (have.is_null() && wanted.as_array().is_some_and(Vec::is_empty))
}

// === impl Condition ===

impl Condition {
    /// Writes the condition; the time of its last change is kept if it did not change.
    fn to_json(&self, old: Option<&Value>, generation: i64, now: &str) -> Value {
        let status = if self.is_true { "True" } else { "False" };
        let since = old
            .filter(|old| old["status"] == status)
            .and_then(|old| old["lastTransitionTime"].as_str())
            .unwrap_or(now);
        json!({
            "type": self.kind,
            "status": status,
            "reason": self.reason,
            "message": cut(&self.message),
            "lastTransitionTime": since,
            "observedGeneration": generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use lateen_api::Problem;

    use super::*;

    const NOW: &str = "2026-01-02T03:04:05Z";

    fn object(status: &Value) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": { "name": "a", "namespace": "default", "generation": 2 },
            "status": status,
        })
    }

    fn bad() -> Verdict {
        Verdict {
            generation: 2,
            errors: vec![Problem {
                path: "spec.hosts".into(),
                reason: "must not be empty".into(),
            }],
            ..Verdict::default()
        }
    }

    fn good() -> Verdict {
        Verdict {
            generation: 2,
            ..Verdict::default()
        }
    }

    #[test]
    fn an_object_that_is_in_effect_gets_no_status() {
        assert_eq!(wanted(&object(&Value::Null), &good(), None, &[], NOW), None);
    }

    #[test]
    fn a_bad_object_says_why_and_is_written_once() {
        let status = wanted(&object(&Value::Null), &bad(), None, &[], NOW).expect("a status");
        assert_eq!(status["conditions"][0]["status"], "False");
        let message = status["conditions"][0]["message"]
            .as_str()
            .expect("a message");
        assert!(
            message.contains("spec.hosts: must not be empty"),
            "{message}"
        );
        assert_eq!(status["validationMessages"][0]["type"]["code"], "IST0106");
        assert_eq!(status["observedGeneration"], 2);
        let later = "2026-01-02T04:00:00Z";
        assert_eq!(wanted(&object(&status), &bad(), None, &[], later), None);
    }

    #[test]
    fn an_address_is_recorded_with_or_without_conditions() {
        let addresses = vec![json!({ "value": "240.240.0.1", "host": "a.com" })];
        let with = |verdict: Verdict| Verdict {
            addresses: Some(addresses.clone()),
            ..verdict
        };
        let status = wanted(&object(&Value::Null), &with(good()), None, &[], NOW);
        assert_eq!(status, Some(json!({ "addresses": addresses })));
        let status = wanted(&object(&Value::Null), &with(bad()), None, &[], NOW).expect("a status");
        assert_eq!(status["addresses"], json!(addresses));
        assert_eq!(status["conditions"][0]["status"], "False");
    }

    #[test]
    fn a_corrected_object_is_cleared_and_conditions_of_others_stay() {
        let mut status = wanted(&object(&Value::Null), &bad(), None, &[], NOW).expect("a status");
        let other = json!({ "type": "Healthy", "status": "True" });
        status["conditions"]
            .as_array_mut()
            .expect("a list")
            .insert(0, other.clone());
        let later = "2026-01-02T04:00:00Z";
        let cleared = wanted(&object(&status), &good(), None, &[], later).expect("a change");
        assert_eq!(cleared["conditions"][0], other);
        assert_eq!(cleared["conditions"][1]["status"], "True");
        assert_eq!(cleared["conditions"][1]["lastTransitionTime"], later);
        assert_eq!(cleared["validationMessages"], json!([]));
        assert_eq!(wanted(&object(&cleared), &good(), None, &[], later), None);
    }

    #[test]
    fn a_gateway_whose_secret_is_missing_says_so_until_it_is_there() {
        let lacks = ["Secret edge/c does not exist".to_owned()];
        let status = wanted(&object(&Value::Null), &good(), None, &lacks, NOW).expect("a status");
        let condition = &status["conditions"][1];
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("InvalidCredential"))
        );
        let message = condition["message"].as_str().expect("a message");
        assert!(message.contains(&lacks[0]), "{message}");
        assert_eq!(wanted(&object(&status), &good(), None, &lacks, NOW), None);
        let later = "2026-01-02T04:00:00Z";
        let cleared = wanted(&object(&status), &good(), None, &[], later).expect("a change");
        assert_eq!(cleared["conditions"][1]["status"], "True");
    }

    #[test]
    fn what_a_proxy_refuses_and_what_does_nothing_is_told() {
        let refused = Refused {
            proxy: "sidecar~10.0.0.1~a.b~c".into(),
            error: "regex too large".into(),
            proxies: 3,
        };
        let mut verdict = good();
        verdict.unsupported.push("spec.http[0].fault".into());
        let status =
            wanted(&object(&Value::Null), &verdict, Some(&refused), &[], NOW).expect("both");
        assert_eq!(status["conditions"][0]["reason"], PARTLY);
        assert_eq!(status["conditions"][1]["reason"], "Rejected");
        let message = status["conditions"][1]["message"]
            .as_str()
            .expect("a message");
        assert!(message.contains("regex too large"), "{message}");
    }
}
