//! Changes of headers that rules ask for: values are filled in, and what they come to is told to
//! the writer of heads.

use std::io::Write as _;
use std::ops::Range;
use std::time::SystemTime;

use lateen_decide::headers::{Changes, Piece, Template, TlsFact, Variable, Write};
use lateen_model::SocketAddress;
use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::head::FieldsView;
use lateen_wire::h1::request::Request;
use lateen_wire::h1::response::Response;
use lateen_wire::h1::target::Authority;
use lateen_wire::h1::write::{Change, Edit};

use super::client::Client;
use super::course::Course;
use super::workspace::Workspace;
use crate::connection::Origin;
use crate::observe::calendar;
use crate::observe::flags::Flags;
use crate::tls::Sessions;

/// What variables stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    request: Request<'a>,
    path: &'a [u8],
    /// The id of the request, if it came without one.
    id: &'a [u8],
    origin: Origin,
    sessions: &'a Sessions,
    course: &'a Course<'a>,
    answer: Option<About<'a>>,
}

/// What is known once there is an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The upstream's head; none if the proxy answers.
    pub(super) head: Option<Response<'a>>,
    /// The status.
    pub(super) status: u16,
    /// Where the request went.
    pub(super) upstream: Option<&'a SocketAddress>,
    /// What befell it.
    pub(super) flags: Flags,
}

/// A change whose value is filled in.
#[derive(Debug)]
pub(super) struct Filled<'p> {
    name: &'p str,
    /// None removes.
    write: Option<(Write, Range<usize>)>,
}

/// Fills in the values of changes, in order, one after the other. Allocates once where there are
/// any.
pub(super) fn fill_all<'p>(
    changes: impl Iterator<Item = &'p Changes>,
    context: &Context<'_>,
    values: &mut Vec<u8>,
) -> Vec<Filled<'p>> {
    let mut filled = Vec::new();
    for changes in changes {
        filled.extend(
            changes
                .remove
                .iter()
                .map(|name| Filled { name, write: None }),
        );
        for (name, write, template) in &changes.write {
            let start = values.len();
            fill(template, context, values);
            // As in Envoy a value that comes to nothing changes nothing.
            if values.len() > start {
                let write = Some((*write, start..values.len()));
                filled.push(Filled { name, write });
            }
        }
    }
    filled
}

/// Has changes take effect on a list of edits: what is set or removed overrides what the list had
/// for this name.
pub(super) fn apply<'a>(filled: &'a [Filled<'_>], values: &'a [u8], edits: &mut Vec<Edit<'a>>) {
    for Filled { name, write } in filled {
        let Some(name) = Name::new(name.as_bytes()) else {
            continue;
        };
        let is_same = |edit: &Edit<'_>| {
            let other = edit.name.as_bytes();
            other.eq_ignore_ascii_case(name.as_bytes())
        };
        match write {
            None => {
                edits.retain(|edit| !is_same(edit));
                let change = Change::Remove;
                edits.push(Edit { name, change });
            }
            Some((how, value)) => {
                let Some(value) = Value::new(values[value.clone()].trim_ascii()) else {
                    continue;
                };
                let change = match how {
                    Write::Set => {
                        edits.retain(|edit| !is_same(edit));
                        Change::Set(value)
                    }
                    Write::Add => Change::Add(value),
                };
                edits.push(Edit { name, change });
            }
        }
    }
}

/// Fills a value in.
pub(super) fn fill(template: &Template, context: &Context<'_>, into: &mut Vec<u8>) {
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => into.extend_from_slice(text.as_bytes()),
            Piece::Variable(variable) => context.write(variable, into),
        }
    }
}

// === impl Context ===

impl<'a> Context<'a> {
    /// Before the request is sent.
    pub(super) fn of_request(
        client: &'a Client,
        work: &'a Workspace,
        course: &'a Course<'a>,
    ) -> Self {
        let request = work.request(&client.side);
        Self {
            request,
            path: work.path(request),
            id: &work.id.0,
            origin: client.origin,
            sessions: &client.worker.sessions,
            course,
            answer: None,
        }
    }

    /// With an answer.
    pub(super) fn of_answer(self, answer: About<'a>) -> Self {
        Self {
            answer: Some(answer),
            ..self
        }
    }

    fn write(&self, variable: &Variable, into: &mut Vec<u8>) {
        let origin = &self.origin;
        // Writing to a vector cannot fail.
        let _ = match variable {
            Variable::Request {
                name,
                other,
                length,
            } => {
                let value = self.of_request_header(name).or_else(|| {
                    let other = other.as_deref()?;
                    self.of_request_header(other)
                });
                put(value, *length, into);
                return;
            }
            Variable::Response {
                name,
                other,
                length,
            } => {
                let value = self.of_response_header(name).or_else(|| {
                    let other = other.as_deref()?;
                    self.of_response_header(other)
                });
                put(value, *length, into);
                return;
            }
            Variable::DownstreamRemoteAddress => write!(into, "{}", origin.peer),
            Variable::DownstreamRemoteAddressWithoutPort => write!(into, "{}", origin.peer.ip()),
            Variable::DownstreamLocalAddress => write!(into, "{}", origin.destination),
            Variable::DownstreamLocalPort => write!(into, "{}", origin.destination.port()),
            Variable::UpstreamHost => match self.answer.and_then(|answer| answer.upstream) {
                Some(address) => write!(into, "{address}"),
                None => Ok(()),
            },
            Variable::Protocol => into.write_all(self.request.version().as_str().as_bytes()),
            Variable::ResponseCode => match self.answer {
                Some(answer) => write!(into, "{}", answer.status),
                None => Ok(()),
            },
            Variable::ResponseFlags => match self.answer {
                Some(answer) => write!(into, "{}", answer.flags),
                None => Ok(()),
            },
            Variable::Hostname => {
                let proxy = self.course.rules.plan().proxy();
                into.write_all(proxy.map_or(&b""[..], |proxy| proxy.name.as_bytes()))
            }
            Variable::StartTime => {
                calendar::write_iso(into, SystemTime::now());
                Ok(())
            }
            Variable::Tls(fact) => return self.write_tls(*fact, into),
            Variable::RouteName => into.write_all(self.course.chosen.route.as_bytes()),
            Variable::UpstreamCluster => into.write_all(self.course.chosen.cluster.as_bytes()),
        };
    }

    fn write_tls(&self, fact: TlsFact, into: &mut Vec<u8>) {
        let secure = self.origin.tls;
        if let Some(facts) = secure.and_then(|secure| self.sessions.get(secure)) {
            facts.write(fact, into);
        }
    }

    fn of_request_header(&self, name: &str) -> Option<&'a [u8]> {
        let request = self.request;
        match name {
            ":method" => Some(request.method_bytes()),
            ":path" => Some(self.path),
            ":scheme" => Some(self.origin.scheme().as_bytes()),
            ":authority" | "host" => request.authority().map(Authority::as_bytes),
            _ => {
                let is_id = name.as_bytes() == Name::X_REQUEST_ID.as_bytes();
                let value = first(request.fields(), name);
                value.or_else(|| is_id.then_some(self.id))
            }
        }
    }

    fn of_response_header(&self, name: &str) -> Option<&'a [u8]> {
        first(self.answer?.head?.fields(), name)
    }
}

fn first<'a>(fields: FieldsView<'a>, name: &str) -> Option<&'a [u8]> {
    let mut fields = fields.iter();
    let found = fields.find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, value)| value)
}

fn put(value: Option<&[u8]>, length: Option<usize>, into: &mut Vec<u8>) {
    let value = value.unwrap_or_default();
    let end = length.map_or(value.len(), |length| length.min(value.len()));
    into.extend_from_slice(&value[..end]);
}
