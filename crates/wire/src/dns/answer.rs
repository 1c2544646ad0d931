//! What a server answered to a question for addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::record::Record;
use super::{CNAME, Code, HEADER, INTERNET, Malformed, Name, SOA};

/// How many aliases of aliases are followed; resolvers give up earlier.
const MOST_ALIASES: usize = 16;

/// How many addresses of a name are taken; more would be somebody's attack.
const MOST_ADDRESSES: usize = 1024;

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How the question ended.
    pub code: Code,
    /// The addresses, in the server's order.
    pub addresses: Vec<IpAddr>,
    /// For how many seconds this holds: the least of the records that led to it, or what the zone
    /// says about names that have nothing; none if nothing is said.
    pub ttl: Option<u32>,
    /// What the name is another one of, where the answer ends there without an address.
    pub alias: Option<Name>,
}

// === impl Answer ===

impl Answer {
    /// Reads the answer to a question for the addresses of `name`.
    ///
    /// # Errors
    /// When a record cannot be read. Records about other names are of no interest.
    pub fn read(message: &[u8], name: &Name) -> Result<Self, Malformed> {
        let code = super::code(message).ok_or(Malformed("it is shorter than a header"))?;
        let count = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let mut at = HEADER;
        for _ in 0..count(4) {
            let (_, end) = Name::read(message, at)?;
            at = end + 4;
        }
        let mut aliases: BTreeMap<Name, (Name, u32)> = BTreeMap::new();
        let mut addresses: BTreeMap<Name, (Vec<IpAddr>, u32)> = BTreeMap::new();
        for _ in 0..count(6) {
            let record = Record::read(message, at)?;
            at = record.end;
            if let Some(address) = record.address() {
                let (list, ttl) = addresses
                    .entry(record.owner)
                    .or_insert((Vec::new(), u32::MAX));
                *ttl = record.ttl.min(*ttl);
                if list.len() < MOST_ADDRESSES && !list.contains(&address) {
                    list.push(address);
                }
            } else if (record.kind, record.class) == (CNAME, INTERNET) {
                let (target, _) = Name::read(message, record.start)?;
                aliases.entry(record.owner).or_insert((target, record.ttl));
            }
        }
        let mut answer = follow(name, &mut aliases, &mut addresses, code);
        if answer.addresses.is_empty() && answer.alias.is_none() {
            let negative = negative_ttl(message, at, count(8))?;
            answer.ttl = answer.ttl.into_iter().chain(negative).min();
        }
        Ok(answer)
    }
}

/// Goes from alias to alias until there are addresses.
fn follow(
    name: &Name,
    aliases: &mut BTreeMap<Name, (Name, u32)>,
    addresses: &mut BTreeMap<Name, (Vec<IpAddr>, u32)>,
    code: Code,
) -> Answer {
    let (mut current, mut least) = (name.clone(), None::<u32>);
    for _ in 0..MOST_ALIASES {
        if addresses.contains_key(&current) {
            break;
        }
        // Taken out, so that a circle ends.
        let Some((target, ttl)) = aliases.remove(&current) else {
            break;
        };
        least = Some(least.map_or(ttl, |least| least.min(ttl)));
        current = target;
    }
    let found = addresses.remove(&current);
    let (found, ttl) = found.map_or((Vec::new(), None), |(list, ttl)| (list, Some(ttl)));
    let is_open = found.is_empty() && current != *name && code == Code::NoError;
    Answer {
        code,
        addresses: found,
        ttl: least.into_iter().chain(ttl).min(),
        alias: is_open.then_some(current),
    }
}

/// For how long a name has nothing (RFC 2308, 5): the lesser of the zone's start's own TTL and its
/// last number.
fn negative_ttl(message: &[u8], mut at: usize, count: u16) -> Result<Option<u32>, Malformed> {
    for _ in 0..count {
        let record = Record::read(message, at)?;
        at = record.end;
        if record.kind == SOA
            && let Some(last) = record.data.last_chunk::<4>()
        {
            return Ok(Some(record.ttl.min(u32::from_be_bytes(*last))));
        }
    }
    Ok(None)
}
