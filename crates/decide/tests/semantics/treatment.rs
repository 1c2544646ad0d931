//! What a compiled route says about a request, in the interpreter's words.

use lateen_decide::headers::{Changes, Headers, Write};
use lateen_decide::{Plan, Route};

use super::naive::{Change, Cors, Treatment};
use super::request::Request;

/// How a route treats a request on its way to a destination.
pub(crate) fn of(plan: &Plan, route: &Route, destination: usize, request: &Request) -> Treatment {
    let policy = &route.policy;
    let mut target = Vec::new();
    match &policy.rewrite {
        Some(rewrite) => {
            rewrite.write_target(request.path.as_bytes(), route.matched, &mut target);
        }
        None => target.extend_from_slice(request.path.as_bytes()),
    }
    let headers = [policy.headers.as_ref(), policy.headers_of(destination)];
    let of_request = headers.map(|headers| changes(headers.map(|one| &one.request)));
    let of_response = headers.map(|headers| changes(headers.map(|one| &one.response)));
    let [first, second] = of_request;
    let [third, fourth] = of_response;
    let mirrors = policy.mirrors.iter().map(|(cluster, share)| {
        let name = plan.cluster(*cluster).map_or("NC", |one| &one.name);
        (name.to_owned(), *share)
    });
    let authority = policy.rewrite.as_ref();
    let authority = authority.and_then(|rewrite| rewrite.authority.as_deref());
    Treatment {
        name: route.name.to_string(),
        timeout: policy.timeout,
        retries: policy.retries.clone(),
        fault: policy.fault.clone(),
        target: String::from_utf8(target).expect("paths and replacements are text"),
        authority: authority.map(str::to_owned),
        changes: [first, second, third, fourth],
        hosts: headers.map(host),
        mirrors: mirrors.collect(),
        cors: policy.cors.as_ref().map(|cors| Cors {
            allows: cors.allows(request.origin().unwrap_or_default().as_bytes()),
            texts: [
                &cors.allow_methods,
                &cors.allow_headers,
                &cors.expose_headers,
                &cors.max_age,
            ]
            .map(ToString::to_string),
            credentials: cors.allow_credentials,
        }),
    }
}

fn changes(changes: Option<&Changes>) -> Vec<Change> {
    let Some(changes) = changes else {
        return Vec::new();
    };
    let removed = changes.remove.iter();
    let removed = removed.map(|name| Change::Remove(name.to_string()));
    let written = changes.write.iter().map(|(name, how, value)| {
        let value = value.as_text().expect("the generator writes no variables");
        match how {
            Write::Set => Change::Set(name.to_string(), value.to_owned()),
            Write::Add => Change::Add(name.to_string(), value.to_owned()),
        }
    });
    removed.chain(written).collect()
}

fn host(headers: Option<&Headers>) -> Option<String> {
    let template = headers?.authority.as_ref()?;
    template.as_text().map(str::to_owned)
}
