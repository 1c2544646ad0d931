//! Route tables between compilations: a table whose parts did not change is taken as it was, and
//! one whose rules changed keeps the index of its hosts as long as the hosts are the same.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::service::Service;
use lateen_model::{Host, HostPattern, ObjectRef};

use super::Compiler;
use super::sidecar::domains;
use crate::cluster::ClusterId;
use crate::registry::Stored;
use crate::table::{Fallback, Layout, RouteTable, Rules, VirtualHost};

/// The tables of the last compilation.
#[derive(Debug, Default)]
pub(crate) struct TableCache {
    cached: HashMap<TableKey, CachedTable>,
}

/// Names a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TableKey {
    /// All HTTP services of a port, for a sidecar.
    Port(u16),
    /// One port of a service whose protocol is not declared.
    Service(Host, u16),
    /// A listener of a gateway.
    Gateway(Option<IpAddr>, u16),
    /// A server of a Gateway that ends TLS on a listener, by its place in the Gateway.
    Server(Option<IpAddr>, u16, (ObjectRef, usize)),
}

#[derive(Debug)]
struct CachedTable {
    epoch: u64,
    /// The revisions of everything that the table was made of.
    recipe: Vec<u64>,
    hosts: Vec<HostsKey>,
    table: Arc<RouteTable>,
    /// Every cluster that the table names.
    clusters: BTreeSet<ClusterId>,
    is_used: bool,
}

/// The virtual hosts of a table, in the order in which they claim their hosts.
#[derive(Debug)]
pub(super) struct TableDraft<'s> {
    hosts: Vec<Hosts<'s>>,
    virtual_hosts: Vec<VirtualHost>,
    fallback: Fallback,
}

/// The hosts that a virtual host claims.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hosts<'s> {
    /// All names of a service.
    Service(&'s Stored<Service>),
    /// One pattern.
    Pattern(&'s HostPattern),
}

/// The same without a borrow, to be compared with.
#[derive(Debug, PartialEq)]
enum HostsKey {
    Service(u64),
    Pattern(HostPattern),
}

// === impl TableCache ===

impl TableCache {
    pub(super) fn begin(&mut self) {
        for cached in self.cached.values_mut() {
            cached.is_used = false;
        }
    }

    pub(super) fn end(&mut self) {
        self.cached.retain(|_, cached| cached.is_used);
    }
}

// === impl Compiler ===

impl<'s> Compiler<'s> {
    /// The table of this recipe: as it was, or made anew.
    pub(super) fn table(
        &mut self,
        key: TableKey,
        recipe: Vec<u64>,
        build: impl FnOnce(&mut Self) -> TableDraft<'s>,
    ) -> Arc<RouteTable> {
        let last = self.cache.tables.cached.remove(&key);
        let last = last.filter(|last| last.epoch == self.epoch);
        let cached = match last {
            Some(last)
                if last.recipe == recipe
                    && self.cache.clusters.keep(last.clusters.iter().copied()) =>
            {
                CachedTable {
                    is_used: true,
                    ..last
                }
            }
            last => {
                let draft = build(self);
                self.finish(draft, recipe, last)
            }
        };
        let table = Arc::clone(&cached.table);
        self.cache.tables.cached.insert(key, cached);
        table
    }

    fn finish(
        &self,
        draft: TableDraft<'s>,
        recipe: Vec<u64>,
        last: Option<CachedTable>,
    ) -> CachedTable {
        let hosts: Vec<_> = draft.hosts.iter().map(Hosts::key).collect();
        let same = last.filter(|last| last.hosts == hosts);
        let layout = same.map_or_else(
            || {
                let claims = draft.hosts.iter();
                let claims = claims.map(|hosts| hosts.claims(&self.proxy.namespace));
                Arc::new(Layout::new(claims))
            },
            |last| last.table.layout(),
        );
        let table = RouteTable::new(layout, draft.virtual_hosts, draft.fallback);
        CachedTable {
            epoch: self.epoch,
            recipe,
            hosts,
            clusters: table.clusters(),
            table: Arc::new(table),
            is_used: true,
        }
    }
}

// === impl TableDraft ===

impl<'s> TableDraft<'s> {
    /// A table without hosts.
    pub(super) fn new(fallback: Fallback) -> Self {
        Self {
            hosts: Vec::new(),
            virtual_hosts: Vec::new(),
            fallback,
        }
    }

    /// Adds a virtual host; the first to claim a host keeps it.
    pub(super) fn add(&mut self, hosts: Hosts<'s>, rules: Arc<Rules>, requires_tls: bool) {
        self.hosts.push(hosts);
        self.virtual_hosts.push(VirtualHost {
            requires_tls,
            rules,
        });
    }
}

// === impl Hosts ===

impl Hosts<'_> {
    fn key(&self) -> HostsKey {
        match self {
            Self::Service(service) => HostsKey::Service(service.revision),
            Self::Pattern(pattern) => HostsKey::Pattern((*pattern).clone()),
        }
    }

    /// The name of the virtual host, and what it claims.
    fn claims(&self, namespace: &str) -> (Box<str>, Vec<HostPattern>) {
        match self {
            Self::Service(service) => (
                service.body.key.host.as_str().into(),
                domains(&service.body, namespace),
            ),
            Self::Pattern(pattern) => (pattern.to_string().into(), vec![(*pattern).clone()]),
        }
    }
}
