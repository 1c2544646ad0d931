//! `lateen why` and the proxy agree on generated meshes and requests: on the status, the reason, the
//! cluster, the rule, and on what the upstream gets.
//!
//! A mesh is objects as users and the cluster write them. They go through the control plane's index
//! into `why`, and what a proxy would be sent of them into a real worker between a client and
//! upstreams in memory. Weights and percentages are 0 or 100, so that no dice are thrown.

#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "these are tests, also outside of test functions"
)]

mod generate;
mod observe;
mod tls;

use lateen_model::{Reason, SocketAddress};
use lateen_proxy::random::Random;
use lateen_why::{Answer, Outcome, Question, World, explain, text};

use observe::Observed;
use tls::Tls;

/// Pairs of a mesh and a request that are compared at least.
const PAIRS: usize = 600;
/// Requests to each mesh.
const REQUESTS: usize = 6;
/// Another seed is another set of meshes.
const SEED: u64 = 4;

#[test]
fn why_agrees_with_the_proxy_on_generated_meshes_and_requests() {
    let random = Random::seeded(SEED);
    let sink = observe::sink();
    let tls = Tls::new();
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    let (mut pairs, mut meshes) = (0, 0);
    while pairs < PAIRS {
        meshes += 1;
        assert!(meshes < PAIRS, "too few of the requests reach a proxy");
        let objects = generate::mesh(&random);
        let world = World::new(&objects, "istio-system").unwrap();
        for (namespace, name) in generate::CALLERS {
            let caller = world.caller(namespace, name).unwrap();
            let configuration = world.configuration(&caller);
            for _ in 0..REQUESTS {
                let question = generate::question(&random, caller.role);
                let answer = explain(&world, &configuration, &caller, &question);
                let Some(observed) =
                    observe::observe(&configuration, &caller, &question, &answer, (&sink, &tls))
                else {
                    continue;
                };
                pairs += 1;
                *kinds.entry(kind(&answer)).or_default() += 1;
                *kinds.entry(way(&question, &answer)).or_default() += 1;
                if let Err(why) = compare(&question, &answer, &observed) {
                    panic!(
                        "mesh {meshes}, seed {SEED}: {why}\nthe proxy: {observed:#?}\n{}\n{}",
                        text::render(&answer),
                        serde_json::to_string_pretty(&objects).unwrap()
                    );
                }
            }
        }
    }
    println!("{pairs} pairs on {meshes} meshes: {kinds:?}");
    for wanted in [
        "forwarded",
        "answered 301",
        "answered 418",
        "answered 555",
        "NR",
        "NC",
        "UH",
        "TLS that ends",
        "TLS that is passed on",
        "TLS that nobody takes",
    ] {
        assert!(
            kinds.keys().any(|kind| kind.contains(wanted)),
            "no {wanted}: {kinds:?}"
        );
    }
}

fn kind(answer: &Answer) -> String {
    match &answer.outcome {
        Outcome::Forwarded { .. } => "forwarded".into(),
        Outcome::Answered { status, .. } => format!("answered {}", status.unwrap_or_default()),
        Outcome::Refused { reason, .. } => {
            format!("refused {}", reason.map_or("-", Reason::flag))
        }
    }
}

/// How the request went in.
fn way(question: &Question, answer: &Answer) -> String {
    let is_secure = question.url.starts_with("https");
    let is_taken = matches!(answer.outcome, Outcome::Forwarded { .. });
    let way = match (is_secure, answer.server.is_some(), is_taken) {
        (false, ..) => "plain text",
        (true, true, _) => "TLS that ends",
        (true, false, true) => "TLS that is passed on",
        (true, false, false) => "TLS that nobody takes",
    };
    way.to_owned()
}

/// What the proxy did must be what `why` said.
fn compare(question: &Question, answer: &Answer, observed: &Observed) -> Result<(), String> {
    let differs = |what: &str, said: &dyn std::fmt::Debug, done: &dyn std::fmt::Debug| {
        Err(format!(
            "{what}: why says {said:?}, the proxy does {done:?}"
        ))
    };
    let is_http = answer.table.is_some();
    let status = match &answer.outcome {
        Outcome::Forwarded { .. } => Some(200),
        Outcome::Answered { .. } | Outcome::Refused { .. } => answer.outcome.status(),
    };
    if status != observed.status {
        return differs("status", &status, &observed.status);
    }
    let is_forwarded = matches!(answer.outcome, Outcome::Forwarded { .. });
    match (&observed.upstream, is_forwarded) {
        (None, false) => {}
        (Some(upstream), true) => {
            let address = upstream.address.to_string();
            let mut endpoints = answer.endpoints.iter().filter(|one| one.left_out.is_none());
            let is_known = match answer.endpoints.as_slice() {
                [] => {
                    answer.destination.map(SocketAddress::from).as_ref() == Some(&upstream.address)
                }
                _ => endpoints.any(|one| one.address == address),
            };
            if !is_known {
                return differs("endpoint", &answer.endpoints, &address);
            }
            let sent = answer.rewritten.as_ref();
            let path = sent.map_or(&question.path, |sent| &sent.path);
            if is_http && *path != upstream.path {
                return differs("path", path, &upstream.path);
            }
            let authority = sent.map_or(&question.authority, |sent| &sent.authority);
            if is_http && *authority != upstream.host {
                return differs("host", authority, &upstream.host);
            }
        }
        (upstream, _) => return differs("upstream", &is_forwarded, upstream),
    }
    let rule = answer.rule.as_deref().and_then(generate::tag_of);
    if is_http && observed.rule.is_some() && rule != observed.rule {
        return differs("rule", &rule, &observed.rule);
    }
    if is_http && is_forwarded && rule != observed.rule {
        return differs("rule", &rule, &observed.rule);
    }
    compare_metric(answer, observed)
}

/// The proxy's own record of the request: its flags and its service.
fn compare_metric(answer: &Answer, observed: &Observed) -> Result<(), String> {
    if answer.table.is_none() {
        return Ok(());
    }
    let flags = match &answer.outcome {
        Outcome::Refused {
            reason: Some(reason),
            ..
        } => reason.flag(),
        Outcome::Answered {
            status: Some(555), ..
        } => Reason::FaultAbort.flag(),
        // What a rule answers otherwise has flags of its own.
        _ => return Ok(()),
    };
    // A delay, which changes nothing of the outcome, has a flag of its own beside it.
    let mut counted = observed.flags.iter().flat_map(|it| it.split(','));
    if counted.any(|flag| flag == flags) {
        Ok(())
    } else {
        Err(format!(
            "flags: why says {flags:?}, the proxy counts {:?}",
            observed.flags
        ))
    }
}
