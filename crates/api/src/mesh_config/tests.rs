use lateen_model::balancer::Distribute;
use lateen_model::retry::RetryOn;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<MeshConfig, Report> {
    MeshConfig::default().read(text)
}

fn valid(text: &str) -> MeshConfig {
    let config = read(text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.warnings, []);
    config
}

/// The paths of what is wrong.
fn wrong(text: &str) -> Vec<String> {
    let errors = read(text).unwrap_err().errors;
    errors.into_iter().map(|problem| problem.path).collect()
}

#[test]
fn an_empty_text_is_the_default_configuration() {
    assert_eq!(valid(""), MeshConfig::default());
    assert_eq!(valid("trustDomain: null"), MeshConfig::default());
    let config = MeshConfig::new("example.org", "root");
    assert_eq!(config.clone().read(""), Ok(config));
}

#[test]
fn the_fields_of_istios_config_map_are_read() {
    let config = valid(
        "
accessLogFile: /dev/stdout
accessLogEncoding: JSON
trustDomain: example.org
rootNamespace: mesh-root
protocolDetectionTimeout: 5s
connectTimeout: 3s
dnsRefreshRate: 5s
defaultServiceExportTo: ['.']
enablePrometheusMerge: false
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  concurrency: 2
  terminationDrainDuration: 20s
  proxyMetadata:
    ISTIO_META_DNS_CAPTURE: true
",
    );
    assert_eq!(config.mesh.access_log_encoding, AccessLogEncoding::Json);
    assert_eq!(config.mesh.access_log_file, "/dev/stdout");
    assert_eq!(config.mesh.trust_domain, "example.org");
    assert_eq!(config.mesh.root_namespace, "mesh-root");
    assert_eq!(config.mesh.protocol_detection_timeout_ms, 5000);
    assert_eq!(config.mesh.connect_timeout, Duration::from_secs(3));
    assert_eq!(config.mesh.dns_refresh_rate, Duration::from_secs(5));
    assert_eq!(config.settings.default_service_export_to, ["."]);
    assert!(!config.is_prometheus_merged);
    let proxy = &config.default_config;
    assert_eq!(proxy.settings["concurrency"], 2);
    assert_eq!(proxy.settings["terminationDrainDuration"], "20s");
    assert_eq!(proxy.environment["ISTIO_META_DNS_CAPTURE"], "true");
}

#[test]
fn an_outbound_policy_without_a_mode_is_registry_only() {
    let policy = |text: &str| {
        let config = read(&format!("outboundTrafficPolicy: {text}")).unwrap();
        (config.mesh.outbound_policy, config.warnings.len())
    };
    assert_eq!(policy("null"), (OutboundPolicy::AllowAny, 0));
    assert_eq!(policy("{}"), (OutboundPolicy::RegistryOnly, 0));
    assert_eq!(
        policy("{mode: REGISTRY_ONLY}"),
        (OutboundPolicy::RegistryOnly, 0)
    );
    assert_eq!(policy("{mode: ALLOW_ANY}"), (OutboundPolicy::AllowAny, 0));
    assert_eq!(
        policy("{mode: ALLOW_ANY_DYNAMIC_DNS}"),
        (OutboundPolicy::AllowAny, 1)
    );
}

#[test]
fn the_retries_of_rules_without_some_are_the_meshs() {
    let retries = |text: &str| {
        let config = valid(&format!("defaultHttpRetryPolicy: {text}"));
        config.mesh.default_retries
    };
    let own = retries("{attempts: 5, retryOn: 'reset,503'}");
    assert_eq!(own.attempts, 5);
    assert_eq!(
        own.conditions,
        [RetryOn::Reset, RetryOn::RetriableStatusCodes]
    );
    assert_eq!(own.status_codes, [503]);
    assert_eq!(retries("{attempts: 0}").attempts, 0);
    assert_eq!(valid("").mesh.default_retries.attempts, 2);
    assert_eq!(
        wrong("defaultHttpRetryPolicy: {attempts: 1, retryOn: sometimes}"),
        ["defaultHttpRetryPolicy.retryOn"]
    );
    assert_eq!(
        wrong("defaultHttpRetryPolicy: {attempts: many}"),
        ["defaultHttpRetryPolicy"]
    );
}

#[test]
fn localities_of_destinations_without_a_setting_are_the_meshs() {
    let config = valid("localityLbSetting: {distribute: [{from: a/*, to: {a: 70, b: 30}}]}");
    assert!(config.mesh.locality.is_enabled);
    assert_eq!(
        config.mesh.locality.distribute,
        [Distribute {
            from: "a/*".into(),
            to: vec![("a".into(), 70), ("b".into(), 30)],
        }]
    );
    let off = valid("localityLbSetting: {enabled: false}");
    assert!(!off.mesh.locality.is_enabled);
    assert_eq!(
        wrong("localityLbSetting: {failover: [{from: a, to: a}]}"),
        ["localityLbSetting.failover[0]"]
    );
}

#[test]
fn unknown_fields_and_those_not_in_effect_are_told_apart_from_errors() {
    let config = read("accessLogFiel: x\nenableTracing: true\n").unwrap();
    let texts: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(
        texts[0].contains("did you mean \"accessLogFile\"?"),
        "{texts:?}"
    );
    assert!(
        texts[1].starts_with("enableTracing: is accepted, but not in effect"),
        "{texts:?}"
    );

    let text = "
trustDomain: ''
accessLogEncoding: XML
outboundTrafficPolicy: {mode: SOME}
connectTimeout: 2h
dnsRefreshRate: 0s
protocolDetectionTimeout: soon
defaultConfig: {concurrency: 2000, drainDuration: soon}
";
    assert_eq!(
        wrong(text),
        [
            "trustDomain",
            "accessLogEncoding",
            "protocolDetectionTimeout",
            "outboundTrafficPolicy.mode",
            "connectTimeout",
            "dnsRefreshRate",
            "defaultConfig.drainDuration",
            "defaultConfig.concurrency",
        ]
    );
    assert!(read("[1]").is_err());
    assert!(read("a: [").is_err());
}

#[test]
fn an_annotation_replaces_fields_and_merges_metadata_by_key() {
    let text = "defaultConfig: {concurrency: 2, drainDuration: 9s, proxyMetadata: {A: a, B: b}}";
    let config = valid(text).default_config;
    let annotation = "concurrency: 0\nproxyMetadata: {B: own, C: c}\n";
    let (proxy, problems) = config.merged(Some(annotation)).unwrap();
    assert_eq!(problems, []);
    assert_eq!(
        Value::from(proxy.settings),
        json!({"concurrency": 0, "drainDuration": "9s"})
    );
    let environment: Vec<(&str, &str)> = proxy
        .environment
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(environment, [("A", "a"), ("B", "own"), ("C", "c")]);
    assert_eq!(config.merged(None).unwrap().0, config);
    let report = config.merged(Some("concurrency: -1")).unwrap_err();
    assert_eq!(report.errors[0].path, "proxy.istio.io/config.concurrency");
    let (_, problems) = config.merged(Some("tracing: {}")).unwrap();
    assert_eq!(problems[0].path, "proxy.istio.io/config.tracing");
}
