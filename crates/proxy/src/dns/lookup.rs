//! Finds the addresses of a name as programs of this pod would: hosts file, search domains, name
//! servers; and for how long they hold.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use lateen_wire::dns::query::Transport;
use lateen_wire::dns::{A, AAAA, Answer, Code, Name, ask, is_truncated};

use super::system::Config;
use super::upstream::Upstream;

/// How many times an alias is asked for that an answer ends with.
const MOST_ALIASES: usize = 8;

/// What is said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its addresses in the server's order; empty if it has none.
    pub addresses: Vec<IpAddr>,
    /// For how long that holds; none if nothing is said.
    pub ttl: Option<Duration>,
}

/// The versions of IP that are of use, as the pod has addresses of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

// === impl Families ===

impl Families {
    /// Those of the pod's own addresses; both if these are unknown.
    pub fn of(own: &[IpAddr]) -> Self {
        let (v4, v6) = (
            own.iter().any(IpAddr::is_ipv4),
            own.iter().any(IpAddr::is_ipv6),
        );
        Self {
            v4: v4 || !v6,
            v6: v6 || !v4,
        }
    }

    fn has(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }

    fn kinds(self) -> impl Iterator<Item = u16> {
        let v4 = self.v4.then_some(A);
        v4.into_iter().chain(self.v6.then_some(AAAA))
    }
}

/// Looks a name up. A name that does not exist has no addresses.
///
/// # Errors
/// When no server answered, or those that did could not find it out.
pub async fn look_up(upstream: &Upstream, families: Families, text: &str) -> io::Result<Found> {
    if let Ok(address) = text.parse() {
        return Ok(Found {
            addresses: vec![address],
            ttl: None,
        });
    }
    let config = upstream.config();
    let candidates = config.candidates(text);
    let Some(plain) = Name::parse(text) else {
        let why = format!("{text:?} is not a name that DNS has");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    };
    let written = upstream.files().addresses_of(&plain);
    if !written.is_empty() {
        let addresses = written.into_iter().filter(|one| families.has(*one));
        return Ok(Found {
            addresses: addresses.collect(),
            ttl: None,
        });
    }
    let mut nothing = Found {
        addresses: Vec::new(),
        ttl: None,
    };
    let mut failure = None;
    for name in candidates {
        match all_kinds(upstream, &config, families, &name).await {
            Ok(found) if !found.addresses.is_empty() => return Ok(found),
            Ok(found) => nothing.ttl = shorter(nothing.ttl, found.ttl),
            // Nobody would answer for the next name either.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(error),
            // A search domain that is broken does not hide the names of others.
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(nothing), Err)
}

/// The addresses of both families. One that fails does not matter if the other has some: there are
/// servers that do not answer questions for IPv6.
async fn all_kinds(
    upstream: &Upstream,
    config: &Config,
    families: Families,
    name: &Name,
) -> io::Result<Found> {
    let mut all = Found {
        addresses: Vec::new(),
        ttl: None,
    };
    let mut failure = None;
    for kind in families.kinds() {
        match one_kind(upstream, config, name, kind).await {
            Ok(found) => {
                let had_any = !all.addresses.is_empty();
                // How long a family is absent does not matter where the other is there.
                match (had_any, found.addresses.is_empty()) {
                    (true, true) => {}
                    (false, false) => all.ttl = found.ttl,
                    _ => all.ttl = shorter(all.ttl, found.ttl),
                }
                all.addresses.extend(found.addresses);
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if all.addresses.is_empty() => Err(error),
        _ => Ok(all),
    }
}

async fn one_kind(
    upstream: &Upstream,
    config: &Config,
    name: &Name,
    kind: u16,
) -> io::Result<Found> {
    let mut name = name.clone();
    let mut ttl = None;
    for _ in 0..MOST_ALIASES {
        let answer = question(upstream, config, &name, kind).await?;
        ttl = shorter(ttl, answer.ttl.map(|ttl| Duration::from_secs(ttl.into())));
        match (answer.code, answer.alias) {
            (Code::NoError, Some(alias)) => name = alias,
            (Code::NoError | Code::NxDomain, _) => {
                return Ok(Found {
                    addresses: answer.addresses,
                    ttl,
                });
            }
            (code, _) => {
                let why = format!("the name servers answer {code:?} for {name}");
                return Err(io::Error::other(why));
            }
        }
    }
    let why = format!("{name} is an alias of an alias, and so on");
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

async fn question(
    upstream: &Upstream,
    config: &Config,
    name: &Name,
    kind: u16,
) -> io::Result<Answer> {
    let query = ask::write(upstream.id(), name, kind);
    let mut message = upstream.ask(&query, Transport::Udp, config).await?;
    if is_truncated(&message) {
        // A server that does not speak TCP leaves us with what fitted.
        if let Ok(whole) = upstream.ask(&query, Transport::Tcp, config).await {
            message = whole;
        }
    }
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    Answer::read(&message, name).map_err(invalid)
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
