//! The rules that lead the application's DNS questions to its proxy, as Istio's do.
//!
//! Questions to port 53 of the captured servers, by UDP and TCP, go to the proxy's DNS port unless
//! the proxy itself sends them.
//!
//! The proxy's questions and the application's have the same servers, and may have the same source
//! port one after the other, while connection tracking remembers the first: the proxy's question
//! would be led back to it. So each kind has a zone of connection tracking for itself.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::nft::{Base, Chain, ChainKind, Hook, Match, Protocol, Rule, Statement, Verdict};
use crate::rules::Settings;

/// Where the proxy answers DNS.
pub const DNS_PORT: u16 = 15053;

/// The port of name servers.
const PORT: u16 = 53;

/// The zones, with the numbers that Istio gives them.
const PROXY_ZONE: u16 = 1;
const APPLICATION_ZONE: u16 = 2;

/// Before connection tracking (`NF_IP_PRI_RAW`).
const RAW: i32 = -300;

/// The file that names the servers of a pod.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Whose DNS questions are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dns {
    /// None.
    Untouched,
    /// Those to the servers that the pod's `resolv.conf` names.
    System,
    /// Those to these servers.
    Servers(Vec<IpAddr>),
    /// All.
    All,
}

// === impl Dns ===

impl Dns {
    /// The same with the servers of the pod in place of [`Dns::System`].
    pub(crate) fn resolved(&self) -> Self {
        match self {
            Self::System => {
                let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
                Self::Servers(servers(&text))
            }
            Self::Untouched | Self::Servers(_) | Self::All => self.clone(),
        }
    }

    /// The networks that questions are captured to.
    fn networks(&self) -> Vec<Option<IpNet>> {
        match self {
            Self::Untouched | Self::System => Vec::new(),
            Self::Servers(servers) => servers.iter().map(|ip| Some((*ip).into())).collect(),
            Self::All => vec![None],
        }
    }
}

/// The servers of a `resolv.conf`; without any, the pod's own, as libc does.
fn servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(str::split_ascii_whitespace);
    let named = lines.filter_map(|mut words| {
        let is_server = words.next() == Some("nameserver");
        let word = words.next().filter(|_| is_server)?;
        // A link's own address may name the link.
        word.split('%').next()?.parse().ok()
    });
    let mut servers: Vec<IpAddr> = named.collect();
    servers.dedup();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    servers
}

// === impl Settings ===

impl Settings {
    /// What leads questions to the proxy, in the chain of what leaves the pod.
    pub(crate) fn dns_rules(&self) -> Vec<Rule> {
        let both = [Protocol::Udp, Protocol::Tcp];
        let rules = both.into_iter().flat_map(|protocol| {
            self.questions(protocol)
                .into_iter()
                .map(|rule| rule.verdict(Verdict::Goto("to_dns".into())).because("DNS"))
        });
        rules.collect()
    }

    /// The chains beside those of TCP; none where DNS is not captured.
    pub(crate) fn dns_chains(&self, has_zones: bool) -> Vec<Chain> {
        if self.dns == Dns::Untouched {
            return Vec::new();
        }
        let redirect = Rule::new()
            .then(Statement::Counter)
            .then(Statement::Redirect(self.dns_port));
        let mut chains = vec![Chain::new("to_dns").rule(redirect)];
        if has_zones {
            chains.extend([self.zones_of_sent(), zones_of_received()]);
        }
        chains
    }

    /// Questions of the application.
    fn questions(&self, protocol: Protocol) -> Vec<Rule> {
        let port = match protocol {
            Protocol::Udp => Match::udp(PORT),
            _ => Match::tcp(PORT),
        };
        let networks = self.dns.networks().into_iter();
        let rules = networks.map(|network| {
            let rule = Rule::new().when(port.clone());
            let rule = match network {
                Some(network) => rule.when(Match::Destination(network)),
                None => rule,
            };
            self.signs().into_iter().fold(rule, Rule::unless)
        });
        rules.collect()
    }

    fn zones_of_sent(&self) -> Chain {
        let own = self.signs().into_iter().map(|sign| {
            Rule::new()
                .when(Match::udp(PORT))
                .when(sign)
                .then(Statement::SetZone(PROXY_ZONE))
                .verdict(Verdict::Return)
                .because("made by the proxy")
        });
        let answers = Rule::new()
            .when(Match::SourcePort(Protocol::Udp, self.dns_port.into()))
            .when(Match::Output("lo".into()))
            .then(Statement::SetZone(APPLICATION_ZONE))
            .because("answered by the proxy");
        let questions = self.questions(Protocol::Udp).into_iter();
        let questions = questions.map(|rule| {
            rule.then(Statement::SetZone(APPLICATION_ZONE))
                .because("made by the application")
        });
        Chain::new("dns_sent")
            .base(Base::new(ChainKind::Filter, Hook::Output, RAW))
            .rules(own)
            .rules(questions)
            .rule(answers)
    }

    /// Every sign of a connection that the proxy makes.
    fn signs(&self) -> Vec<Match> {
        let mut signs = vec![Match::mark(self.inbound_mark)];
        signs.extend(self.proxies());
        signs
    }
}

/// What servers answer to the proxy. What is on its way within the pod is tracked already.
fn zones_of_received() -> Chain {
    Chain::new("dns_received")
        .base(Base::new(ChainKind::Filter, Hook::Prerouting, RAW))
        .rule(
            Rule::new()
                .when(Match::SourcePort(Protocol::Udp, PORT.into()))
                .unless(Match::Input("lo".into()))
                .then(Statement::SetZone(PROXY_ZONE))
                .because("answered to the proxy"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn questions_of_the_application_to_its_servers_go_to_the_proxy() {
        let servers = ["10.96.0.10", "fd00::10"].map(|ip| ip.parse().unwrap());
        let settings = Settings {
            dns: Dns::Servers(servers.to_vec()),
            ..Settings::default()
        };
        let not = "meta mark != 1338 meta mark != 1337 meta skuid != 1337 meta skgid != 1337";
        assert_eq!(
            text(&settings.dns_rules()),
            [
                format!("udp dport 53 ip daddr 10.96.0.10/32 {not} goto to_dns comment \"DNS\""),
                format!("udp dport 53 ip6 daddr fd00::10/128 {not} goto to_dns comment \"DNS\""),
                format!("tcp dport 53 ip daddr 10.96.0.10/32 {not} goto to_dns comment \"DNS\""),
                format!("tcp dport 53 ip6 daddr fd00::10/128 {not} goto to_dns comment \"DNS\""),
            ]
        );
        let all = Settings {
            dns: Dns::All,
            ..Settings::default()
        };
        assert_eq!(
            text(&all.dns_rules())[0],
            format!("udp dport 53 {not} goto to_dns comment \"DNS\"")
        );
        assert_eq!(Settings::default().dns_rules(), []);
        assert_eq!(Settings::default().dns_chains(true), []);
    }

    #[test]
    fn the_servers_are_those_of_resolv_conf() {
        let text = "# no\nsearch a.test\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\n\
                    nameserver what\noptions ndots:5\n";
        let found: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.96.0.10", "fe80::1"]);
        assert_eq!(servers("")[0].to_string(), "127.0.0.1");
    }
}
