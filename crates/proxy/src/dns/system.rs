//! What the system says about names: `/etc/resolv.conf` and `/etc/hosts`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lateen_wire::dns::{self, Name};

/// libc asks no more servers than these.
const MOST_SERVERS: usize = 3;

/// How many search domains are taken; Kubernetes allows as many.
const MOST_SEARCHED: usize = 32;

/// Files of this size and above are somebody's mistake.
const MOST_BYTES: u64 = 4 << 20;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Files {
    /// Name servers and search domains.
    pub resolv_conf: PathBuf,
    /// Names with addresses.
    pub hosts: PathBuf,
}

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whom to ask, in order; at least one.
    pub servers: Vec<SocketAddr>,
    /// Domains in which short names are sought, in order.
    pub search: Vec<Name>,
    /// A name with fewer dots is sought in the domains first.
    pub dots: usize,
    /// How long a server may take.
    pub timeout: Duration,
}

// === impl Files ===

impl Default for Files {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
        }
    }
}

impl Files {
    /// Reads the configuration, as far as there is one.
    pub fn config(&self) -> Config {
        Config::parse(&text(&self.resolv_conf))
    }

    /// The addresses that the hosts file gives to a name.
    pub fn addresses_of(&self, name: &Name) -> Vec<IpAddr> {
        addresses_in(&text(&self.hosts), name)
    }
}

// === impl Config ===

impl Config {
    /// Reads a `resolv.conf` as libc does: what it does not know it passes over, and without a
    /// server the machine's own is asked.
    pub fn parse(text: &str) -> Self {
        let mut config = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            timeout: Duration::from_secs(5),
        };
        for line in text.lines() {
            // Only at its beginning does a line have comments.
            if line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(server);
                    let room = config.servers.len() < MOST_SERVERS;
                    config.servers.extend(server.filter(|_| room));
                }
                // The last of either counts.
                Some("search" | "domain") => {
                    config.search = words.take(MOST_SEARCHED).filter_map(Name::parse).collect();
                }
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config.servers = vec![(Ipv4Addr::LOCALHOST, dns::PORT).into()];
        }
        config
    }

    fn option(&mut self, word: &str) {
        // libc's own limits.
        match word.split_once(':') {
            Some(("ndots", value)) => {
                self.dots = value.parse().map_or(self.dots, |dots: usize| dots.min(15));
            }
            Some(("timeout", value)) => {
                let seconds: Option<u64> = value.parse().ok();
                let seconds = seconds.map(|seconds| seconds.clamp(1, 30));
                self.timeout = seconds.map_or(self.timeout, Duration::from_secs);
            }
            _ => {}
        }
    }

    /// The names to ask for in turn when a program asks for this one; with a dot at its end it
    /// stands for itself.
    pub fn candidates(&self, text: &str) -> Vec<Name> {
        let Some(name) = Name::parse(text) else {
            return Vec::new();
        };
        if text.ends_with('.') {
            return vec![name];
        }
        let below = |domain: &Name| Name::parse(&format!("{}.{}", name.as_str(), domain.as_str()));
        let mut names: Vec<Name> = self.search.iter().filter_map(below).collect();
        let is_long = name.as_str().matches('.').count() >= self.dots;
        names.insert(if is_long { 0 } else { names.len() }, name);
        names
    }
}

fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some((address, dns::PORT).into());
    }
    // A link's own address with the number of the link; its name would need a system call.
    let (address, zone) = word.split_once('%')?;
    let address = SocketAddrV6::new(address.parse().ok()?, dns::PORT, 0, zone.parse().ok()?);
    Some(address.into())
}

/// The addresses that a hosts file gives to a name, in its order.
fn addresses_in(text: &str, name: &Name) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        let Some(address) = address else { continue };
        let is_meant = words.any(|word| {
            word.trim_end_matches('.')
                .eq_ignore_ascii_case(name.as_str())
        });
        if is_meant && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The text of a small file; nothing if there is none. Both files are on the pod's own volume, so
/// that reading them does not block for long.
fn text(path: &Path) -> String {
    let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() < MOST_BYTES);
    let bytes = is_small.then(|| std::fs::read(path)).and_then(Result::ok);
    bytes.map_or_else(String::new, |bytes| {
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_libc_reads_it() {
        let config = Config::parse(
            "# made by hand\n; so too\nnameserver 10.96.0.10\nnameserver ::1\nnameserver what\n\
             search a.svc.cluster.local svc.cluster.local\nnameserver fe80::1%2\n\
             nameserver 192.0.2.4\noptions ndots:5 timeout:2 rotate\n",
        );
        let servers: Vec<_> = config.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.96.0.10:53", "[::1]:53", "[fe80::1%2]:53"]);
        assert_eq!((config.dots, config.timeout), (5, Duration::from_secs(2)));
        let empty = Config::parse("options ndots:x timeout:\n");
        assert_eq!(empty.servers[0].to_string(), "127.0.0.1:53");
        assert_eq!((empty.dots, empty.timeout), (1, Duration::from_secs(5)));
    }

    #[test]
    fn short_names_are_sought_in_the_domains_first() {
        let config = Config::parse("search a.test b.test\noptions ndots:2\n");
        let names = |text: &str| -> Vec<String> {
            let names = config.candidates(text).into_iter();
            names.map(|name| name.to_string()).collect()
        };
        assert_eq!(names("x"), ["x.a.test", "x.b.test", "x"]);
        assert_eq!(names("x.y.z"), ["x.y.z", "x.y.z.a.test", "x.y.z.b.test"]);
        assert_eq!(names("x."), ["x"]);
        assert_eq!(names("x..y"), [""; 0]);
    }

    #[test]
    fn the_hosts_file_gives_addresses_to_names() {
        let text =
            "127.0.0.1 localhost\n::1 localhost # of six\n10.0.0.7 Db.test db\nnonsense db\n";
        let of = |name: &str| addresses_in(text, &Name::parse(name).expect("a name"));
        assert_eq!(of("localhost").len(), 2);
        assert_eq!(
            of("db.test"),
            ["10.0.0.7".parse::<IpAddr>().expect("an address")]
        );
        assert_eq!(of("other"), [] as [IpAddr; 0]);
    }
}
