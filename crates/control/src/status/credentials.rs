//! Which Gateways use Secrets that cannot be used.

use std::collections::BTreeMap;

use lateen_api::lower::lower;
use lateen_model::gateway::{Certificate, ClientCa, Gateway};
use lateen_model::proxy::Role;
use lateen_model::{Body, ObjectRef, secret, selects};
use lateen_xds::server::ConnectionStatus;

use crate::index::Index;
use crate::secrets::credential::Problem;

/// What is wrong with the Secrets of each Gateway, for the gateways that are connected. Whoever is
/// not connected has asked for nothing, and nobody has looked.
pub(super) fn lacking(
    index: &Index,
    connections: &[ConnectionStatus],
    problems: &BTreeMap<String, Problem>,
) -> BTreeMap<ObjectRef, Vec<String>> {
    let mut lacking = BTreeMap::new();
    if problems.is_empty() {
        return lacking;
    }
    let proven = connections.iter().filter_map(|connection| {
        let identity = connection.identity.as_ref()?;
        (connection.node.id.role == Role::Gateway).then_some((connection, identity))
    });
    let proven: Vec<_> = proven.collect();
    for object in index.objects() {
        let reference = lateen_api::Object(object).reference();
        if reference.kind != "Gateway" {
            continue;
        }
        let Ok(lowered) = lower(object, &index.mesh().settings) else {
            continue; // Its own problems are told elsewhere.
        };
        let mut texts = Vec::new();
        for resource in &lowered.resources {
            let Body::Gateway(gateway) = &resource.body else {
                continue;
            };
            let names = names(gateway);
            for (connection, identity) in &proven {
                if !selects(&gateway.selector, &connection.node.labels) {
                    continue;
                }
                let keys = names
                    .iter()
                    .map(|name| secret::key(&identity.account.namespace, name));
                let wrong = keys.filter_map(|key| problems.get(&key));
                texts.extend(wrong.map(ToString::to_string));
            }
        }
        texts.sort();
        texts.dedup();
        if !texts.is_empty() {
            lacking.insert(reference, texts);
        }
    }
    lacking
}

/// The Secrets that a Gateway names.
fn names(gateway: &Gateway) -> Vec<&str> {
    let mut names = Vec::new();
    for tls in gateway.servers.iter().filter_map(|s| s.tls.as_ref()) {
        for certificate in &tls.certificates {
            if let Certificate::Secret(name) = certificate {
                names.push(name.as_str());
            }
        }
        if let Some(ClientCa::Secret(name)) = &tls.client_ca {
            names.push(name.as_str());
        }
    }
    names
}
