//! Listeners, and the route tables behind them.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use lateen_model::Protocol;
use serde_json::{Value, json};

use super::{Fields, Sockets, route};
use crate::l4::{SniTable, TcpRoute, TcpRule};
use crate::plan::{GatewayListener, Inbound, Inspect, Outbound, Plan, Serve};
use crate::table::{Fallback, RouteTable};
use crate::tls::{Ended, Entry, Terminated, TlsTable};

/// A destination that the sidecar knows: its addresses, its port, what happens there.
type Known<'p> = (String, u16, &'p Arc<Outbound>);

/// Every listener: the sockets of a sidecar with what they know, or those of a gateway.
pub(super) fn listeners(plan: &Plan, sockets: Option<Sockets>) -> Vec<Value> {
    let gateways = plan.listeners().iter().map(|one| gateway(plan, one));
    let mut all: Vec<Value> = gateways.collect();
    let Some(sockets) = sockets else {
        return all;
    };
    let names = names(plan);
    for (address, port, outbound) in known(plan) {
        let name = format!("{address}_{port}");
        all.push(self::outbound(
            plan,
            (name, address, port),
            outbound,
            &names,
        ));
    }
    let otherwise = &plan.routing.outbound.otherwise;
    let at = (
        "virtualOutbound".into(),
        sockets.bind.to_string(),
        sockets.outbound,
    );
    all.push(outbound(plan, at, otherwise, &names));
    all.push(inbound(plan, sockets));
    all
}

/// Every route table, each once.
pub(super) fn tables(plan: &Plan) -> Vec<Value> {
    let tables = named(plan).into_iter();
    tables.map(|(name, one)| table(plan, &name, one)).collect()
}

/// The name of a table of the plan: a port, `host:port` of a service whose protocol is not
/// declared, `http.<port>` of a gateway, or `https.<port>.<port name>.<gateway>.<namespace>` of a server
/// that ends TLS.
pub fn table_name(plan: &Plan, table: &RouteTable) -> Option<String> {
    let mut all = named(plan).into_iter();
    all.find(|(_, one)| std::ptr::eq::<RouteTable>(*one, table))
        .map(|(name, _)| name)
}

/// The name of the listener that an original destination meets.
pub fn address_name(plan: &Plan, original: std::net::SocketAddr) -> String {
    let outbound = plan.outbound(original);
    let mut known = known(plan).into_iter();
    known
        .find(|(_, _, one)| std::ptr::eq(Arc::as_ptr(one), outbound))
        .map_or_else(
            || "virtualOutbound".into(),
            |(address, port, _)| format!("{address}_{port}"),
        )
}

/// Every destination in a fixed order: ports, then addresses and ranges, then endpoints of headless
/// services.
fn known(plan: &Plan) -> Vec<Known<'_>> {
    let map = &plan.routing.outbound;
    let mut known: Vec<(u8, IpNet, u16, &Arc<Outbound>)> = Vec::new();
    let any = IpNet::from(IpAddr::from([0, 0, 0, 0]));
    known.extend(map.ports.iter().map(|(port, one)| (0, any, *port, one)));
    let addresses = map.addresses.iter();
    known.extend(addresses.map(|((ip, port), one)| (1, IpNet::from(*ip), *port, one)));
    let ranges = map.ranges.iter();
    known.extend(ranges.map(|((net, port), one)| (1, *net, *port, one)));
    let headless = plan.headless.iter();
    known.extend(headless.map(|((ip, port), one)| (2, IpNet::from(*ip), *port, one)));
    known.sort_by_key(|(order, net, port, _)| (*order, *port, *net));
    let text = |net: IpNet| {
        if net.prefix_len() == net.max_prefix_len() {
            net.addr().to_string()
        } else {
            net.to_string()
        }
    };
    known
        .into_iter()
        .map(|(_, net, port, one)| (text(net), port, one))
        .collect()
}

/// Tables by the address of their memory, for as long as the plan is looked at.
type Names = BTreeMap<usize, String>;

fn names(plan: &Plan) -> Names {
    let named = named(plan).into_iter();
    named
        .map(|(name, table)| (std::ptr::from_ref(table) as usize, name))
        .collect()
}

fn named(plan: &Plan) -> Vec<(String, &RouteTable)> {
    let mut named: Vec<(String, &RouteTable)> = Vec::new();
    let mut seen = HashSet::new();
    for (address, port, outbound) in known(plan) {
        let Some(table) = outbound.http.as_deref() else {
            continue;
        };
        if seen.insert(std::ptr::from_ref(table)) {
            let is_of_port = plan.routing.outbound.ports.get(&port);
            let name = match is_of_port {
                Some(of_port) if Arc::ptr_eq(of_port, outbound) => port.to_string(),
                _ => service_table(plan, outbound).unwrap_or(format!("{address}_{port}")),
            };
            named.push((name, table));
        }
    }
    for listener in plan.listeners() {
        match &listener.serve {
            Serve::Http(table) => named.push((format!("http.{}", listener.port), table)),
            Serve::Tls(table) => named.extend(table.terminated().filter_map(of_server)),
            Serve::Tcp(_) => {}
        }
    }
    named
}

/// The table of a server that ends TLS.
fn of_server(server: &Arc<Terminated>) -> Option<(String, &RouteTable)> {
    match &server.serve {
        Ended::Http(table) => Some((server.name.to_string(), table)),
        Ended::Tcp(_) => None,
    }
}

/// `host:port` of the service behind a destination.
fn service_table(plan: &Plan, outbound: &Outbound) -> Option<String> {
    let (_, otherwise) = outbound.tcp.parts();
    let (id, _) = otherwise.split()?.targets().next()?;
    let cluster = plan.cluster(id)?;
    let host = &cluster.service.as_ref()?.host;
    Some(format!("{host}:{}", cluster.port))
}

fn outbound(
    plan: &Plan,
    (name, address, port): (String, String, u16),
    outbound: &Outbound,
    names: &Names,
) -> Value {
    let inspect = match outbound.inspect {
        Inspect::Never => "NEVER",
        Inspect::Wait => "WAIT",
        Inspect::Detect => "DETECT",
    };
    let mut serves = Vec::new();
    if let Some(table) = &outbound.http {
        let at = Arc::as_ptr(table) as usize;
        serves.push(json!({ "match": "HTTP", "routes": names.get(&at) }));
    }
    if let Some(table) = &outbound.sni {
        sni(plan, table, &mut serves);
    }
    tcp(plan, &outbound.tcp, &mut serves);
    json!({
        "name": name,
        "direction": "outbound",
        "address": address,
        "port": port,
        "inspect": inspect,
        "serves": serves,
    })
}

fn sni(plan: &Plan, table: &SniTable, serves: &mut Vec<Value>) {
    for (pattern, rules) in table.parts() {
        for rule in rules {
            let what = format!("SNI: {pattern}{}", subnets(rule));
            serves.push(json!({ "match": what, "route": route(plan, &rule.route) }));
        }
    }
}

/// The servers of a socket: those that end TLS, those that take on, then what is passed through.
fn tls(plan: &Plan, table: &TlsTable, serves: &mut Vec<Value>) {
    for (pattern, entry) in table.entries() {
        match entry {
            Entry::Passed => {}
            Entry::Mesh(to) => {
                let what = format!("SNI: {pattern}; ALPN: istio");
                let (_, otherwise) = to.parts();
                serves.push(json!({ "match": what, "route": route(plan, otherwise) }));
            }
            Entry::Ended(server) => {
                let mut fields = Fields::default();
                fields.set("match", format!("SNI: {pattern}; TLS ends"));
                fields.set(
                    "tls",
                    json!({ "mode": server.tls.mode, "server": server.id.0 }),
                );
                match &server.serve {
                    Ended::Http(_) => fields.set("routes", &*server.name),
                    Ended::Tcp(to) => fields.set("route", route(plan, to.parts().1)),
                }
                serves.push(fields.finish());
            }
        }
    }
    sni(plan, table.passed(), serves);
}

fn tcp(plan: &Plan, tcp: &TcpRoute, serves: &mut Vec<Value>) {
    let (rules, otherwise) = tcp.parts();
    for rule in rules {
        let what = format!("TCP{}", subnets(rule));
        serves.push(json!({ "match": what, "route": route(plan, &rule.route) }));
    }
    serves.push(json!({ "match": "ALL", "route": route(plan, otherwise) }));
}

fn subnets(rule: &TcpRule) -> String {
    if rule.subnets.is_empty() {
        return String::new();
    }
    let nets: Vec<String> = rule.subnets.iter().map(ToString::to_string).collect();
    format!("; Addr: {}", nets.join(","))
}

fn inbound(plan: &Plan, sockets: Sockets) -> Value {
    let mut ports: Vec<&Inbound> = plan.routing.inbound.values().collect();
    ports.sort_by_key(|one| one.port);
    ports.push(&plan.routing.inbound_otherwise);
    let serves = ports.into_iter().map(|one| {
        let protocol = match one.protocol {
            Protocol::Unknown => "HTTP or TCP",
            protocol => protocol.as_str(),
        };
        let mut fields = Fields::default();
        let what = match one.port {
            0 => "ALL".to_owned(),
            port => format!("Port: {port}; {protocol}"),
        };
        fields.set("match", what);
        fields.set("cluster", &*one.cluster_name);
        fields.set_if("service", one.service.as_ref().map(|it| &*it.host));
        fields.set_if("endpoint", one.endpoint.as_ref().map(ToString::to_string));
        fields.finish()
    });
    json!({
        "name": "virtualInbound",
        "direction": "inbound",
        "address": sockets.bind.to_string(),
        "port": sockets.inbound,
        "serves": serves.collect::<Vec<_>>(),
    })
}

fn gateway(plan: &Plan, listener: &GatewayListener) -> Value {
    let address = listener.bind.map_or("0.0.0.0".into(), |ip| ip.to_string());
    let mut serves = Vec::new();
    match &listener.serve {
        Serve::Http(_) => {
            serves.push(json!({ "match": "HTTP", "routes": format!("http.{}", listener.port) }));
        }
        Serve::Tls(table) => tls(plan, table, &mut serves),
        Serve::Tcp(route) => tcp(plan, route, &mut serves),
    }
    let origins = listener.origins.iter().map(ToString::to_string);
    json!({
        "name": format!("{address}_{}", listener.port),
        "direction": "gateway",
        "address": address,
        "port": listener.port,
        "serverPort": listener.server_port,
        "sources": origins.collect::<Vec<_>>(),
        "serves": serves,
    })
}

fn table(plan: &Plan, name: &str, table: &RouteTable) -> Value {
    let hosts = table.parts().map(|(name, host)| {
        let entries = host.rules.matcher.entries().iter();
        let rules = entries.zip(&host.rules.routes).map(|(entry, one)| {
            let mut rule = route(plan, one);
            rule["matches"] = entry.words().into();
            rule
        });
        json!({
            "name": name,
            "requiresTls": host.requires_tls,
            "rules": rules.collect::<Vec<_>>(),
        })
    });
    let otherwise = match table.fallback() {
        Fallback::NoRoute => json!({ "refuse": 404 }),
        Fallback::BlackHole => json!({ "refuse": 502, "name": "block_all" }),
        Fallback::Passthrough(one) => route(plan, one),
    };
    json!({
        "name": name,
        "virtualHosts": hosts.collect::<Vec<_>>(),
        "otherwise": otherwise,
    })
}
