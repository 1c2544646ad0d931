//! The entries of a part of a plan that were asked for.

use serde_json::Value;

use super::Part;

/// The entries of the list `name` that pass the filters of `part`.
pub(super) fn list(part: &Part, plan: &Value, name: &str) -> Vec<Value> {
    let all = plan[name].as_array().into_iter().flatten().cloned();
    match part {
        Part::Listeners { port, address, .. } => all
            .filter(|one| is(&one["port"], *port))
            .filter(|one| is(&one["address"], address.as_deref()))
            .collect(),
        Part::Routes { name, fqdn, .. } => all
            .filter(|one| is(&one["name"], name.as_deref()))
            .filter_map(|one| with_host(one, fqdn.as_deref()))
            .collect(),
        Part::Clusters {
            fqdn,
            port,
            subset,
            direction,
            ..
        } => all
            .filter(|one| is(&one["service"]["host"], fqdn.as_deref()))
            .filter(|one| is(&one["port"], *port))
            .filter(|one| is(&one["subset"], subset.as_deref()))
            .filter(|one| is(&one["direction"], direction.as_deref()))
            .collect(),
        Part::Endpoints {
            cluster,
            address,
            port,
            status,
            ..
        } => all
            .filter(|one| is(&one["cluster"], cluster.as_deref()))
            .filter(|one| {
                let socket = one["address"]
                    .as_str()
                    .and_then(|text| text.rsplit_once(':'));
                let (ip, number) = socket.unwrap_or_default();
                let ip = ip.trim_matches(['[', ']']);
                address.as_deref().is_none_or(|wanted| wanted == ip)
                    && port.is_none_or(|port| number == port.to_string())
            })
            .filter(|one| {
                let health = one["health"].as_str().unwrap_or_default();
                status
                    .as_deref()
                    .is_none_or(|status| health.eq_ignore_ascii_case(status))
            })
            .collect(),
        Part::All { .. } => all.collect(),
    }
}

/// Answers whether a field is what is wanted, or nothing is.
fn is<T>(field: &Value, wanted: Option<T>) -> bool
where
    Value: PartialEq<T>,
{
    wanted.is_none_or(|wanted| *field == wanted)
}

/// A table with one virtual host alone; none if it does not have it.
fn with_host(mut table: Value, fqdn: Option<&str>) -> Option<Value> {
    let Some(fqdn) = fqdn else {
        return Some(table);
    };
    let hosts = table["virtualHosts"].as_array_mut()?;
    hosts.retain(|host| host["name"] == fqdn);
    (!hosts.is_empty()).then_some(table)
}
