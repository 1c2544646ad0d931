//! Holds what is compiled against the interpreter.

use std::net::SocketAddr;

use lateen_decide::tls::{Choice, Ended};
use lateen_decide::{Decision, Plan, Route, RouteTable, Scratch, Serve, Store};
use lateen_model::mesh::OutboundPolicy;
use lateen_model::proxy::Role;
use lateen_model::{Body, ObjectRef, Reason, Resource, ResourceName, Source};

use super::generate::{Case, Detour};
use super::naive::{Answer, Interpreter, RuleName};
use super::request::Request;
use super::treatment;

/// What clients of TLS ask for: names that patterns have, and nobody.
const SERVER_NAMES: [&str; 5] = [
    "a.default.svc.cluster.local",
    "x.default.svc.cluster.local",
    "ext.com",
    "free.org",
    "",
];

/// Decides on every request of the case both ways.
///
/// # Panics
/// If they differ, or if a trace differs from its decision.
pub(crate) fn compiled_equals_interpreted(case: &Case) {
    let mut store = Store::new();
    let resources = latest(&case.resources);
    for resource in &resources {
        store
            .apply(resource.clone())
            .expect("generated resources are valid");
    }
    for body in [
        Body::Mesh(case.mesh.clone()),
        Body::Proxy(case.proxy.clone()),
    ] {
        let resource = Resource {
            name: ResourceName(body.kind().to_owned()),
            source: Source {
                object: ObjectRef::default(),
                ..Source::default()
            },
            body,
        };
        store.apply(resource).expect("these are always taken");
    }
    for (at, detour) in &case.churn {
        take_detour(&mut store, &resources, *at, *detour);
    }
    let plan = store.compile();
    let interpreter = Interpreter::new(&resources, &case.proxy, &case.mesh);
    let mut scratch = Scratch::default();
    for (request, random) in &case.requests {
        check_secure(&plan, &interpreter, case, request, *random);
        for port in [80, 8080] {
            let Some(table) = table(&plan, case.proxy.role, port) else {
                continue;
            };
            let expected = match case.proxy.role {
                Role::Sidecar => interpreter.sidecar(port, request, *random),
                Role::Gateway => interpreter.gateway(port, request, *random),
            };
            let decision = table.decide(request, &mut scratch, || *random);
            let found = answer(&plan, request, decision, case.mesh.outbound_policy);
            assert_eq!(found, expected, "port {port}: {request:#?}");
            check_trace(table, request, *random, decision);
        }
    }
}

/// Asks a gateway's port of TLS for a name, and sends the request to whoever has it.
fn check_secure(
    plan: &Plan,
    interpreter: &Interpreter<'_>,
    case: &Case,
    request: &Request,
    random: u64,
) {
    let local = SocketAddr::from(([203, 0, 113, 1], 443));
    let Some(Serve::Tls(table)) = plan.gateway(local).map(|one| &one.serve) else {
        return;
    };
    for name in SERVER_NAMES {
        let expected = interpreter.secure(443, name, request, random);
        let found = table.choose(Some(name.as_bytes())).map(|choice| {
            let Choice::Ended(server) = choice else {
                panic!("{name}: every server ends TLS");
            };
            let Ended::Http(table) = &server.serve else {
                panic!("{name}: every server serves requests");
            };
            let mut scratch = Scratch::default();
            let decision = table.decide(request, &mut scratch, || random);
            let found = answer(plan, request, decision, case.mesh.outbound_policy);
            check_trace(table, request, random, decision);
            assert_eq!(plan.terminated(server.id).map(|it| it.id), Some(server.id));
            let mut parts = server.name.split('.').skip(2);
            let (port, gateway) = (parts.next(), parts.next());
            let name = format!("{}.{}", port.unwrap_or("?"), gateway.unwrap_or("?"));
            (name, found)
        });
        assert_eq!(found, expected, "server name {name:?}: {request:#?}");
    }
}

/// Changes a resource, compiles, and changes it back: what is remembered of that must not show.
fn take_detour(store: &mut Store, resources: &[Resource], at: usize, detour: Detour) {
    store.compile();
    let resource = &resources[at % resources.len()];
    let mut changed = resource.clone();
    match detour {
        Detour::Removed => store.remove(&resource.name),
        Detour::Older => {
            changed.source.created = -1;
            store.apply(changed).expect("only its age is another");
        }
        Detour::Disguised(other) => {
            let other = &resources[other % resources.len()].body;
            if other.kind() == resource.body.kind() {
                changed.body = other.clone();
                store.apply(changed).expect("the other one is valid too");
            }
        }
    }
    store.compile();
    store.apply(resource.clone()).expect("it was taken before");
}

/// Of resources with the same name the last one counts.
fn latest(resources: &[Resource]) -> Vec<Resource> {
    let mut kept: Vec<Resource> = Vec::new();
    for resource in resources {
        kept.retain(|one| one.name != resource.name);
        kept.push(resource.clone());
    }
    kept
}

fn table(plan: &Plan, role: Role, port: u16) -> Option<&RouteTable> {
    let address = SocketAddr::from(([203, 0, 113, 1], port));
    match role {
        Role::Sidecar => plan.outbound(address).http.as_deref(),
        Role::Gateway => match &plan.gateway(address)?.serve {
            Serve::Http(table) => Some(table),
            Serve::Tls(_) | Serve::Tcp(_) => None,
        },
    }
}

/// A decision in the interpreter's words.
fn answer(
    plan: &Plan,
    request: &Request,
    decision: Decision<'_>,
    policy: OutboundPolicy,
) -> Answer {
    match decision {
        Decision::RedirectToHttps => Answer::Redirect,
        Decision::Refuse(Reason::NoRoute) => Answer::NoRoute,
        Decision::Refuse(Reason::BlackHole) => Answer::Unknown(OutboundPolicy::RegistryOnly),
        Decision::Refuse(reason) => panic!("{reason} is no answer of a table"),
        Decision::Forward { route, .. } if &*route.name == "allow_any" => Answer::Unknown(policy),
        Decision::Redirect { redirect, route } => Answer::Elsewhere(redirect.clone(), name(route)),
        Decision::Respond { response, route } => Answer::Respond(response.clone(), name(route)),
        Decision::Forward {
            cluster,
            destination,
            route,
        } => {
            let cluster = plan.cluster(cluster).map_or("NC", |one| &one.name);
            let treatment = treatment::of(plan, route, destination, request);
            Answer::Forward(
                cluster.to_owned(),
                destination,
                name(route),
                Box::new(treatment),
            )
        }
    }
}

fn name(route: &Route) -> RuleName {
    let origin = &route.origin;
    let [rule, block] = [origin.rule, origin.block].map(|at| at as usize);
    (origin.object.name.clone(), rule, block)
}

/// The trace tells the same decision, and for every rule before it why it did not match.
fn check_trace(table: &RouteTable, request: &Request, random: u64, decision: Decision<'_>) {
    let trace = table.explain(request, || random);
    assert_eq!(trace.decision, decision);
    for passed in &trace.passed_over {
        assert!(!passed.failed.contains("defect"), "{passed:?}");
    }
}
