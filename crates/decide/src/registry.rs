//! The services as one proxy sees them: those that are exported to its namespace, one for each
//! host, in order of age.

use std::collections::HashMap;
use std::sync::Arc;

use lateen_model::proxy::Proxy;
use lateen_model::service::{Registry as Origin, Resolution, Service};
use lateen_model::{Host, ObjectRef, Source};

/// A resource in the store.
#[derive(Debug)]
pub(crate) struct Stored<T> {
    /// The object that a user wrote.
    pub(crate) source: Source,
    /// The same, shared with the routes that come from it.
    pub(crate) object: Arc<ObjectRef>,
    /// Differs for every version of every resource of a store.
    pub(crate) revision: u64,
    /// What it says.
    pub(crate) body: T,
}

/// The services of one proxy.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    services: Vec<Arc<Stored<Service>>>,
    by_host: HashMap<Host, usize>,
}

/// How many names an ExternalName may go through; Kubernetes' resolvers give up earlier.
const MAX_ALIASES: usize = 8;

// === impl Registry ===

impl Registry {
    /// Chooses among the services: of those with the same host the one of the proxy's own
    /// namespace, then a Kubernetes Service, then the oldest. Addresses that were allocated count
    /// where the proxy answers DNS with them.
    pub(crate) fn new<'s>(
        all: impl Iterator<Item = &'s Arc<Stored<Service>>>,
        proxy: &Proxy,
    ) -> Self {
        let namespace = proxy.namespace.as_str();
        let mut chosen: HashMap<&Host, &Arc<Stored<Service>>> = HashMap::new();
        let rank = |service: &'s Arc<Stored<Service>>| {
            (
                service.body.key.namespace != namespace,
                service.body.registry != Origin::Kubernetes,
                service.source.age_key(),
            )
        };
        for service in all.filter(|service| service.body.export_to.allows(namespace)) {
            chosen
                .entry(&service.body.key.host)
                .and_modify(|best| {
                    if rank(service) < rank(best) {
                        *best = service;
                    }
                })
                .or_insert(service);
        }
        let seen = chosen.into_values().map(|service| {
            let body = &service.body;
            if proxy.answers_dns && body.addresses.is_empty() && !body.allocated.is_empty() {
                return Arc::new(with_allocated(service));
            }
            Arc::clone(service)
        });
        let mut services: Vec<_> = seen.collect();
        // The host last: a ServiceEntry with several hosts has one age for all of them.
        services.sort_by(|a, b| {
            let by_age = a.source.age_key().cmp(&b.source.age_key());
            by_age.then_with(|| a.body.key.host.cmp(&b.body.key.host))
        });
        let hosts = services.iter().enumerate();
        let by_host = hosts.map(|(at, service)| (service.body.key.host.clone(), at));
        Self {
            by_host: by_host.collect(),
            services,
        }
    }

    /// The services in order of age.
    pub(crate) fn services(&self) -> &[Arc<Stored<Service>>] {
        &self.services
    }

    /// The service of a host.
    pub(crate) fn get(&self, host: &Host) -> Option<&Arc<Stored<Service>>> {
        self.by_host.get(host).map(|at| &self.services[*at])
    }

    /// The service that a host stands for: an ExternalName whose target is a service is that
    /// service.
    pub(crate) fn resolve(&self, host: &Host) -> Option<&Arc<Stored<Service>>> {
        let mut service = self.get(host)?;
        for _ in 0..MAX_ALIASES {
            let Resolution::Alias(target) = &service.body.resolution else {
                break;
            };
            match self.get(target) {
                Some(next) => service = next,
                None => break,
            }
        }
        Some(service)
    }
}

/// The service at the addresses that were allocated for it.
fn with_allocated(service: &Stored<Service>) -> Stored<Service> {
    Stored {
        source: service.source.clone(),
        object: Arc::clone(&service.object),
        revision: service.revision,
        body: Service {
            addresses: service.body.allocated.clone(),
            ..service.body.clone()
        },
    }
}
