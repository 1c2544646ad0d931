//! Names that a pod has: its host name, its hosts file, its resolver's configuration.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// The domain of every local cluster.
pub(crate) const DOMAIN: &str = "cluster.local";
/// The longest host name of Linux.
const MAX_HOSTNAME: usize = 63;

/// A pod's host name.
pub(crate) fn hostname(pod: &Pod) -> String {
    let name = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.hostname.clone())
        .filter(|name| !name.is_empty())
        .or_else(|| pod.metadata.name.clone())
        .unwrap_or_default();
    let short = name.get(..MAX_HOSTNAME).unwrap_or(&name);
    short.trim_end_matches(['-', '.']).to_owned()
}

/// `/etc/hosts` of a pod.
pub(crate) fn hosts(pod: &Pod, address: Ipv4Addr) -> String {
    let host = hostname(pod);
    let spec = pod.spec.as_ref();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let subdomain = spec
        .and_then(|spec| spec.subdomain.as_deref())
        .filter(|name| !name.is_empty());
    let _ = match subdomain {
        Some(subdomain) => {
            writeln!(
                text,
                "{address}\t{host}.{subdomain}.{namespace}.svc.{DOMAIN}\t{host}"
            )
        }
        None => writeln!(text, "{address}\t{host}"),
    };
    for alias in spec
        .and_then(|spec| spec.host_aliases.as_ref())
        .into_iter()
        .flatten()
    {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

/// `/etc/resolv.conf` of a pod. Every policy but `None` is the cluster's: the machine's own
/// resolver cannot be reached from a pod, and cluster DNS asks it for what it does not know.
pub(crate) fn resolv_conf(pod: &Pod, dns: Ipv4Addr) -> String {
    let spec = pod.spec.as_ref();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let policy = spec
        .and_then(|spec| spec.dns_policy.as_deref())
        .unwrap_or("ClusterFirst");
    let (mut servers, mut searches, mut options) = match policy {
        "None" => (Vec::new(), Vec::new(), Vec::new()),
        "Default" => (vec![dns.to_string()], Vec::new(), Vec::new()),
        _ => (
            vec![dns.to_string()],
            vec![
                format!("{namespace}.svc.{DOMAIN}"),
                format!("svc.{DOMAIN}"),
                DOMAIN.into(),
            ],
            vec!["ndots:5".to_owned()],
        ),
    };
    configure(spec, &mut servers, &mut searches, &mut options);
    let mut text = String::new();
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// Adds what the pod's `dnsConfig` says; an option of the same name replaces ours.
fn configure(
    spec: Option<&PodSpec>,
    servers: &mut Vec<String>,
    searches: &mut Vec<String>,
    options: &mut Vec<String>,
) {
    let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) else {
        return;
    };
    servers.extend(config.nameservers.iter().flatten().cloned());
    searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let name = option.name.as_deref().unwrap_or_default();
        options.retain(|known| known.split(':').next() != Some(name));
        options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({
            "metadata": { "name": "web-0", "namespace": "shop" }, "spec": spec
        }))
        .unwrap()
    }

    #[test]
    fn names_of_the_cluster_come_first() {
        assert_eq!(
            resolv_conf(&pod(json!({})), DNS),
            "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver 10.96.0.10\noptions ndots:5\n"
        );
    }

    #[test]
    fn the_pods_own_configuration_is_added_or_stands_alone() {
        let config = json!({ "nameservers": ["192.0.2.1"], "searches": ["a.b"],
            "options": [{ "name": "ndots", "value": "1" }, { "name": "edns0" }] });
        let text = resolv_conf(&pod(json!({ "dnsConfig": config })), DNS);
        assert!(text.contains("cluster.local a.b\n"), "{text}");
        assert!(
            text.ends_with("nameserver 192.0.2.1\noptions ndots:1 edns0\n"),
            "{text}"
        );
        let alone = pod(json!({ "dnsPolicy": "None", "dnsConfig": config }));
        assert!(resolv_conf(&alone, DNS).starts_with("search a.b\nnameserver 192.0.2.1\n"));
    }

    #[test]
    fn a_pod_of_a_headless_service_knows_its_full_name() {
        let address = Ipv4Addr::new(10, 244, 0, 7);
        let named = pod(json!({ "hostname": "db", "subdomain": "dbs",
            "hostAliases": [{ "ip": "192.0.2.7", "hostnames": ["old", "older"] }] }));
        let text = hosts(&named, address);
        assert!(
            text.contains("10.244.0.7\tdb.dbs.shop.svc.cluster.local\tdb\n"),
            "{text}"
        );
        assert!(text.ends_with("192.0.2.7\told\tolder\n"), "{text}");
        assert!(hosts(&pod(json!({})), address).contains("10.244.0.7\tweb-0\n"));
    }

    #[test]
    fn a_long_name_is_cut_where_a_host_name_may_end() {
        let mut long = pod(json!({}));
        long.metadata.name = Some(format!("{}-tail", "a".repeat(62)));
        assert_eq!(hostname(&long), "a".repeat(62));
    }
}
