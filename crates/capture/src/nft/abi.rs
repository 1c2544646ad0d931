//! Numbers of `linux/netfilter/nf_tables.h`: kernel ABI, named as there without their prefix.

use super::{ChainKind, Family, Hook, Ip, Protocol};

/// Message types of the subsystem.
pub(super) mod msg {
    pub(in super::super) const NEWTABLE: u16 = 0;
    pub(in super::super) const GETTABLE: u16 = 1;
    pub(in super::super) const DELTABLE: u16 = 2;
    pub(in super::super) const NEWCHAIN: u16 = 3;
    pub(in super::super) const GETCHAIN: u16 = 4;
    pub(in super::super) const NEWRULE: u16 = 6;
    pub(in super::super) const GETRULE: u16 = 7;
    pub(in super::super) const NEWSET: u16 = 9;
    pub(in super::super) const GETSET: u16 = 10;
    pub(in super::super) const NEWSETELEM: u16 = 12;
    pub(in super::super) const GETSETELEM: u16 = 13;
}

/// Attributes of tables, chains and rules.
pub(super) mod attr {
    pub(in super::super) const TABLE_NAME: u16 = 1;
    pub(in super::super) const CHAIN_TABLE: u16 = 1;
    pub(in super::super) const CHAIN_NAME: u16 = 3;
    pub(in super::super) const CHAIN_HOOK: u16 = 4;
    pub(in super::super) const CHAIN_POLICY: u16 = 5;
    pub(in super::super) const CHAIN_TYPE: u16 = 7;
    pub(in super::super) const HOOK_NUMBER: u16 = 1;
    pub(in super::super) const HOOK_PRIORITY: u16 = 2;
    pub(in super::super) const RULE_TABLE: u16 = 1;
    pub(in super::super) const RULE_CHAIN: u16 = 2;
    pub(in super::super) const RULE_HANDLE: u16 = 3;
    pub(in super::super) const RULE_EXPRESSIONS: u16 = 4;
    pub(in super::super) const RULE_USERDATA: u16 = 7;
    pub(in super::super) const LIST_ELEM: u16 = 1;
    pub(in super::super) const EXPR_NAME: u16 = 1;
    pub(in super::super) const EXPR_DATA: u16 = 2;
    pub(in super::super) const DATA_VALUE: u16 = 1;
    pub(in super::super) const DATA_VERDICT: u16 = 2;
    pub(in super::super) const VERDICT_CODE: u16 = 1;
    pub(in super::super) const VERDICT_CHAIN: u16 = 2;
}

/// Attributes and flags of sets.
pub(super) mod set {
    pub(in super::super) const TABLE: u16 = 1;
    pub(in super::super) const NAME: u16 = 2;
    pub(in super::super) const FLAGS: u16 = 3;
    pub(in super::super) const KEY_TYPE: u16 = 4;
    pub(in super::super) const KEY_LEN: u16 = 5;
    pub(in super::super) const DATA_TYPE: u16 = 6;
    pub(in super::super) const DATA_LEN: u16 = 7;
    pub(in super::super) const ID: u16 = 10;
    pub(in super::super) const ELEM_KEY: u16 = 1;
    pub(in super::super) const ELEM_DATA: u16 = 2;
    pub(in super::super) const ELEM_FLAGS: u16 = 3;
    pub(in super::super) const ELEM_LIST_TABLE: u16 = 1;
    pub(in super::super) const ELEM_LIST_SET: u16 = 2;
    pub(in super::super) const ELEM_LIST_ELEMENTS: u16 = 3;
    pub(in super::super) const ELEM_LIST_SET_ID: u16 = 4;

    pub(in super::super) const ANONYMOUS: u32 = 1;
    pub(in super::super) const CONSTANT: u32 = 2;
    pub(in super::super) const INTERVAL: u32 = 4;
    pub(in super::super) const MAP: u32 = 8;
    pub(in super::super) const ELEM_INTERVAL_END: u32 = 1;
    /// The data type of a map whose values are verdicts.
    pub(in super::super) const VERDICT_TYPE: u32 = 0xffff_ff00;
}

/// Keys of `meta`.
pub(super) mod meta {
    pub(in super::super) const MARK: u32 = 3;
    pub(in super::super) const IIFNAME: u32 = 6;
    pub(in super::super) const OIFNAME: u32 = 7;
    pub(in super::super) const SKUID: u32 = 10;
    pub(in super::super) const SKGID: u32 = 11;
    pub(in super::super) const NFPROTO: u32 = 15;
    pub(in super::super) const L4PROTO: u32 = 16;
}

/// Keys of `ct`.
pub(super) mod ct {
    pub(in super::super) const STATE: u32 = 0;
    pub(in super::super) const STATUS: u32 = 2;
    pub(in super::super) const MARK: u32 = 3;
    pub(in super::super) const ZONE: u32 = 17;
    /// `IPS_DST_NAT` of the status.
    pub(in super::super) const STATUS_DNAT: u32 = 1 << 5;
}

/// Headers from which `payload` loads.
pub(super) mod payload {
    pub(in super::super) const NETWORK: u32 = 1;
    pub(in super::super) const TRANSPORT: u32 = 2;
}

/// Comparisons of `cmp`; those of `range` are the first two.
pub(super) mod cmp {
    pub(in super::super) const EQ: u32 = 0;
    pub(in super::super) const NEQ: u32 = 1;
}

/// The register of the verdict.
pub(super) const REGISTER_VERDICT: u32 = 0;

/// The name of a register by its 32-bit word, in the form that the kernel dumps: where a word
/// begins one of the four 128-bit registers it has that register's number.
pub(super) fn register(word: u32) -> u32 {
    if word.is_multiple_of(4) {
        1 + word / 4
    } else {
        8 + word
    }
}

/// A family's number (`NFPROTO_*`).
pub(super) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
    }
}

/// The family of a number.
pub(super) fn family_of(number: u8) -> Option<Family> {
    match number {
        1 => Some(Family::Inet),
        2 => Some(Family::Ip),
        10 => Some(Family::Ip6),
        _ => None,
    }
}

/// The number of a version of IP (`NFPROTO_*`).
pub(super) fn ip_number(ip: Ip) -> u8 {
    match ip {
        Ip::V4 => 2,
        Ip::V6 => 10,
    }
}

/// A protocol's number (`IPPROTO_*`).
pub(super) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Icmp => 1,
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmp6 => 58,
        Protocol::Sctp => 132,
    }
}

/// A hook's number (`NF_INET_*`).
pub(super) fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

/// The name of a kind of chain.
pub(super) fn chain_kind(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
        ChainKind::Route => "route",
    }
}

#[cfg(test)]
mod tests {
    use super::register;

    #[test]
    fn registers_have_the_names_that_the_kernel_dumps() {
        let names: Vec<_> = (0..6).map(register).collect();
        assert_eq!(names, [1, 9, 10, 11, 2, 13]);
    }
}
