//! Expressions: the kernel's instructions, of which a rule is a list; to and from its bytes.

mod text;

use super::{Verdict, abi};
use crate::netlink::message::{Attributes, Message};

/// One instruction. Registers are numbered as the kernel does: 1-4 hold 16 bytes each, from 8 on
/// they hold 4 and overlap those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Loads a property of the packet (`NFT_META_*`).
    Meta {
        /// Which.
        key: u32,
        /// To where.
        register: u32,
    },
    /// Sets a property of the packet.
    SetMeta {
        /// Which.
        key: u32,
        /// From where.
        register: u32,
    },
    /// Loads a property of the connection (`NFT_CT_*`).
    Connection {
        /// Which.
        key: u32,
        /// To where.
        register: u32,
    },
    /// Sets a property of the connection.
    SetConnection {
        /// Which.
        key: u32,
        /// From where.
        register: u32,
    },
    /// Loads bytes of a header.
    Payload {
        /// Which header (`NFT_PAYLOAD_*`).
        base: u32,
        /// The first byte.
        offset: u32,
        /// How many.
        length: u32,
        /// To where.
        register: u32,
    },
    /// Goes on if a register is equal, or is not equal, to a value.
    Compare {
        /// What is compared.
        register: u32,
        /// Whether it must be equal.
        is_equal: bool,
        /// With what.
        value: Vec<u8>,
    },
    /// Goes on if a register is, or is not, within a range.
    Range {
        /// What is compared.
        register: u32,
        /// Whether it must be within.
        is_within: bool,
        /// The lowest value.
        first: Vec<u8>,
        /// The highest value.
        last: Vec<u8>,
    },
    /// Replaces a register by `(register & mask) ^ xor`.
    Bitwise {
        /// The register.
        register: u32,
        /// The bits that stay.
        mask: Vec<u8>,
        /// The bits that are flipped.
        xor: Vec<u8>,
    },
    /// Looks registers up in a set.
    Lookup {
        /// The set's name, or the pattern of an anonymous one's.
        set: String,
        /// The number of a set of the same transaction; 0 for a named one.
        set_id: u32,
        /// The key.
        register: u32,
        /// Where a map's value goes; 0 is the verdict.
        to: Option<u32>,
        /// Whether the key must be missing.
        is_inverted: bool,
    },
    /// Loads a constant.
    Immediate {
        /// To where.
        register: u32,
        /// The constant.
        value: Vec<u8>,
    },
    /// Decides.
    Verdict(Verdict),
    /// Loads a random number below a bound.
    Random {
        /// The bound.
        modulus: u32,
        /// To where.
        register: u32,
    },
    /// Loads the type of the destination address (`RTN_*`).
    DestinationType {
        /// To where.
        register: u32,
    },
    /// Translates addresses.
    Nat {
        /// Whether the destination is translated; else the source.
        is_destination: bool,
        /// The version of IP (`NFPROTO_*`).
        family: u32,
        /// Where the address is.
        address: u32,
        /// Where the port is.
        port: Option<u32>,
    },
    /// Sends the connection to this host.
    Redirect {
        /// Where the port is.
        port: u32,
    },
    /// Lets the connection come from the outgoing link's address.
    Masquerade,
    /// Answers that there is nothing (`NFT_REJECT_*`, and the code of ICMP).
    Reject {
        /// How.
        kind: u32,
        /// The code.
        code: u8,
    },
    /// Counts.
    Counter {
        /// Packets.
        packets: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Somebody else's: only its name is known.
    Other(String),
}

// === impl Expression ===

impl Expression {
    /// Appends the expression as an element of a rule's list.
    pub(super) fn to_wire(&self, list: &mut Message) {
        list.nest(abi::attr::LIST_ELEM, |element| {
            element.text(abi::attr::EXPR_NAME, self.name());
            element.nest(abi::attr::EXPR_DATA, |data| self.attributes(data));
        });
    }

    /// Reads an element of a rule's list.
    pub(super) fn from_wire(element: &Attributes<'_>) -> Self {
        let name = element.text(abi::attr::EXPR_NAME).unwrap_or_default();
        let data = element.nested(abi::attr::EXPR_DATA);
        Self::read(&name, &data).unwrap_or(Self::Other(name))
    }

    fn name(&self) -> &str {
        match self {
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Connection { .. } | Self::SetConnection { .. } => "ct",
            Self::Payload { .. } => "payload",
            Self::Compare { .. } => "cmp",
            Self::Range { .. } => "range",
            Self::Bitwise { .. } => "bitwise",
            Self::Lookup { .. } => "lookup",
            Self::Immediate { .. } | Self::Verdict(_) => "immediate",
            Self::Random { .. } => "numgen",
            Self::DestinationType { .. } => "fib",
            Self::Nat { .. } => "nat",
            Self::Redirect { .. } => "redir",
            Self::Masquerade => "masq",
            Self::Reject { .. } => "reject",
            Self::Counter { .. } => "counter",
            Self::Other(name) => name,
        }
    }

    #[allow(clippy::too_many_lines, reason = "a table: one arm per expression")]
    fn attributes(&self, m: &mut Message) {
        match self {
            Self::SetMeta { key, register } => m.be32(2, *key).be32(3, *register),
            Self::Meta { key, register } | Self::Connection { key, register } => {
                m.be32(1, *register).be32(2, *key)
            }
            Self::SetConnection { key, register } => m.be32(2, *key).be32(4, *register),
            Self::Payload {
                base,
                offset,
                length,
                register,
            } => m
                .be32(1, *register)
                .be32(2, *base)
                .be32(3, *offset)
                .be32(4, *length),
            Self::Compare {
                register,
                is_equal,
                value,
            } => {
                let operation = equality(*is_equal);
                m.be32(1, *register).be32(2, operation).nest(3, data(value))
            }
            Self::Range {
                register,
                is_within,
                first,
                last,
            } => {
                m.be32(1, *register).be32(2, equality(*is_within));
                m.nest(3, data(first)).nest(4, data(last))
            }
            Self::Bitwise {
                register,
                mask,
                xor,
            } => {
                let length = u32::try_from(mask.len()).expect("masks have at most 16 bytes");
                m.be32(1, *register).be32(2, *register).be32(3, length);
                m.nest(4, data(mask)).nest(5, data(xor))
            }
            Self::Lookup {
                set,
                set_id,
                register,
                to,
                is_inverted,
            } => {
                m.text(1, set).be32(2, *register);
                if let Some(to) = to {
                    m.be32(3, *to);
                }
                if *set_id != 0 {
                    m.be32(4, *set_id);
                }
                m.be32(5, u32::from(*is_inverted))
            }
            Self::Immediate { register, value } => m.be32(1, *register).nest(2, data(value)),
            Self::Verdict(verdict) => {
                m.be32(1, abi::REGISTER_VERDICT);
                m.nest(2, |m| verdict_to_wire(verdict, m))
            }
            Self::Random { modulus, register } => m
                .be32(1, *register)
                .be32(2, *modulus)
                .be32(3, RANDOM)
                .be32(4, 0),
            Self::DestinationType { register } => m
                .be32(1, *register)
                .be32(2, FIB_TYPE)
                .be32(3, FIB_DESTINATION),
            Self::Nat {
                is_destination,
                family,
                address,
                port,
            } => {
                m.be32(1, u32::from(*is_destination))
                    .be32(2, *family)
                    .be32(3, *address);
                if let Some(port) = port {
                    m.be32(5, *port);
                }
                m
            }
            Self::Redirect { port } => m.be32(1, *port),
            Self::Reject { kind, code } => m.be32(1, *kind).bytes(2, &[*code]),
            Self::Counter { packets, bytes } => m
                .bytes(1, &bytes.to_be_bytes())
                .bytes(2, &packets.to_be_bytes()),
            Self::Masquerade | Self::Other(_) => m,
        };
    }

    #[allow(clippy::too_many_lines, reason = "a table: one arm per expression")]
    fn read(name: &str, a: &Attributes<'_>) -> Option<Self> {
        let value = |kind| Some(a.nested(kind).get(abi::attr::DATA_VALUE)?.to_vec());
        Some(match name {
            "meta" => match (a.be32(1), a.be32(3)) {
                (Some(register), _) => Self::Meta {
                    key: a.be32(2)?,
                    register,
                },
                (None, register) => Self::SetMeta {
                    key: a.be32(2)?,
                    register: register?,
                },
            },
            "ct" => match (a.be32(1), a.be32(4)) {
                (Some(register), _) => Self::Connection {
                    key: a.be32(2)?,
                    register,
                },
                (None, register) => Self::SetConnection {
                    key: a.be32(2)?,
                    register: register?,
                },
            },
            "payload" => Self::Payload {
                register: a.be32(1)?,
                base: a.be32(2)?,
                offset: a.be32(3)?,
                length: a.be32(4)?,
            },
            "cmp" => Self::Compare {
                register: a.be32(1)?,
                is_equal: is_equal(a.be32(2)?)?,
                value: value(3)?,
            },
            "range" => Self::Range {
                register: a.be32(1)?,
                is_within: is_equal(a.be32(2)?)?,
                first: value(3)?,
                last: value(4)?,
            },
            "bitwise" => Self::Bitwise {
                register: a.be32(1)?,
                mask: value(4)?,
                xor: value(5)?,
            },
            "lookup" => Self::Lookup {
                set: a.text(1)?,
                set_id: 0,
                register: a.be32(2)?,
                to: a.be32(3),
                is_inverted: a.be32(5) == Some(1),
            },
            "immediate" => match a.be32(1)? {
                abi::REGISTER_VERDICT => Self::Verdict(verdict_from_wire(&a.nested(2))?),
                register => Self::Immediate {
                    register,
                    value: value(2)?,
                },
            },
            "numgen" if a.be32(3) == Some(RANDOM) => Self::Random {
                register: a.be32(1)?,
                modulus: a.be32(2)?,
            },
            "fib" if a.be32(2) == Some(FIB_TYPE) && a.be32(3) == Some(FIB_DESTINATION) => {
                Self::DestinationType {
                    register: a.be32(1)?,
                }
            }
            "nat" => Self::Nat {
                is_destination: a.be32(1)? == 1,
                family: a.be32(2)?,
                address: a.be32(3)?,
                port: a.be32(5),
            },
            "redir" => Self::Redirect { port: a.be32(1)? },
            "masq" => Self::Masquerade,
            "reject" => Self::Reject {
                kind: a.be32(1)?,
                code: a.get(2).and_then(|code| code.first().copied()).unwrap_or(0),
            },
            "counter" => Self::Counter {
                bytes: be64(a.get(1)?)?,
                packets: be64(a.get(2)?)?,
            },
            _ => return None,
        })
    }
}

const RANDOM: u32 = 1; // NFT_NG_RANDOM
const FIB_TYPE: u32 = 3; // NFT_FIB_RESULT_ADDRTYPE
const FIB_DESTINATION: u32 = 2; // NFTA_FIB_F_DADDR

/// Fills an attribute with a value.
pub(super) fn data(value: &[u8]) -> impl FnOnce(&mut Message) + '_ {
    move |message| {
        message.bytes(abi::attr::DATA_VALUE, value);
    }
}

/// Appends a verdict.
pub(super) fn verdict_to_wire(verdict: &Verdict, message: &mut Message) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Continue => (-1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    message.nest(abi::attr::DATA_VERDICT, |message| {
        message.bytes(abi::attr::VERDICT_CODE, &i32::to_be_bytes(code));
        if let Some(chain) = chain {
            message.text(abi::attr::VERDICT_CHAIN, chain);
        }
    });
}

/// Reads a verdict from an attribute's data.
pub(super) fn verdict_from_wire(data: &Attributes<'_>) -> Option<Verdict> {
    let verdict = data.nested(abi::attr::DATA_VERDICT);
    let chain = || verdict.text(abi::attr::VERDICT_CHAIN);
    let code = i32::from_be_bytes(*verdict.get(abi::attr::VERDICT_CODE)?.first_chunk()?);
    Some(match code {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        _ => return None,
    })
}

fn equality(is_equal: bool) -> u32 {
    if is_equal {
        abi::cmp::EQ
    } else {
        abi::cmp::NEQ
    }
}

fn is_equal(operation: u32) -> Option<bool> {
    match operation {
        abi::cmp::EQ => Some(true),
        abi::cmp::NEQ => Some(false),
        _ => None,
    }
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::split;

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table: one of each expression")]
    fn what_is_written_is_read_back() {
        let all = [
            Expression::Meta {
                key: 3,
                register: 1,
            },
            Expression::SetMeta {
                key: 3,
                register: 1,
            },
            Expression::Connection {
                key: 0,
                register: 1,
            },
            Expression::SetConnection {
                key: 3,
                register: 2,
            },
            Expression::Payload {
                base: 1,
                offset: 16,
                length: 4,
                register: 1,
            },
            Expression::Compare {
                register: 1,
                is_equal: false,
                value: vec![1, 2],
            },
            Expression::Range {
                register: 1,
                is_within: true,
                first: vec![1],
                last: vec![2],
            },
            Expression::Bitwise {
                register: 1,
                mask: vec![255, 0],
                xor: vec![0, 0],
            },
            Expression::Lookup {
                set: "s".into(),
                set_id: 0,
                register: 1,
                to: Some(0),
                is_inverted: false,
            },
            Expression::Immediate {
                register: 1,
                value: vec![58, 153],
            },
            Expression::Verdict(Verdict::Goto("chain".into())),
            Expression::Random {
                modulus: 3,
                register: 1,
            },
            Expression::DestinationType { register: 1 },
            Expression::Nat {
                is_destination: true,
                family: 2,
                address: 1,
                port: Some(9),
            },
            Expression::Redirect { port: 1 },
            Expression::Masquerade,
            Expression::Reject { kind: 1, code: 0 },
            Expression::Counter {
                packets: 1,
                bytes: 2,
            },
        ];
        let mut message = Message::new(0, 0, &[]);
        for expression in &all {
            expression.to_wire(&mut message);
        }
        let bytes = message.finish(1);
        let received = split(&bytes).next().expect("one message");
        let read: Vec<_> = received
            .attributes(0)
            .map(|(_, element)| Expression::from_wire(&Attributes::new(element)))
            .collect();
        assert_eq!(read, all);
    }
}
