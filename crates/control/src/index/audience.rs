//! Which proxies are told of a resource.

use lateen_model::proxy::Role;
use lateen_model::route::{GatewayRef, VirtualService};
use lateen_model::service::ExportTo;
use lateen_model::{Body, Resource};
use lateen_xds::server::Audience;

/// The proxies that a resource concerns.
pub(super) fn of(resource: &Resource) -> Audience {
    match &resource.body {
        Body::Mesh(_) => Audience::default(),
        Body::Proxy(proxy) => Audience {
            pod: Some((proxy.namespace.clone(), proxy.name.clone())),
            ..Audience::default()
        },
        Body::Service(service) => exported(&service.export_to),
        Body::DestinationRule(rule) => exported(&rule.export_to),
        Body::VirtualService(rules) => Audience {
            role: role(rules),
            ..exported(&rules.export_to)
        },
        Body::Gateway(gateway) => Audience {
            role: Some(Role::Gateway),
            labels: gateway.selector.clone(),
            ..Audience::default()
        },
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

/// The only kind of proxy to which rules apply, if there is only one.
fn role(rules: &VirtualService) -> Option<Role> {
    let http = rules.http.iter().flat_map(|rule| &rule.matches);
    let tls = rules.tls.iter().flat_map(|rule| &rule.matches);
    let tcp = rules.tcp.iter().flat_map(|rule| &rule.matches);
    let overrides = http
        .flat_map(|m| &m.gateways)
        .chain(tls.flat_map(|m| &m.l4.gateways))
        .chain(tcp.flat_map(|m| &m.gateways));
    let mut all = rules.gateways.iter().chain(overrides);
    let (mut is_mesh, mut is_gateway) = (false, false);
    all.by_ref().for_each(|gateway| match gateway {
        GatewayRef::Mesh => is_mesh = true,
        GatewayRef::Gateway { .. } => is_gateway = true,
    });
    match (is_mesh, is_gateway) {
        (true, false) => Some(Role::Sidecar),
        (false, true) => Some(Role::Gateway),
        (true, true) | (false, false) => None,
    }
}
