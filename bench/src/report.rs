//! What a run prints and writes.

use serde::Serialize;

/// One peer under one load.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Protocol, size of the bodies, speed, and the flood beside it, if there is one:
    /// `h1-512b-1k-beside-rapid-resets` is to be read next to `h1-512b-1k`.
    pub(crate) workload: String,
    /// The peer.
    pub(crate) peer: &'static str,
    /// CPU time, user and system, of all its processes.
    pub(crate) cpu_us_per_request: f64,
    /// Requests per second.
    pub(crate) rps: f64,
    /// Median latency.
    pub(crate) p50_us: u32,
    /// Latency of the 99th percentile.
    pub(crate) p99_us: u32,
    /// Resident memory at the end.
    pub(crate) rss_mb: f64,
    /// System calls, from a run of its own under strace; absent where strace may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syscalls_per_request: Option<f64>,
    /// Requests that failed.
    pub(crate) errors: u64,
    /// What TLS was agreed on, where the peer ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<String>,
    /// Smallest and largest CPU time per request among the rounds: the noise.
    pub(crate) cpu_us_spread: [f64; 2],
}

/// Everything, as it is written to `bench/results.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// The rows.
    pub(crate) rows: Vec<Row>,
    /// Peers that could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

/// The table, with CPU per request as a ratio to ours.
pub(crate) fn table(results: &Results) -> String {
    let names = results.rows.iter().map(|row| row.workload.len());
    let width = names.max().unwrap_or(0).max("workload".len());
    let mut text = format!(
        "{:<width$} {:<10} {:>9} {:>7} {:>15} {:>9} {:>8} {:>8} {:>8} {:>9} {:>7}\n",
        "workload",
        "peer",
        "cpu µs/r",
        "ratio",
        "spread",
        "rps",
        "p50 µs",
        "p99 µs",
        "rss MB",
        "syscalls",
        "errors"
    );
    for row in &results.rows {
        let ours = results
            .rows
            .iter()
            .find(|other| other.workload == row.workload && other.peer == "lateen");
        let ratio = ours.map_or_else(String::new, |ours| {
            format!("{:.2}", ours.cpu_us_per_request / row.cpu_us_per_request)
        });
        let syscalls = row
            .syscalls_per_request
            .map_or_else(|| "-".into(), |count| format!("{count:.2}"));
        let spread = format!("{:.1}-{:.1}", row.cpu_us_spread[0], row.cpu_us_spread[1]);
        text.push_str(&format!(
            "{:<width$} {:<10} {:>9.2} {ratio:>7} {spread:>15} {:>9.0} {:>8} {:>8} {:>8.1} {syscalls:>9} {:>7}\n",
            row.workload, row.peer, row.cpu_us_per_request, row.rps, row.p50_us, row.p99_us, row.rss_mb, row.errors
        ));
    }
    let secured = results.rows.iter();
    for (row, agreed) in secured.filter_map(|row| Some((row, row.tls.as_ref()?))) {
        text.push_str(&format!("{} {}: {agreed}\n", row.workload, row.peer));
    }
    for missing in &results.missing {
        text.push_str(&format!("missing: {missing}\n"));
    }
    text.push_str(
        "ratio: lateen's CPU per request divided by the peer's; below 1 lateen is cheaper\n",
    );
    text
}
