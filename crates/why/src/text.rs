//! An answer in words, one step a paragraph.

use std::fmt::Write as _;

use lateen_model::Reason;
use serde_json::Value;

use crate::answer::{Answer, Outcome};

/// Writes an answer for people.
pub fn render(answer: &Answer) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} of {}", answer.request, from(answer));
    list(&mut out, "Assumed", &answer.assumptions);
    list(&mut out, "Not in effect", &answer.problems);
    way(&mut out, answer);
    rules(&mut out, answer);
    destination(&mut out, answer);
    let _ = writeln!(out, "\n{}", outcome(&answer.outcome));
    out
}

fn from(answer: &Answer) -> String {
    match answer.caller.split_once(" of ") {
        Some((kind, pod)) => format!("{pod} ({kind})"),
        None => answer.caller.clone(),
    }
}

fn list(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    for line in lines {
        let _ = writeln!(out, "  - {line}");
    }
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<14}{value}");
}

/// The listener and what it found.
fn way(out: &mut String, answer: &Answer) {
    out.push('\n');
    if let Some(destination) = answer.destination {
        row(out, "Destination", &destination.to_string());
    }
    if !answer.listener.is_empty() {
        row(out, "Listener", &answer.listener);
    }
    if let Some(server) = &answer.server {
        let shown = server.certificates.join(", ");
        row(
            out,
            "TLS ends at",
            &format!("{} ({})", server.name, server.gateway),
        );
        row(out, "Certificate", &shown);
    }
    if let Some(table) = &answer.table {
        row(out, "Routes", table);
    }
    match (&answer.virtual_host, &answer.table) {
        (Some(host), _) => row(out, "Virtual host", host),
        (None, Some(_)) => row(out, "Virtual host", "none that is for this host"),
        (None, None) => {}
    }
}

/// The rules that were tried, and the one that won.
fn rules(out: &mut String, answer: &Answer) {
    if !answer.passed_over.is_empty() || answer.rule.is_some() {
        out.push_str("\nRules:\n");
    }
    for one in &answer.passed_over {
        let name = named(&one.name);
        let _ = writeln!(out, "  no   {}{name}\n         {}", one.rule, one.failed);
    }
    let (Some(rule), Some(route)) = (&answer.rule, &answer.route) else {
        return;
    };
    let _ = writeln!(out, "  yes  {rule}{}", named(&answer.route_name));
    for (field, title) in [
        ("timeout", "timeout"),
        ("retries", "retries"),
        ("fault", "fault"),
        ("rewrite", "rewrite"),
        ("headers", "headers"),
        ("cors", "CORS"),
        ("mirrors", "mirrors"),
    ] {
        if let Some(value) = route.get(field) {
            let _ = writeln!(out, "         {title}: {}", words(value));
        }
    }
    if let Some(sent) = &answer.rewritten {
        let _ = writeln!(
            out,
            "         sent on as {} to {}",
            sent.path, sent.authority
        );
    }
}

fn named(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" ({name})")
    }
}

/// The cluster with its endpoints.
fn destination(out: &mut String, answer: &Answer) {
    if !answer.shares.is_empty() {
        out.push_str("\nShares:\n");
    }
    for share in &answer.shares {
        let cluster = share.cluster.as_deref().unwrap_or("(does not exist)");
        let mark = if share.is_chosen { "yes" } else { "no " };
        let _ = writeln!(out, "  {mark}  {:>6.2} %  {cluster}", share.percent);
    }
    let Some(cluster) = &answer.cluster else {
        return;
    };
    let text = |field: &str| cluster[field].as_str().unwrap_or_default();
    let _ = writeln!(out, "\nCluster {}", text("name"));
    let rules = words(&cluster["destinationRules"]);
    if !rules.is_empty() {
        row(out, "By", &rules);
    }
    if let Some(balancer) = cluster["loadBalancer"]["algorithm"].as_str() {
        row(out, "Balancing", balancer);
    }
    let limits = &cluster["policy"]["limits"];
    if limits.as_object().is_some_and(|limits| !limits.is_empty()) {
        row(out, "Limits", &words(limits));
    }
    for endpoint in &answer.endpoints {
        let (mark, why) = match &endpoint.left_out {
            None => ("yes", String::new()),
            Some(why) => ("no ", format!("  {why}")),
        };
        let _ = writeln!(out, "  {mark}  {}{why}", endpoint.address);
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Forwarded { cluster } => format!("=> forwarded to {cluster}"),
        Outcome::Answered {
            status: Some(status),
            why,
        } => format!("=> answered {status} by the proxy: {why}"),
        Outcome::Answered { status: None, why } => format!("=> answered by the proxy: {why}"),
        Outcome::Refused {
            reason,
            status,
            why,
        } => {
            let verb = match (reason, status) {
                (Some(_), None) => "closed",
                _ => "refused",
            };
            let status = status.map(|status| format!(" {status}"));
            let flag = reason.map(|reason| format!(" ({})", flag(reason)));
            format!(
                "=> {verb}{}{}: {why}",
                status.unwrap_or_default(),
                flag.unwrap_or_default()
            )
        }
    }
}

fn flag(reason: Reason) -> String {
    match reason.flag() {
        "-" => reason.details().to_owned(),
        flag => format!("{flag}, {}", reason.details()),
    }
}

/// A value of JSON on one line, without the marks that programs need.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| match value {
                Value::Object(_) => format!("{name} ({})", words(value)),
                Value::Array(_) => format!("{name} [{}]", words(value)),
                value => format!("{name} {}", words(value)),
            });
            fields.collect::<Vec<_>>().join(", ")
        }
    }
}
