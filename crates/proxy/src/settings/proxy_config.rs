//! The part of Istio's ProxyConfig that a proxy reads from `PROXY_CONFIG`.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

/// What of a ProxyConfig concerns the start of a proxy. Other fields belong to the control plane
/// and are left alone.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ProxyConfig {
    pub(super) concurrency: Option<usize>,
    pub(super) discovery_address: Option<String>,
    pub(super) drain_duration: Option<Duration>,
    pub(super) termination_drain_duration: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    concurrency: Option<usize>,
    discovery_address: Option<String>,
    drain_duration: Option<String>,
    termination_drain_duration: Option<String>,
}

// === impl ProxyConfig ===

impl ProxyConfig {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let spec: Spec = serde_json::from_str(text)
            .context("PROXY_CONFIG is not a ProxyConfig in JSON; check the pod's annotation proxy.istio.io/config")?;
        let duration =
            |field, text: Option<String>| text.map(|text| parse_duration(field, &text)).transpose();
        Ok(Self {
            concurrency: spec.concurrency,
            discovery_address: spec.discovery_address.filter(|text| !text.is_empty()),
            drain_duration: duration("drainDuration", spec.drain_duration)?,
            termination_drain_duration: duration(
                "terminationDrainDuration",
                spec.termination_drain_duration,
            )?,
        })
    }
}

/// Reads a duration as Go and protobuf write them: `5s`, `1.5s`, `300ms`, `1m30s`, `1h`.
fn parse_duration(field: &str, text: &str) -> anyhow::Result<Duration> {
    let refuse =
        || format!("PROXY_CONFIG: {field} is {text:?}; write a duration such as 5s or 1m30s");
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if text.is_empty() {
        bail!(refuse());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .with_context(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => bail!(refuse()),
        };
        let number: f64 = number.parse().ok().with_context(refuse)?;
        let part = Duration::try_from_secs_f64(number * scale).with_context(refuse)?;
        sum = sum.checked_add(part).with_context(refuse)?;
        rest = tail;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_and_protobuf_write_them() {
        for (text, millis) in [
            ("5s", 5000),
            ("1.5s", 1500),
            ("300ms", 300),
            ("1m30s", 90_000),
        ] {
            let read = parse_duration("x", text).expect("valid");
            assert_eq!(read, Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_is_refused_with_field_and_text() {
        for text in ["", "5", "s", "-1s", "1y", "1e400s"] {
            let error = parse_duration("drainDuration", text).expect_err("it is malformed");
            let shown = format!("{error:#}");
            assert!(shown.contains("drainDuration"), "{shown}");
            assert!(shown.contains(&format!("{text:?}")), "{shown}");
        }
    }

    #[test]
    fn fields_that_are_not_ours_are_left_alone() {
        let config = ProxyConfig::parse(r#"{"concurrency":2,"tracing":{"sampling":1}}"#);
        assert_eq!(config.expect("valid").concurrency, Some(2));
    }
}
