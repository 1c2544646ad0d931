//! Lowers policies of retries: those of rules, and the mesh's own.

use lateen_model::retry::{Retries, RetryOn};

use super::duration;
use crate::spec::virtual_service as spec;

/// Lowers a policy that was checked.
pub(crate) fn retries(spec: &spec::Retries) -> Retries {
    let (conditions, status_codes) = conditions(&spec.retry_on);
    let default = Retries::default_policy();
    Retries {
        attempts: u32::try_from(spec.attempts).unwrap_or(0),
        per_try_timeout: duration(spec.per_try_timeout.as_ref()),
        conditions: if conditions.is_empty() {
            default.conditions
        } else {
            conditions
        },
        status_codes,
        backoff: duration(spec.backoff.as_ref()).unwrap_or(default.backoff),
        ignores_previous_hosts: spec.retry_ignore_previous_hosts.unwrap_or(true),
        remote_localities: spec.retry_remote_localities.unwrap_or(false),
    }
}

/// Reads `retryOn`. Numbers are statuses, and retriable by being there.
fn conditions(list: &str) -> (Vec<RetryOn>, Vec<u16>) {
    let mut conditions = Vec::new();
    let mut codes = Vec::new();
    for word in list.split(',').map(str::trim) {
        match word.parse() {
            Ok(code) => codes.push(code),
            Err(_) => conditions.extend(RetryOn::from_word(word)),
        }
    }
    if !codes.is_empty() {
        conditions.push(RetryOn::RetriableStatusCodes);
    }
    conditions.sort();
    conditions.dedup();
    codes.sort_unstable();
    codes.dedup();
    (conditions, codes)
}
