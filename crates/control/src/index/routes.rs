//! What the index remembers of VirtualServices beside their resources: who delegates to whom, and
//! where they send requests.

use std::collections::BTreeSet;

use lateen_model::http::HttpAction;
use lateen_model::route::{GatewayRef, VirtualService};
use lateen_model::service::ExportTo;
use lateen_model::{Body, Host, HostPattern, ObjectRef, Resource};
use lateen_xds::server::Audience;

use super::{Index, audience};

/// What is remembered of a VirtualService.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Routes {
    pub(super) namespace: String,
    /// Empty for a delegate.
    pub(super) hosts: Vec<HostPattern>,
    pub(super) export_to: ExportTo,
    /// It applies to sidecars.
    pub(super) is_mesh: bool,
    /// Hosts that it sends requests to, or copies of them.
    pub(super) destinations: BTreeSet<Host>,
    /// VirtualServices that its rules delegate to.
    pub(super) delegates: BTreeSet<ObjectRef>,
    audience: Audience,
}

// === impl Routes ===

impl Routes {
    fn of(resource: &Resource, rules: &VirtualService) -> Self {
        let mut delegates = BTreeSet::new();
        let mut destinations = BTreeSet::new();
        for rule in &rules.http {
            if let HttpAction::Delegate { namespace, name } = &rule.action {
                delegates.insert(ObjectRef {
                    kind: "VirtualService".into(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                });
            }
            let routed = rule.destinations().iter().map(|to| &to.destination);
            let mirrored = rule.mirrors.iter().map(|mirror| &mirror.destination);
            destinations.extend(routed.chain(mirrored).map(|to| to.host.clone()));
        }
        let tls = rules.tls.iter().flat_map(|rule| &rule.route);
        let tcp = rules.tcp.iter().flat_map(|rule| &rule.route);
        destinations.extend(tls.chain(tcp).map(|to| to.destination.host.clone()));
        Self {
            namespace: rules.namespace.clone(),
            hosts: rules.hosts.clone(),
            export_to: rules.export_to.clone(),
            is_mesh: audience::gateways(rules).any(|gateway| *gateway == GatewayRef::Mesh),
            destinations,
            delegates,
            audience: audience::of(resource),
        }
    }
}

impl Index {
    /// Remembers the routes of an object, and marks what depends on them.
    pub(super) fn set_routes(&mut self, object: &ObjectRef, resources: &[Resource]) {
        let routes = resources.iter().find_map(|resource| match &resource.body {
            Body::VirtualService(rules) => Some(Routes::of(resource, rules)),
            _ => None,
        });
        let new = routes.clone();
        let Ok(old) = super::replace(&mut self.routes, object, routes) else {
            return;
        };
        // Who sees a delegate follows from who sees what delegates to it.
        let both = [&old, &new];
        let delegates = both.into_iter().flatten().flat_map(|r| &r.delegates);
        self.dirty.istio.extend(delegates.cloned());
        self.dirty.is_scoping = true;
    }

    /// Who is told of a delegate: everybody who is told of rules that delegate to it. Whether it is
    /// exported to their namespace is decided where they meet.
    pub(super) fn delegate_audience(&self, delegate: &ObjectRef) -> Audience {
        let roots = self.routes.values();
        let mut roots = roots.filter(|routes| routes.delegates.contains(delegate));
        let Some(first) = roots.next() else {
            return Audience {
                namespaces: Some(Vec::new()),
                ..Audience::default()
            };
        };
        let plain = |routes: &Routes| Audience {
            role: routes.audience.role,
            namespaces: routes.audience.namespaces.clone(),
            ..Audience::default()
        };
        roots.fold(plain(first), |all, routes| Audience {
            role: all.role.filter(|role| routes.audience.role == Some(*role)),
            namespaces: match (all.namespaces, &routes.audience.namespaces) {
                (Some(mut list), Some(more)) => {
                    list.extend(more.iter().cloned());
                    list.sort();
                    list.dedup();
                    Some(list)
                }
                _ => None,
            },
            ..Audience::default()
        })
    }
}
