//! Rules that route traffic: VirtualServices with every name expanded.

use ipnet::IpNet;
use serde::Serialize;

use crate::http::{HeaderRules, HttpRule};
use crate::service::ExportTo;
use crate::{Host, HostPattern, Labels};

/// A VirtualService.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualService {
    /// Namespace of the object.
    pub namespace: String,
    /// Hosts that it routes; short names are expanded. Empty for a delegate, which is in effect
    /// only through the rules that name it.
    pub hosts: Vec<HostPattern>,
    /// Where it applies; never empty (`mesh` is the default).
    pub gateways: Vec<GatewayRef>,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Rules for HTTP, the first match wins.
    pub http: Vec<HttpRule>,
    /// Rules for TLS that is passed through, by SNI.
    pub tls: Vec<TlsRule>,
    /// Rules for TCP.
    pub tcp: Vec<TcpRule>,
}

/// A place where rules apply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum GatewayRef {
    /// Every sidecar: the reserved name `mesh`.
    Mesh,
    /// A Gateway object.
    Gateway {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// One block of `match`: every condition that is set must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// The name; empty if none.
    pub name: String,
    /// The path without its query.
    pub uri: Option<StringMatch>,
    /// `uri` ignores case (exact and prefix only).
    pub ignore_uri_case: bool,
    /// `:scheme`.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// Host or `:authority`, as sent.
    pub authority: Option<StringMatch>,
    /// Headers that must match, by lower-case name.
    pub headers: Vec<(String, ValueMatch)>,
    /// Headers that must not match, by lower-case name.
    pub without_headers: Vec<(String, ValueMatch)>,
    /// Query parameters that must match.
    pub query_params: Vec<(String, ValueMatch)>,
    /// Only on this service port (fixed when rules are compiled).
    pub port: Option<u16>,
    /// Only on proxies with these labels (fixed when compiled; ignored if `gateways` is set).
    pub source_labels: Labels,
    /// Only on proxies of this namespace (fixed when compiled; ignored if `gateways` is set).
    pub source_namespace: Option<String>,
    /// Overrides the gateways of the VirtualService.
    pub gateways: Vec<GatewayRef>,
}

/// A condition on a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// A regular expression (RE2's syntax) that matches the whole string.
    Regex(String),
}

/// A condition on a value that may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueMatch {
    /// It is there: `{}` or the regex `*`.
    Present,
    /// It is there and matches.
    Value(StringMatch),
}

/// A destination with its share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedDestination {
    /// Where to.
    pub destination: Destination,
    /// Its share is weight / sum of weights; a single destination takes all whatever its weight.
    pub weight: u32,
    /// Changes of headers of what goes there, after those of the rule. Only in rules of `http`.
    pub headers: HeaderRules,
}

/// Where a rule sends traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The host of a service.
    pub host: Host,
    /// A subset of its DestinationRule.
    pub subset: Option<String>,
    /// The service port; if unset the only one of the service, or that on which the request came.
    pub port: Option<u16>,
}

/// One rule of `tls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRule {
    /// Alternatives; never empty.
    pub matches: Vec<TlsMatch>,
    /// Where to, by weight.
    pub route: Vec<WeightedDestination>,
}

/// One rule of `tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRule {
    /// Alternatives; empty matches every connection.
    pub matches: Vec<L4Match>,
    /// Where to, by weight.
    pub route: Vec<WeightedDestination>,
}

/// One block of `tls[].match`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsMatch {
    /// Names that the client may ask for; never empty.
    pub sni_hosts: Vec<HostPattern>,
    /// The other conditions.
    pub l4: L4Match,
}

/// Conditions on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct L4Match {
    /// The original destination is in one of these; empty matches all.
    pub destination_subnets: Vec<IpNet>,
    /// Only on this service port.
    pub port: Option<u16>,
    /// Only on proxies with these labels.
    pub source_labels: Labels,
    /// Only on proxies of this namespace.
    pub source_namespace: Option<String>,
    /// Overrides the gateways of the VirtualService.
    pub gateways: Vec<GatewayRef>,
}
