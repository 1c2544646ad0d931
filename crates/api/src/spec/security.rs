//! `PeerAuthentication`, `RequestAuthentication` and `AuthorizationPolicy`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::{MatchLabels, TargetRef};
use super::duration::Duration;

/// Peer authentication configuration for workloads.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// The workloads that it is for.
    pub selector: Option<MatchLabels>,
    /// Mutual TLS of every port.
    pub mtls: Option<MutualTls>,
    /// Mutual TLS of single ports, by number.
    #[schemars(extend("minProperties" = 1))]
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// Mutual TLS.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// What is accepted.
    pub mode: Option<MutualTlsMode>,
}

/// What a workload accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the level above says.
    Unset,
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// Request authentication configuration for workloads.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// The workloads that it is for.
    pub selector: Option<MatchLabels>,
    /// Deprecated: use targetRefs.
    pub target_ref: Option<TargetRef>,
    /// The objects that it is attached to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// The tokens that are accepted.
    #[schemars(length(max = 4096))]
    pub jwt_rules: Vec<JwtRule>,
}

/// A token that is accepted.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    /// Who issues it.
    #[schemars(length(min = 1))]
    pub issuer: Option<String>,
    /// For whom; any if empty.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are.
    #[schemars(length(min = 1, max = 2048))]
    pub jwks_uri: Option<String>,
    /// The other spelling of jwksUri.
    #[serde(rename = "jwks_uri")]
    #[schemars(length(min = 1, max = 2048))]
    pub jwks_uri_snake: Option<String>,
    /// The issuer's keys.
    pub jwks: String,
    /// Headers that may carry it.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that may carry it.
    pub from_params: Vec<String>,
    /// Cookies that may carry it.
    pub from_cookies: Vec<String>,
    /// The header in which the upstream gets its payload.
    pub output_payload_to_header: String,
    /// Whether the upstream gets the token.
    pub forward_original_token: bool,
    /// Headers in which the upstream gets claims.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// How long fetching the keys may take.
    pub timeout: Option<Duration>,
    /// Claims that are lists separated by spaces.
    #[schemars(length(max = 64))]
    pub space_delimited_claims: Vec<String>,
    /// Whether a token is demanded.
    pub presence: Option<Presence>,
}

/// Whether a token is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Presence {
    /// Requests without one pass.
    Optional,
    /// Requests without one are refused.
    Required,
}

/// A header that may carry a token.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtHeader {
    /// Its name.
    #[schemars(extend("x-required" = true), length(min = 1))]
    pub name: String,
    /// What stands before the token.
    pub prefix: String,
}

/// A header in which the upstream gets a claim.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimToHeader {
    /// Its name.
    #[schemars(extend("x-required" = true), length(min = 1), regex(pattern = "^[-_A-Za-z0-9]+$"))]
    pub header: String,
    /// The claim.
    #[schemars(extend("x-required" = true), length(min = 1))]
    pub claim: String,
}

/// Configuration for access control on workloads.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// The workloads that it is for.
    pub selector: Option<MatchLabels>,
    /// Deprecated: use targetRefs.
    pub target_ref: Option<TargetRef>,
    /// The objects that it is attached to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Rules of which one must match.
    #[schemars(length(max = 512))]
    pub rules: Vec<AuthorizationRule>,
    /// What happens to requests that match.
    pub action: Option<AuthorizationAction>,
    /// Who decides, for CUSTOM.
    pub provider: Option<ExtensionProvider>,
}

/// What happens to requests that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthorizationAction {
    /// They pass; others do not.
    Allow,
    /// They are refused.
    Deny,
    /// They are noted.
    Audit,
    /// Somebody else decides.
    Custom,
}

/// A provider of the mesh's configuration.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Its name.
    pub name: String,
}

/// A rule: every part that is set must match.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationRule {
    /// Who calls.
    #[schemars(length(max = 512))]
    pub from: Vec<RuleFrom>,
    /// What is called.
    pub to: Vec<RuleTo>,
    /// Other conditions.
    pub when: Vec<Condition>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleFrom {
    /// Properties of the caller.
    pub source: Option<AuthorizationSource>,
}

/// Properties of a caller.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationSource {
    /// Identities of peers.
    pub principals: Vec<String>,
    /// Not these identities of peers.
    pub not_principals: Vec<String>,
    /// Identities of tokens.
    pub request_principals: Vec<String>,
    /// Not these identities of tokens.
    pub not_request_principals: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Not these namespaces.
    pub not_namespaces: Vec<String>,
    /// Service accounts.
    #[schemars(length(max = 16))]
    pub service_accounts: Vec<String>,
    /// Not these service accounts.
    #[schemars(length(max = 16))]
    pub not_service_accounts: Vec<String>,
    /// Trust domains.
    pub trust_domains: Vec<String>,
    /// Not these trust domains.
    pub not_trust_domains: Vec<String>,
    /// Addresses of peers.
    pub ip_blocks: Vec<String>,
    /// Not these addresses of peers.
    pub not_ip_blocks: Vec<String>,
    /// Addresses of original clients.
    pub remote_ip_blocks: Vec<String>,
    /// Not these addresses of original clients.
    pub not_remote_ip_blocks: Vec<String>,
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleTo {
    /// Properties of the request.
    pub operation: Option<Operation>,
}

/// Properties of a request.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Hosts.
    pub hosts: Vec<String>,
    /// Not these hosts.
    pub not_hosts: Vec<String>,
    /// Ports of the workload.
    pub ports: Vec<String>,
    /// Not these ports of the workload.
    pub not_ports: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Not these methods.
    pub not_methods: Vec<String>,
    /// Paths.
    pub paths: Vec<String>,
    /// Not these paths.
    pub not_paths: Vec<String>,
}

/// A condition on an attribute.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// The attribute.
    #[schemars(extend("x-required" = true))]
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
    /// Not these values.
    pub not_values: Vec<String>,
}
