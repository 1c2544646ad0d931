//! The flags of `lateen-proxy capture`, as the injected init container passes them.
//!
//! They are data, so that a usage text can be made of them: name, default and help. Values are
//! written as in Istio's annotations: `*`, `80,443,9000-9010`, `10.0.0.0/8,192.168.1.7`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::Error;
use crate::dns::Dns;
use crate::nft::PortRange;
use crate::rules::{Networks, Ports, Settings};

/// A flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// The name, without dashes.
    pub name: &'static str,
    /// The value if the flag is not given.
    pub default: &'static str,
    /// What it is for.
    pub help: &'static str,
}

/// All flags.
pub const FLAGS: [Flag; 11] = [
    Flag {
        name: "inbound-ports",
        default: "*",
        help: "ports of the pod whose traffic is captured: *, a list, or nothing",
    },
    Flag {
        name: "exclude-inbound-ports",
        default: "15090,15021,15020",
        help: "ports of the pod whose traffic is not captured",
    },
    Flag {
        name: "outbound-ip-ranges",
        default: "*",
        help: "networks to which traffic is captured: *, a list of CIDRs, or nothing",
    },
    Flag {
        name: "exclude-outbound-ip-ranges",
        default: "",
        help: "networks to which traffic is not captured",
    },
    Flag {
        name: "include-outbound-ports",
        default: "",
        help: "ports to which traffic is captured even outside of the ranges",
    },
    Flag {
        name: "exclude-outbound-ports",
        default: "",
        help: "ports to which traffic is not captured",
    },
    Flag {
        name: "proxy-uid",
        default: "1337",
        help: "users of the proxy, whose own traffic is not captured",
    },
    Flag {
        name: "proxy-gid",
        default: "1337",
        help: "groups of the proxy, whose own traffic is not captured",
    },
    Flag {
        name: "redirect-dns",
        default: "false",
        help: "whether DNS questions go to the proxy, which must answer them on port 15053",
    },
    Flag {
        name: "dns-servers",
        default: "",
        help: "servers to which questions are captured, a list; those of /etc/resolv.conf if empty",
    },
    Flag {
        name: "capture-all-dns",
        default: "false",
        help: "whether questions to any server are captured, not only to those",
    },
];

/// Reads the arguments after the sub-command: `--name value` or `--name=value`, each at most once
/// in effect (the last counts).
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Settings, Error> {
    let mut settings = Settings::default();
    let (mut is_redirected, mut is_all, mut servers) = (false, false, Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--") else {
            return Err(error(
                "",
                &argument,
                "a flag was expected; values are written --name=value",
            ));
        };
        let (name, value) = if let Some((name, value)) = flag.split_once('=') {
            (name, value.to_owned())
        } else {
            let why = "the flag has no value; to give an empty one write --name=";
            let value = arguments.next().ok_or_else(|| error(flag, "", why))?;
            (flag, value)
        };
        match name {
            "redirect-dns" => is_redirected = boolean(name, &value)?,
            "capture-all-dns" => is_all = boolean(name, &value)?,
            "dns-servers" => servers = addresses(name, &value)?,
            _ => set(&mut settings, name, &value)?,
        }
    }
    settings.dns = match (is_redirected, is_all) {
        (false, _) => Dns::Untouched,
        (true, true) => Dns::All,
        (true, false) if servers.is_empty() => Dns::System,
        (true, false) => Dns::Servers(servers),
    };
    Ok(settings)
}

/// Sets one flag by its name, but for those of DNS, which are read together.
fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), Error> {
    match name {
        "inbound-ports" => settings.inbound_ports = ports_or_all(name, value)?,
        "exclude-inbound-ports" => settings.exclude_inbound_ports = ports(name, value)?,
        "outbound-ip-ranges" => settings.outbound_networks = networks_or_all(name, value)?,
        "exclude-outbound-ip-ranges" => settings.exclude_outbound_networks = networks(name, value)?,
        "include-outbound-ports" => settings.include_outbound_ports = ports_or_all(name, value)?,
        "exclude-outbound-ports" => settings.exclude_outbound_ports = ports(name, value)?,
        "proxy-uid" => settings.proxy_uids = ids(name, value)?,
        "proxy-gid" => settings.proxy_gids = ids(name, value)?,
        _ => {
            let known: Vec<_> = FLAGS
                .iter()
                .map(|flag| format!("--{}", flag.name))
                .collect();
            let why = format!("there is no such flag; there are {}", known.join(" "));
            return Err(error(name, value, &why));
        }
    }
    Ok(())
}

fn ports_or_all(flag: &str, value: &str) -> Result<Ports, Error> {
    match value.trim() {
        "*" => Ok(Ports::All),
        value => ports(flag, value).map(Ports::Only),
    }
}

fn networks_or_all(flag: &str, value: &str) -> Result<Networks, Error> {
    match value.trim() {
        "*" => Ok(Networks::All),
        value => networks(flag, value).map(Networks::Only),
    }
}

fn ports(flag: &str, value: &str) -> Result<Vec<PortRange>, Error> {
    list(value, |item| {
        let port = |text: &str| {
            let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
            port.ok_or_else(|| error(flag, value, &format!("{text:?} is no port (1 to 65535)")))
        };
        let (first, last) = match item.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(item)?, port(item)?),
        };
        if first > last {
            let why = format!("the range {item:?} is empty: its first port is above its last");
            return Err(error(flag, value, &why));
        }
        Ok(PortRange { first, last })
    })
}

fn networks(flag: &str, value: &str) -> Result<Vec<IpNet>, Error> {
    list(value, |item| {
        let network = item.parse::<IpNet>().ok();
        let network = network.or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(|network| network.trunc()).ok_or_else(|| {
            let why = format!("{item:?} is neither an address nor a network such as 10.0.0.0/8");
            error(flag, value, &why)
        })
    })
}

fn boolean(flag: &str, value: &str) -> Result<bool, Error> {
    match value.trim() {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err(error(flag, value, "it must be true or false")),
    }
}

fn addresses(flag: &str, value: &str) -> Result<Vec<IpAddr>, Error> {
    list(value, |item| {
        let why = || format!("{item:?} is no address");
        item.parse().map_err(|_| error(flag, value, &why()))
    })
}

fn ids(flag: &str, value: &str) -> Result<Vec<u32>, Error> {
    list(value, |item| {
        item.parse().map_err(|_| {
            error(
                flag,
                value,
                &format!("{item:?} is no number of a user or group"),
            )
        })
    })
}

/// The items of a list with commas; empty items are skipped, as a template may leave them.
fn list<T>(value: &str, read: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let items = value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    items.map(read).collect()
}

fn error(flag: &str, value: &str, why: &str) -> Error {
    Error::Flag {
        flag: flag.into(),
        value: value.into(),
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(arguments: &[&str]) -> Result<Settings, Error> {
        parse(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults_of_the_settings() {
        let arguments = FLAGS.map(|flag| format!("--{}={}", flag.name, flag.default));
        let mut settings = parse(arguments).unwrap();
        settings.exclude_inbound_ports.sort();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn values_follow_a_space_or_an_equals_sign() {
        let settings = parse_all(&[
            "--inbound-ports",
            "80,443, 9000-9010",
            "--outbound-ip-ranges=10.1.2.3/8,fd00::1",
            "--exclude-outbound-ports=",
            "--include-outbound-ports",
            "*",
        ])
        .unwrap();
        let range = PortRange {
            first: 9000,
            last: 9010,
        };
        assert_eq!(
            settings.inbound_ports,
            Ports::Only(vec![80.into(), 443.into(), range])
        );
        let networks = ["10.0.0.0/8", "fd00::1/128"].map(|net| net.parse().unwrap());
        assert_eq!(
            settings.outbound_networks,
            Networks::Only(networks.to_vec())
        );
        assert_eq!(settings.include_outbound_ports, Ports::All);
    }

    #[test]
    fn dns_is_captured_to_the_systems_servers_to_these_or_to_all() {
        let dns = |arguments: &[&str]| parse_all(arguments).unwrap().dns;
        let servers = "--dns-servers=10.96.0.10, ::1";
        assert_eq!(dns(&[servers]), Dns::Untouched);
        assert_eq!(dns(&["--redirect-dns=true"]), Dns::System);
        let both = ["10.96.0.10", "::1"].map(|ip| ip.parse().unwrap());
        assert_eq!(
            dns(&["--redirect-dns=true", servers]),
            Dns::Servers(both.to_vec())
        );
        let all = ["--redirect-dns=true", servers, "--capture-all-dns=true"];
        assert_eq!(dns(&all), Dns::All);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_would_be_right() {
        for (arguments, expected) in [
            (
                &["--inbound-ports", "80,http"][..],
                "\"http\" is no port (1 to 65535)",
            ),
            (&["--inbound-ports", "0"], "\"0\" is no port"),
            (&["--inbound-ports", "9-3"], "the range \"9-3\" is empty"),
            (
                &["--outbound-ip-ranges=10.0.0.0/33"],
                "neither an address nor a network",
            ),
            (&["--proxy-uid=root"], "no number of a user"),
            (&["--proxy-uid"], "the flag has no value"),
            (&["--redirect-dns=1"], "it must be true or false"),
            (&["--dns-servers=dns"], "\"dns\" is no address"),
            (
                &["--mark=1"],
                "there is no such flag; there are --inbound-ports",
            ),
            (&["80"], "a flag was expected"),
        ] {
            let error = parse_all(arguments).unwrap_err().to_string();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
