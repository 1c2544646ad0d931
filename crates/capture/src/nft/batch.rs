//! Tables as one transaction of netlink messages.

use super::compile::{ANONYMOUS_NAME, AnonymousMap, compile};
use super::set::{RawData, RawElement};
use super::{Chain, Family, Rule, Set, Statement, Table, Verdict, abi, expression};
use crate::Error;
use crate::netlink::Socket;
use crate::netlink::message::{LARGEST_VALUE, Message, flag};

/// Messages in order, each with what it does for the report of an error.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Message>,
    names: Vec<String>,
}

/// Comments are bounded by the kernel's space for user data, less type and length.
const LONGEST_COMMENT: usize = 127;

// === impl Batch ===

impl Batch {
    /// Sends everything as one transaction.
    pub(super) fn send(self, socket: &mut Socket, what: &str) -> Result<(), Error> {
        // The batch's own messages name the subsystem, and are of no family.
        let bounds = |kind: i32| Message::new(flag(kind), 0, &[0, 0, 0, 10]);
        let begin = bounds(libc::NFNL_MSG_BATCH_BEGIN);
        let end = bounds(libc::NFNL_MSG_BATCH_END);
        let Err(error) = socket.transact(begin, self.messages, end) else {
            return Ok(());
        };
        let part = error.index.and_then(|index| self.names.get(index));
        let what = part.map_or_else(|| what.to_owned(), |part| format!("{what}: {part}"));
        let detail = match error.cause.raw_os_error() {
            Some(libc::EMSGSIZE) => {
                "the table exceeds one datagram (net.core.wmem_max, doubled)".to_owned()
            }
            _ => error.detail,
        };
        Err(Error::Kernel {
            what,
            cause: error.cause,
            detail,
        })
    }

    fn push(&mut self, name: impl Into<String>, message: Message) {
        self.messages.push(message);
        self.names.push(name.into());
    }
}

/// Deletes a table; making it first makes that succeed in any case.
pub(super) fn removal(family: Family, name: &str) -> Batch {
    let mut batch = Batch::default();
    for (kind, flags) in [
        (abi::msg::NEWTABLE, libc::NLM_F_CREATE),
        (abi::msg::DELTABLE, 0),
    ] {
        let mut message = message(kind, flags, family);
        message.text(abi::attr::TABLE_NAME, name);
        batch.push(format!("table {family} {name}"), message);
    }
    batch
}

/// Deletes a table and makes it anew.
pub(super) fn replacement(table: &Table) -> Result<Batch, Error> {
    check_names(table)?;
    let mut batch = removal(table.family, &table.name);
    let mut message = message(abi::msg::NEWTABLE, libc::NLM_F_CREATE, table.family);
    message.text(abi::attr::TABLE_NAME, &table.name);
    batch.push(table.to_string(), message);
    for chain in &table.chains {
        batch.push(format!("chain {}", chain.name), new_chain(table, chain));
    }
    let mut id = 0;
    for set in &table.sets {
        id += 1;
        add_set(&mut batch, table, set, id)?;
    }
    for chain in &table.chains {
        for rule in &chain.rules {
            add_rule(&mut batch, table, chain, rule, &mut id)?;
        }
    }
    Ok(batch)
}

/// Chains to which rules and maps go must exist; the kernel would only say ENOENT.
fn check_names(table: &Table) -> Result<(), Error> {
    let exists = |name: &String| table.chains.iter().any(|chain| chain.name == *name);
    let check = |what: String, target: &String| {
        if exists(target) {
            return Ok(());
        }
        let why = format!("there is no chain {target}");
        Err(Error::Invalid { what, why })
    };
    for set in &table.sets {
        for element in &set.elements {
            if let Some(Verdict::Jump(to) | Verdict::Goto(to)) = &element.verdict {
                check(format!("{table} map {}", set.name), to)?;
            }
        }
    }
    for chain in &table.chains {
        for rule in &chain.rules {
            let what = || format!("{table} chain {} rule {rule}", chain.name);
            for statement in &rule.statements {
                match statement {
                    Statement::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => {
                        check(what(), to)?;
                    }
                    Statement::Spread(chains) => {
                        for to in chains {
                            check(what(), to)?;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

fn new_chain(table: &Table, chain: &Chain) -> Message {
    let mut message = message(abi::msg::NEWCHAIN, libc::NLM_F_CREATE, table.family);
    message.text(abi::attr::CHAIN_TABLE, &table.name);
    message.text(abi::attr::CHAIN_NAME, &chain.name);
    if let Some(base) = chain.base {
        message.nest(abi::attr::CHAIN_HOOK, |hook| {
            hook.be32(abi::attr::HOOK_NUMBER, abi::hook_number(base.hook));
            hook.bytes(abi::attr::HOOK_PRIORITY, &base.priority.to_be_bytes());
        });
        // NF_DROP is 0 and NF_ACCEPT is 1.
        message.be32(abi::attr::CHAIN_POLICY, u32::from(!base.drops_by_default));
        message.text(abi::attr::CHAIN_TYPE, abi::chain_kind(base.kind));
    }
    message
}

fn add_set(batch: &mut Batch, table: &Table, set: &Set, id: u32) -> Result<(), Error> {
    let name = format!("set {}", set.name);
    let mut flags = 0;
    if set.is_interval {
        flags |= abi::set::INTERVAL;
    }
    let mut message = message(abi::msg::NEWSET, libc::NLM_F_CREATE, table.family);
    message.text(abi::set::TABLE, &table.name);
    message.text(abi::set::NAME, &set.name);
    message.be32(abi::set::KEY_TYPE, set.key_kind());
    message.be32(abi::set::KEY_LEN, set.key_length());
    if set.is_map {
        flags |= abi::set::MAP;
        message.be32(abi::set::DATA_TYPE, abi::set::VERDICT_TYPE);
        message.be32(abi::set::DATA_LEN, 0);
    }
    message.be32(abi::set::FLAGS, flags);
    message.be32(abi::set::ID, id);
    batch.push(name.clone(), message);
    add_elements(batch, table, &name, &set.name, id, &set.raw_elements()?);
    Ok(())
}

fn add_anonymous(batch: &mut Batch, table: &Table, name: &str, map: &AnonymousMap) {
    const INTEGER: u32 = 4; // The key's and value's types, as nft lists them.
    let data = match map.data_length {
        0 => abi::set::VERDICT_TYPE,
        _ => INTEGER,
    };
    let flags = abi::set::ANONYMOUS | abi::set::CONSTANT | abi::set::MAP;
    let mut message = message(abi::msg::NEWSET, libc::NLM_F_CREATE, table.family);
    message.text(abi::set::TABLE, &table.name);
    message.text(abi::set::NAME, ANONYMOUS_NAME);
    message.be32(abi::set::FLAGS, flags);
    message.be32(abi::set::KEY_TYPE, INTEGER);
    message.be32(abi::set::KEY_LEN, 4);
    message.be32(abi::set::DATA_TYPE, data);
    message.be32(abi::set::DATA_LEN, map.data_length);
    message.be32(abi::set::ID, map.id);
    batch.push(name, message);
    add_elements(batch, table, name, ANONYMOUS_NAME, map.id, &map.elements);
}

/// Adds elements in as many messages as their attribute's length allows.
fn add_elements(
    batch: &mut Batch,
    table: &Table,
    name: &str,
    set: &str,
    id: u32,
    elements: &[RawElement],
) {
    // The largest element is below 1 KiB: a key of 64 bytes and a chain's name of 255.
    const FULL: usize = LARGEST_VALUE - 1024;
    let mut rest = elements.iter().peekable();
    while rest.peek().is_some() {
        let mut message = message(abi::msg::NEWSETELEM, libc::NLM_F_CREATE, table.family);
        message.text(abi::set::ELEM_LIST_TABLE, &table.name);
        message.text(abi::set::ELEM_LIST_SET, set);
        message.be32(abi::set::ELEM_LIST_SET_ID, id);
        message.nest(abi::set::ELEM_LIST_ELEMENTS, |list| {
            let start = list.len();
            while list.len() - start < FULL {
                let Some(element) = rest.next() else { break };
                add_element(list, element);
            }
        });
        batch.push(name, message);
    }
}

fn add_element(list: &mut Message, element: &RawElement) {
    list.nest(abi::attr::LIST_ELEM, |message| {
        if element.is_end {
            message.be32(abi::set::ELEM_FLAGS, abi::set::ELEM_INTERVAL_END);
        }
        message.nest(abi::set::ELEM_KEY, expression::data(&element.key));
        match &element.data {
            Some(RawData::Verdict(verdict)) => {
                message.nest(abi::set::ELEM_DATA, |data| {
                    expression::verdict_to_wire(verdict, data);
                });
            }
            Some(RawData::Value(value)) => {
                message.nest(abi::set::ELEM_DATA, expression::data(value));
            }
            None => {}
        }
    });
}

fn add_rule(
    batch: &mut Batch,
    table: &Table,
    chain: &Chain,
    rule: &Rule,
    id: &mut u32,
) -> Result<(), Error> {
    let name = format!("chain {} rule {rule}", chain.name);
    let invalid = |why| Error::Invalid {
        what: format!("{table} {name}"),
        why,
    };
    if rule.comment.len() > LONGEST_COMMENT {
        return Err(invalid(format!(
            "a comment has at most {LONGEST_COMMENT} bytes"
        )));
    }
    let compiled = compile(rule, table.family, id).map_err(invalid)?;
    for map in &compiled.maps {
        add_anonymous(batch, table, &name, map);
    }
    let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND;
    let mut message = message(abi::msg::NEWRULE, flags, table.family);
    message.text(abi::attr::RULE_TABLE, &table.name);
    message.text(abi::attr::RULE_CHAIN, &chain.name);
    message.nest(abi::attr::RULE_EXPRESSIONS, |list| {
        for expression in &compiled.expressions {
            expression.to_wire(list);
        }
    });
    if !rule.comment.is_empty() {
        message.bytes(abi::attr::RULE_USERDATA, &comment_to_wire(&rule.comment));
    }
    batch.push(name, message);
    Ok(())
}

/// A comment as nft stores it: type 0, length, text with its zero.
fn comment_to_wire(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).expect("comments have at most 127 bytes");
    let mut bytes = vec![0, length];
    bytes.extend_from_slice(comment.as_bytes());
    bytes.push(0);
    bytes
}

/// A message of the nftables subsystem, with its header of family, version and resource.
pub(super) fn message(kind: u16, flags: i32, family: Family) -> Message {
    let subsystem = flag(libc::NFNL_SUBSYS_NFTABLES) << 8;
    Message::new(
        subsystem | kind,
        flag(flags),
        &[abi::family_number(family), 0, 0, 0],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_to_a_missing_chain_is_refused_with_its_rule() {
        let table = Table::new(Family::Inet, "t")
            .chain(Chain::new("a").rule(Rule::new().verdict(Verdict::Jump("b".into()))));
        let error = replacement(&table).unwrap_err().to_string();
        assert_eq!(
            error,
            "table inet t chain a rule jump b: there is no chain b"
        );
    }

    #[test]
    fn many_elements_are_split_into_messages() {
        let mut set = Set::of("ports", vec![super::super::Field::DestinationPort]);
        for port in 0..10_000 {
            set = set.element(vec![super::super::Value::Port(port)]);
        }
        let batch = replacement(&Table::new(Family::Inet, "t").set(set)).unwrap();
        let count = batch
            .names
            .iter()
            .filter(|name| *name == "set ports")
            .count();
        assert!(count > 2, "{count}");
    }
}
