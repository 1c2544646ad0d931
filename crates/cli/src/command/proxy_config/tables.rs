//! A plan as tables, with istioctl's columns and words where they fit.

use serde_json::Value;

use crate::table;

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// `ADDRESSES PORT MATCH DESTINATION`, a row for each thing that is served.
pub(super) fn listeners(list: &[Value]) -> String {
    let rows = list.iter().flat_map(|listener| {
        let serves = listener["serves"].as_array().into_iter().flatten();
        serves.map(|served| {
            vec![
                text(&listener["address"]).to_owned(),
                listener["port"].to_string(),
                text(&served["match"]).to_owned(),
                served_by(served),
            ]
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table::render(&["ADDRESSES", "PORT", "MATCH", "DESTINATION"], &rows)
}

/// What serves a match of a listener: a route table, a cluster, or a rule for connections.
fn served_by(served: &Value) -> String {
    if let Some(name) = served["routes"].as_str() {
        return format!("Route: {name}");
    }
    match served["cluster"].as_str() {
        Some(cluster) => format!("Cluster: {cluster}"),
        None => destination(&served["route"]),
    }
}

/// `NAME VHOST NAME MATCH VIRTUAL SERVICE DESTINATION`, a row for each rule in order.
pub(super) fn routes(list: &[Value]) -> String {
    let mut rows = Vec::new();
    for one in list {
        let name = text(&one["name"]);
        let row = |host: &str, matches: String, rule: &Value| {
            let (host, name) = (host.to_owned(), name.to_owned());
            let source = virtual_service(rule);
            vec![name, host, matches, source, destination(rule)]
        };
        for host in one["virtualHosts"].as_array().into_iter().flatten() {
            for rule in host["rules"].as_array().into_iter().flatten() {
                rows.push(row(text(&host["name"]), matches(rule), rule));
            }
        }
        let otherwise = &one["otherwise"];
        match otherwise["refuse"].as_u64() {
            Some(status) => {
                let mut last = row("(any other)", "/*".into(), &Value::Null);
                last[4] = status.to_string();
                rows.push(last);
            }
            None => rows.push(row("(any other)", "/*".into(), otherwise)),
        }
    }
    table::render(
        &[
            "NAME",
            "VHOST NAME",
            "MATCH",
            "VIRTUAL SERVICE",
            "DESTINATION",
        ],
        &rows,
    )
}

fn matches(rule: &Value) -> String {
    let conditions = rule["matches"].as_array().into_iter().flatten();
    let words: Vec<&str> = conditions.map(text).collect();
    if words.is_empty() {
        "/*".into()
    } else {
        words.join(" and ")
    }
}

/// `name.namespace` of the VirtualService behind a rule; empty for what no rule was written for.
fn virtual_service(rule: &Value) -> String {
    named(text(&rule["source"]["object"]), "VirtualService")
}

/// `name.namespace` of an object of a kind.
fn named(object: &str, kind: &str) -> String {
    let mut parts = object.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(found), Some(namespace), Some(name)) if found == kind => {
            format!("{name}.{namespace}")
        }
        _ => String::new(),
    }
}

/// Where a rule sends its requests, with shares if there are several.
fn destination(rule: &Value) -> String {
    let action = &rule["action"];
    if let Some(code) = action["redirect"]["code"].as_u64() {
        return format!("Redirect: {code}");
    }
    if let Some(status) = action["respond"]["status"].as_u64() {
        return format!("Response: {status}");
    }
    let targets = action["forward"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |target: &Value| {
        let name = target["cluster"].as_str();
        name.unwrap_or("(does not exist)").to_owned()
    };
    match targets {
        [] => NOTHING.into(),
        [only] => format!("Cluster: {}", name(only)),
        several => {
            let weight = |target: &Value| target["weight"].as_u64().unwrap_or(0);
            let sum: u64 = several.iter().map(weight).sum();
            let shares = several.iter().map(|target| {
                let share = weight(target) * 100 / sum.max(1);
                format!("{} {share}%", name(target))
            });
            format!("Clusters: {}", shares.collect::<Vec<_>>().join(", "))
        }
    }
}

/// `SERVICE FQDN PORT SUBSET DIRECTION TYPE DESTINATION RULE`.
pub(super) fn clusters(list: &[Value]) -> String {
    let mut rows: Vec<Vec<String>> = list.iter().map(cluster).collect();
    rows.sort();
    table::render(
        &[
            "SERVICE FQDN",
            "PORT",
            "SUBSET",
            "DIRECTION",
            "TYPE",
            "DESTINATION RULE",
        ],
        &rows,
    )
}

fn cluster(cluster: &Value) -> Vec<String> {
    let host = cluster["service"]["host"].as_str();
    let host = host.unwrap_or_else(|| text(&cluster["name"]));
    let port = cluster["port"].as_u64();
    let kind = match text(&cluster["type"]) {
        "ENDPOINTS" => "EDS",
        "BLACK_HOLE" => "STATIC",
        kind => kind,
    };
    let rules = cluster["destinationRules"].as_array().into_iter().flatten();
    let rules: Vec<String> = rules
        .map(|object| named(text(object), "DestinationRule"))
        .collect();
    vec![
        host.to_owned(),
        port.map_or(NOTHING.into(), |port| port.to_string()),
        cluster["subset"].as_str().unwrap_or(NOTHING).to_owned(),
        text(&cluster["direction"]).to_owned(),
        kind.to_owned(),
        rules.join(", "),
    ]
}

/// `ENDPOINT STATUS OUTLIER CHECK CLUSTER`.
pub(super) fn endpoints(list: &[Value]) -> String {
    let mut rows: Vec<Vec<String>> = list
        .iter()
        .map(|one| {
            ["address", "health", "outlier", "cluster"].map(|field| text(&one[field]).to_owned())
        })
        .map(Vec::from)
        .collect();
    rows.sort();
    table::render(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"], &rows)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
