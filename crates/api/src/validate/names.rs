//! Names, numbers and addresses: the checks that every kind uses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use lateen_model::Protocol;
use regex::RegexBuilder;

use crate::problem::{Path, Report};
use crate::spec::common::{Percent, StringMatch};
use crate::spec::duration::Duration;

/// The longest regular expression.
const MAX_REGEX: usize = 1024;
/// The most memory that a compiled expression may take.
const MAX_COMPILED: usize = 1 << 20;

/// A DNS label: letters, digits and inner hyphens, at most 63.
pub(super) fn dns_label(text: &str) -> Result<(), String> {
    if is_dns_label(text) {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is not a DNS label: letters, digits and inner hyphens, at most 63"
        ))
    }
}

fn is_dns_label(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && is_end(text.chars().next())
        && is_end(text.chars().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A host name of labels; a trailing dot is allowed.
pub(super) fn fqdn(text: &str) -> Result<(), String> {
    labels_of(text, is_dns_label)
}

/// A host name whose first label may be a wildcard (`*.example.com`, `*-a.example.com`, `*`).
pub(super) fn wildcard_host(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix('*') else {
        return fqdn(text);
    };
    if rest.contains('*') {
        return Err(format!(
            "{text:?} has more than one wildcard; only the first label may be one"
        ));
    }
    match rest {
        "" => Ok(()),
        _ => match rest.strip_prefix('.') {
            Some(suffix) => fqdn(suffix),
            None => fqdn(rest.strip_prefix('-').unwrap_or(rest)),
        },
    }
}

fn labels_of(text: &str, is_label: impl Fn(&str) -> bool) -> Result<(), String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err("a host name is missing".into());
    }
    if name.len() > 255 {
        return Err(format!(
            "a host name of {} characters is too long: at most 255",
            name.len()
        ));
    }
    if let Some(label) = name.split('.').find(|label| !is_label(label)) {
        let wildcard = if label.contains('*') {
            "; a wildcard is only allowed in front"
        } else {
            ""
        };
        return Err(format!(
            "{text:?} is not a host name: {label:?} is no DNS label{wildcard}"
        ));
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "{text:?} is not a host name: its last label is a number"
        ));
    }
    Ok(())
}

/// A host name, wildcard or address.
pub(super) fn wildcard_host_or_ip(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() {
        Ok(())
    } else {
        wildcard_host(text)
    }
}

/// A port: 1 to 65535.
pub(super) fn port(number: u32) -> Result<(), String> {
    if (1..=65535).contains(&number) {
        Ok(())
    } else {
        Err(format!("{number} is not a port; ports are 1 to 65535"))
    }
}

/// A name of a port: a DNS label.
pub(super) fn port_name(text: &str) -> Result<(), String> {
    dns_label(text).map_err(|_| {
        format!("{text:?} is not a name of a port: letters, digits and inner hyphens, at most 63")
    })
}

/// A protocol of a Gateway, ServiceEntry or Sidecar.
pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::from_name(text).ok_or_else(|| {
        format!(
            "{text:?} is not a protocol; use HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, REDIS, \
             MYSQL, TCP, TLS or UDP"
        )
    })
}

/// An address, or a subnet in CIDR notation.
pub(crate) fn subnet(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from).ok();
    address
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("{text:?} is neither an IP address nor a subnet such as 10.0.0.0/8"))
}

/// A duration of whole milliseconds, at least one.
pub(super) fn duration(value: &Duration) -> Result<std::time::Duration, String> {
    let parsed = duration_or_zero(value)?;
    if parsed.is_zero() {
        return Err(format!("{:?} is too short: at least 1ms", value.0));
    }
    Ok(parsed)
}

/// A duration of whole milliseconds, or zero.
pub(super) fn duration_or_zero(value: &Duration) -> Result<std::time::Duration, String> {
    let parsed = value.parse()?;
    if parsed.subsec_nanos() % 1_000_000 == 0 {
        return Ok(parsed);
    }
    if parsed.as_millis() == 0 {
        return Err(format!("{:?} is too short: at least 1ms", value.0));
    }
    Err(format!("{:?} is finer than a millisecond", value.0))
}

/// Checks a duration that may be absent.
pub(super) fn optional_duration(value: Option<&Duration>, path: &Path<'_>, report: &mut Report) {
    if let Some(value) = value {
        report.check(path, duration(value));
    }
}

/// A percentage: 0, or 0.0001 to 100.
pub(super) fn percent(value: Percent) -> Result<(), String> {
    let value = value.value;
    if !(0.0..=100.0).contains(&value) {
        return Err(format!("{value} is not a percentage between 0 and 100"));
    }
    if value > 0.0 && value < 0.0001 {
        return Err(format!(
            "{value} is less than the smallest percentage, 0.0001"
        ));
    }
    Ok(())
}

/// A regular expression in RE2's syntax.
pub(super) fn regex(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a regular expression must not be empty".into());
    }
    if text.len() > MAX_REGEX {
        return Err(format!(
            "the regular expression has {} characters, at most {MAX_REGEX} are allowed",
            text.len()
        ));
    }
    match RegexBuilder::new(text).size_limit(MAX_COMPILED).build() {
        Ok(_) => Ok(()),
        Err(error) => {
            // The first lines draw the expression; the last one says what is wrong.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let reason = last.strip_prefix("error: ").unwrap_or(last).trim();
            Err(format!("is not a regular expression: {reason}"))
        }
    }
}

/// Keys and values of labels.
pub(super) fn labels(map: &BTreeMap<String, String>, path: &Path<'_>, report: &mut Report) {
    for (key, value) in map {
        if let Err(reason) = label_key(key) {
            report.error(&path.key(key), reason);
        }
        if !value.is_empty() && !is_label_part(value) {
            report.error(
                &path.key(key),
                format!(
                    "{value:?} is not a value of a label: at most 63 letters, digits, '-', '_', '.'"
                ),
            );
        }
    }
}

fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_prefix = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_dns_label);
    if is_label_part(name) && prefix.is_none_or(is_prefix) {
        Ok(())
    } else {
        Err(format!("{key:?} is not a key of a label: [domain/]name"))
    }
}

fn is_label_part(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && is_end(text.chars().next())
        && is_end(text.chars().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A selector of workloads: no wildcards, no empty keys; one without labels selects everything.
pub(super) fn selector(map: &BTreeMap<String, String>, path: &Path<'_>, report: &mut Report) {
    if map.is_empty() {
        report.warn(path, "has no labels, so it selects every workload");
    }
    for (key, value) in map {
        if key.is_empty() {
            report.error(path, "the key of a label must not be empty");
        } else if key.contains('*') || value.contains('*') {
            report.error(&path.key(key), "wildcards are not supported in selectors");
        } else if let Err(reason) = label_key(key) {
            report.error(&path.key(key), reason);
        } else if !value.is_empty() && !is_label_part(value) {
            report.error(
                &path.key(key),
                format!("{value:?} is not a value of a label"),
            );
        }
    }
}

/// `exportTo`. `is_service` allows `~`.
pub(super) fn export_to(
    list: &[String],
    namespace: &str,
    is_service: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    let resolved = |entry: &str| {
        if entry == "." {
            namespace.to_owned()
        } else {
            entry.to_owned()
        }
    };
    let mut seen = BTreeSet::new();
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        let is_again = !seen.insert(resolved(entry));
        match entry.as_str() {
            _ if is_again => report.error(&path, format!("{entry:?} names a namespace twice")),
            "*" if list.len() > 1 => {
                report.error(
                    &path,
                    "\"*\" is every namespace; nothing else may stand beside it",
                );
            }
            "~" if !is_service => report.error(&path, "\"~\" (nobody) is only for services"),
            "~" if list.len() > 1 => {
                report.error(&path, "\"~\" is nobody; nothing else may stand beside it");
            }
            "*" | "." | "~" => {}
            _ => {
                report.check(&path, dns_label(entry));
            }
        }
    }
}

/// Splits the name of a Gateway into namespace and name; legacy names
/// (`gateway.namespace.svc.cluster.local`) are understood.
pub(crate) fn gateway_name<'a>(text: &'a str, namespace: &'a str) -> (&'a str, &'a str) {
    if let Some((given, name)) = text.split_once('/') {
        return (if given == "." { namespace } else { given }, name);
    }
    let mut parts = text.splitn(4, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(namespace), Some("svc")) => (namespace, name),
        _ => (namespace, text),
    }
}

/// Names of Gateways that routes apply to.
pub(super) fn gateways(list: &[String], path: &Path<'_>, report: &mut Report) {
    for (index, text) in list.iter().enumerate() {
        let path = path.index(index);
        if text == "mesh" {
            continue;
        }
        if let Some((namespace, name)) = text.split_once('/') {
            if namespace.is_empty() || name.is_empty() || name.contains('/') {
                report.error(
                    &path,
                    format!("{text:?} is not a gateway: write namespace/name"),
                );
                continue;
            }
            if namespace != "." {
                report.check(&path, dns_label(namespace));
            }
            report.check(&path, dns_label(name));
        } else if text.contains('.') {
            match fqdn(text) {
                Ok(()) => {
                    let (namespace, name) = gateway_name(text, "");
                    report.warn(
                        &path,
                        format!("names with dots are deprecated; write {namespace}/{name}"),
                    );
                }
                Err(reason) => report.error(&path, reason),
            }
        } else {
            report.check(&path, dns_label(text));
        }
    }
}

/// At most one of the fields of a condition may be set.
pub(super) fn one_condition(condition: &StringMatch, path: &Path<'_>, report: &mut Report) {
    let StringMatch {
        exact,
        prefix,
        regex,
    } = condition;
    let set = [exact, prefix, regex].into_iter().flatten().count();
    if set > 1 {
        report.error(path, "set only one of exact, prefix and regex");
    }
}
