//! ServiceEntries that contradict each other.

use std::collections::BTreeMap;

use lateen_model::{Host, Protocol};

use super::set::{Parsed, Set};
use super::{Findings, code};
use crate::spec::service_entry::ServiceEntry;

/// A port of a ServiceEntry: its protocol, the entry by index, and the field.
type Use = (Option<Protocol>, usize, String);

/// Analyses every ServiceEntry.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    let entries = set.service_entries();
    let mut ports: BTreeMap<(Host, u32), Vec<Use>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        for host in &entry.spec.hosts {
            for (position, port) in entry.spec.ports.iter().enumerate() {
                let field = format!("spec.ports[{position}].protocol");
                let users = ports.entry((Host::new(host), port.number)).or_default();
                users.push((Protocol::from_name(&port.protocol), index, field));
            }
        }
    }
    for ((host, number), users) in ports {
        if users.iter().all(|(protocol, ..)| *protocol == users[0].0) {
            continue;
        }
        for (_, index, field) in &users {
            let others: Vec<String> = users
                .iter()
                .filter(|(_, other, _)| other != index)
                .map(|(_, other, _)| name(&entries[*other]))
                .collect();
            let text = format!(
                "port {number} of {host} has another protocol in {}",
                others.join(", ")
            );
            findings.add(
                &code::CONFLICTING_PROTOCOLS,
                entries[*index].subject,
                field,
                text,
            );
        }
    }
}

fn name(entry: &Parsed<'_, ServiceEntry>) -> String {
    format!(
        "{}/{}",
        entry.subject.namespace,
        entry.subject.object.name()
    )
}
