//! The codes of messages: numbers, names and levels are Istio's, so that scripts and suppressions
//! keep working.

use std::fmt;

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Probably not what was meant.
    Warning,
    /// Does not work.
    Error,
}

/// A kind of message.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The code, such as `IST0101`.
    pub id: &'static str,
    /// The name, such as `ReferencedResourceNotFound`.
    pub name: &'static str,
    /// How grave it usually is.
    pub level: Level,
    /// What it means.
    pub description: &'static str,
}

macro_rules! codes {
    ($($constant:ident $id:literal $name:literal $level:ident $description:literal)*) => {
        $(
            #[doc = $description]
            pub static $constant: Code = Code {
                id: $id,
                name: $name,
                level: Level::$level,
                description: $description,
            };
        )*

        /// Every code that the analysis may give.
        pub static CODES: &[&Code] = &[$(&$constant),*];
    };
}

codes! {
    REFERENCE "IST0101" "ReferencedResourceNotFound" Error
        "Something that is referred to does not exist."
    NAMESPACE_NOT_INJECTED "IST0102" "NamespaceNotInjected" Info
        "A namespace is not enabled for injection."
    POD_MISSING_PROXY "IST0103" "PodMissingProxy" Warning
        "A pod of an injected namespace has no proxy."
    SCHEMA "IST0106" "SchemaValidationError" Error
        "An object breaks the rules of its kind."
    MISPLACED_ANNOTATION "IST0107" "MisplacedAnnotation" Warning
        "An annotation is on an object of the wrong kind."
    UNKNOWN_ANNOTATION "IST0108" "UnknownAnnotation" Warning
        "An annotation of Istio's domain is unknown."
    CONFLICTING_MESH_HOSTS "IST0109" "ConflictingMeshGatewayVirtualServiceHosts" Error
        "Several VirtualServices of sidecars have the same host."
    CONFLICTING_SIDECARS "IST0110" "ConflictingSidecarWorkloadSelectors" Error
        "Several Sidecars select the same workload."
    MULTIPLE_SIDECARS "IST0111" "MultipleSidecarsWithoutWorkloadSelectors" Error
        "Several Sidecars of a namespace have no selector."
    PORT_REQUIRED "IST0112" "VirtualServiceDestinationPortSelectorRequired" Error
        "A destination has several ports, and none is named."
    MULTIPLE_SERVICES "IST0116" "DeploymentAssociatedToMultipleServices" Warning
        "Several services select a deployment's port with different protocols."
    PORT_NAME "IST0118" "PortNameIsNotUnderNamingConvention" Info
        "The name of a port tells no protocol."
    MULTIPLE_INJECTION_LABELS "IST0123" "NamespaceMultipleInjectionLabels" Warning
        "A namespace has both labels for injection."
    INVALID_ANNOTATION "IST0125" "InvalidAnnotation" Warning
        "The value of an annotation is not valid."
    NO_MATCHING_WORKLOADS "IST0127" "NoMatchingWorkloadsFound" Warning
        "No workload has the labels that a policy selects."
    UNREACHABLE_RULE "IST0130" "VirtualServiceUnreachableRule" Warning
        "A rule is never used."
    INEFFECTIVE_MATCH "IST0131" "VirtualServiceIneffectiveMatch" Info
        "A match is never used."
    HOST_NOT_IN_GATEWAY "IST0132" "VirtualServiceHostNotFoundInGateway" Warning
        "No host of a VirtualService is one of its gateway's."
    SCHEMA_WARNING "IST0133" "SchemaWarning" Warning
        "An object is valid, but probably not what was meant."
    ADDRESSES_REQUIRED "IST0134" "ServiceEntryAddressesRequired" Warning
        "A ServiceEntry with a TCP port has no address."
    DEPRECATED_ANNOTATION "IST0135" "DeprecatedAnnotation" Info
        "An annotation is deprecated."
    ALPHA_ANNOTATION "IST0136" "AlphaAnnotation" Info
        "An annotation is not yet stable."
    CONFLICTING_PORTS "IST0137" "DeploymentConflictingPorts" Warning
        "Several services have different ports for the same target port of a deployment."
    DUPLICATE_CERTIFICATE "IST0138" "GatewayDuplicateCertificate" Warning
        "Several Gateways show the same certificate, which connections of HTTP/2 are reused for."
    APPLICATION_UID "IST0144" "InvalidApplicationUID" Warning
        "An application runs as the proxy's user."
    CONFLICTING_GATEWAYS "IST0145" "ConflictingGateways" Error
        "Several Gateways have the same selector, port and host."
    CLAIMS_WITHOUT_AUTHENTICATION "IST0149" "JwtClaimBasedRoutingWithoutRequestAuthN" Error
        "Routes ask for claims, but no RequestAuthentication checks tokens."
    EXTERNAL_NAME_PORT "IST0150" "ExternalNameServiceTypeInvalidPortName" Warning
        "An ExternalName service has a port whose name tells no protocol, or TCP."
    RELATIVE_OPERATION "IST0151" "EnvoyFilterUsesRelativeOperation" Warning
        "A patch depends on others, and its filter has no priority."
    REPLACE_OPERATION "IST0152" "EnvoyFilterUsesReplaceOperationIncorrectly" Error
        "REPLACE is for HTTP_FILTER and NETWORK_FILTER only."
    ADD_OPERATION "IST0153" "EnvoyFilterUsesAddOperationIncorrectly" Error
        "ADD is ignored for routes."
    REMOVE_OPERATION "IST0154" "EnvoyFilterUsesRemoveOperationIncorrectly" Error
        "REMOVE is ignored for routes."
    TELEMETRY_PROVIDER "IST0157" "InvalidTelemetryProvider" Warning
        "A Telemetry names no provider."
    CONFLICTING_TELEMETRIES "IST0159" "ConflictingTelemetryWorkloadSelectors" Error
        "Several Telemetries select the same workload."
    MULTIPLE_TELEMETRIES "IST0160" "MultipleTelemetriesWithoutWorkloadSelectors" Error
        "Several Telemetries of a namespace have no selector."
    INVALID_CREDENTIAL "IST0161" "InvalidGatewayCredential" Error
        "A Secret that a Gateway names cannot be used."
    GATEWAY_PORT "IST0162" "GatewayPortNotDefinedOnService" Warning
        "No service exposes the port of a Gateway."
    SUBSET_WITHOUT_PODS "IST0173" "DestinationRuleSubsetNotSelectPods" Error
        "A subset selects no pods."
    UNKNOWN_HOST "IST0174" "UnknownDestinationRuleHost" Warning
        "The host of a DestinationRule does not exist."
    CONFLICTING_PROTOCOLS "IST0177" "ConflictingServiceEntryProtocol" Warning
        "Several ServiceEntries give the same host and port different protocols."
}

// === impl Level ===

impl Level {
    /// Reads a level's name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error]
            .into_iter()
            .find(|level| level.to_string().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
        })
    }
}
