//! Answers that send clients elsewhere.

use lateen_model::http::{Redirect, RedirectPath, RedirectPort};

use super::message;
use super::wire::{Fault, Wire, missing, port, required};

/// The statuses that send a client elsewhere.
const CODES: [u16; 5] = [301, 302, 303, 307, 308];

impl Wire for Redirect {
    type Message = message::Redirect;

    fn to_wire(&self) -> message::Redirect {
        message::Redirect {
            authority: self.authority.clone(),
            scheme: self.scheme.clone(),
            code: u32::from(self.code),
            path: match &self.path {
                RedirectPath::Keep => None,
                RedirectPath::Replace(path) => Some(message::RedirectPath::Replace(path.clone())),
                RedirectPath::ReplacePrefix(prefix) => {
                    Some(message::RedirectPath::ReplacePrefix(prefix.clone()))
                }
            },
            port: Some(self.port.to_wire()),
        }
    }

    fn from_wire(wire: message::Redirect) -> Result<Self, Fault> {
        Ok(Self {
            path: match wire.path {
                None => RedirectPath::Keep,
                Some(message::RedirectPath::Replace(path)) => RedirectPath::Replace(path),
                Some(message::RedirectPath::ReplacePrefix(prefix)) => {
                    RedirectPath::ReplacePrefix(prefix)
                }
            },
            authority: wire.authority,
            port: required(wire.port, "port")?,
            scheme: wire.scheme,
            code: code(wire.code)?,
        })
    }
}

fn code(number: u32) -> Result<u16, Fault> {
    let mut codes = CODES.into_iter();
    codes
        .find(|code| u32::from(*code) == number)
        .ok_or_else(|| Fault::new(format!("{number} does not redirect")).at("code"))
}

impl Wire for RedirectPort {
    type Message = message::RedirectPort;

    fn to_wire(&self) -> message::RedirectPort {
        use message::RedirectPortKind as Kind;
        let kind = match *self {
            Self::Keep => Kind::Keep(message::Unit {}),
            Self::Number(number) => Kind::Number(u32::from(number)),
            Self::FromRequest => Kind::FromRequest(message::Unit {}),
            Self::FromScheme => Kind::FromScheme(message::Unit {}),
        };
        message::RedirectPort { kind: Some(kind) }
    }

    fn from_wire(wire: message::RedirectPort) -> Result<Self, Fault> {
        use message::RedirectPortKind as Kind;
        Ok(match wire.kind.ok_or_else(missing)? {
            Kind::Keep(message::Unit {}) => Self::Keep,
            Kind::Number(number) => Self::Number(port(number, "number")?),
            Kind::FromRequest(message::Unit {}) => Self::FromRequest,
            Kind::FromScheme(message::Unit {}) => Self::FromScheme,
        })
    }
}
