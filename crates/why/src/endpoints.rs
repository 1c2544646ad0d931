//! The endpoints of a chosen service, and why some of them get nothing.

use lateen_decide::{Cluster, Upstream};
use lateen_model::endpoint;
use lateen_model::{Body, Labels, selects};

use crate::answer::Endpoint;
use crate::explain::NOW;
use crate::world::Configuration;

/// Every endpoint that the service of a cluster has, those that may be chosen first.
pub(crate) fn of(configuration: &Configuration, cluster: &Cluster) -> Vec<Endpoint> {
    let Upstream::Endpoints(set) = &cluster.upstream else {
        return Vec::new();
    };
    let chosen = cluster.explain(NOW).into_iter();
    let mut all: Vec<Endpoint> = chosen
        .map(|(one, left_out)| Endpoint {
            address: one.address.to_string(),
            locality: one.locality.to_string(),
            left_out: left_out.map(|why| format!("it {why}")),
        })
        .collect();
    let known = configuration.endpoints.iter().filter(|known| {
        let service = cluster.service.as_ref();
        service.is_some_and(|service| {
            *service.host == *known.service.host.as_str()
                && *service.namespace == *known.service.namespace
        })
    });
    let subset = subset(configuration, cluster);
    let others = known.flat_map(|known| &known.endpoints).filter(|one| {
        let mut chosen = set.all().iter();
        !chosen.any(|endpoint| endpoint.address.without_port() == one.address)
    });
    all.extend(others.map(|one| Endpoint {
        address: one.address.to_string(),
        locality: one.locality.clone(),
        left_out: Some(left_out(cluster, subset.as_ref(), one)),
    }));
    all
}

/// Why an endpoint of the service is none of the cluster.
fn left_out(cluster: &Cluster, subset: Option<&Labels>, one: &endpoint::Endpoint) -> String {
    if let Some(wanted) = subset.filter(|wanted| !selects(wanted, &one.labels)) {
        let wanted: Vec<String> = wanted
            .iter()
            .map(|(key, value)| match one.labels.get(key) {
                Some(other) => format!("{key}={value}, but it has {key}={other}"),
                None => format!("{key}={value}, which it does not have"),
            })
            .collect();
        let name = &cluster.subset;
        return format!("it is not in subset {name}: {}", wanted.join("; "));
    }
    format!("it has no port for port {} of the service", cluster.port)
}

/// The labels of a cluster's subset.
fn subset(configuration: &Configuration, cluster: &Cluster) -> Option<Labels> {
    let host = &cluster.service.as_ref()?.host;
    let mut rules = configuration.resources.iter().filter(|resource| {
        let mut objects = cluster.destination_rules.iter();
        objects.any(|object| **object == resource.source.object)
    });
    rules.find_map(|resource| {
        let Body::DestinationRule(rule) = &resource.body else {
            return None;
        };
        let mut subsets = rule.subsets.iter();
        let found = subsets.find(|one| *one.name == *cluster.subset);
        found
            .filter(|_| rule.host.matches(host))
            .map(|one| one.labels.clone())
    })
}
