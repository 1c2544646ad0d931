//! ProxyConfig of one pod: MeshConfig's `defaultConfig` with the pod's annotation over it.

use lateen_api::mesh_config::{PROXY_CONFIG, ProxyConfig};
use serde_json::json;

use super::{Refused, Work, refuse};

/// The settings of the pod's proxy. What of the annotation has no effect becomes a warning.
pub(super) fn merged(work: &mut Work<'_>) -> Result<ProxyConfig, Refused> {
    let merged = work
        .template
        .default_config
        .merged(work.annotation(PROXY_CONFIG));
    let (mut config, problems) = merged
        .map_err(|report| refuse(&format!("annotation {PROXY_CONFIG}"), report.to_string()))?;
    let warnings = problems.iter().map(ToString::to_string);
    work.warnings.extend(warnings);
    let settings = &mut config.settings;
    settings
        .entry("discoveryAddress")
        .or_insert_with(|| json!(work.template.discovery_address));
    Ok(config)
}
