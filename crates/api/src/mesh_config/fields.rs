//! The fields of the mesh's configuration, as data: those in effect, and those that are known.

/// The fields of a map.
pub(super) struct Fields {
    /// Those that are in effect.
    pub(super) in_effect: &'static [&'static str],
    /// Those that are known, but do nothing in this version.
    pub(super) other: &'static [&'static str],
}

/// MeshConfig.
pub(super) const MESH: Fields = Fields {
    in_effect: &[
        "accessLogEncoding",
        "accessLogFile",
        "connectTimeout",
        "defaultConfig",
        "defaultDestinationRuleExportTo",
        "defaultHttpRetryPolicy",
        "defaultServiceExportTo",
        "defaultVirtualServiceExportTo",
        "dnsRefreshRate",
        "enablePrometheusMerge",
        "localityLbSetting",
        "outboundTrafficPolicy",
        "protocolDetectionTimeout",
        "rootNamespace",
        "trustDomain",
    ],
    other: &[
        "accessLogFormat",
        "ca",
        "caCertificates",
        "certificates",
        "configSources",
        "defaultInboundHttpRetryPolicy",
        "defaultProviders",
        "defaultTrafficPolicy",
        "disableEnvoyListenerLog",
        "discoverySelectors",
        "enableAutoMtls",
        "enableEnvoyAccessLogService",
        "enableTracing",
        "extensionProviders",
        "h2UpgradePolicy",
        "hboneIdleTimeout",
        "inboundClusterStatName",
        "inboundTrafficPolicy",
        "ingressClass",
        "ingressControllerMode",
        "ingressSelector",
        "ingressService",
        "meshMTLS",
        "outboundClusterStatName",
        "pathNormalization",
        "proxyHttpPort",
        "proxyInboundListenPort",
        "proxyListenPort",
        "serviceEntryVisibility",
        "serviceScopeConfigs",
        "serviceSettings",
        "tcpKeepalive",
        "tlsDefaults",
        "trustDomainAliases",
        "verifyCertificateAtClient",
        "zoneAwareLbSetting",
    ],
};

/// `outboundTrafficPolicy`.
pub(super) const OUTBOUND_POLICY: Fields = Fields {
    in_effect: &["mode"],
    other: &["tls"],
};

/// ProxyConfig: `defaultConfig` and the annotation of pods.
pub(super) const PROXY: Fields = Fields {
    in_effect: &[
        "concurrency",
        "discoveryAddress",
        "drainDuration",
        // A proxy is a native sidecar, hence ready before the application starts.
        "holdApplicationUntilProxyStarts",
        "proxyMetadata",
        "terminationDrainDuration",
    ],
    other: &[
        "availabilityZone",
        "binaryPath",
        "caCertificatesPem",
        "configPath",
        "connectionSettings",
        "controlPlaneAuthPolicy",
        "customConfigFile",
        "discoveryRefreshDelay",
        "envoyAccessLogService",
        "envoyMetricsService",
        "envoyMetricsServiceAddress",
        "extraStatTags",
        "fileFlushInterval",
        "fileFlushMinSizeKb",
        "gatewayTopology",
        "image",
        "interceptionMode",
        "meshId",
        "privateKeyProvider",
        "proxyAdminPort",
        "proxyBootstrapTemplatePath",
        "proxyHeaders",
        "proxyStatsMatcher",
        "readinessProbe",
        "runtimeValues",
        "sds",
        "serviceCluster",
        "statNameLength",
        "statsCompression",
        "statsdUdpAddress",
        "statusPort",
        "tracing",
        "tracingServiceName",
        "zipkinAddress",
    ],
};
