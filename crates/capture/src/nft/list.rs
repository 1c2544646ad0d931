//! Reads tables back from the kernel: for tests, and to show what is in place.

use std::fmt;

use super::batch::message;
use super::expression::verdict_from_wire;
use super::{Expression, Family, Verdict, abi};
use crate::Error;
use crate::netlink::Socket;
use crate::netlink::message::{Attributes, Received, text};

/// The length of the subsystem's fixed header.
const FIXED: usize = 4;

/// A table as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The packets that it sees.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its chains.
    pub chains: Vec<ListedChain>,
    /// Its sets, anonymous ones too.
    pub sets: Vec<ListedSet>,
}

/// A chain as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedChain {
    /// Its name.
    pub name: String,
    /// Hook and priority of a base chain.
    pub hook: Option<(u32, i32)>,
    /// Its rules.
    pub rules: Vec<ListedRule>,
}

/// A rule as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRule {
    /// The kernel's number for it.
    pub handle: u64,
    /// Why it is there.
    pub comment: String,
    /// What it does.
    pub expressions: Vec<Expression>,
}

/// A set as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSet {
    /// Its name.
    pub name: String,
    /// Keys, each with the verdict of a verdict map.
    pub elements: Vec<(Vec<u8>, Option<Verdict>)>,
}

// === impl Listing ===

impl Listing {
    /// A chain by name.
    pub fn chain(&self, name: &str) -> Option<&ListedChain> {
        self.chains.iter().find(|chain| chain.name == name)
    }
}

// === impl ListedRule ===

impl ListedRule {
    /// How many packets the rule's counter saw; nothing if it has none.
    pub fn packets(&self) -> Option<u64> {
        self.expressions
            .iter()
            .find_map(|expression| match expression {
                Expression::Counter { packets, .. } => Some(*packets),
                _ => None,
            })
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family, self.name)?;
        for set in &self.sets {
            writeln!(f, "  set {} # {} elements", set.name, set.elements.len())?;
        }
        for chain in &self.chains {
            writeln!(f, "  chain {} {{", chain.name)?;
            if let Some((hook, priority)) = chain.hook {
                writeln!(f, "    hook {hook} priority {priority}")?;
            }
            for rule in &chain.rules {
                let words: Vec<_> = rule.expressions.iter().map(ToString::to_string).collect();
                writeln!(
                    f,
                    "    {} # {} {}",
                    words.join(", "),
                    rule.handle,
                    rule.comment
                )?;
            }
            writeln!(f, "  }}")?;
        }
        f.write_str("}")
    }
}

/// The names of all tables.
pub(super) fn tables(socket: &mut Socket) -> Result<Vec<(Family, String)>, Error> {
    let mut found = Vec::new();
    // NFPROTO_UNSPEC would need a family that tables cannot have; dumps of each are filtered.
    for family in [Family::Inet, Family::Ip, Family::Ip6] {
        let question = message(abi::msg::GETTABLE, libc::NLM_F_DUMP, family);
        socket.dump("list tables", question, |received| {
            let name = received.attributes(FIXED).text(abi::attr::TABLE_NAME);
            if family_of(received) == Some(family) {
                found.extend(name.map(|name| (family, name)));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Everything in a table.
pub(super) fn table(
    socket: &mut Socket,
    family: Family,
    name: &str,
) -> Result<Option<Listing>, Error> {
    if !tables(socket)?.contains(&(family, name.to_owned())) {
        return Ok(None);
    }
    let mut listing = Listing {
        family,
        name: name.into(),
        chains: chains(socket, family, name)?,
        sets: Vec::new(),
    };
    rules(socket, &mut listing)?;
    for set in sets(socket, family, name)? {
        let elements = elements(socket, family, name, &set)?;
        listing.sets.push(ListedSet {
            name: set,
            elements,
        });
    }
    Ok(Some(listing))
}

fn chains(socket: &mut Socket, family: Family, table: &str) -> Result<Vec<ListedChain>, Error> {
    let mut found = Vec::new();
    let question = message(abi::msg::GETCHAIN, libc::NLM_F_DUMP, family);
    let what = format!("list the chains of {family} {table}");
    socket.dump(&what, question, |received| {
        let attributes = received.attributes(FIXED);
        // The kernel dumps the chains of all tables.
        if family_of(received) != Some(family)
            || attributes.text(abi::attr::CHAIN_TABLE).as_deref() != Some(table)
        {
            return Ok(());
        }
        let name = attributes.text(abi::attr::CHAIN_NAME);
        let hook = attributes.nested(abi::attr::CHAIN_HOOK);
        let number = hook.be32(abi::attr::HOOK_NUMBER);
        let priority = hook.be32(abi::attr::HOOK_PRIORITY);
        found.push(ListedChain {
            name: name.ok_or("a chain without a name")?,
            hook: number.zip(priority.map(u32::cast_signed)),
            rules: Vec::new(),
        });
        Ok(())
    })?;
    Ok(found)
}

fn rules(socket: &mut Socket, listing: &mut Listing) -> Result<(), Error> {
    let (family, table) = (listing.family, listing.name.clone());
    let mut question = message(abi::msg::GETRULE, libc::NLM_F_DUMP, family);
    question.text(abi::attr::RULE_TABLE, &table);
    let what = format!("list the rules of {family} {table}");
    socket.dump(&what, question, |received| {
        let attributes = received.attributes(FIXED);
        if attributes.text(abi::attr::RULE_TABLE).as_deref() != Some(&table) {
            return Ok(());
        }
        let chain = attributes
            .text(abi::attr::RULE_CHAIN)
            .ok_or("a rule without a chain")?;
        let chain = listing.chains.iter_mut().find(|found| found.name == chain);
        let handle = attributes.get(abi::attr::RULE_HANDLE);
        let handle = handle.and_then(|bytes| bytes.first_chunk());
        let expressions = attributes.nested(abi::attr::RULE_EXPRESSIONS);
        let userdata = attributes.get(abi::attr::RULE_USERDATA);
        let rule = ListedRule {
            handle: handle.map_or(0, |bytes| u64::from_be_bytes(*bytes)),
            comment: userdata.map(comment_from_wire).unwrap_or_default(),
            expressions: expressions
                .map(|(_, element)| Expression::from_wire(&Attributes::new(element)))
                .collect(),
        };
        if let Some(chain) = chain {
            chain.rules.push(rule);
        }
        Ok(())
    })
}

fn sets(socket: &mut Socket, family: Family, table: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut question = message(abi::msg::GETSET, libc::NLM_F_DUMP, family);
    question.text(abi::set::TABLE, table);
    let what = format!("list the sets of {family} {table}");
    socket.dump(&what, question, |received| {
        let attributes = received.attributes(FIXED);
        if attributes.text(abi::set::TABLE).as_deref() == Some(table) {
            found.extend(attributes.text(abi::set::NAME));
        }
        Ok(())
    })?;
    Ok(found)
}

type Elements = Vec<(Vec<u8>, Option<Verdict>)>;

fn elements(
    socket: &mut Socket,
    family: Family,
    table: &str,
    set: &str,
) -> Result<Elements, Error> {
    let mut found = Vec::new();
    let mut question = message(abi::msg::GETSETELEM, libc::NLM_F_DUMP, family);
    question.text(abi::set::ELEM_LIST_TABLE, table);
    question.text(abi::set::ELEM_LIST_SET, set);
    let what = format!("list the elements of {family} {table} {set}");
    socket.dump(&what, question, |received| {
        let list = received
            .attributes(FIXED)
            .nested(abi::set::ELEM_LIST_ELEMENTS);
        for (_, element) in list {
            let element = Attributes::new(element);
            let key = element.nested(abi::set::ELEM_KEY);
            let key = key
                .get(abi::attr::DATA_VALUE)
                .ok_or("an element without a key")?;
            let verdict = verdict_from_wire(&element.nested(abi::set::ELEM_DATA));
            found.push((key.to_vec(), verdict));
        }
        Ok(())
    })?;
    Ok(found)
}

fn family_of(received: &Received<'_>) -> Option<Family> {
    abi::family_of(*received.payload.first()?)
}

/// Reads the comment among a rule's user data.
fn comment_from_wire(mut bytes: &[u8]) -> String {
    while let [kind, length, rest @ ..] = bytes {
        let length = usize::from(*length).min(rest.len());
        if *kind == 0 {
            return text(&rest[..length]);
        }
        bytes = &rest[length..];
    }
    String::new()
}
