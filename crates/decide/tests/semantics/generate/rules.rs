//! Rules of every kind.

use std::time::Duration;

use lateen_model::http::{
    Abort, AbortWith, CorsPolicy, Delay, DirectResponse, Fault, HeaderChanges, HeaderRules,
    HttpAction, HttpRule, Mirror, Redirect, RedirectPath, RedirectPort, Rewrite, UriRewrite,
};
use lateen_model::retry::{Retries, RetryOn};
use lateen_model::route::{Destination, HttpMatch, StringMatch, ValueMatch, WeightedDestination};
use lateen_model::{Host, Percent};

use super::{Dice, HOSTS, NAMESPACES, PATHS, REGEXES, VALUES, gateways, labels};

pub(super) fn rule(dice: &mut Dice<'_>) -> HttpRule {
    let action = match dice.roll(8) {
        1 => HttpAction::Redirect(redirect(dice)),
        2 => HttpAction::DirectResponse(DirectResponse {
            status: dice.of(&[200, 418]),
            body: b"x".to_vec(),
        }),
        3 | 4 => HttpAction::Delegate {
            namespace: dice.of(&["default", "default", "default", "other"]).into(),
            name: dice.of(&["vs0", "vs0", "vs0", "vs1", "vs2"]).into(),
        },
        _ => HttpAction::Route(destinations(dice)),
    };
    let matches = (0..dice.roll(3)).map(|_| block(dice)).collect();
    let mut rule = HttpRule {
        matches,
        ..HttpRule::new(action)
    };
    for _ in 0..dice.roll(5) {
        treat(dice, &mut rule);
    }
    rule
}

/// Says something about how requests are treated.
fn treat(dice: &mut Dice<'_>, rule: &mut HttpRule) {
    match dice.roll(8) {
        0 => rule.name = dice.of(&["one", "two"]).into(),
        1 => rule.rewrite = Some(rewrite(dice)),
        2 => rule.timeout = Some(Duration::from_secs(dice.roll(3) as u64)),
        3 => {
            rule.retries = Some(Retries {
                attempts: dice.of(&[0, 1, 5]),
                conditions: vec![dice.of(&[RetryOn::Reset, RetryOn::ServerError])],
                status_codes: vec![dice.of(&[503, 409])],
                ..Retries::default_policy()
            });
        }
        4 => rule.fault = fault(dice),
        5 => rule.mirrors.push(Mirror {
            destination: destinations(dice)[0].destination.clone(),
            percentage: dice.of(&[Percent::ALL, Percent::ZERO, Percent::from_millionths(5)]),
        }),
        6 => rule.cors = Some(cors(dice)),
        _ => rule.headers = headers(dice),
    }
}

fn redirect(dice: &mut Dice<'_>) -> Redirect {
    Redirect {
        path: match dice.roll(3) {
            0 => RedirectPath::Keep,
            1 => RedirectPath::Replace("/new".into()),
            _ => RedirectPath::ReplacePrefix("/new".into()),
        },
        authority: dice.of(&[None, Some("new.com")]).map(str::to_owned),
        port: dice.of(&[
            RedirectPort::Keep,
            RedirectPort::Number(8443),
            RedirectPort::FromRequest,
        ]),
        scheme: dice.of(&[None, Some("https")]).map(str::to_owned),
        code: dice.of(&[301, 308]),
    }
}

fn rewrite(dice: &mut Dice<'_>) -> Rewrite {
    Rewrite {
        uri: match dice.roll(4) {
            0 => None,
            1 => Some(UriRewrite::Regex {
                pattern: dice.of(&["/(a|b)", "a", "^/"]).into(),
                replacement: dice.of(&["/[\\1]", "\\0$1\\0", "x"]).into(),
            }),
            _ => Some(UriRewrite::Prefix(dice.of(&["/", "/new", "/n/"]).into())),
        },
        authority: dice.of(&[None, Some("new.com")]).map(str::to_owned),
    }
}

fn fault(dice: &mut Dice<'_>) -> Fault {
    let percentage = dice.of(&[Percent::ALL, Percent::from_millionths(500_000)]);
    Fault {
        delay: dice.once_in(2).then_some(Delay {
            duration: Duration::from_secs(7),
            percentage,
        }),
        abort: dice.once_in(2).then_some(Abort {
            with: AbortWith::Http(500),
            percentage,
        }),
    }
}

fn cors(dice: &mut Dice<'_>) -> CorsPolicy {
    CorsPolicy {
        allow_origins: (0..dice.roll(3)).map(|_| origin(dice)).collect(),
        allow_methods: vec!["GET".into(), "PUT".into()],
        max_age: dice.once_in(2).then_some(Duration::from_secs(60)),
        allow_credentials: dice.once_in(2),
        ..CorsPolicy::default()
    }
}

fn origin(dice: &mut Dice<'_>) -> StringMatch {
    match dice.roll(4) {
        0 => StringMatch::Exact(dice.of(&["1", "*"]).into()),
        1 => StringMatch::Prefix("1".into()),
        2 => StringMatch::Regex("[12]+".into()),
        _ => StringMatch::Exact("2".into()),
    }
}

fn headers(dice: &mut Dice<'_>) -> HeaderRules {
    HeaderRules {
        request: changes(dice, &["x", "y", "host", ":authority"]),
        response: changes(dice, &["x", "y"]),
    }
}

fn changes(dice: &mut Dice<'_>, names: &[&str]) -> HeaderChanges {
    let mut pairs = |most: usize| -> Vec<(String, String)> {
        let pairs = (0..dice.roll(most)).map(|_| (dice.of(names).into(), dice.of(&VALUES).into()));
        pairs.collect()
    };
    HeaderChanges {
        set: pairs(3),
        add: pairs(3),
        remove: dice
            .of(&[&[][..], &["x"], &["x", "y"]])
            .iter()
            .map(|it| (*it).into())
            .collect(),
    }
}

/// One of many rules for one prefix, each for another header or value.
pub(super) fn similar(dice: &mut Dice<'_>, at: usize) -> HttpRule {
    let value = ValueMatch::Value(StringMatch::Exact((at % 7).to_string()));
    let mut block = HttpMatch {
        uri: Some(StringMatch::Prefix("/".into())),
        ..HttpMatch::default()
    };
    match dice.roll(6) {
        0 => block.headers.push(("x-user".into(), value)),
        1 => block.headers.push((format!("x-{at}"), value)),
        2 => block.headers.push((format!("x-{at}"), ValueMatch::Present)),
        3 => block
            .query_params
            .push((format!("q{at}"), ValueMatch::Present)),
        4 => block.query_params.push(("q".into(), value)),
        _ => {
            block.headers.push(("x-user".into(), value));
            block.method = Some(StringMatch::Exact(dice.of(&["GET", "POST"]).into()));
        }
    }
    HttpRule {
        matches: vec![block],
        ..HttpRule::new(HttpAction::Route(destinations(dice)))
    }
}

fn destinations(dice: &mut Dice<'_>) -> Vec<WeightedDestination> {
    let mut route: Vec<_> = (0..dice.of(&[1, 1, 2, 3]))
        .map(|_| WeightedDestination {
            destination: Destination {
                host: Host::new(dice.of(&[HOSTS[0], HOSTS[1], HOSTS[2], HOSTS[5], "nobody.org"])),
                subset: dice
                    .of(&[None, None, Some("v1"), Some("v3")])
                    .map(str::to_owned),
                port: dice.of(&[None, None, Some(80), Some(8080), Some(9)]),
            },
            weight: dice.of(&[1, 0, 3, 75]),
            headers: match dice.roll(4) {
                1 => headers(dice),
                _ => HeaderRules::default(),
            },
        })
        .collect();
    if route.iter().all(|one| one.weight == 0) {
        route[0].weight = 1;
    }
    route
}

fn block(dice: &mut Dice<'_>) -> HttpMatch {
    let mut block = HttpMatch::default();
    for _ in 0..dice.roll(4) {
        match dice.roll(12) {
            0..=3 => {
                block.uri = Some(uri(dice));
                let is_regex = matches!(block.uri, Some(StringMatch::Regex(_)));
                block.ignore_uri_case = !is_regex && dice.once_in(3);
            }
            4 => block.method = Some(StringMatch::Exact(dice.of(&["GET", "POST"]).into())),
            5 => block.scheme = Some(StringMatch::Exact(dice.of(&["http", "https"]).into())),
            6 => block.authority = Some(StringMatch::Prefix(dice.of(&["a", "A", "b:8"]).into())),
            7 => block
                .headers
                .push((dice.of(&["x", "y"]).into(), value(dice))),
            8 => block
                .without_headers
                .push((dice.of(&["x", "y"]).into(), value(dice))),
            9 => block
                .query_params
                .push((dice.of(&["x", "y"]).into(), value(dice))),
            10 => block.port = Some(dice.of(&[80, 8080])),
            _ => source(dice, &mut block),
        }
    }
    for values in [
        &mut block.headers,
        &mut block.without_headers,
        &mut block.query_params,
    ] {
        // They were written as maps.
        values.sort_by(|(a, _), (b, _)| a.cmp(b));
        values.dedup_by(|(a, _), (b, _)| a == b);
    }
    block
}

fn source(dice: &mut Dice<'_>, block: &mut HttpMatch) {
    match dice.roll(3) {
        0 => block.source_labels = labels(&[("app", dice.of(&["client", "other"]))]),
        1 => block.source_namespace = Some(dice.of(&NAMESPACES).into()),
        _ => block.gateways = gateways(dice),
    }
}

fn uri(dice: &mut Dice<'_>) -> StringMatch {
    match dice.roll(5) {
        0 | 1 => StringMatch::Prefix(dice.of(&PATHS).into()),
        2 | 3 => StringMatch::Exact(dice.of(&PATHS).into()),
        _ => StringMatch::Regex(dice.of(&REGEXES).into()),
    }
}

fn value(dice: &mut Dice<'_>) -> ValueMatch {
    match dice.roll(4) {
        0 => ValueMatch::Present,
        1 => ValueMatch::Value(StringMatch::Prefix(dice.of(&VALUES[..2]).into())),
        2 => ValueMatch::Value(StringMatch::Regex(dice.of(&REGEXES[2..4]).into())),
        _ => ValueMatch::Value(StringMatch::Exact(dice.of(&VALUES).into())),
    }
}
