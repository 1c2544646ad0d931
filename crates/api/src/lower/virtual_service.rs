//! Lowers a VirtualService.

use std::collections::BTreeMap;

use lateen_model::http::HeaderRules;
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, L4Match, StringMatch, TcpRule, TlsMatch, TlsRule,
    ValueMatch, VirtualService, WeightedDestination,
};
use lateen_model::{Body, Host, HostPattern};

use super::{Context, Lowered, export_to, http_rule, port};
use crate::spec::common;
use crate::spec::virtual_service as spec;
use crate::validate::{gateway_name, subnet};

/// Lowers a spec that was checked. One without hosts is a delegate: its resource has none either,
/// and is in effect through the rules that name it.
pub(super) fn lower(spec: &spec::VirtualService, context: &Context<'_>) -> Lowered {
    let mut lowered = Lowered::default();
    let domain = &context.settings.cluster_domain;
    let hosts = spec.hosts.iter();
    let mut gateways = gateways(&spec.gateways, context);
    if gateways.is_empty() {
        gateways.push(GatewayRef::Mesh);
    }
    let http = spec.http.iter().enumerate().map(|(index, rule)| {
        let path = format!("spec.http[{index}]");
        http_rule::lower(rule, &path, context, &mut lowered.unsupported)
    });
    let body = VirtualService {
        namespace: context.namespace.to_owned(),
        hosts: hosts
            .map(|host| HostPattern::resolve(host, context.namespace, domain))
            .collect(),
        gateways,
        export_to: export_to(
            &spec.export_to,
            &context.settings.default_virtual_service_export_to,
            context.namespace,
        ),
        http: http.collect(),
        tls: spec
            .tls
            .iter()
            .map(|rule| tls_rule(rule, context))
            .collect(),
        tcp: spec
            .tcp
            .iter()
            .map(|rule| tcp_rule(rule, context))
            .collect(),
    };
    lowered
        .resources
        .push(context.resource(Body::VirtualService(body)));
    lowered
}

pub(super) fn http_match(block: &spec::HttpMatch, context: &Context<'_>) -> HttpMatch {
    HttpMatch {
        name: block.name.clone(),
        uri: block.uri.as_ref().and_then(string_match),
        ignore_uri_case: block.ignore_uri_case,
        scheme: block.scheme.as_ref().and_then(string_match),
        method: block.method.as_ref().and_then(string_match),
        authority: block.authority.as_ref().and_then(string_match),
        headers: value_matches(&block.headers, true),
        without_headers: value_matches(&block.without_headers, true),
        query_params: value_matches(&block.query_params, false),
        port: block.port.map(port),
        source_labels: block.source_labels.clone(),
        source_namespace: non_empty(&block.source_namespace),
        gateways: gateways(&block.gateways, context),
    }
}

/// A condition; none if nothing is asked for.
pub(super) fn string_match(condition: &common::StringMatch) -> Option<StringMatch> {
    let common::StringMatch {
        exact,
        prefix,
        regex,
    } = condition;
    let exact = exact.clone().map(StringMatch::Exact);
    let prefix = || prefix.clone().map(StringMatch::Prefix);
    let regex = || regex.clone().map(StringMatch::Regex);
    exact.or_else(prefix).or_else(regex)
}

fn value_matches(
    conditions: &BTreeMap<String, common::StringMatch>,
    is_header: bool,
) -> Vec<(String, ValueMatch)> {
    conditions
        .iter()
        .map(|(name, condition)| {
            let name = if is_header {
                name.to_ascii_lowercase()
            } else {
                name.clone()
            };
            let value = match string_match(condition) {
                None => ValueMatch::Present,
                Some(StringMatch::Regex(regex)) if regex == "*" => ValueMatch::Present,
                Some(condition) => ValueMatch::Value(condition),
            };
            (name, value)
        })
        .collect()
}

fn tls_rule(rule: &spec::TlsRoute, context: &Context<'_>) -> TlsRule {
    let matches = rule.matches.iter().map(|block| TlsMatch {
        // What clients ask for in TLS is compared as it is: short names are not expanded.
        sni_hosts: block
            .sni_hosts
            .iter()
            .map(|host| HostPattern::literal(host))
            .collect(),
        l4: L4Match {
            destination_subnets: subnets(&block.destination_subnets),
            port: block.port.map(port),
            source_labels: block.source_labels.clone(),
            source_namespace: non_empty(&block.source_namespace),
            gateways: gateways(&block.gateways, context),
        },
    });
    TlsRule {
        matches: matches.collect(),
        route: l4_route(&rule.route, context),
    }
}

fn tcp_rule(rule: &spec::TcpRoute, context: &Context<'_>) -> TcpRule {
    let matches = rule.matches.iter().map(|block| L4Match {
        destination_subnets: subnets(&block.destination_subnets),
        port: block.port.map(port),
        source_labels: block.source_labels.clone(),
        source_namespace: non_empty(&block.source_namespace),
        gateways: gateways(&block.gateways, context),
    });
    TcpRule {
        matches: matches.collect(),
        route: l4_route(&rule.route, context),
    }
}

fn l4_route(route: &[spec::RouteDestination], context: &Context<'_>) -> Vec<WeightedDestination> {
    let route = route.iter();
    weighted(
        route.map(|entry| (&entry.destination, entry.weight, HeaderRules::default())),
        context,
    )
}

/// Destinations with their weights; among several, those of weight 0 get nothing and are left out.
pub(super) fn weighted<'a>(
    entries: impl ExactSizeIterator<Item = (&'a spec::Destination, i32, HeaderRules)>,
    context: &Context<'_>,
) -> Vec<WeightedDestination> {
    let is_single = entries.len() == 1;
    entries
        .filter(|(_, weight, _)| is_single || *weight > 0)
        .map(|(to, weight, headers)| WeightedDestination {
            destination: destination(to, context),
            weight: u32::try_from(weight).unwrap_or(0),
            headers,
        })
        .collect()
}

/// A destination with its host expanded.
pub(super) fn destination(spec: &spec::Destination, context: &Context<'_>) -> Destination {
    let domain = &context.settings.cluster_domain;
    Destination {
        host: Host::resolve(&spec.host, context.namespace, domain),
        subset: non_empty(&spec.subset),
        port: spec.port.map(|selector| port(selector.number)),
    }
}

fn gateways(names: &[String], context: &Context<'_>) -> Vec<GatewayRef> {
    names
        .iter()
        .map(|name| {
            if name.as_str() == "mesh" {
                GatewayRef::Mesh
            } else {
                let (namespace, name) = gateway_name(name, context.namespace);
                GatewayRef::Gateway {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }
            }
        })
        .collect()
}

fn subnets(list: &[String]) -> Vec<ipnet::IpNet> {
    list.iter().filter_map(|text| subnet(text).ok()).collect()
}

pub(super) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
