//! What a pod asks for: Istio's annotations, read once into a value that cannot be wrong.

use lateen_api::yaml;
use serde_json::{Map, Value};

/// An annotation with a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key}: {why}")]
pub struct Invalid {
    /// The annotation.
    pub key: String,
    /// What is wrong with its value, and what it may be.
    pub why: String,
}

/// What a pod asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Ports whose inbound traffic is captured: `*` or a list.
    pub(super) include_inbound_ports: String,
    /// Ports whose inbound traffic is not captured.
    pub(super) exclude_inbound_ports: String,
    /// Networks to which traffic is captured: `*` or a list.
    pub(super) include_outbound_ranges: String,
    /// Networks to which traffic is not captured.
    pub(super) exclude_outbound_ranges: String,
    /// Ports to which traffic is captured even outside of the ranges.
    pub(super) include_outbound_ports: String,
    /// Ports to which traffic is not captured.
    pub(super) exclude_outbound_ports: String,
    /// Probes of the application lead through the proxy.
    pub(super) rewrites_probes: bool,
    /// The port of the proxy that answers probes and scrapers.
    pub(super) status_port: u16,
    /// The image, if not the mesh's.
    pub(super) image: Option<String>,
    /// The proxy's log level, if not the usual.
    pub(super) log_level: Option<String>,
    /// Resources of the proxy; the defaults if nothing is asked for.
    pub(super) resources: Value,
    /// Readiness: delay, period and failures.
    pub(super) readiness: [u32; 3],
    /// The proxy's ProxyConfig: the mesh's with the pod's over it.
    pub(super) config: Map<String, Value>,
    /// Metrics of the application are scraped through the proxy.
    pub(super) merges_metrics: bool,
}

/// Ports that are the proxy's own, hence never captured.
const OWN_PORTS: [u16; 3] = [15090, 15021, 15020];
const STATUS_PORT: u16 = 15020;

struct Annotations<'a>(&'a Value);

/// Reads the annotations of a pod over the mesh's `defaultConfig`.
pub(super) fn read(pod: &Value, default_config: &Map<String, Value>) -> Result<Settings, Invalid> {
    let all = Annotations(&pod["metadata"]["annotations"]);
    let traffic = |name: &str| format!("traffic.sidecar.istio.io/{name}");
    let ports = |name: &str, default: &str, any: bool| all.ports(&traffic(name), default, any);
    let ranges = |name: &str, default: &str, any: bool| all.ranges(&traffic(name), default, any);
    let status_port = all.number("status.sidecar.istio.io/port", u32::from(STATUS_PORT))?;
    let status_port = u16::try_from(status_port)
        .map_err(|_| invalid("status.sidecar.istio.io/port", "must be a port"))?;
    let readiness = |name: &str, default: u32| {
        all.number(
            &format!("readiness.status.sidecar.istio.io/{name}"),
            default,
        )
    };
    let mut exclude_inbound_ports = OWN_PORTS.map(|port| port.to_string()).join(",");
    let further = ports("excludeInboundPorts", "", false)?;
    if !further.is_empty() {
        exclude_inbound_ports = format!("{exclude_inbound_ports},{further}");
    }
    Ok(Settings {
        include_inbound_ports: ports("includeInboundPorts", "*", true)?,
        exclude_inbound_ports,
        include_outbound_ranges: ranges("includeOutboundIPRanges", "*", true)?,
        exclude_outbound_ranges: ranges("excludeOutboundIPRanges", "", false)?,
        include_outbound_ports: ports("includeOutboundPorts", "", true)?,
        exclude_outbound_ports: ports("excludeOutboundPorts", "", false)?,
        rewrites_probes: all.flag("sidecar.istio.io/rewriteAppHTTPProbers", true)?
            && status_port != 0,
        status_port,
        image: all.text("sidecar.istio.io/proxyImage").map(str::to_owned),
        log_level: all.text("sidecar.istio.io/logLevel").map(str::to_owned),
        resources: all.resources()?,
        readiness: [
            readiness("initialDelaySeconds", 0)?,
            readiness("periodSeconds", 15)?,
            readiness("failureThreshold", 4)?,
        ],
        config: all.config(default_config)?,
        merges_metrics: all.flag("prometheus.istio.io/merge-metrics", true)?,
    })
}

// === impl Annotations ===

impl<'a> Annotations<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).and_then(Value::as_str).map(str::trim)
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, Invalid> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None | Some("") => Ok(default),
            Some("true" | "1" | "yes") => Ok(true),
            Some("false" | "0" | "no") => Ok(false),
            Some(other) => Err(invalid(key, format!("{other:?} is neither true nor false"))),
        }
    }

    fn number(&self, key: &str, default: u32) -> Result<u32, Invalid> {
        let Some(text) = self.text(key).filter(|text| !text.is_empty()) else {
            return Ok(default);
        };
        text.parse()
            .map_err(|_| invalid(key, format!("{text:?} is not a whole number")))
    }

    /// A list of ports, or `*` where that is allowed.
    fn ports(&self, key: &str, default: &str, allows_any: bool) -> Result<String, Invalid> {
        self.list(key, default, allows_any, |item| {
            item.parse::<u16>()
                .is_ok_and(|port| port > 0)
                .then_some(())
                .ok_or("is not a port from 1 to 65535")
        })
    }

    /// A list of networks, or `*` where that is allowed.
    fn ranges(&self, key: &str, default: &str, allows_any: bool) -> Result<String, Invalid> {
        self.list(key, default, allows_any, |item| {
            let is_network =
                item.parse::<ipnet::IpNet>().is_ok() || item.parse::<std::net::IpAddr>().is_ok();
            is_network
                .then_some(())
                .ok_or("is not a network such as 10.0.0.0/8")
        })
    }

    fn list(
        &self,
        key: &str,
        default: &str,
        allows_any: bool,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<String, Invalid> {
        let Some(text) = self.text(key) else {
            return Ok(default.to_owned());
        };
        if text == "*" && allows_any {
            return Ok(text.to_owned());
        }
        let items: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect();
        for item in &items {
            check(item).map_err(|why| invalid(key, format!("{item:?} {why}")))?;
        }
        Ok(items.join(","))
    }

    /// Requests and limits of the proxy. As in Istio, one annotation drops all the defaults.
    fn resources(&self) -> Result<Value, Invalid> {
        let keys = [
            ("sidecar.istio.io/proxyCPU", "requests", "cpu"),
            ("sidecar.istio.io/proxyMemory", "requests", "memory"),
            ("sidecar.istio.io/proxyCPULimit", "limits", "cpu"),
            ("sidecar.istio.io/proxyMemoryLimit", "limits", "memory"),
        ];
        let mut resources = Map::new();
        for (key, kind, name) in keys {
            let Some(text) = self.text(key) else { continue };
            if !is_quantity(text) {
                return Err(invalid(
                    key,
                    format!("{text:?} is not a quantity such as 100m or 128Mi"),
                ));
            }
            let kind = resources
                .entry(kind)
                .or_insert_with(|| Value::Object(Map::new()));
            kind[name] = text.into();
        }
        if resources.is_empty() {
            return Ok(serde_json::json!({ "requests": { "cpu": "10m", "memory": "16Mi" } }));
        }
        Ok(Value::Object(resources))
    }

    /// `proxy.istio.io/config` over the mesh's: field by field, `proxyMetadata` key by key.
    fn config(&self, default: &Map<String, Value>) -> Result<Map<String, Value>, Invalid> {
        let key = "proxy.istio.io/config";
        let mut config = default.clone();
        let Some(text) = self.text(key).filter(|text| !text.is_empty()) else {
            return Ok(config);
        };
        let own = match yaml::value(text).map_err(|error| invalid(key, error.to_string()))? {
            Value::Object(own) => own,
            Value::Null => return Ok(config),
            _ => return Err(invalid(key, "must be a map of ProxyConfig's fields")),
        };
        for (field, value) in own {
            if field == "concurrency" && value.as_u64().is_none() {
                return Err(invalid(
                    key,
                    "concurrency must be a whole number; 0 takes every core",
                ));
            }
            match (config.get_mut(&field), value) {
                (Some(Value::Object(under)), Value::Object(over)) if field == "proxyMetadata" => {
                    under.extend(over);
                }
                (_, value) => drop(config.insert(field, value)),
            }
        }
        Ok(config)
    }
}

/// A number with a suffix of Kubernetes' quantities.
fn is_quantity(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &text[..text.len() - digits.len()];
    let suffixes = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi",
    ];
    number.parse::<f64>().is_ok() && suffixes.contains(&digits)
}

fn invalid(key: &str, why: impl Into<String>) -> Invalid {
    Invalid {
        key: key.to_owned(),
        why: why.into(),
    }
}
