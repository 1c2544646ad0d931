//! Where the application has metrics.

use anyhow::Context;
use serde::Deserialize;

/// A page of metrics of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppMetrics {
    /// The port.
    pub port: u16,
    /// The path.
    pub path: String,
}

/// The annotations as injection keeps them; Kubernetes has only text.
#[derive(Deserialize)]
struct Annotations {
    #[serde(default)]
    scrape: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    path: String,
}

// === impl AppMetrics ===

impl AppMetrics {
    /// Reads what injection wrote; nothing if the application is not to be scraped.
    pub(super) fn parse(text: &str) -> anyhow::Result<Option<Self>> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let written: Annotations = serde_json::from_str(text)
            .context("ISTIO_PROMETHEUS_ANNOTATIONS is not a map of annotations in JSON")?;
        if written.scrape != "true" {
            return Ok(None);
        }
        let port = match written.port.as_str() {
            "" => 80,
            port => port
                .parse()
                .with_context(|| format!("annotation prometheus.io/port: {port:?} is no port"))?,
        };
        let path = match written.path.as_str() {
            "" => "/metrics".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        let is_clean = path.bytes().all(|byte| byte.is_ascii_graphic());
        anyhow::ensure!(
            is_clean,
            "annotation prometheus.io/path: {path:?} is no path"
        );
        Ok(Some(Self { port, path }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotations_are_read_with_prometheus_defaults() {
        let parsed = AppMetrics::parse(r#"{"scrape":"true"}"#).expect("valid");
        let expected = AppMetrics {
            port: 80,
            path: "/metrics".into(),
        };
        assert_eq!(parsed, Some(expected));
        let off = AppMetrics::parse(r#"{"scrape":"false","port":"x"}"#).expect("valid");
        assert_eq!(off, None);
    }

    #[test]
    fn a_path_that_would_be_another_request_is_refused() {
        let text = r#"{"scrape":"true","path":"/a HTTP/1.1\r\nx: y"}"#;
        AppMetrics::parse(text).expect_err("not a path");
    }
}
