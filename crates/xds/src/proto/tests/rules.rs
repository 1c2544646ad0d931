//! A rule for each action with every field set, and what is refused of them.

use std::time::Duration;

use lateen_model::http::{
    Abort, AbortWith, CorsPolicy, Delay, DirectResponse, Fault, HeaderChanges, HeaderRules,
    HttpAction, HttpRule, Mirror, Redirect, RedirectPath, RedirectPort, Rewrite, UriRewrite,
};
use lateen_model::retry::{Retries, RetryOn};
use lateen_model::route::{StringMatch, WeightedDestination};
use lateen_model::{HostPattern, Percent};

use super::{message, refuse};

fn changes(name: &str) -> HeaderRules {
    let pair = |value: &str| vec![(name.to_owned(), value.to_owned())];
    HeaderRules {
        request: HeaderChanges {
            set: pair("%HOSTNAME%"),
            add: pair("b"),
            remove: vec!["c".into()],
        },
        response: HeaderChanges {
            set: pair(""),
            add: Vec::new(),
            remove: vec!["d".into()],
        },
    }
}

pub(super) fn retries() -> Retries {
    Retries {
        attempts: 7,
        per_try_timeout: Some(Duration::from_nanos(1_500_000_001)),
        conditions: RetryOn::ALL.map(|(condition, _)| condition).to_vec(),
        status_codes: vec![429, 503],
        backoff: Duration::from_millis(3),
        ignores_previous_hosts: false,
        remote_localities: true,
    }
}

fn redirect(path: RedirectPath, port: RedirectPort, code: u16) -> HttpAction {
    HttpAction::Redirect(Redirect {
        path,
        authority: Some("example.com".into()),
        port,
        scheme: Some("https".into()),
        code,
    })
}

/// A rule that routes, with every field set.
fn full(route: &[WeightedDestination]) -> HttpRule {
    let mut destinations = route.to_vec();
    destinations[0].headers = changes("x-destination");
    HttpRule {
        rewrite: Some(Rewrite {
            uri: Some(UriRewrite::Regex {
                pattern: "^/(a)".into(),
                replacement: r"/\1".into(),
            }),
            authority: Some("b".into()),
        }),
        timeout: Some(Duration::from_secs(3)),
        retries: Some(retries()),
        fault: Fault {
            delay: Some(Delay {
                duration: Duration::from_secs(5),
                percentage: Percent::from_millionths(1),
            }),
            abort: Some(Abort {
                with: AbortWith::Grpc(14),
                percentage: Percent::ALL,
            }),
        },
        mirrors: vec![Mirror {
            destination: route[0].destination.clone(),
            percentage: Percent::from_millionths(500_000),
        }],
        cors: Some(CorsPolicy {
            allow_origins: vec![StringMatch::Prefix("https://".into())],
            allow_methods: vec!["GET".into()],
            allow_headers: vec!["a".into()],
            expose_headers: vec!["b".into()],
            max_age: Some(Duration::from_secs(60)),
            allow_credentials: true,
            answers_unmatched_preflights: true,
        }),
        headers: changes("x-rule"),
        ..HttpRule::new(HttpAction::Route(destinations))
    }
}

/// One rule for each action, and for each form of what it has several forms of.
pub(super) fn all(route: &[WeightedDestination]) -> Vec<HttpRule> {
    let simple = HttpRule {
        rewrite: Some(Rewrite {
            uri: Some(UriRewrite::Prefix("/".into())),
            authority: None,
        }),
        fault: Fault {
            delay: None,
            abort: Some(Abort {
                with: AbortWith::Http(503),
                percentage: Percent::ZERO,
            }),
        },
        ..HttpRule::new(HttpAction::Route(route.to_vec()))
    };
    let others = [
        redirect(RedirectPath::Keep, RedirectPort::Keep, 301),
        redirect(
            RedirectPath::Replace("/new".into()),
            RedirectPort::Number(8443),
            307,
        ),
        redirect(
            RedirectPath::ReplacePrefix("/p".into()),
            RedirectPort::FromRequest,
            308,
        ),
        redirect(RedirectPath::Keep, RedirectPort::FromScheme, 302),
        HttpAction::DirectResponse(DirectResponse {
            status: 418,
            body: vec![0, 159, 255],
        }),
        HttpAction::Delegate {
            namespace: "other".into(),
            name: "part".into(),
        },
    ];
    let others = others.map(HttpRule::new);
    [full(route), simple].into_iter().chain(others).collect()
}

#[test]
fn an_action_that_is_not_known_here_is_refused_instead_of_routing_nowhere() {
    let at = refuse(|v| v.http[4].action = None);
    assert_eq!(at, "virtual_service.http[4].route");
    let at = refuse(|v| v.http[4].route = v.http[0].route.clone());
    assert_eq!(at, "virtual_service.http[4].route");
}

#[test]
fn numbers_of_rules_have_bounds() {
    let action = |v: &mut message::VirtualService, code| {
        let Some(message::HttpAction::Redirect(redirect)) = &mut v.http[2].action else {
            panic!("it is one");
        };
        redirect.code = code;
    };
    assert_eq!(
        refuse(|v| action(v, 304)),
        "virtual_service.http[2].redirect.code"
    );
    assert_eq!(
        refuse(|v| v.http[0].mirrors[0].percentage = 1_000_001),
        "virtual_service.http[0].mirrors[0].percentage"
    );
    assert_eq!(
        refuse(|v| v.http[0].abort = Some(message::Abort {
            percentage: 1,
            with: Some(message::AbortWith::Grpc(17)),
        })),
        "virtual_service.http[0].abort.grpc"
    );
    assert_eq!(
        refuse(|v| v.http[0].abort = Some(message::Abort::default())),
        "virtual_service.http[0].abort.with"
    );
    let retries = |v: &mut message::VirtualService, condition, status, backoff| {
        let retries = v.http[0].retries.as_mut().expect("it has some");
        retries.conditions.push(condition);
        retries.status_codes.push(status);
        retries.backoff = backoff;
    };
    assert_eq!(
        refuse(|v| retries(v, 99, 503, 1)),
        "virtual_service.http[0].retries.conditions[16].condition"
    );
    assert_eq!(
        refuse(|v| retries(v, 1, 99, 1)),
        "virtual_service.http[0].retries.status_codes[2].status"
    );
    assert_eq!(
        refuse(|v| retries(v, 1, 503, 0)),
        "virtual_service.http[0].retries.backoff"
    );
}

#[test]
fn a_delegate_has_no_hosts() {
    let mut delegate = super::virtual_service();
    delegate.hosts = Vec::<HostPattern>::new();
    let resource = super::resource(super::Body::VirtualService(delegate));
    let bytes = super::encode_resource(&resource);
    let read = super::decode_resource("VirtualService/default/a", &bytes);
    assert_eq!(read.expect("it was just written"), resource);
}
