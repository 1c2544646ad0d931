//! Prometheus' text format, made when somebody asks for metrics.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use super::histogram::{BOUNDS, Reading};
use super::labels::{Directory, HTTP_ONLY, LabelValues, NAMES};
use super::metrics::{Key, RequestProtocol, Shard, Totals};

/// The counters of all workers, with what is known about their ids.
#[derive(Debug)]
pub struct Registry {
    /// Who is behind the ids.
    pub directory: Directory,
    shards: Vec<Arc<Shard>>,
    /// What earlier tenants of addresses had.
    retired: BTreeMap<LabelValues, Totals>,
    /// How much of a series belongs to earlier tenants, by shard and key.
    before: HashMap<(usize, Key), Totals>,
}

type Series = BTreeMap<LabelValues, Totals>;

// === impl Registry ===

impl Registry {
    /// A registry of these workers.
    pub fn new(directory: Directory, shards: Vec<Arc<Shard>>) -> Self {
        Self {
            directory,
            shards,
            retired: BTreeMap::new(),
            before: HashMap::new(),
        }
    }

    /// Every address that some series counts for.
    pub fn peers(&self) -> impl Iterator<Item = IpAddr> {
        let keys = self.shards.iter().flat_map(|shard| shard.read());
        keys.map(|(key, _)| key.peer)
            .filter(|peer| *peer != Key::NO_PEER)
    }

    /// Sets aside what was counted for the tenant of an address, before it gets a new one.
    pub fn retire(&mut self, address: IpAddr) {
        for (index, shard) in self.shards.iter().enumerate() {
            for (key, totals) in shard.read() {
                if key.peer != address {
                    continue;
                }
                let mut own = totals;
                if let Some(before) = self.before.insert((index, key), totals) {
                    own.subtract(&before);
                }
                let labels = self.directory.values(&key, shard);
                self.retired.entry(labels).or_default().add(&own);
            }
        }
    }

    /// The metrics as text.
    pub fn render(&self) -> String {
        let (http, tcp) = self.series();
        let mut text = String::with_capacity(4096 + 4096 * (http.len() + tcp.len()));
        render_http(&mut text, &http);
        render_tcp(&mut text, &tcp);
        family(&mut text, "istio_build", "gauge", "The proxy's version.");
        let _ = writeln!(
            text,
            "istio_build{{component=\"proxy\",tag=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        text
    }

    fn series(&self) -> (Series, Series) {
        let (mut http, mut tcp) = (Series::new(), Series::new());
        for (labels, totals) in &self.retired {
            let is_tcp = &*labels[20] == "tcp";
            let into = if is_tcp { &mut tcp } else { &mut http };
            into.entry(labels.clone()).or_default().add(totals);
        }
        for (index, shard) in self.shards.iter().enumerate() {
            for (key, mut totals) in shard.read() {
                if let Some(before) = self.before.get(&(index, key)) {
                    totals.subtract(before);
                    if totals == Totals::default() {
                        continue; // The new tenant has had nothing yet.
                    }
                }
                let into = match key.protocol {
                    RequestProtocol::Tcp => &mut tcp,
                    RequestProtocol::Http | RequestProtocol::Grpc => &mut http,
                };
                let labels = self.directory.values(&key, shard);
                into.entry(labels).or_default().add(&totals);
            }
        }
        (http, tcp)
    }
}

fn render_http(text: &mut String, series: &Series) {
    counter(
        text,
        "istio_requests_total",
        "Requests.",
        series,
        true,
        |it| it.requests,
    );
    for (name, help, pick) in [
        (
            "istio_request_duration_milliseconds",
            "Duration of requests in milliseconds.",
            (|it| it.duration) as fn(&Totals) -> Reading,
        ),
        ("istio_request_bytes", "Size of requests in bytes.", |it| {
            it.request_bytes
        }),
        (
            "istio_response_bytes",
            "Size of responses in bytes.",
            |it| it.response_bytes,
        ),
    ] {
        if series.is_empty() {
            continue;
        }
        family(text, name, "histogram", help);
        for (labels, totals) in series {
            histogram(text, name, &label_text(labels, true), &pick(totals));
        }
    }
}

fn render_tcp(text: &mut String, series: &Series) {
    for (name, help, pick) in [
        (
            "istio_tcp_connections_opened_total",
            "TCP connections opened.",
            (|it| it.opened) as fn(&Totals) -> u64,
        ),
        (
            "istio_tcp_connections_closed_total",
            "TCP connections closed.",
            |it| it.closed,
        ),
        (
            "istio_tcp_sent_bytes_total",
            "Bytes sent to clients over TCP.",
            |it| it.sent,
        ),
        (
            "istio_tcp_received_bytes_total",
            "Bytes received from clients over TCP.",
            |it| it.received,
        ),
    ] {
        counter(text, name, help, series, false, pick);
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn counter(
    text: &mut String,
    name: &str,
    help: &str,
    series: &Series,
    is_http: bool,
    pick: fn(&Totals) -> u64,
) {
    if series.is_empty() {
        return;
    }
    family(text, name, "counter", help);
    for (labels, totals) in series {
        let _ = writeln!(
            text,
            "{name}{{{}}} {}",
            label_text(labels, is_http),
            pick(totals)
        );
    }
}

fn histogram(text: &mut String, name: &str, labels: &str, reading: &Reading) {
    let mut cumulative = 0;
    for (bound, count) in BOUNDS.iter().zip(reading.buckets) {
        cumulative += count;
        let _ = writeln!(
            text,
            "{name}_bucket{{{labels},le=\"{bound}\"}} {cumulative}"
        );
    }
    let _ = writeln!(text, "{name}_sum{{{labels}}} {}", reading.sum);
    let _ = writeln!(text, "{name}_count{{{labels}}} {cumulative}");
}

fn label_text(values: &LabelValues, is_http: bool) -> String {
    let mut text = String::with_capacity(1024);
    for (index, (name, value)) in NAMES.iter().zip(values).enumerate() {
        if !is_http && HTTP_ONLY.contains(&index) {
            continue;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        escape(&mut text, value);
        text.push('"');
    }
    text
}

/// Escapes a label's value: backslash, quote and newline.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use lateen_model::workload::Workload;

    use super::super::metrics::{Exchange, Last, Recorder, Reporter, Service};
    use super::*;

    fn workload(pod: &str) -> Workload {
        Workload {
            address: "10.0.0.2".parse().expect("an address"),
            pod: pod.into(),
            namespace: "default".into(),
            workload: pod.into(),
            canonical_service: pod.into(),
            canonical_revision: String::new(),
            app: String::new(),
            version: String::new(),
            service_account: String::new(),
            cluster: "Kubernetes".into(),
            node: String::new(),
        }
    }

    fn record(recorder: &Recorder, count: usize) {
        let key = Key {
            reporter: Reporter::Source,
            service: Service::None,
            peer: "10.0.0.2".parse().expect("an address"),
            protocol: RequestProtocol::Http,
            code: 200,
            call_status: None,
            flags: super::super::flags::Flags::default(),
        };
        let exchange = Exchange {
            millis: 1,
            request_bytes: 10,
            response_bytes: 20,
        };
        let mut last = Last::default();
        for _ in 0..count {
            recorder.request(&mut last, key, exchange);
        }
    }

    fn requests(text: &str, workload: &str) -> Option<u64> {
        let label = format!("destination_workload=\"{workload}\"");
        let line = text
            .lines()
            .find(|line| line.starts_with("istio_requests_total{") && line.contains(&label))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[test]
    fn counts_stay_with_the_tenant_that_earned_them() {
        let shard = Arc::<Shard>::default();
        let recorder = Recorder::new(Arc::clone(&shard));
        let mut registry = Registry::new(Directory::default(), vec![shard]);
        record(&recorder, 3);
        assert_eq!(requests(&registry.render(), "unknown"), Some(3));
        registry.directory.set_workload(workload("old"));
        assert_eq!(requests(&registry.render(), "old"), Some(3));
        registry.retire("10.0.0.2".parse().expect("an address"));
        registry.directory.set_workload(workload("new"));
        assert_eq!(requests(&registry.render(), "new"), None);
        record(&recorder, 2);
        let text = registry.render();
        assert_eq!(requests(&text, "old"), Some(3));
        assert_eq!(requests(&text, "new"), Some(2));
    }

    #[test]
    fn a_histogram_is_cumulative_and_values_are_escaped() {
        let shard = Arc::<Shard>::default();
        record(&Recorder::new(Arc::clone(&shard)), 2);
        let mut registry = Registry::new(Directory::default(), vec![shard]);
        registry.directory.set_workload(workload("a\"b\\c\nd"));
        let text = registry.render();
        assert!(
            text.contains(r#"destination_workload="a\"b\\c\nd""#),
            "{text}"
        );
        let buckets: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("istio_request_duration_milliseconds_bucket"))
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        assert_eq!(buckets[..3], ["0", "2", "2"]);
        assert_eq!(buckets.last(), Some(&"2"));
    }
}
