//! What one proxy is told when it starts: flags, and the environment that Istio's injection sets.
//!
//! A flag wins over the environment, `PROXY_CONFIG` (a pod's mesh settings as JSON) over defaults.
//! Everything is checked here, once; nothing after this page reads a flag or a variable.

pub mod app_metrics;
pub mod probers;
mod proxy_config;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use lateen_model::Labels;
use lateen_model::proxy::Role;
use lateen_xds::client::tls::{self, Tls};
use lateen_xds::{Node, NodeId};

use crate::sys;

pub use app_metrics::AppMetrics;
pub use probers::Probers;
use proxy_config::ProxyConfig;

/// The flags of `lateen-proxy sidecar` and `lateen-proxy gateway`.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Name of this pod.
    #[arg(long, env = "POD_NAME", default_value = "")]
    pub pod_name: String,
    /// Namespace of this pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub pod_namespace: String,
    /// Addresses of this pod, separated by commas.
    #[arg(long, env = "INSTANCE_IPS", default_value = "")]
    pub instance_ips: String,
    /// Main address of this pod.
    #[arg(long, env = "INSTANCE_IP", default_value = "")]
    pub instance_ip: String,
    /// Service account of this pod.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "")]
    pub service_account: String,
    /// Domain in which short names live [default: <namespace>.svc.cluster.local].
    #[arg(long)]
    pub domain: Option<String>,
    /// Settings of this proxy as JSON, as injection writes them (Istio's ProxyConfig).
    #[arg(long, env = "PROXY_CONFIG", default_value = "")]
    pub proxy_config: String,
    /// Where the control plane is, as host:port [default: istiod.istio-system.svc:15012].
    #[arg(long)]
    pub discovery_address: Option<String>,
    /// Whether to speak TLS with the control plane [default: if its port is 15012].
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub discovery_tls: Option<bool>,
    /// Authorities that the control plane's certificate is checked with.
    #[arg(long, default_value = tls::ROOT)]
    pub discovery_root: PathBuf,
    /// Token of this pod's service account for the control plane.
    #[arg(long, default_value = tls::TOKEN)]
    pub discovery_token: PathBuf,
    /// Number of worker threads; 0 takes every CPU that this process may use [default: from
    /// PROXY_CONFIG, else 1 for a sidecar and all CPUs for a gateway].
    #[arg(long)]
    pub concurrency: Option<usize>,
    /// Directory of the last good configuration.
    #[arg(long, default_value = "/var/lib/istio/data")]
    pub snapshot_dir: PathBuf,
    /// Labels of this pod, as the downward API writes them.
    #[arg(long, default_value = "/etc/istio/pod/labels")]
    pub labels_file: PathBuf,
    /// What is logged, such as `info` or `warn,lateen_proxy=debug`.
    #[arg(long, env = "LATEEN_LOG", default_value = "info")]
    pub log_level: String,
    /// Address that listeners bind to [default: all].
    #[arg(long)]
    pub bind: Option<IpAddr>,
    /// Probes of the application that this proxy answers for, as injection writes them.
    #[arg(long, env = "ISTIO_KUBE_APP_PROBERS", default_value = "")]
    pub app_probers: String,
    /// Where the application has metrics, as injection writes it.
    #[arg(long, env = "ISTIO_PROMETHEUS_ANNOTATIONS", default_value = "")]
    pub app_metrics: String,
    /// After the drain's duration, goes on draining until no connection is active.
    #[arg(long, env = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", default_value = "false",
          action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub exit_on_zero_active_connections: bool,
    /// The ports.
    #[command(flatten)]
    pub ports: Ports,
    /// The time limits.
    #[command(flatten)]
    pub timeouts: TimeoutFlags,
}

/// The proxy's own ports; 0 takes any free one, which the log names.
#[derive(Debug, Clone, Args)]
pub struct Ports {
    /// Where the application's calls are redirected to (sidecar).
    #[arg(long, default_value_t = 15001)]
    pub outbound_port: u16,
    /// Where calls of the application are redirected to (sidecar).
    #[arg(long, default_value_t = 15006)]
    pub inbound_port: u16,
    /// Whether this proxy is ready.
    #[arg(long, default_value_t = 15021)]
    pub health_port: u16,
    /// Metrics, readiness and the probes of the application.
    #[arg(long, default_value_t = 15020)]
    pub status_port: u16,
    /// Metrics of the proxy alone.
    #[arg(long, default_value_t = 15090)]
    pub prometheus_port: u16,
    /// Administration, on localhost only.
    #[arg(long, default_value_t = 15000)]
    pub admin_port: u16,
    /// DNS for the application, on localhost only (sidecar with ISTIO_META_DNS_CAPTURE=true).
    #[arg(long, default_value_t = 15053)]
    pub dns_port: u16,
}

/// Time limits as flags.
#[derive(Debug, Clone, Args)]
pub struct TimeoutFlags {
    /// Seconds that the head of a request may take once its first byte has come.
    #[arg(long, default_value_t = 10.0)]
    pub head_timeout: f64,
    /// Seconds that a client's connection may be idle between requests.
    #[arg(long, default_value_t = 3600.0)]
    pub idle_timeout: f64,
    /// Seconds that an exchange may pass without a byte in either direction; 0 for no limit.
    #[arg(long, default_value_t = 0.0)]
    pub stream_idle_timeout: f64,
    /// Seconds that an idle connection to an upstream is kept.
    #[arg(long, default_value_t = 3600.0)]
    pub upstream_idle_timeout: f64,
    /// Seconds that a TCP connection may be idle in both directions.
    #[arg(long, default_value_t = 3600.0)]
    pub tcp_idle_timeout: f64,
    /// Seconds that connecting to an upstream may take.
    #[arg(long, default_value_t = 10.0)]
    pub connect_timeout: f64,
    /// Seconds for which a terminating proxy keeps accepting [default: 5].
    #[arg(long)]
    pub drain_duration: Option<f64>,
    /// Seconds after which a terminating proxy ends what still runs [default: 45].
    #[arg(long)]
    pub shutdown_timeout: Option<f64>,
}

/// Time limits of connections.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of a request, from its first byte.
    pub head: Duration,
    /// Between the requests of a client.
    pub idle: Duration,
    /// For an exchange without a byte in either direction.
    pub stream_idle: Option<Duration>,
    /// For an idle connection to an upstream.
    pub upstream_idle: Duration,
    /// For a TCP connection without a byte in either direction.
    pub tcp_idle: Duration,
    /// For connecting to an upstream.
    pub connect: Duration,
}

/// How a proxy ends.
#[derive(Debug, Clone, Copy)]
pub struct DrainSettings {
    /// For how long it keeps accepting.
    pub duration: Duration,
    /// Whether it then goes on until no connection is active.
    pub ends_when_idle: bool,
    /// After how long it ends what still runs.
    pub shutdown: Duration,
}

/// Everything that one proxy is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its kind.
    pub role: Role,
    /// Who it is, for the control plane.
    pub node: Node,
    /// The addresses of its pod; empty if unknown.
    pub addresses: Vec<IpAddr>,
    /// Where the control plane is.
    pub discovery_address: String,
    /// TLS to the control plane; plaintext, and no Secrets, if unset.
    pub discovery_tls: Option<Tls>,
    /// Number of worker threads; at least 1.
    pub concurrency: usize,
    /// Directory of the last good configuration.
    pub snapshot_dir: PathBuf,
    /// Address of the listeners.
    pub bind: IpAddr,
    /// The proxy's own ports.
    pub ports: Ports,
    /// Time limits of connections.
    pub timeouts: Timeouts,
    /// How it ends.
    pub drain: DrainSettings,
    /// Probes of the application.
    pub probers: Probers,
    /// Where the application has metrics, if it has.
    pub app_metrics: Option<AppMetrics>,
    /// Whether it answers the DNS questions of its application.
    pub answers_dns: bool,
}

// === impl Timeouts ===

impl Default for Timeouts {
    /// Istio's and Envoy's, except that a head has 10 s (Envoy: no limit).
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            head: Duration::from_secs(10),
            idle: hour,
            stream_idle: None,
            upstream_idle: hour,
            tcp_idle: hour,
            connect: Duration::from_secs(10),
        }
    }
}

// === impl Settings ===

impl Settings {
    /// Checks flags and environment. `metadata` are the variables that tell the control plane
    /// about this proxy: those that start with `ISTIO_META_`.
    pub fn resolve(
        role: Role,
        flags: Flags,
        metadata: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let config = ProxyConfig::parse(&flags.proxy_config)?;
        let probers = Probers::parse(&flags.app_probers)?;
        let app_metrics = AppMetrics::parse(&flags.app_metrics)?;
        let drain = drain_settings(&flags, &config)?;
        let timeouts = flags.timeouts.resolve()?;
        let concurrency = concurrency(role, flags.concurrency.or(config.concurrency));
        let addresses = addresses(&flags)?;
        let node = node(role, &flags, &addresses, metadata)?;
        let all = if sys::has_ipv6() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let discovery_address = flags
            .discovery_address
            .clone()
            .or(config.discovery_address)
            .unwrap_or_else(|| "istiod.istio-system.svc:15012".into());
        let discovery_tls = discovery_tls(&flags, &discovery_address);
        let capture = node.metadata.get("DNS_CAPTURE").map(String::as_str);
        Ok(Self {
            answers_dns: role == Role::Sidecar && capture == Some("true"),
            role,
            node,
            addresses,
            discovery_address,
            discovery_tls,
            concurrency,
            snapshot_dir: flags.snapshot_dir,
            bind: flags.bind.unwrap_or(all),
            ports: flags.ports,
            timeouts,
            drain,
            probers,
            app_metrics,
        })
    }
}

/// TLS to the control plane. Of Istio's ports 15010 is plaintext, and 15012 is not.
fn discovery_tls(flags: &Flags, address: &str) -> Option<Tls> {
    let is_secured = flags.discovery_tls;
    let is_secured = is_secured.unwrap_or_else(|| address.ends_with(":15012"));
    is_secured.then(|| Tls {
        root: flags.discovery_root.clone(),
        token: flags.discovery_token.clone(),
        server_name: None,
    })
}

fn drain_settings(flags: &Flags, config: &ProxyConfig) -> anyhow::Result<DrainSettings> {
    let flag = |name, value: Option<f64>| value.map(|value| seconds(name, value)).transpose();
    Ok(DrainSettings {
        duration: flag("--drain-duration", flags.timeouts.drain_duration)?
            .or(config.termination_drain_duration)
            .unwrap_or(Duration::from_secs(5)),
        ends_when_idle: flags.exit_on_zero_active_connections,
        shutdown: flag("--shutdown-timeout", flags.timeouts.shutdown_timeout)?
            .or(config.drain_duration)
            .unwrap_or(Duration::from_secs(45)),
    })
}

fn concurrency(role: Role, asked: Option<usize>) -> usize {
    // Knows the CPU affinity of the process and the quota of its cgroup.
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    match (asked, role) {
        (Some(0), _) | (None, Role::Gateway) => all(),
        (Some(count), _) => count,
        (None, Role::Sidecar) => 1,
    }
}

fn addresses(flags: &Flags) -> anyhow::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    let texts = std::iter::once(flags.instance_ip.as_str()).chain(flags.instance_ips.split(','));
    for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
        let address: IpAddr = text
            .parse()
            .with_context(|| format!("INSTANCE_IP(S): {text:?} is not an address"))?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn node(
    role: Role,
    flags: &Flags,
    addresses: &[IpAddr],
    metadata: impl IntoIterator<Item = (String, String)>,
) -> anyhow::Result<Node> {
    let domain = match &flags.domain {
        Some(domain) => domain.clone(),
        None => format!("{}.svc.cluster.local", flags.pod_namespace),
    };
    let mut node = Node::new(NodeId {
        role,
        address: addresses
            .first()
            .copied()
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        name: if flags.pod_name.is_empty() {
            hostname()
        } else {
            flags.pod_name.clone()
        },
        namespace: flags.pod_namespace.clone(),
        domain,
    });
    node.service_account.clone_from(&flags.service_account);
    env!("CARGO_PKG_VERSION").clone_into(&mut node.version);
    for (key, value) in metadata {
        if let Some(key) = key.strip_prefix("ISTIO_META_") {
            node.metadata.insert(key.to_owned(), value);
        }
    }
    if let Some(name) = node.metadata.get("WORKLOAD_NAME") {
        node.cluster = format!("{name}.{}", flags.pod_namespace);
    }
    node.labels = labels(&flags.labels_file)?;
    Ok(node)
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".into(), |name| name.trim().to_owned())
}

/// Reads the downward API's file of labels: a line `key="value"` each. No file, no labels.
fn labels(path: &std::path::Path) -> anyhow::Result<Labels> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("read labels from {}", path.display()));
        }
    };
    let line = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.trim_matches('"').to_owned()))
    };
    Ok(text.lines().filter_map(line).collect())
}

// === impl TimeoutFlags ===

impl TimeoutFlags {
    fn resolve(&self) -> anyhow::Result<Timeouts> {
        Ok(Timeouts {
            head: seconds("--head-timeout", self.head_timeout)?,
            idle: seconds("--idle-timeout", self.idle_timeout)?,
            stream_idle: Some(seconds("--stream-idle-timeout", self.stream_idle_timeout)?)
                .filter(|limit| !limit.is_zero()),
            upstream_idle: seconds("--upstream-idle-timeout", self.upstream_idle_timeout)?,
            tcp_idle: seconds("--tcp-idle-timeout", self.tcp_idle_timeout)?,
            connect: seconds("--connect-timeout", self.connect_timeout)?,
        })
    }
}

fn seconds(flag: &str, value: f64) -> anyhow::Result<Duration> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) => Ok(duration),
        Err(error) => bail!("{flag}={value}: {error}; give a number of seconds, such as 5 or 0.5"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn resolve(args: &[&str]) -> anyhow::Result<Settings> {
        let args = std::iter::once("x").chain(args.iter().copied());
        let metadata = [("ISTIO_META_NODE_NAME".to_owned(), "n1".to_owned())];
        Settings::resolve(Role::Sidecar, Cli::parse_from(args).flags, metadata)
    }

    #[test]
    fn the_node_carries_istios_notation_and_metadata() {
        let settings = resolve(&[
            "--pod-name=a",
            "--pod-namespace=b",
            "--instance-ip=10.0.0.1",
        ])
        .expect("valid");
        assert_eq!(
            settings.node.id.to_string(),
            "sidecar~10.0.0.1~a.b~b.svc.cluster.local"
        );
        assert_eq!(settings.node.metadata["NODE_NAME"], "n1");
    }

    #[test]
    fn a_flag_wins_over_proxy_config_and_that_over_defaults() {
        let config = r#"--proxy-config={"concurrency":3,"terminationDrainDuration":"7s","discoveryAddress":"c:1"}"#;
        let settings = resolve(&[config]).expect("valid");
        assert_eq!(settings.concurrency, 3);
        assert_eq!(settings.drain.duration, Duration::from_secs(7));
        assert_eq!(settings.discovery_address, "c:1");
        let settings =
            resolve(&[config, "--concurrency=2", "--drain-duration=0.5"]).expect("valid");
        assert_eq!(settings.concurrency, 2);
        assert_eq!(settings.drain.duration, Duration::from_millis(500));
        assert_eq!(resolve(&[]).expect("valid").concurrency, 1);
    }

    #[test]
    fn the_control_plane_is_spoken_to_in_tls_where_its_port_is_the_secured_one() {
        let tls = |args: &[&str]| resolve(args).expect("valid").discovery_tls;
        let secured = tls(&[]).expect("the default is secured");
        assert_eq!(secured.root.as_os_str(), tls::ROOT);
        assert_eq!(secured.token.as_os_str(), tls::TOKEN);
        assert_eq!(
            tls(&["--discovery-address=istiod.istio-system.svc:15010"]),
            None
        );
        assert_eq!(tls(&["--discovery-address=127.0.0.1:1"]), None);
        assert!(tls(&["--discovery-address=127.0.0.1:1", "--discovery-tls"]).is_some());
        assert_eq!(tls(&["--discovery-tls=false"]), None);
    }

    #[test]
    fn a_negative_limit_is_refused_by_name() {
        let error = resolve(&["--connect-timeout=-1"]).expect_err("negative");
        assert!(
            error.to_string().contains("--connect-timeout=-1"),
            "{error}"
        );
    }
}
