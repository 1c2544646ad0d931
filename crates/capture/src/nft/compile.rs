//! Compiles rules into the kernel's expressions.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::set::{RawData, RawElement, address_bytes, link_bytes};
use super::{
    Expression, Family, Field, Ip, Match, PortRange, Protocol, Rule, Statement, Verdict, abi,
};

/// A rule as the kernel takes it, with the anonymous maps that it needs.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) expressions: Vec<Expression>,
    pub(super) maps: Vec<AnonymousMap>,
}

/// A map without a name, that belongs to one rule.
#[derive(Debug)]
pub(super) struct AnonymousMap {
    pub(super) id: u32,
    /// The length of its values; 0 for verdicts.
    pub(super) data_length: u32,
    pub(super) elements: Vec<RawElement>,
}

/// The pattern by which the kernel names anonymous maps.
pub(super) const ANONYMOUS_NAME: &str = "__map%d";

/// The state of compiling one rule.
struct Compiler<'a> {
    family: Family,
    next_id: &'a mut u32,
    version: Option<Ip>,
    protocol: Option<Protocol>,
    out: Compiled,
}

/// Compiles a rule of a table of `family`; anonymous maps are numbered from `next_id` on.
pub(super) fn compile(rule: &Rule, family: Family, next_id: &mut u32) -> Result<Compiled, String> {
    let mut compiler = Compiler {
        family,
        next_id,
        version: match family {
            Family::Inet => None,
            Family::Ip => Some(Ip::V4),
            Family::Ip6 => Some(Ip::V6),
        },
        protocol: None,
        out: Compiled {
            expressions: Vec::new(),
            maps: Vec::new(),
        },
    };
    for (holds, condition) in &rule.conditions {
        compiler.condition(condition, *holds)?;
    }
    for statement in &rule.statements {
        compiler.statement(statement)?;
    }
    Ok(compiler.out)
}

// === impl Compiler: conditions ===

impl Compiler<'_> {
    fn condition(&mut self, condition: &Match, holds: bool) -> Result<(), String> {
        let number = u32::to_ne_bytes;
        match condition {
            Match::Version(ip) if holds => self.require_version(*ip)?,
            Match::Version(ip) => {
                self.load_meta(abi::meta::NFPROTO);
                self.compare(false, &[abi::ip_number(*ip)]);
            }
            Match::Protocol(protocol) if holds => self.require_protocol(*protocol)?,
            Match::Protocol(protocol) => {
                self.load_meta(abi::meta::L4PROTO);
                self.compare(false, &[abi::protocol_number(*protocol)]);
            }
            Match::Input(link) => self.link(abi::meta::IIFNAME, link, holds)?,
            Match::Output(link) => self.link(abi::meta::OIFNAME, link, holds)?,
            Match::Mark { mask, value } => {
                self.load_meta(abi::meta::MARK);
                self.masked(*mask, *value, holds);
            }
            Match::ConnectionMark { mask, value } => {
                self.load_connection(abi::ct::MARK);
                self.masked(*mask, *value, holds);
            }
            Match::User(user) => {
                self.load_meta(abi::meta::SKUID);
                self.compare(holds, &number(*user));
            }
            Match::Group(group) => {
                self.load_meta(abi::meta::SKGID);
                self.compare(holds, &number(*group));
            }
            Match::Source(net) => self.address(net, Side::Source, holds)?,
            Match::Destination(net) => self.address(net, Side::Destination, holds)?,
            Match::SourcePort(protocol, ports) => {
                self.port(*protocol, *ports, Side::Source, holds)?;
            }
            Match::DestinationPort(protocol, ports) => {
                self.port(*protocol, *ports, Side::Destination, holds)?;
            }
            Match::In { fields, set } => self.lookup(fields, set, None, !holds)?,
            Match::State(states) => {
                self.load_connection(abi::ct::STATE);
                self.bits(states.bits(), holds);
            }
            Match::IsTranslated => {
                self.load_connection(abi::ct::STATUS);
                self.bits(abi::ct::STATUS_DNAT, holds);
            }
            Match::LocalDestination => {
                let register = abi::register(0);
                self.push(Expression::DestinationType { register });
                self.compare(holds, &number(u32::from(libc::RTN_LOCAL)));
            }
        }
        Ok(())
    }

    /// An address: all of it, or its network.
    fn address(&mut self, net: &IpNet, side: Side, holds: bool) -> Result<(), String> {
        let ip = Ip::of(net.addr());
        self.require_version(ip)?;
        self.load_field(
            match side {
                Side::Source => Field::SourceAddress(ip),
                Side::Destination => Field::DestinationAddress(ip),
            },
            0,
        )?;
        if net.prefix_len() < net.max_prefix_len() {
            let mask = address_bytes(net.netmask());
            self.push(Expression::Bitwise {
                register: abi::register(0),
                xor: vec![0; mask.len()],
                mask,
            });
        }
        self.compare(holds, &address_bytes(net.network()));
        Ok(())
    }

    fn port(
        &mut self,
        protocol: Protocol,
        ports: PortRange,
        side: Side,
        holds: bool,
    ) -> Result<(), String> {
        if ports.first > ports.last {
            return Err(format!("the port range {ports} is empty"));
        }
        self.require_protocol(protocol)?;
        self.load_field(
            match side {
                Side::Source => Field::SourcePort,
                Side::Destination => Field::DestinationPort,
            },
            0,
        )?;
        let (first, last) = (ports.first.to_be_bytes(), ports.last.to_be_bytes());
        if first == last {
            self.compare(holds, &first);
        } else {
            self.push(Expression::Range {
                register: abi::register(0),
                is_within: holds,
                first: first.to_vec(),
                last: last.to_vec(),
            });
        }
        Ok(())
    }

    fn link(&mut self, key: u32, name: &str, holds: bool) -> Result<(), String> {
        // IFNAMSIZ is 16, with the terminating zero.
        if name.is_empty() || name.len() > 15 {
            return Err(format!("{name:?} is no name of a link (1 to 15 bytes)"));
        }
        self.load_meta(key);
        match name.strip_suffix('*') {
            Some(prefix) => self.compare(holds, prefix.as_bytes()),
            None => self.compare(holds, &link_bytes(name)),
        }
        Ok(())
    }

    fn masked(&mut self, mask: u32, value: u32, holds: bool) {
        if mask != u32::MAX {
            self.push(Expression::Bitwise {
                register: abi::register(0),
                mask: mask.to_ne_bytes().to_vec(),
                xor: vec![0; 4],
            });
        }
        self.compare(holds, &value.to_ne_bytes());
    }

    /// Any of these bits is set, or none.
    fn bits(&mut self, bits: u32, holds: bool) {
        self.push(Expression::Bitwise {
            register: abi::register(0),
            mask: bits.to_ne_bytes().to_vec(),
            xor: vec![0; 4],
        });
        self.compare(!holds, &[0; 4]);
    }

    /// Fields into consecutive registers, then a set or map of the table.
    fn lookup(
        &mut self,
        fields: &[Field],
        set: &str,
        to: Option<u32>,
        is_inverted: bool,
    ) -> Result<(), String> {
        for field in fields {
            match field {
                Field::SourceAddress(ip) | Field::DestinationAddress(ip) => {
                    self.require_version(*ip)?;
                }
                // Whatever has no ports would be looked up by bytes that are none.
                Field::SourcePort | Field::DestinationPort
                    if self.protocol.is_none() && !fields.contains(&Field::Protocol) =>
                {
                    return Err(format!(
                        "{field} needs a protocol: as a condition, or in the key"
                    ));
                }
                _ => {}
            }
        }
        let mut word = 0;
        for field in fields {
            self.load_field(*field, word)?;
            word += field.words();
        }
        self.push(Expression::Lookup {
            set: set.into(),
            set_id: 0,
            register: abi::register(0),
            to,
            is_inverted,
        });
        Ok(())
    }

    fn load_field(&mut self, field: Field, word: u32) -> Result<(), String> {
        let register = abi::register(word);
        // A key has at most 64 bytes, all registers together.
        if word + field.words() > 16 {
            return Err("the key has too many fields".into());
        }
        let (base, offset) = match field {
            Field::SourceAddress(Ip::V4) => (abi::payload::NETWORK, 12),
            Field::DestinationAddress(Ip::V4) => (abi::payload::NETWORK, 16),
            Field::SourceAddress(Ip::V6) => (abi::payload::NETWORK, 8),
            Field::DestinationAddress(Ip::V6) => (abi::payload::NETWORK, 24),
            Field::SourcePort => (abi::payload::TRANSPORT, 0),
            Field::DestinationPort => (abi::payload::TRANSPORT, 2),
            Field::Protocol | Field::Mark | Field::Input | Field::Output => {
                let key = match field {
                    Field::Protocol => abi::meta::L4PROTO,
                    Field::Input => abi::meta::IIFNAME,
                    Field::Output => abi::meta::OIFNAME,
                    _ => abi::meta::MARK,
                };
                self.push(Expression::Meta { key, register });
                return Ok(());
            }
        };
        self.push(Expression::Payload {
            base,
            offset,
            length: field.length(),
            register,
        });
        Ok(())
    }

    /// Lets only packets of this version of IP go on.
    fn require_version(&mut self, ip: Ip) -> Result<(), String> {
        match self.version {
            Some(known) if known == ip => Ok(()),
            Some(_) => Err(
                "no packet is both IPv4 and IPv6, or of another version than the table's".into(),
            ),
            None => {
                self.load_meta(abi::meta::NFPROTO);
                self.compare(true, &[abi::ip_number(ip)]);
                self.version = Some(ip);
                Ok(())
            }
        }
    }

    /// Lets only packets of this protocol go on.
    fn require_protocol(&mut self, protocol: Protocol) -> Result<(), String> {
        match self.protocol {
            Some(known) if known == protocol => Ok(()),
            Some(known) => Err(format!("no packet is both {known} and {protocol}")),
            None => {
                self.load_meta(abi::meta::L4PROTO);
                self.compare(true, &[abi::protocol_number(protocol)]);
                self.protocol = Some(protocol);
                Ok(())
            }
        }
    }
}

// === impl Compiler: statements ===

impl Compiler<'_> {
    fn statement(&mut self, statement: &Statement) -> Result<(), String> {
        match statement {
            Statement::Counter => self.push(Expression::Counter {
                packets: 0,
                bytes: 0,
            }),
            Statement::Verdict(verdict) => self.push(Expression::Verdict(verdict.clone())),
            Statement::Redirect(port) => {
                self.immediate(0, &port.to_be_bytes());
                let port = abi::register(0);
                self.push(Expression::Redirect { port });
            }
            Statement::Dnat(to) => {
                self.require_version(Ip::of(to.ip()))?;
                self.immediate(0, &address_bytes(to.ip()));
                self.immediate(4, &to.port().to_be_bytes());
                self.nat(to.ip(), true, Some(abi::register(4)));
            }
            Statement::DnatAny(to) => self.dnat_any(to)?,
            Statement::Snat(from) => {
                self.require_version(Ip::of(*from))?;
                self.immediate(0, &address_bytes(*from));
                self.nat(*from, false, None);
            }
            Statement::Masquerade => self.push(Expression::Masquerade),
            Statement::RejectWithReset => {
                self.require_protocol(Protocol::Tcp)?;
                self.push(Expression::Reject { kind: 1, code: 0 });
            }
            Statement::Reject => self.push(self.port_unreachable()),
            Statement::SetMark { mask, value } => self.set_mark(*mask, *value),
            Statement::SetConnectionMark(value) => {
                self.immediate(0, &value.to_ne_bytes());
                let (key, register) = (abi::ct::MARK, abi::register(0));
                self.push(Expression::SetConnection { key, register });
            }
            Statement::SetZone(zone) => {
                self.immediate(0, &zone.to_ne_bytes());
                let (key, register) = (abi::ct::ZONE, abi::register(0));
                self.push(Expression::SetConnection { key, register });
            }
            Statement::Dispatch { fields, map } => {
                self.lookup(fields, map, Some(abi::REGISTER_VERDICT), false)?;
            }
            Statement::Spread(chains) => {
                let verdicts = chains.iter().map(|chain| Verdict::Goto(chain.clone()));
                let values = verdicts.map(RawData::Verdict).collect();
                self.random_map(values, 0, abi::REGISTER_VERDICT)?;
            }
        }
        Ok(())
    }

    fn dnat_any(&mut self, to: &[SocketAddr]) -> Result<(), String> {
        let Some(first) = to.first().map(SocketAddr::ip) else {
            return Err("there is nothing to translate to".into());
        };
        let ip = Ip::of(first);
        if to.iter().any(|to| Ip::of(to.ip()) != ip) {
            return Err("addresses to translate to are of one version of IP".into());
        }
        self.require_version(ip)?;
        let words = Field::DestinationAddress(ip).words();
        let value = |to: &SocketAddr| {
            let mut value = address_bytes(to.ip());
            value.extend_from_slice(&to.port().to_be_bytes());
            value.resize(value.len().next_multiple_of(4), 0);
            RawData::Value(value)
        };
        let values = to.iter().map(value).collect();
        self.random_map(values, (words + 1) * 4, abi::register(0))?;
        self.nat(first, true, Some(abi::register(words)));
        Ok(())
    }

    /// Loads one of the values, each as likely.
    fn random_map(
        &mut self,
        values: Vec<RawData>,
        data_length: u32,
        to: u32,
    ) -> Result<(), String> {
        let modulus = u32::try_from(values.len()).map_err(|_| "too many choices".to_owned())?;
        if modulus == 0 {
            return Err("there is nothing to choose from".into());
        }
        let register = abi::register(0);
        self.push(Expression::Random { modulus, register });
        let elements = (0_u32..).zip(values).map(|(index, data)| RawElement {
            key: index.to_ne_bytes().to_vec(),
            is_end: false,
            data: Some(data),
        });
        *self.next_id += 1;
        let id = *self.next_id;
        self.out.maps.push(AnonymousMap {
            id,
            data_length,
            elements: elements.collect(),
        });
        self.push(Expression::Lookup {
            set: ANONYMOUS_NAME.into(),
            set_id: id,
            register,
            to: Some(to),
            is_inverted: false,
        });
        Ok(())
    }

    fn nat(&mut self, address: IpAddr, is_destination: bool, port: Option<u32>) {
        self.push(Expression::Nat {
            is_destination,
            family: u32::from(abi::ip_number(Ip::of(address))),
            address: abi::register(0),
            port,
        });
    }

    fn set_mark(&mut self, mask: u32, value: u32) {
        let register = abi::register(0);
        if mask == u32::MAX {
            self.immediate(0, &value.to_ne_bytes());
        } else {
            // (mark & !mask) ^ (value & mask) leaves the other bits alone.
            self.load_meta(abi::meta::MARK);
            self.push(Expression::Bitwise {
                register,
                mask: (!mask).to_ne_bytes().to_vec(),
                xor: (value & mask).to_ne_bytes().to_vec(),
            });
        }
        let key = abi::meta::MARK;
        self.push(Expression::SetMeta { key, register });
    }

    /// ICMP's code differs between the versions; tables of both have a common one.
    fn port_unreachable(&self) -> Expression {
        match self.family {
            Family::Inet => Expression::Reject { kind: 2, code: 1 }, // ICMPX_PORT_UNREACH
            Family::Ip => Expression::Reject { kind: 0, code: 3 },   // ICMP_PORT_UNREACH
            Family::Ip6 => Expression::Reject { kind: 0, code: 4 },  // ICMPV6_PORT_UNREACH
        }
    }

    fn immediate(&mut self, word: u32, value: &[u8]) {
        self.push(Expression::Immediate {
            register: abi::register(word),
            value: value.to_vec(),
        });
    }

    fn load_meta(&mut self, key: u32) {
        let register = abi::register(0);
        self.push(Expression::Meta { key, register });
    }

    fn load_connection(&mut self, key: u32) {
        let register = abi::register(0);
        self.push(Expression::Connection { key, register });
    }

    fn compare(&mut self, is_equal: bool, value: &[u8]) {
        self.push(Expression::Compare {
            register: abi::register(0),
            is_equal,
            value: value.to_vec(),
        });
    }

    fn push(&mut self, expression: Expression) {
        self.out.expressions.push(expression);
    }
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rule: &Rule) -> Result<Vec<String>, String> {
        let compiled = compile(rule, Family::Inet, &mut 0)?;
        Ok(compiled
            .expressions
            .iter()
            .map(ToString::to_string)
            .collect())
    }

    #[test]
    fn a_guard_is_written_once_per_rule() {
        let rule = Rule::new()
            .when(Match::tcp(80))
            .unless(Match::tcp(81))
            .then(Statement::Redirect(15001));
        assert_eq!(
            text(&rule).unwrap(),
            [
                "meta 16 => 1",
                "1 == 0x06",
                "payload 2+2/2 => 1",
                "1 == 0x0050",
                "payload 2+2/2 => 1",
                "1 != 0x0051",
                "0x3a99 => 1",
                "redirect to 1",
            ]
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let both = Rule::new().when(Match::tcp(80)).when(Match::udp(80));
        assert!(text(&both).unwrap_err().contains("both tcp and udp"));
        let none = Rule::new().then(Statement::DnatAny(Vec::new()));
        assert!(text(&none).is_err());
        let port = Rule::new().when(Match::In {
            fields: vec![Field::DestinationPort],
            set: "s".into(),
        });
        assert!(text(&port).unwrap_err().contains("needs a protocol"));
    }

    #[test]
    fn a_network_is_compared_under_its_mask() {
        let rule = Rule::new().when(Match::Destination("10.5.0.0/16".parse().unwrap()));
        let text = text(&rule).unwrap();
        assert_eq!(
            text[3..],
            ["1 & 0xffff0000 ^ 0x00000000", "1 == 0x0a050000"]
        );
    }
}
