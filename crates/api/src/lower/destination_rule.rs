//! Lowers a DestinationRule.

use lateen_model::destination::{DestinationRule, LoadBalancer, PortPolicy, Subset, TrafficPolicy};
use lateen_model::{Body, HostPattern};

use super::{Context, Lowered, export_to, port};
use crate::spec::destination_rule as spec;
use crate::spec::traffic_policy as policy;

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

fn traffic_policy(policy: Option<&policy::TrafficPolicy>) -> TrafficPolicy {
    let Some(policy) = policy else {
        return TrafficPolicy::default();
    };
    let ports = policy.port_level_settings.iter().filter_map(|settings| {
        let number = settings.port?.number;
        let policy = PortPolicy {
            load_balancer: settings.load_balancer.as_ref().map(load_balancer),
        };
        Some((port(number), policy))
    });
    TrafficPolicy {
        port_default: PortPolicy {
            load_balancer: policy.load_balancer.as_ref().map(load_balancer),
        },
        ports: ports.collect(),
    }
}

/// A block that is there overrides one from above even where it names no algorithm.
fn load_balancer(block: &policy::LoadBalancer) -> LoadBalancer {
    use policy::SimpleLb;
    match block.simple {
        None | Some(SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest) => {
            LoadBalancer::LeastRequest
        }
        Some(SimpleLb::Random) => LoadBalancer::Random,
        Some(SimpleLb::RoundRobin) => LoadBalancer::RoundRobin,
        Some(SimpleLb::Passthrough) => LoadBalancer::Passthrough,
    }
}
