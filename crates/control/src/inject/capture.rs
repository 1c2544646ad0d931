//! The init container that installs the capture, from the pod's annotations.

use ipnet::IpNet;
use lateen_api::mesh_config::{DNS_CAPTURE, ProxyConfig};
use serde_json::{Value, json};

use super::{INIT, Refused, Work, refuse};

/// Ports of the proxy itself, which are never captured: metrics and health; the status port beside.
const OWN_PORTS: &str = "15090,15021";

/// The annotations by the flag that each becomes, with the value that is meant without it.
const TRAFFIC: [(&str, &str, &str); 6] = [
    (
        "traffic.sidecar.istio.io/includeInboundPorts",
        "inbound-ports",
        "*",
    ),
    (
        "traffic.sidecar.istio.io/excludeInboundPorts",
        "exclude-inbound-ports",
        "",
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        "outbound-ip-ranges",
        "*",
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        "exclude-outbound-ip-ranges",
        "",
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundPorts",
        "include-outbound-ports",
        "",
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        "exclude-outbound-ports",
        "",
    ),
];

/// Annotations that are known, but do nothing.
const WITHOUT_EFFECT: [&str; 2] = [
    "traffic.sidecar.istio.io/excludeInterfaces",
    "istio.io/reroute-virtual-interfaces",
];

impl Work<'_> {
    /// The container; none if the pod asks for no capture.
    pub(super) fn init_container(
        &mut self,
        config: &ProxyConfig,
    ) -> Result<Option<Value>, Refused> {
        let mode = "sidecar.istio.io/interceptionMode";
        match self.annotation(mode) {
            Some("NONE") => return Ok(None),
            None | Some("REDIRECT" | "") => {}
            Some("TPROXY") => self.warnings.push(format!(
                "annotation {mode}: TPROXY is not available, REDIRECT is used; the application \
                 sees the proxy's address as that of its clients"
            )),
            Some(other) => {
                let why = format!("{other:?} is unknown; it must be REDIRECT or NONE");
                return Err(refuse(&format!("annotation {mode}"), why));
            }
        }
        for key in WITHOUT_EFFECT {
            if self.annotation(key).is_some() {
                self.warnings
                    .push(format!("annotation {key} has no effect in this version"));
            }
        }
        let mut args = vec!["capture".to_owned()];
        for (annotation, flag, default) in TRAFFIC {
            let value = self.annotation(annotation).unwrap_or(default).trim();
            check(annotation, flag, value)?;
            let items: Vec<&str> = value
                .split(',')
                .map(str::trim)
                .filter(|i| !i.is_empty())
                .collect();
            let mut value = items.join(",");
            if flag == "exclude-inbound-ports" {
                let own = format!("{OWN_PORTS},{}", self.status_port);
                value = if value.is_empty() {
                    own
                } else {
                    format!("{own},{value}")
                };
            }
            // `--flag=` rather than two arguments: the value may be empty.
            args.push(format!("--{flag}={value}"));
        }
        let captures_dns = config.environment.get(DNS_CAPTURE);
        if captures_dns.is_some_and(|value| value == "true") {
            args.push("--redirect-dns=true".to_owned());
        }
        Ok(Some(json!({
            "name": INIT,
            "image": self.image(),
            "imagePullPolicy": "IfNotPresent",
            "args": args,
            "resources": self.resources()?,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
                "privileged": false,
                "readOnlyRootFilesystem": true,
                "runAsGroup": 0,
                "runAsNonRoot": false,
                "runAsUser": 0,
            },
        })))
    }
}

/// Checks a value here, where its author sees the answer, rather than in a container that fails.
fn check(annotation: &str, flag: &str, value: &str) -> Result<(), Refused> {
    let may_be_all = !flag.starts_with("exclude");
    if value == "*" && may_be_all {
        return Ok(());
    }
    let entries = value
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    for entry in entries {
        let (is_valid, kind) = if flag.ends_with("ranges") {
            let is_range =
                entry.parse::<IpNet>().is_ok() || entry.parse::<std::net::IpAddr>().is_ok();
            (is_range, "a CIDR such as 10.0.0.0/8")
        } else {
            (is_port_or_range(entry), "a port such as 8080 or 9000-9010")
        };
        if !is_valid {
            let why = format!("{entry:?} is not {kind}");
            return Err(refuse(&format!("annotation {annotation}"), why));
        }
    }
    Ok(())
}

fn is_port_or_range(text: &str) -> bool {
    let is_port = |text: &str| text.trim().parse::<u16>().is_ok_and(|port| port != 0);
    match text.split_once('-') {
        Some((first, last)) => is_port(first) && is_port(last),
        None => is_port(text),
    }
}
