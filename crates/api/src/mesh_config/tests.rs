use std::time::Duration;

use super::*;

#[test]
fn an_empty_text_is_the_default_configuration() {
    let (config, problems) = parse("").unwrap();
    assert_eq!(config, MeshConfig::default());
    assert!(problems.is_empty());
}

#[test]
fn the_fields_of_istios_config_map_are_read() {
    let text = "
accessLogFile: /dev/stdout
accessLogEncoding: JSON
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
trustDomain: example.org
rootNamespace: mesh-root
protocolDetectionTimeout: 5s
defaultServiceExportTo: ['.']
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  concurrency: 2
  terminationDrainDuration: 20s
  holdApplicationUntilProxyStarts: true
  proxyMetadata:
    ISTIO_META_DNS_CAPTURE: true
";
    let (config, problems) = parse(text).unwrap();
    assert_eq!(problems, []);
    assert_eq!(config.mesh.outbound_policy, OutboundPolicy::RegistryOnly);
    assert_eq!(config.mesh.access_log_encoding, AccessLogEncoding::Json);
    assert_eq!(config.mesh.access_log_file, "/dev/stdout");
    assert_eq!(config.mesh.trust_domain, "example.org");
    assert_eq!(config.mesh.root_namespace, "mesh-root");
    assert_eq!(config.mesh.protocol_detection_timeout_ms, 5000);
    assert_eq!(config.settings.default_service_export_to, ["."]);
    let proxy = &config.default_config;
    assert_eq!(proxy.concurrency, Some(2));
    assert_eq!(proxy.termination_drain_duration, Duration::from_secs(20));
    assert!(proxy.hold_application_until_proxy_starts);
    assert_eq!(proxy.proxy_metadata["ISTIO_META_DNS_CAPTURE"], "true");
}

#[test]
fn unknown_fields_and_those_not_in_effect_are_told_apart_from_errors() {
    let (_, problems) = parse("accessLogFiel: x\nenableTracing: true\n").unwrap();
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        texts[0].contains("did you mean \"accessLogFile\"?"),
        "{texts:?}"
    );
    assert!(
        texts[1].starts_with("enableTracing: is accepted, but not in effect"),
        "{texts:?}"
    );

    let report = parse("trustDomain: 1\naccessLogEncoding: XML\n").unwrap_err();
    let paths: Vec<&str> = report.errors.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["accessLogEncoding", "trustDomain"]);
    assert!(parse("[1]").is_err());
    assert!(parse("a: [").is_err());
}

#[test]
fn an_annotation_replaces_fields_and_merges_metadata_by_key() {
    let text = "defaultConfig: {concurrency: 2, drainDuration: 9s, proxyMetadata: {A: a, B: b}}";
    let (config, _) = parse(text).unwrap();
    let annotation = "concurrency: 0\nproxyMetadata: {B: own, C: c}\n";
    let (proxy, problems) = config.proxy_config(Some(annotation)).unwrap();
    assert_eq!(problems, []);
    assert_eq!(proxy.concurrency, Some(0));
    assert_eq!(proxy.drain_duration, Duration::from_secs(9));
    let metadata: Vec<(&str, &str)> = proxy
        .proxy_metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(metadata, [("A", "a"), ("B", "own"), ("C", "c")]);
    assert_eq!(config.proxy_config(None).unwrap().0, config.default_config);
    let report = config.proxy_config(Some("concurrency: -1")).unwrap_err();
    assert_eq!(report.errors[0].path, "proxy.istio.io/config.concurrency");
}
