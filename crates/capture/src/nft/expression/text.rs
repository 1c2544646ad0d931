//! Expressions as text, much as `nft --debug=netlink` shows them.

use std::fmt;

use super::Expression;

impl fmt::Display for Expression {
    #[allow(clippy::too_many_lines, reason = "a table: one arm per expression")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta { key, register } => write!(f, "meta {key} => {register}"),
            Self::SetMeta { key, register } => write!(f, "meta {key} <= {register}"),
            Self::Connection { key, register } => write!(f, "ct {key} => {register}"),
            Self::SetConnection { key, register } => write!(f, "ct {key} <= {register}"),
            Self::Payload {
                base,
                offset,
                length,
                register,
            } => {
                write!(f, "payload {base}+{offset}/{length} => {register}")
            }
            Self::Compare {
                register,
                is_equal,
                value,
            } => {
                let sign = if *is_equal { "==" } else { "!=" };
                write!(f, "{register} {sign} {}", hex(value))
            }
            Self::Range {
                register,
                is_within,
                first,
                last,
            } => {
                let sign = if *is_within { "in" } else { "not in" };
                write!(f, "{register} {sign} {}-{}", hex(first), hex(last))
            }
            Self::Bitwise {
                register,
                mask,
                xor,
            } => {
                write!(f, "{register} & {} ^ {}", hex(mask), hex(xor))
            }
            Self::Lookup {
                set,
                register,
                to,
                is_inverted,
                ..
            } => {
                let not = if *is_inverted { "not " } else { "" };
                write!(f, "{register} {not}@{set}")?;
                to.map_or(Ok(()), |to| write!(f, " => {to}"))
            }
            Self::Immediate { register, value } => write!(f, "{} => {register}", hex(value)),
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::Random { modulus, register } => write!(f, "random mod {modulus} => {register}"),
            Self::DestinationType { register } => write!(f, "fib daddr type => {register}"),
            Self::Nat {
                is_destination,
                address,
                port,
                ..
            } => {
                let kind = if *is_destination { "dnat" } else { "snat" };
                write!(f, "{kind} to {address}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Self::Redirect { port } => write!(f, "redirect to {port}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Reject { kind, code } => write!(f, "reject {kind}/{code}"),
            Self::Counter { packets, bytes } => {
                write!(f, "counter {packets} packets {bytes} bytes")
            }
            Self::Other(name) => write!(f, "{name} ?"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
