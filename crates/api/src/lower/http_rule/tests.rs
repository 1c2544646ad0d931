use std::time::Duration;

use lateen_model::http::{
    AbortWith, Fault, HttpAction, HttpRule, Redirect, RedirectPath, RedirectPort, Rewrite,
    UriRewrite,
};
use lateen_model::retry::{Retries, RetryOn};
use lateen_model::route::{Destination, StringMatch};
use lateen_model::{Body, Host, Percent};
use serde_json::json;

use crate::lower::{Error, Lowered, Settings, lower};
use crate::yaml;

fn try_rules(rules: &str) -> Result<Lowered, Error> {
    let object = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"hosts": ["a"], "http": yaml::value(rules).unwrap()},
    });
    lower(&object, &Settings::default())
}

/// Lowers the rules of a VirtualService in namespace `shop`.
fn rules(text: &str) -> Vec<HttpRule> {
    let mut lowered = try_rules(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(lowered.unsupported, [""; 0]);
    match lowered.resources.pop().unwrap().body {
        Body::VirtualService(routes) => routes.http,
        other => panic!("{other:?}"),
    }
}

/// Lowers a rule that routes to `a` and does this besides.
fn routed(extra: &str) -> HttpRule {
    let text = format!("[{{route: [{{destination: {{host: a}}}}], {extra}}}]");
    rules(&text).remove(0)
}

fn redirect(text: &str) -> Redirect {
    let rule = format!("[{{match: [{{uri: {{prefix: /p}}}}], redirect: {text}}}]");
    match rules(&rule).remove(0).action {
        HttpAction::Redirect(redirect) => redirect,
        other => panic!("{other:?}"),
    }
}

fn refused(rules: &str) -> String {
    try_rules(rules).unwrap_err().to_string()
}

fn millionths(share: Percent) -> u32 {
    share.millionths()
}

#[test]
fn a_redirect_changes_what_it_names_and_answers_301_unless_told() {
    assert_eq!(
        redirect("{uri: /new, authority: b.com, scheme: https}"),
        Redirect {
            path: RedirectPath::Replace("/new".into()),
            authority: Some("b.com".into()),
            port: RedirectPort::Keep,
            scheme: Some("https".into()),
            code: 301,
        }
    );
    let prefix = redirect("{prefixRewrite: /q, redirectCode: 308}");
    assert_eq!(
        (prefix.path, prefix.code),
        (RedirectPath::ReplacePrefix("/q".into()), 308)
    );
}

#[test]
fn the_port_of_a_redirect_is_given_or_that_of_the_request_or_of_the_scheme() {
    let port = |text: &str| redirect(&format!("{{authority: b, {text}}}")).port;
    assert_eq!(port("port: 8080"), RedirectPort::Number(8080));
    assert_eq!(
        port("derivePort: FROM_REQUEST_PORT"),
        RedirectPort::FromRequest
    );
    assert_eq!(
        port("derivePort: FROM_PROTOCOL_DEFAULT"),
        RedirectPort::FromScheme
    );
}

#[test]
fn a_status_by_which_no_proxy_redirects_becomes_302_and_is_reported() {
    let lowered = try_rules("[{redirect: {uri: /x, redirectCode: 304}}]").unwrap();
    assert_eq!(lowered.unsupported, ["spec.http[0].redirect.redirectCode"]);
    let Body::VirtualService(routes) = &lowered.resources[0].body else {
        panic!()
    };
    let HttpAction::Redirect(redirect) = &routes.http[0].action else {
        panic!()
    };
    assert_eq!(redirect.code, 302);
}

#[test]
fn a_direct_response_has_text_bytes_or_no_body() {
    let response = |text: &str| match rules(&format!("[{{directResponse: {text}}}]")).remove(0) {
        HttpRule {
            action: HttpAction::DirectResponse(response),
            ..
        } => (response.status, response.body),
        other => panic!("{other:?}"),
    };
    assert_eq!(response("{status: 418}"), (418, Vec::new()));
    assert_eq!(
        response("{status: 200, body: {string: hello}}"),
        (200, b"hello".to_vec())
    );
    assert_eq!(
        response("{status: 503, body: {bytes: AJ//}}"),
        (503, vec![0, 159, 255])
    );
    let error = refused("[{directResponse: {status: 200, body: {bytes: '*'}}}]");
    assert!(error.contains("body.bytes: is not base64"), "{error}");
}

#[test]
fn a_delegate_is_of_the_same_namespace_unless_told() {
    let action = |text: &str| rules(&format!("[{{delegate: {text}}}]")).remove(0).action;
    let delegate = |namespace: &str| HttpAction::Delegate {
        namespace: namespace.into(),
        name: "part".into(),
    };
    assert_eq!(action("{name: part}"), delegate("shop"));
    assert_eq!(action("{name: part, namespace: other}"), delegate("other"));
}

#[test]
fn a_rewrite_replaces_a_prefix_or_what_an_expression_matches() {
    let rewrite = |text: &str| routed(&format!("rewrite: {text}")).rewrite;
    assert_eq!(
        rewrite("{uri: /b, authority: c}"),
        Some(Rewrite {
            uri: Some(UriRewrite::Prefix("/b".into())),
            authority: Some("c".into()),
        })
    );
    let regex = rewrite(r"{uriRegexRewrite: {match: '^/(a)', rewrite: '/\1'}}").unwrap();
    assert_eq!(
        regex.uri,
        Some(UriRewrite::Regex {
            pattern: "^/(a)".into(),
            replacement: r"/\1".into(),
        })
    );
    assert_eq!(regex.authority, None);
    assert_eq!(routed("name: n").rewrite, None);
}

#[test]
fn a_timeout_that_is_not_given_is_none() {
    assert_eq!(routed("name: n").timeout, None);
    assert_eq!(
        routed("timeout: 1.5s").timeout,
        Some(Duration::from_millis(1500))
    );
}

#[test]
fn retries_take_what_they_leave_out_from_the_default_policy() {
    assert_eq!(routed("name: n").retries, None);
    let default = Retries {
        attempts: 5,
        ..Retries::default_policy()
    };
    assert_eq!(routed("retries: {attempts: 5}").retries, Some(default));
    let none = routed("retries: {attempts: 0}").retries.unwrap();
    assert_eq!(none.attempts, 0);
    assert_eq!(
        routed(
            "retries: {attempts: 1, perTryTimeout: 2s, retryOn: '5xx', backoff: 10ms, \
             retryIgnorePreviousHosts: false, retryRemoteLocalities: true}"
        )
        .retries,
        Some(Retries {
            attempts: 1,
            per_try_timeout: Some(Duration::from_secs(2)),
            conditions: vec![RetryOn::ServerError],
            status_codes: Vec::new(),
            backoff: Duration::from_millis(10),
            ignores_previous_hosts: false,
            remote_localities: true,
        })
    );
}

#[test]
fn numbers_among_the_conditions_are_statuses_that_are_retriable() {
    let retries = routed("retries: {attempts: 1, retryOn: 'unavailable, 503,429,503,reset'}");
    let retries = retries.retries.unwrap();
    assert_eq!(
        retries.conditions,
        [
            RetryOn::Reset,
            RetryOn::RetriableStatusCodes,
            RetryOn::Unavailable
        ]
    );
    assert_eq!(retries.status_codes, [429, 503]);
    for word in ["sometimes", "99", "600"] {
        let text = format!(
            "[{{route: [{{destination: {{host: a}}}}], retries: {{attempts: 1, retryOn: '{word}'}}}}]"
        );
        assert!(refused(&text).contains("is not a condition"));
    }
}

#[test]
fn a_fault_without_a_share_is_for_nobody() {
    let fault = |text: &str| routed(&format!("fault: {text}")).fault;
    let delay = |text: &str| {
        let delay = fault(&format!("{{delay: {{fixedDelay: 5s{text}}}}}"));
        let delay = delay.delay.unwrap();
        (delay.duration.as_secs(), millionths(delay.percentage))
    };
    assert_eq!(delay(""), (5, 0));
    assert_eq!(delay(", percentage: {value: 12.5}"), (5, 125_000));
    assert_eq!(delay(", percentage: {value: 0.0003}"), (5, 3));
    assert_eq!(delay(", percent: 7"), (5, 70_000));
    assert_eq!(
        delay(", percent: 7, percentage: {value: 100}"),
        (5, 1_000_000)
    );

    let abort = fault("{abort: {httpStatus: 503, percentage: {value: 100}}}");
    let abort = abort.abort.unwrap();
    assert_eq!(
        (abort.with, abort.percentage),
        (AbortWith::Http(503), Percent::ALL)
    );
    let grpc = fault("{abort: {grpcStatus: UNAVAILABLE}}").abort.unwrap();
    assert_eq!(
        (grpc.with, grpc.percentage),
        (AbortWith::Grpc(14), Percent::ZERO)
    );
    // It has a warning, and does nothing.
    assert_eq!(fault("{abort: {percentage: {value: 1}}}"), Fault::default());
}

#[test]
fn a_mirror_without_a_share_gets_everything_and_one_of_zero_nothing() {
    let shares = |text: &str| -> Vec<u32> {
        let mirrors = routed(text).mirrors;
        mirrors.iter().map(|m| millionths(m.percentage)).collect()
    };
    assert_eq!(shares("mirror: {host: b}"), [1_000_000]);
    assert_eq!(
        shares("mirror: {host: b}, mirrorPercentage: {value: 0.5}"),
        [5_000]
    );
    assert_eq!(
        shares("mirror: {host: b}, mirrorPercentage: {value: 0}"),
        [0; 0]
    );
    assert_eq!(shares("mirror: {host: b}, mirrorPercent: 20"), [200_000]);
    assert_eq!(shares("mirror: {host: b}, mirror_percent: 30"), [300_000]);
    assert_eq!(
        shares(
            "mirrors: [{destination: {host: b}}, {destination: {host: c}, percentage: {value: 0}}, \
             {destination: {host: d}, percentage: {value: 1}}]"
        ),
        [1_000_000, 10_000]
    );
    let to = routed("mirror: {host: b, subset: v2, port: {number: 81}}").mirrors;
    assert_eq!(
        to[0].destination,
        Destination {
            host: Host::new("b.shop.svc.cluster.local"),
            subset: Some("v2".into()),
            port: Some(81),
        }
    );
}

#[test]
fn origins_are_conditions_and_the_deprecated_ones_are_exact() {
    let cors = |text: &str| routed(&format!("corsPolicy: {text}")).cors.unwrap();
    let full = cors(
        "{allowOrigins: [{exact: 'https://a'}, {regex: '.*'}], allowMethods: [GET], allowHeaders: [x-a], \
         exposeHeaders: [x-b], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE}",
    );
    assert_eq!(
        full.allow_origins,
        [
            StringMatch::Exact("https://a".into()),
            StringMatch::Regex(".*".into())
        ]
    );
    assert_eq!(
        (full.allow_methods, full.allow_headers, full.expose_headers),
        (vec!["GET".into()], vec!["x-a".into()], vec!["x-b".into()])
    );
    assert_eq!(full.max_age, Some(Duration::from_secs(86_400)));
    assert!(full.allow_credentials && full.answers_unmatched_preflights);

    let old = cors("{allowOrigin: ['*'], unmatchedPreflights: FORWARD}");
    assert_eq!(old.allow_origins, [StringMatch::Exact("*".into())]);
    assert!(!old.allow_credentials && !old.answers_unmatched_preflights);
    assert_eq!(old.max_age, None);
}

#[test]
fn names_of_headers_are_lower_case_and_in_order() {
    let text = "{request: {set: {X-B: '%HOSTNAME%', x-a: '1'}, add: {Via: p}, remove: [Z, A, a]}, response: {add: {x: y}}}";
    let rule = rules(&format!(
        "[{{route: [{{destination: {{host: a}}, headers: {text}}}], headers: {{request: {{remove: [Q]}}}}}}]"
    ))
    .remove(0);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = &rule.destinations()[0].headers;
    assert_eq!(
        headers.request.set,
        [pair("x-a", "1"), pair("x-b", "%HOSTNAME%")]
    );
    assert_eq!(headers.request.add, [pair("via", "p")]);
    assert_eq!(headers.request.remove, ["a", "z"]);
    assert_eq!(headers.response.add, [pair("x", "y")]);
    assert_eq!(rule.headers.request.remove, ["q"]);
}
