//! Which proxies are told of a resource.

use lateen_model::proxy::Role;
use lateen_model::route::{GatewayRef, VirtualService};
use lateen_model::service::ExportTo;
use lateen_model::{Body, Host, HostPattern, Resource};
use lateen_xds::server::{Audience, Subject};

/// The proxies that a resource concerns.
pub(super) fn of(resource: &Resource) -> Audience {
    match &resource.body {
        Body::Mesh(_) => settings(""),
        Body::Proxy(proxy) => Audience {
            pod: Some((proxy.namespace.clone(), proxy.name.clone())),
            ..Audience::default()
        },
        Body::Service(service) => Audience {
            subject: Some(Subject::Service {
                namespace: service.key.namespace.clone(),
                host: pattern(&service.key.host),
            }),
            ..exported(&service.export_to)
        },
        Body::DestinationRule(rule) => Audience {
            subject: Some(Subject::Policy(rule.host.clone())),
            ..exported(&rule.export_to)
        },
        Body::VirtualService(rules) => Audience {
            role: role(rules),
            subject: Some(Subject::Rules {
                namespace: rules.namespace.clone(),
                hosts: rules.hosts.clone(),
            }),
            ..exported(&rules.export_to)
        },
        Body::Gateway(gateway) => Audience {
            role: Some(Role::Gateway),
            labels: gateway.selector.clone(),
            ..Audience::default()
        },
    }
}

/// The proxies whose settings are those of a scope, or the mesh's if it has no name.
pub(super) fn settings(scope: &str) -> Audience {
    Audience {
        subject: Some(Subject::Settings(scope.to_owned())),
        ..Audience::default()
    }
}

/// The host of a ServiceEntry may be a wildcard.
fn pattern(host: &Host) -> HostPattern {
    match host.as_str().strip_prefix('*') {
        Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
        None => HostPattern::Exact(host.clone()),
    }
}

/// The proxies to which an object is exported.
fn exported(export_to: &ExportTo) -> Audience {
    let namespaces = match export_to {
        ExportTo::All => None,
        ExportTo::Nobody => Some(Vec::new()),
        ExportTo::Namespaces(list) => Some(list.clone()),
    };
    Audience {
        namespaces,
        ..Audience::default()
    }
}

/// Every place where rules apply.
pub(super) fn gateways(rules: &VirtualService) -> impl Iterator<Item = &GatewayRef> {
    let http = rules.http.iter().flat_map(|rule| &rule.matches);
    let tls = rules.tls.iter().flat_map(|rule| &rule.matches);
    let tcp = rules.tcp.iter().flat_map(|rule| &rule.matches);
    let overrides = http
        .flat_map(|m| &m.gateways)
        .chain(tls.flat_map(|m| &m.l4.gateways))
        .chain(tcp.flat_map(|m| &m.gateways));
    rules.gateways.iter().chain(overrides)
}

/// The only kind of proxy to which rules apply, if there is only one.
fn role(rules: &VirtualService) -> Option<Role> {
    let (mut is_mesh, mut is_gateway) = (false, false);
    gateways(rules).for_each(|gateway| match gateway {
        GatewayRef::Mesh => is_mesh = true,
        GatewayRef::Gateway { .. } => is_gateway = true,
    });
    match (is_mesh, is_gateway) {
        (true, false) => Some(Role::Sidecar),
        (false, true) => Some(Role::Gateway),
        (true, true) | (false, false) => None,
    }
}
