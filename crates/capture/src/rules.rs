//! The rules that lead a pod's TCP traffic through its proxy, with the semantics and the order of
//! Istio's.
//!
//! ```text
//! leaves the pod                                arrives at the pod
//!   excluded port                    stays        15008, excluded port    stays
//!   inbound's own (mark, 127.0.0.6)  stays        included port           -> 15006
//!   outbound's own, to an own address over lo
//!                                    -> 15006
//!   anything else over lo            stays
//!   the proxy's own (mark, uid, gid) stays
//!   127.0.0.1, ::1, excluded network stays
//!   included port or network         -> 15001
//! ```
//!
//! The proxy's traffic is known by two signs: its sockets' marks, which need CAP_NET_ADMIN, and
//! its user and group, which a user namespace of one user does not have. The rules carry both, and
//! each works alone. Telling the inbound side by its source 127.0.0.6 (::6) needs neither.
//!
//! Of UDP only DNS is touched, and only if that is wanted: see [`crate::dns`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::dns::{DNS_PORT, Dns};
use crate::nft::{
    Base, Chain, Connection, Family, Match, PortRange, Protocol, Rule, Statement, Table, Verdict,
};
use crate::{Error, link, sysctl};

/// The mark of connections that the proxy's outbound side makes.
pub const OUTBOUND_MARK: u32 = 1337;
/// The mark of connections that the proxy's inbound side makes.
pub const INBOUND_MARK: u32 = 1338;
/// Where captured connections of the application arrive.
pub const OUTBOUND_PORT: u16 = 15001;
/// Where captured connections to the application arrive.
pub const INBOUND_PORT: u16 = 15006;
/// The port of HBONE, which is never captured.
pub const HBONE_PORT: u16 = 15008;
/// The address from which the inbound side may dial the application, so that the rules know it
/// without a mark.
pub const INBOUND_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The same for IPv6; [`install`] adds it to `lo`.
pub const INBOUND_SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);
/// The name of the table, of both versions of IP.
pub const TABLE: &str = "lateen_capture";

/// What is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Ports of the pod whose traffic is captured.
    pub inbound_ports: Ports,
    /// Ports of the pod whose traffic is not.
    pub exclude_inbound_ports: Vec<PortRange>,
    /// Networks to which traffic is captured.
    pub outbound_networks: Networks,
    /// Networks to which it is not.
    pub exclude_outbound_networks: Vec<IpNet>,
    /// Ports to which traffic is captured, whatever the network.
    pub include_outbound_ports: Ports,
    /// Ports to which it is not.
    pub exclude_outbound_ports: Vec<PortRange>,
    /// The proxy's users.
    pub proxy_uids: Vec<u32>,
    /// The proxy's groups.
    pub proxy_gids: Vec<u32>,
    /// The mark of the outbound side's sockets.
    pub outbound_mark: u32,
    /// The mark of the inbound side's sockets.
    pub inbound_mark: u32,
    /// Where the proxy's outbound side listens.
    pub outbound_port: u16,
    /// Where the proxy's inbound side listens.
    pub inbound_port: u16,
    /// Whose DNS questions are captured.
    pub dns: Dns,
    /// Where the proxy answers them.
    pub dns_port: u16,
}

/// Some ports or every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// Every port.
    All,
    /// These.
    Only(Vec<PortRange>),
}

/// Some networks or every address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Networks {
    /// Every address.
    All,
    /// These.
    Only(Vec<IpNet>),
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            inbound_ports: Ports::All,
            // What the proxy itself serves: metrics, readiness, its agent's status.
            exclude_inbound_ports: [15020, 15021, 15090].map(PortRange::from).to_vec(),
            outbound_networks: Networks::All,
            exclude_outbound_networks: Vec::new(),
            include_outbound_ports: Ports::Only(Vec::new()),
            exclude_outbound_ports: Vec::new(),
            proxy_uids: vec![1337],
            proxy_gids: vec![1337],
            outbound_mark: OUTBOUND_MARK,
            inbound_mark: INBOUND_MARK,
            outbound_port: OUTBOUND_PORT,
            inbound_port: INBOUND_PORT,
            dns: Dns::Untouched,
            dns_port: DNS_PORT,
        }
    }
}

impl Settings {
    /// The rules. Not every kernel has zones of connection tracking, which only DNS needs.
    pub fn table(&self, has_zones: bool) -> Table {
        let table = Table::new(Family::Inet, TABLE)
            .chain(
                Chain::new("to_outbound").rule(
                    tcp()
                        .then(Statement::Counter)
                        .then(Statement::Redirect(self.outbound_port)),
                ),
            )
            .chain(
                Chain::new("to_inbound").rule(
                    tcp()
                        .then(Statement::Counter)
                        .then(Statement::Redirect(self.inbound_port)),
                ),
            )
            .chain(
                Chain::new("prerouting")
                    .base(Base::nat_prerouting())
                    .rules(self.inbound()),
            )
            .chain(
                Chain::new("output")
                    .base(Base::nat_output())
                    .rules(self.outbound()),
            );
        self.dns_chains(has_zones)
            .into_iter()
            .fold(table, Table::chain)
    }

    fn inbound(&self) -> Vec<Rule> {
        let mut rules = vec![stays(Match::tcp(HBONE_PORT), "HBONE")];
        for ports in &self.exclude_inbound_ports {
            rules.push(stays(tcp_ports(*ports), "excluded"));
        }
        rules.extend(captured_ports(&self.inbound_ports, "to_inbound"));
        rules
    }

    fn outbound(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for ports in &self.exclude_outbound_ports {
            rules.push(stays(tcp_ports(*ports), "excluded"));
        }
        rules.extend(self.dns_rules());
        rules.extend([
            stays(Match::mark(self.inbound_mark), "made by the inbound side"),
            stays(Match::from(INBOUND_SOURCE), "made by the inbound side"),
            stays(Match::from(INBOUND_SOURCE_V6), "made by the inbound side"),
        ]);
        let proxies = self.proxies();
        for proxy in &proxies {
            rules.extend(own_service(proxy));
        }
        rules.push(stays(Match::Output("lo".into()), "within the pod"));
        for proxy in proxies {
            rules.push(stays(proxy, "made by the proxy"));
        }
        for loopback in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ] {
            rules.push(stays(Match::to(loopback), "loopback"));
        }
        for network in &self.exclude_outbound_networks {
            rules.push(stays(Match::Destination(*network), "excluded"));
        }
        rules.extend(captured_ports(&self.include_outbound_ports, "to_outbound"));
        match &self.outbound_networks {
            Networks::All => rules.push(tcp().verdict(Verdict::Goto("to_outbound".into()))),
            Networks::Only(networks) => rules.extend(networks.iter().map(|network| {
                tcp()
                    .when(Match::Destination(*network))
                    .verdict(Verdict::Goto("to_outbound".into()))
            })),
        }
        rules
    }

    /// The signs of the proxy's own connections, of its outbound side first.
    pub(crate) fn proxies(&self) -> Vec<Match> {
        let mut signs = vec![Match::mark(self.outbound_mark)];
        signs.extend(self.proxy_uids.iter().map(|uid| Match::User(*uid)));
        signs.extend(self.proxy_gids.iter().map(|gid| Match::Group(*gid)));
        signs
    }
}

/// Puts the rules in place in the calling thread's network namespace, atomically; what was
/// installed before is replaced.
pub fn install(settings: &Settings) -> Result<(), Error> {
    if sysctl::has_ipv6() {
        link::Connection::open()?
            .add_address("lo", IpNet::from(IpAddr::from(INBOUND_SOURCE_V6)))?;
    }
    let settings = &Settings {
        dns: settings.dns.resolved(),
        ..settings.clone()
    };
    let mut table = settings.table(true);
    if let Err(error) = Connection::open()?.replace(&table) {
        if settings.dns == Dns::Untouched {
            return Err(error);
        }
        // Without zones a question of the proxy is now and then led back to it, which it notices.
        table = settings.table(false);
        Connection::open()?.replace(&table)?;
        tracing::warn!(%error, "the kernel has no zones of connection tracking for DNS");
    }
    for chain in &table.chains {
        for rule in &chain.rules {
            tracing::debug!(table = TABLE, chain = chain.name, %rule, "captures");
        }
    }
    Ok(())
}

/// Takes everything away that [`install`] put in place; without effect if there is nothing.
pub fn remove() -> Result<(), Error> {
    Connection::open()?.delete(Family::Inet, TABLE)?;
    if sysctl::has_ipv6() {
        let address = IpNet::from(IpAddr::from(INBOUND_SOURCE_V6));
        match link::Connection::open()?.delete_address("lo", address) {
            Err(error) if error.is_not_found() => {}
            result => result?,
        }
    }
    Ok(())
}

/// A call of the application to its own service, that the outbound side sends to the pod's
/// own address, passes the inbound side as a call from elsewhere does.
fn own_service(proxy: &Match) -> [Rule; 2] {
    let localhost: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    localhost.map(|localhost| {
        tcp()
            .when(Match::Output("lo".into()))
            .when(proxy.clone())
            .unless(Match::to(localhost))
            .unless(Match::tcp(HBONE_PORT))
            .verdict(Verdict::Goto("to_inbound".into()))
            .because("own service")
    })
}

fn tcp() -> Rule {
    Rule::new().when(Match::Protocol(Protocol::Tcp))
}

fn tcp_ports(ports: PortRange) -> Match {
    Match::DestinationPort(Protocol::Tcp, ports)
}

/// What is not captured.
fn stays(condition: Match, why: &str) -> Rule {
    Rule::new()
        .when(condition)
        .verdict(Verdict::Return)
        .because(why)
}

fn captured_ports(ports: &Ports, chain: &str) -> Vec<Rule> {
    let capture = |rule: Rule| rule.verdict(Verdict::Goto(chain.into()));
    match ports {
        Ports::All => vec![capture(tcp())],
        Ports::Only(ports) => ports
            .iter()
            .map(|ports| capture(Rule::new().when(tcp_ports(*ports))))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_come_in_istios_order() {
        let settings = Settings {
            exclude_outbound_ports: vec![3306.into()],
            exclude_outbound_networks: vec!["10.9.0.0/16".parse().unwrap()],
            proxy_gids: Vec::new(),
            ..Settings::default()
        };
        let own = |sign, to| {
            format!(
                "meta l4proto tcp oifname \"lo\" meta {sign} 1337 {to} tcp dport != 15008 \
                 goto to_inbound comment \"own service\""
            )
        };
        assert_eq!(
            text(&settings.outbound()),
            [
                "tcp dport 3306 return comment \"excluded\"",
                "meta mark 1338 return comment \"made by the inbound side\"",
                "ip saddr 127.0.0.6/32 return comment \"made by the inbound side\"",
                "ip6 saddr ::6/128 return comment \"made by the inbound side\"",
                &own("mark", "ip daddr != 127.0.0.1/32"),
                &own("mark", "ip6 daddr != ::1/128"),
                &own("skuid", "ip daddr != 127.0.0.1/32"),
                &own("skuid", "ip6 daddr != ::1/128"),
                "oifname \"lo\" return comment \"within the pod\"",
                "meta mark 1337 return comment \"made by the proxy\"",
                "meta skuid 1337 return comment \"made by the proxy\"",
                "ip daddr 127.0.0.1/32 return comment \"loopback\"",
                "ip6 daddr ::1/128 return comment \"loopback\"",
                "ip daddr 10.9.0.0/16 return comment \"excluded\"",
                "meta l4proto tcp goto to_outbound",
            ]
        );
    }

    #[test]
    fn listed_inbound_ports_are_captured_and_others_are_not() {
        let settings = Settings {
            inbound_ports: Ports::Only(vec![
                80.into(),
                PortRange {
                    first: 9000,
                    last: 9010,
                },
            ]),
            ..Settings::default()
        };
        assert_eq!(
            text(&settings.inbound())[4..],
            [
                "tcp dport 80 goto to_inbound",
                "tcp dport 9000-9010 goto to_inbound"
            ]
        );
    }

    #[test]
    fn included_ports_are_captured_whatever_the_network() {
        let settings = Settings {
            include_outbound_ports: Ports::Only(vec![8443.into()]),
            outbound_networks: Networks::Only(vec!["10.96.0.0/16".parse().unwrap()]),
            ..Settings::default()
        };
        let rules = text(&settings.outbound());
        assert_eq!(
            rules[rules.len() - 2..],
            [
                "tcp dport 8443 goto to_outbound",
                "meta l4proto tcp ip daddr 10.96.0.0/16 goto to_outbound"
            ]
        );
    }
}
