//! The two formats of a line, and the escaping that keeps it one.
//!
//! In text, a quote, a backslash and everything that is not printable ASCII become `\"`, `\\` and
//! `\xHH`: Envoy writes them raw, which lets a client forge lines. In JSON, bytes that are not
//! UTF-8 become U+FFFD.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::super::calendar;
use super::{Entry, Request};

/// Istio's default text format.
pub(super) fn text(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let request = &entry.request;
    out.push(b'[');
    calendar::write_iso(out, started(entry));
    out.extend_from_slice(b"] \"");
    for (index, part) in [request.method, request.path, request.protocol]
        .iter()
        .enumerate()
    {
        if index > 0 {
            out.push(b' ');
        }
        escaped(out, part);
    }
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "\" {} {} {} - \"-\" {} {} {} ",
        entry.status,
        entry.flags,
        details(entry).unwrap_or("-"),
        entry.bytes_received,
        entry.bytes_sent,
        entry.duration_ms,
    );
    match entry.service_time_ms {
        Some(millis) => drop(write!(out, "{millis}")),
        None => out.push(b'-'),
    }
    for part in [
        request.forwarded_for,
        request.user_agent,
        request.request_id,
        request.authority,
    ] {
        out.extend_from_slice(b" \"");
        escaped(out, part);
        out.push(b'"');
    }
    let origin = &entry.origin;
    let _ = match entry.upstream {
        Some(host) => write!(out, " \"{host}\""),
        None => write!(out, " \"-\""),
    };
    let _ = write!(out, " {}", or_dash(entry.cluster));
    let _ = match entry.upstream_local {
        Some(local) => write!(out, " {local}"),
        None => write!(out, " -"),
    };
    let _ = write!(out, " {} {} ", origin.destination, origin.peer);
    if entry.server_name.is_empty() {
        out.push(b'-');
    } else {
        escaped(out, entry.server_name);
    }
    out.push(b' ');
    escaped(out, entry.route.as_bytes());
    out.push(b'\n');
}

/// One JSON object, with Istio's keys.
pub(super) fn json(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let Request {
        method,
        path,
        protocol,
        authority,
        user_agent,
        forwarded_for,
        request_id,
    } = entry.request;
    let origin = &entry.origin;
    out.extend_from_slice(b"{\"start_time\":\"");
    calendar::write_iso(out, started(entry));
    out.push(b'"');
    string(out, "route_name", entry.route.as_bytes());
    string(out, "method", method);
    string(out, "path", path);
    string(out, "protocol", protocol);
    number(out, "response_code", entry.status.into());
    display(out, "response_flags", Some(entry.flags));
    string(
        out,
        "response_code_details",
        details(entry).unwrap_or("").as_bytes(),
    );
    string(out, "connection_termination_details", b"");
    number(out, "bytes_received", entry.bytes_received);
    number(out, "bytes_sent", entry.bytes_sent);
    number(out, "duration", entry.duration_ms);
    display(out, "upstream_service_time", entry.service_time_ms);
    string(out, "x_forwarded_for", forwarded_for);
    string(out, "user_agent", user_agent);
    string(out, "request_id", request_id);
    string(out, "authority", authority);
    display(out, "upstream_host", entry.upstream);
    string(out, "upstream_cluster", entry.cluster.as_bytes());
    display(out, "upstream_local_address", entry.upstream_local);
    display(out, "downstream_local_address", Some(origin.destination));
    display(out, "downstream_remote_address", Some(origin.peer));
    string(out, "requested_server_name", entry.server_name);
    string(out, "upstream_transport_failure_reason", b"");
    out.extend_from_slice(b"}\n");
}

fn started(entry: &Entry<'_>) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(Duration::from_millis(entry.duration_ms))
        .unwrap_or(now)
}

fn details(entry: &Entry<'_>) -> Option<&'static str> {
    match entry.flags.details() {
        Some(details) => Some(details),
        None if entry.service_time_ms.is_some() => Some("via_upstream"),
        None if entry.status != 0 => Some("direct_response"),
        None => None,
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Writes bytes of a stranger into a line of text.
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        out.push(b'-');
    }
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => drop(write!(out, "\\x{byte:02X}")),
        }
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    let _ = write!(out, "{value}");
}

/// Writes a value that needs no escaping, or null.
fn display(out: &mut Vec<u8>, name: &str, value: Option<impl std::fmt::Display>) {
    key(out, name);
    let _ = match value {
        Some(value) => write!(out, "\"{value}\""),
        None => write!(out, "null"),
    };
}

/// Writes bytes of a stranger as a JSON string, or null if there are none.
fn string(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    if value.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use lateen_model::{Reason, SocketAddress};

    use super::*;
    use crate::connection::{Door, Origin};
    use crate::observe::flags::Flags;

    fn entry<'a>(path: &'a [u8], upstream: Option<&'a SocketAddress>) -> Entry<'a> {
        Entry {
            origin: Origin {
                door: Door::Outbound,
                peer: "10.0.0.1:5".parse().expect("an address"),
                destination: "10.0.0.2:80".parse().expect("an address"),
                tls: None,
            },
            server_name: b"",
            request: Request {
                method: b"GET",
                path,
                protocol: b"HTTP/1.1",
                authority: b"reviews:9080",
                ..Request::NONE
            },
            status: 200,
            flags: Flags::default(),
            bytes_received: 1,
            bytes_sent: 2,
            duration_ms: 3,
            service_time_ms: Some(4),
            upstream,
            upstream_local: Some("10.0.0.1:6".parse().expect("an address")),
            cluster: "outbound|9080||reviews.default.svc.cluster.local",
            route: "default",
        }
    }

    #[test]
    fn text_has_istios_fields_in_istios_order() {
        let mut out = Vec::new();
        let upstream = "10.0.0.3:9080".parse().expect("an address");
        text(&mut out, &entry(b"/a", Some(&upstream)));
        let line = String::from_utf8(out).expect("ASCII");
        let (time, rest) = line.split_at(26);
        assert!(time.starts_with('[') && time.ends_with(']'), "{time}");
        assert_eq!(
            rest,
            " \"GET /a HTTP/1.1\" 200 - via_upstream - \"-\" 1 2 3 4 \"-\" \"-\" \"-\" \
             \"reviews:9080\" \"10.0.0.3:9080\" outbound|9080||reviews.default.svc.cluster.local \
             10.0.0.1:6 10.0.0.2:80 10.0.0.1:5 - default\n"
        );
    }

    #[test]
    fn nothing_that_a_client_sends_ends_a_line_or_breaks_json() {
        for path in [
            &b"/\"\n{\\\t\x7f"[..],
            b"/\xff\xfe\xc3\x28",
            "/\u{2028}é".as_bytes(),
        ] {
            let mut line = Vec::new();
            text(&mut line, &entry(path, None));
            assert_eq!(line.split(|byte| *byte == b'\n').count(), 2);
            assert!(line.is_ascii());
            let mut object = Vec::new();
            json(&mut object, &entry(path, None));
            let parsed: serde_json::Value = serde_json::from_slice(&object).expect("JSON");
            assert_eq!(parsed["response_code"], 200);
            assert_eq!(object.split(|byte| *byte == b'\n').count(), 2);
        }
    }

    #[test]
    fn a_refusal_is_logged_with_its_flag_and_details() {
        let mut out = Vec::new();
        let refused = Entry {
            status: 404,
            flags: Flags::of(Some(Reason::NoRoute)),
            service_time_ms: None,
            cluster: "",
            ..entry(b"/", None)
        };
        json(&mut out, &refused);
        let parsed: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(parsed["response_flags"], "NR");
        let mut line = Vec::new();
        let given_up = Entry {
            flags: Flags {
                is_exhausted: true,
                ..Flags::of(Some(Reason::UpstreamConnectionFailure))
            },
            ..refused
        };
        text(&mut line, &given_up);
        let line = String::from_utf8(line).expect("ASCII");
        assert!(line.contains(" 404 UF,URX upstream_reset_before"), "{line}");
        assert_eq!(parsed["response_code_details"], "route_not_found");
        assert!(parsed["upstream_host"].is_null());
    }
}
