//! `WasmPlugin` and `TrafficExtension`: code that proxies run.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::common::{MatchLabels, TargetRef};

/// Extends the functionality provided by the Istio proxy through WebAssembly filters.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPlugin {
    /// The workloads that it is for.
    pub selector: Option<MatchLabels>,
    /// Deprecated: use targetRefs.
    pub target_ref: Option<TargetRef>,
    /// The objects that it is attached to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Where the module is: oci, http, https or file.
    #[schemars(extend("x-required" = true), length(min = 1))]
    pub url: String,
    /// Its checksum.
    #[schemars(regex(pattern = "(^$|^[a-f0-9]{64}$)"))]
    pub sha256: String,
    /// When it is fetched again.
    pub image_pull_policy: Option<PullPolicy>,
    /// The secret for its registry.
    #[schemars(length(min = 1, max = 253))]
    pub image_pull_secret: Option<String>,
    /// Not used by Istio.
    pub verification_key: String,
    /// The settings that the module gets.
    #[schemars(schema_with = "any_object")]
    pub plugin_config: Map<String, Value>,
    /// The name of the plugin in the module.
    #[schemars(length(min = 1, max = 256))]
    pub plugin_name: Option<String>,
    /// Where in the chain of filters it runs.
    pub phase: Option<PluginPhase>,
    /// The order within the phase; higher runs first.
    pub priority: Option<i32>,
    /// What happens if it fails.
    pub fail_strategy: Option<FailStrategy>,
    /// The machine that runs it.
    pub vm_config: Option<VmConfig>,
    /// The traffic that it is for.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// What it filters.
    #[serde(rename = "type")]
    pub kind: Option<PluginType>,
}

/// When a module is fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// As its tag suggests.
    #[serde(rename = "UNSPECIFIED_POLICY")]
    Unspecified,
    /// Only if it is missing.
    IfNotPresent,
    /// Each time.
    Always,
}

/// Where in the chain of filters a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginPhase {
    /// At the end.
    UnspecifiedPhase,
    /// Before authentication.
    Authn,
    /// Before authorisation.
    Authz,
    /// Before statistics.
    Stats,
}

/// Where in the chain of filters an extension runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExtensionPhase {
    /// At the end.
    Unspecified,
    /// Before authentication.
    Authn,
    /// Before authorisation.
    Authz,
    /// Before statistics.
    Stats,
}

/// What happens if a plugin fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStrategy {
    /// Requests are refused.
    FailClose,
    /// Requests pass.
    FailOpen,
    /// It is loaded again.
    FailReload,
}

/// What a plugin filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginType {
    /// The default: HTTP.
    UnspecifiedPluginType,
    /// Requests.
    Http,
    /// Connections.
    Network,
}

/// The machine that runs a module.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VmConfig {
    /// Its environment.
    #[schemars(length(max = 256))]
    pub env: Vec<EnvVar>,
}

/// A variable of a module's environment.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Its name.
    #[schemars(extend("x-required" = true), length(min = 1, max = 256))]
    pub name: String,
    /// Where its value comes from.
    pub value_from: Option<ValueFrom>,
    /// Its value.
    #[schemars(length(max = 2048))]
    pub value: String,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ValueFrom {
    /// From the object.
    Inline,
    /// From the proxy's environment.
    Host,
}

/// The traffic that an extension is for.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficSelector {
    /// Which side is meant.
    pub mode: Option<TrafficMode>,
    /// The ports.
    pub ports: Vec<SelectedPort>,
}

/// Which side of a connection is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TrafficMode {
    /// The default: both.
    Undefined,
    /// The caller's.
    Client,
    /// The callee's.
    Server,
    /// Both.
    ClientAndServer,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectedPort {
    /// Its number.
    #[schemars(extend("x-required" = true), range(min = 1, max = 65535))]
    pub number: u32,
}

/// Extends the functionality provided by the Istio proxy.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficExtension {
    /// The workloads that it is for.
    pub selector: Option<MatchLabels>,
    /// The objects that it is attached to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Where in the chain of filters it runs.
    pub phase: Option<ExtensionPhase>,
    /// The order within the phase; higher runs first.
    pub priority: Option<i32>,
    /// The traffic that it is for.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// A WebAssembly module.
    pub wasm: Option<WasmModule>,
    /// A Lua script.
    pub lua: Option<LuaScript>,
}

/// A WebAssembly module.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmModule {
    /// Where it is: oci, http, https or file.
    #[schemars(extend("x-required" = true), length(min = 1))]
    pub url: String,
    /// Its checksum.
    #[schemars(regex(pattern = "(^$|^[a-f0-9]{64}$)"))]
    pub sha256: String,
    /// When it is fetched again.
    pub image_pull_policy: Option<PullPolicy>,
    /// The secret for its registry.
    #[schemars(length(min = 1, max = 253))]
    pub image_pull_secret: Option<String>,
    /// Not used by Istio.
    pub verification_key: String,
    /// The settings that the module gets.
    #[schemars(schema_with = "any_object")]
    pub plugin_config: Map<String, Value>,
    /// The name of the plugin in the module.
    #[schemars(length(min = 1, max = 256))]
    pub plugin_name: Option<String>,
    /// What happens if it fails.
    pub fail_strategy: Option<FailStrategy>,
    /// The machine that runs it.
    pub vm_config: Option<VmConfig>,
    /// What it filters.
    #[serde(rename = "type")]
    pub kind: Option<PluginType>,
}

/// A Lua script.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LuaScript {
    /// Its text.
    #[schemars(extend("x-required" = true), length(min = 1, max = 65536))]
    pub inline_code: String,
}

/// The schema of a field that takes any object.
pub(super) fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
