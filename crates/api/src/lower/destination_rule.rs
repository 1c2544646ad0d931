//! Lowers a DestinationRule.

use lateen_model::destination::{DestinationRule, PortPolicy, RetryBudget, Subset, TrafficPolicy};
use lateen_model::tls::{ClientTls, ClientTlsMode};
use lateen_model::{Body, HostPattern};

use super::connection_pool::{connection_pool, outlier_detection};
use super::load_balancer::load_balancer;
use super::{Context, Lowered, export_to, percent, port};
use crate::spec::destination_rule as spec;
use crate::spec::{tls, traffic_policy as policy};

/// Lowers a spec that was checked.
pub(super) fn lower(spec: &spec::DestinationRule, context: &Context<'_>) -> Lowered {
    let subsets = spec.subsets.iter().map(|subset| Subset {
        name: subset.name.clone(),
        labels: subset.labels.clone(),
        policy: traffic_policy(subset.traffic_policy.as_ref()),
    });
    let body = DestinationRule {
        namespace: context.namespace.to_owned(),
        host: HostPattern::resolve(
            &spec.host,
            context.namespace,
            &context.settings.cluster_domain,
        ),
        export_to: export_to(
            &spec.export_to,
            &context.settings.default_destination_rule_export_to,
            context.namespace,
        ),
        workload_selector: spec
            .workload_selector
            .as_ref()
            .map(|s| s.match_labels.clone()),
        policy: traffic_policy(spec.traffic_policy.as_ref()),
        subsets: subsets.collect(),
    };
    Lowered {
        resources: vec![context.resource(Body::DestinationRule(body))],
        ..Lowered::default()
    }
}

fn traffic_policy(spec: Option<&policy::TrafficPolicy>) -> TrafficPolicy {
    let Some(spec) = spec else {
        return TrafficPolicy::default();
    };
    let ports = spec.port_level_settings.iter().filter_map(|settings| {
        let policy = PortPolicy {
            load_balancer: settings.load_balancer.as_ref().map(load_balancer),
            connection_pool: settings.connection_pool.as_ref().map(connection_pool),
            outlier_detection: settings.outlier_detection.as_ref().map(outlier_detection),
            tls: settings.tls.as_ref().map(client_tls),
        };
        Some((port(settings.port?.number), policy))
    });
    TrafficPolicy {
        port_default: PortPolicy {
            load_balancer: spec.load_balancer.as_ref().map(load_balancer),
            connection_pool: spec.connection_pool.as_ref().map(connection_pool),
            outlier_detection: spec.outlier_detection.as_ref().map(outlier_detection),
            tls: spec.tls.as_ref().map(client_tls),
        },
        ports: ports.collect(),
        retry_budget: spec.retry_budget.as_ref().map(retry_budget),
    }
}

/// What is left out takes Envoy's defaults.
fn retry_budget(spec: &policy::RetryBudget) -> RetryBudget {
    RetryBudget {
        percent: percent(spec.percent.unwrap_or(20.0)),
        min_retry_concurrency: spec.min_retry_concurrency.unwrap_or(3),
    }
}

fn client_tls(spec: &tls::ClientTls) -> ClientTls {
    ClientTls {
        mode: match spec.mode {
            None | Some(tls::ClientTlsMode::Disable) => ClientTlsMode::Disable,
            Some(tls::ClientTlsMode::Simple) => ClientTlsMode::Simple,
            Some(tls::ClientTlsMode::Mutual) => ClientTlsMode::Mutual,
            Some(tls::ClientTlsMode::IstioMutual) => ClientTlsMode::IstioMutual,
        },
        client_certificate: spec.client_certificate.clone(),
        private_key: spec.private_key.clone(),
        ca_certificates: spec.ca_certificates.clone(),
        ca_crl: spec.ca_crl.clone(),
        credential_name: spec.credential_name.clone(),
        sni: spec.sni.clone(),
        subject_alt_names: spec.subject_alt_names.clone(),
        insecure_skip_verify: spec.insecure_skip_verify.unwrap_or(false),
    }
}

#[cfg(test)]
mod tests;
