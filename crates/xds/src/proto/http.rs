//! What rules for HTTP do with a request.

use lateen_model::http::{
    Abort, AbortWith, CorsPolicy, Delay, DirectResponse, Fault as Faults, HeaderChanges,
    HeaderRules, HttpAction, HttpRule, Mirror, Rewrite, UriRewrite,
};
use lateen_model::route::Destination;

use super::message;
use super::number::{
    duration, optional_duration, percent, status, wire_duration, wire_optional_duration,
};
use super::wire::{
    Fault, Wire, list, missing, nonempty, nonempty_list, optional, read_list, required, wire_list,
};

/// gRPC has 17 statuses.
const LAST_GRPC_STATUS: u32 = 16;

impl Wire for HttpRule {
    type Message = message::HttpRule;

    fn to_wire(&self) -> message::HttpRule {
        let (route, action) = action_to_wire(&self.action);
        message::HttpRule {
            name: self.name.clone(),
            matches: wire_list(&self.matches),
            route,
            rewrite: self.rewrite.as_ref().map(Wire::to_wire),
            timeout: wire_optional_duration(self.timeout),
            retries: self.retries.as_ref().map(Wire::to_wire),
            delay: self.fault.delay.as_ref().map(Wire::to_wire),
            abort: self.fault.abort.as_ref().map(Wire::to_wire),
            mirrors: wire_list(&self.mirrors),
            cors: self.cors.as_ref().map(Wire::to_wire),
            headers: wire_rules(&self.headers),
            action,
        }
    }

    fn from_wire(wire: message::HttpRule) -> Result<Self, Fault> {
        Ok(Self {
            name: wire.name,
            matches: list(wire.matches, "matches")?,
            action: action(wire.route, wire.action)?,
            rewrite: optional(wire.rewrite, "rewrite")?,
            timeout: optional_duration(wire.timeout),
            retries: optional(wire.retries, "retries")?,
            fault: Faults {
                delay: optional(wire.delay, "delay")?,
                abort: optional(wire.abort, "abort")?,
            },
            mirrors: list(wire.mirrors, "mirrors")?,
            cors: optional(wire.cors, "cors")?,
            headers: rules(wire.headers)?,
        })
    }
}

/// Writes destinations apart from other actions, where older proxies look for them.
fn action_to_wire(
    action: &HttpAction,
) -> (
    Vec<message::WeightedDestination>,
    Option<message::HttpAction>,
) {
    match action {
        HttpAction::Route(route) => (wire_list(route), None),
        HttpAction::Redirect(redirect) => (
            Vec::new(),
            Some(message::HttpAction::Redirect(redirect.to_wire())),
        ),
        HttpAction::DirectResponse(response) => (
            Vec::new(),
            Some(message::HttpAction::DirectResponse(response.to_wire())),
        ),
        HttpAction::Delegate { namespace, name } => {
            let delegate = message::Delegate {
                namespace: namespace.clone(),
                name: name.clone(),
            };
            (Vec::new(), Some(message::HttpAction::Delegate(delegate)))
        }
    }
}

fn action(
    route: Vec<message::WeightedDestination>,
    action: Option<message::HttpAction>,
) -> Result<HttpAction, Fault> {
    let Some(action) = action else {
        // Nothing is also what an action that is not known here looks like.
        let route = nonempty_list(list(route, "route")?, "route")?;
        return Ok(HttpAction::Route(route));
    };
    if !route.is_empty() {
        return Err(Fault::new("has destinations beside another action").at("route"));
    }
    match action {
        message::HttpAction::Redirect(redirect) => {
            required(Some(redirect), "redirect").map(HttpAction::Redirect)
        }
        message::HttpAction::DirectResponse(response) => {
            required(Some(response), "direct_response").map(HttpAction::DirectResponse)
        }
        message::HttpAction::Delegate(delegate) => Ok(HttpAction::Delegate {
            namespace: nonempty(delegate.namespace, "delegate.namespace")?,
            name: nonempty(delegate.name, "delegate.name")?,
        }),
    }
}

impl Wire for DirectResponse {
    type Message = message::DirectResponse;

    fn to_wire(&self) -> message::DirectResponse {
        message::DirectResponse {
            status: u32::from(self.status),
            body: self.body.clone(),
        }
    }

    fn from_wire(wire: message::DirectResponse) -> Result<Self, Fault> {
        Ok(Self {
            status: status(wire.status, "status")?,
            body: wire.body,
        })
    }
}

impl Wire for Rewrite {
    type Message = message::Rewrite;

    fn to_wire(&self) -> message::Rewrite {
        message::Rewrite {
            authority: self.authority.clone(),
            uri: self.uri.as_ref().map(|uri| match uri {
                UriRewrite::Prefix(prefix) => message::UriRewrite::Prefix(prefix.clone()),
                UriRewrite::Regex {
                    pattern,
                    replacement,
                } => message::UriRewrite::Regex(message::RegexRewrite {
                    pattern: pattern.clone(),
                    replacement: replacement.clone(),
                }),
            }),
        }
    }

    fn from_wire(wire: message::Rewrite) -> Result<Self, Fault> {
        let uri = wire.uri.map(|uri| match uri {
            message::UriRewrite::Prefix(prefix) => Ok(UriRewrite::Prefix(prefix)),
            message::UriRewrite::Regex(regex) => Ok(UriRewrite::Regex {
                pattern: nonempty(regex.pattern, "regex.pattern")?,
                replacement: regex.replacement,
            }),
        });
        Ok(Self {
            uri: uri.transpose()?,
            authority: wire.authority,
        })
    }
}

impl Wire for Delay {
    type Message = message::Delay;

    fn to_wire(&self) -> message::Delay {
        message::Delay {
            duration: wire_duration(self.duration),
            percentage: self.percentage.millionths(),
        }
    }

    fn from_wire(wire: message::Delay) -> Result<Self, Fault> {
        Ok(Self {
            duration: duration(wire.duration),
            percentage: percent(wire.percentage, "percentage")?,
        })
    }
}

impl Wire for Abort {
    type Message = message::Abort;

    fn to_wire(&self) -> message::Abort {
        message::Abort {
            percentage: self.percentage.millionths(),
            with: Some(match self.with {
                AbortWith::Http(status) => message::AbortWith::Http(u32::from(status)),
                AbortWith::Grpc(status) => message::AbortWith::Grpc(u32::from(status)),
            }),
        }
    }

    fn from_wire(wire: message::Abort) -> Result<Self, Fault> {
        let with = match wire.with.ok_or_else(|| missing().at("with"))? {
            message::AbortWith::Http(number) => AbortWith::Http(status(number, "http")?),
            message::AbortWith::Grpc(number) => AbortWith::Grpc(grpc_status(number)?),
        };
        Ok(Self {
            with,
            percentage: percent(wire.percentage, "percentage")?,
        })
    }
}

fn grpc_status(number: u32) -> Result<u8, Fault> {
    u8::try_from(number)
        .ok()
        .filter(|_| number <= LAST_GRPC_STATUS)
        .ok_or_else(|| Fault::new(format!("{number} is not a status of gRPC")).at("grpc"))
}

impl Wire for Mirror {
    type Message = message::Mirror;

    fn to_wire(&self) -> message::Mirror {
        message::Mirror {
            destination: Some(self.destination.to_wire()),
            percentage: self.percentage.millionths(),
        }
    }

    fn from_wire(wire: message::Mirror) -> Result<Self, Fault> {
        Ok(Self {
            destination: required::<Destination>(wire.destination, "destination")?,
            percentage: percent(wire.percentage, "percentage")?,
        })
    }
}

impl Wire for CorsPolicy {
    type Message = message::CorsPolicy;

    fn to_wire(&self) -> message::CorsPolicy {
        message::CorsPolicy {
            allow_origins: wire_list(&self.allow_origins),
            allow_methods: self.allow_methods.clone(),
            allow_headers: self.allow_headers.clone(),
            expose_headers: self.expose_headers.clone(),
            max_age: wire_optional_duration(self.max_age),
            allow_credentials: self.allow_credentials,
            answers_unmatched_preflights: self.answers_unmatched_preflights,
        }
    }

    fn from_wire(wire: message::CorsPolicy) -> Result<Self, Fault> {
        Ok(Self {
            allow_origins: list(wire.allow_origins, "allow_origins")?,
            allow_methods: wire.allow_methods,
            allow_headers: wire.allow_headers,
            expose_headers: wire.expose_headers,
            max_age: optional_duration(wire.max_age),
            allow_credentials: wire.allow_credentials,
            answers_unmatched_preflights: wire.answers_unmatched_preflights,
        })
    }
}

/// Writes changes of headers; nothing where there are none, as in most rules.
pub(super) fn wire_rules(rules: &HeaderRules) -> Option<message::HeaderRules> {
    (!rules.is_empty()).then(|| message::HeaderRules {
        request: Some(rules.request.to_wire()),
        response: Some(rules.response.to_wire()),
    })
}

/// Reads changes of headers.
pub(super) fn rules(wire: Option<message::HeaderRules>) -> Result<HeaderRules, Fault> {
    let wire = wire.unwrap_or_default();
    let part = |changes, part: &str| -> Result<HeaderChanges, Fault> {
        let changes = optional(changes, part).map_err(|fault| fault.at("headers"))?;
        Ok(changes.unwrap_or_default())
    };
    Ok(HeaderRules {
        request: part(wire.request, "request")?,
        response: part(wire.response, "response")?,
    })
}

impl Wire for HeaderChanges {
    type Message = message::HeaderChanges;

    fn to_wire(&self) -> message::HeaderChanges {
        message::HeaderChanges {
            set: wire_headers(&self.set),
            add: wire_headers(&self.add),
            remove: self.remove.clone(),
        }
    }

    fn from_wire(wire: message::HeaderChanges) -> Result<Self, Fault> {
        Ok(Self {
            set: read_list(wire.set, "set", header)?,
            add: read_list(wire.add, "add", header)?,
            remove: read_list(wire.remove, "remove", |name| nonempty(name, "name"))?,
        })
    }
}

/// Writes names with values.
pub(super) fn wire_headers(headers: &[(String, String)]) -> Vec<message::Header> {
    headers
        .iter()
        .map(|(name, value)| message::Header {
            name: name.clone(),
            value: value.clone(),
        })
        .collect()
}

/// Reads a name with its value.
pub(super) fn header(wire: message::Header) -> Result<(String, String), Fault> {
    Ok((nonempty(wire.name, "name")?, wire.value))
}
