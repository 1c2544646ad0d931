//! The control plane's own metrics on port 15014, in Prometheus' text format and with the names
//! that Istio's dashboards ask for.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lateen_xds::Kind;
use lateen_xds::server::{Denial, Histogram, Stats};

use crate::engine::State;
use crate::http::{Handler, Request, Response};
use crate::webhook::Webhook;

/// The handler of the server.
pub(crate) fn handler(state: Arc<State>, webhook: Arc<Webhook>) -> Handler {
    let start = Instant::now();
    Arc::new(move |request| {
        let response = page(&state, &webhook, start, &request);
        Box::pin(async { response })
    })
}

fn page(state: &State, webhook: &Webhook, start: Instant, request: &Request) -> Response {
    match request.path.as_str() {
        "/metrics" | "/stats/prometheus" => {
            let mut text = Text::default();
            text.program(start);
            text.mesh(state);
            text.xds(state);
            text.webhooks(webhook);
            Response {
                status: http::StatusCode::OK,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: text.0.into(),
            }
        }
        "/version" => Response::text(http::StatusCode::OK, env!("CARGO_PKG_VERSION")),
        "/ready" if state.is_ready() => Response::text(http::StatusCode::OK, "ready\n"),
        "/ready" => Response::text(http::StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        other => {
            let why = format!("{other} is not served here; /metrics is\n");
            Response::text(http::StatusCode::NOT_FOUND, why)
        }
    }
}

/// The text, as it is written.
#[derive(Default)]
struct Text(String);

// === impl Text ===

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) {
        self.head(name, "counter", help);
        self.line(name, "", value.load(Ordering::Relaxed));
    }

    fn by_type(&mut self, name: &str, help: &str, count: impl Fn(Kind) -> u64) {
        self.head(name, "counter", help);
        for kind in Kind::ALL {
            self.line(name, &format!("{{type=\"{kind}\"}}"), count(kind));
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        for (bound, count) in histogram.cumulative() {
            let bound = if bound.is_infinite() {
                "+Inf".to_owned()
            } else {
                bound.to_string()
            };
            self.line(
                &format!("{name}_bucket"),
                &format!("{{le=\"{bound}\"}}"),
                count,
            );
        }
        self.line(&format!("{name}_sum"), "", histogram.sum());
        self.line(&format!("{name}_count"), "", histogram.count());
    }

    fn program(&mut self, start: Instant) {
        let version = env!("CARGO_PKG_VERSION");
        self.head("pilot_info", "gauge", "The version of this program.");
        self.line("pilot_info", &format!("{{version=\"{version}\"}}"), 1);
        let uptime = start.elapsed().as_secs();
        self.gauge(
            "istiod_uptime_seconds",
            "Time since the program started.",
            uptime,
        );
        if let Some(bytes) = resident_bytes() {
            self.gauge("process_resident_memory_bytes", "Memory in use.", bytes);
        }
        if let Some(seconds) = cpu_seconds() {
            let name = "process_cpu_seconds_total";
            self.head(name, "counter", "Time of all CPUs used so far.");
            self.line(name, "", seconds);
        }
    }

    fn mesh(&mut self, state: &State) {
        let index = state.index();
        self.gauge(
            "pilot_services",
            "Services that are known.",
            index.count("Service"),
        );
        self.gauge(
            "pilot_virt_services",
            "VirtualServices that are known.",
            index.count("VirtualService"),
        );
        let name = "pilot_total_rejected_configs";
        self.head(
            name,
            "gauge",
            "Objects that are not in effect, being invalid.",
        );
        for object in index.objects() {
            let object = lateen_api::Object(object).reference();
            if index
                .verdict(&object)
                .is_some_and(|verdict| !verdict.errors.is_empty())
            {
                let labels = format!(
                    "{{type=\"{}\",name=\"{}.{}\"}}",
                    object.kind, object.name, object.namespace
                );
                self.line(name, &labels, 1);
            }
        }
        drop(index);
        let events = &state.events;
        self.head(
            "pilot_k8s_cfg_events",
            "counter",
            "Events from the API server.",
        );
        for (event, count) in [("update", &events.applied), ("delete", &events.deleted)] {
            let labels = format!("{{event=\"{event}\"}}");
            self.line(
                "pilot_k8s_cfg_events",
                &labels,
                count.load(Ordering::Relaxed),
            );
        }
        self.counter(
            "controller_sync_errors_total",
            "Watches of the API server that failed.",
            &events.failed,
        );
        self.counter(
            "pilot_inbound_updates",
            "Batches that changed something.",
            &events.pushes,
        );
    }

    fn xds(&mut self, state: &State) {
        let connections = state.publisher.connections().len();
        self.gauge("pilot_xds", "Connected proxies.", connections);
        let stats = state.publisher.stats();
        let get = |map: &std::collections::BTreeMap<Kind, u64>, kind| {
            map.get(&kind).copied().unwrap_or_default()
        };
        let Stats {
            pushes,
            rejects,
            bytes,
            ..
        } = &stats;
        self.by_type("pilot_xds_pushes", "Responses to proxies.", |kind| {
            get(pushes, kind)
        });
        self.by_type(
            "pilot_total_xds_rejects",
            "Responses that proxies refused parts of.",
            |kind| get(rejects, kind),
        );
        self.by_type(
            "pilot_xds_sent_bytes_total",
            "Bytes of resources sent.",
            |kind| get(bytes, kind),
        );
        let name = "pilot_total_xds_internal_errors";
        self.head(name, "counter", "Streams that were refused or failed.");
        self.line(name, "", stats.failures);
        let name = "pilot_xds_unauthenticated_total";
        let help = "Clients of the secured port that did not prove who they are.";
        self.head(name, "counter", help);
        self.line(name, "", stats.unproven);
        let name = "pilot_xds_secrets_denied_total";
        self.head(
            name,
            "counter",
            "Secrets that were asked for and not given.",
        );
        for denial in Denial::ALL {
            let count = stats.denials.get(&denial).copied().unwrap_or_default();
            self.line(name, &format!("{{reason=\"{}\"}}", denial.as_str()), count);
        }
        self.histogram(
            "pilot_proxy_convergence_time",
            "Seconds from a change to its acknowledgement by a proxy.",
            &stats.convergence,
        );
        self.histogram(
            "pilot_xds_push_time",
            "Seconds from a response to its acknowledgement.",
            &stats.acknowledgement,
        );
        let name = "pilot_xds_config_size_bytes";
        self.head(name, "gauge", "Bytes of everything that is published.");
        for kind in Kind::ALL {
            let (_, bytes) = state.publisher.size(kind);
            self.line(name, &format!("{{type=\"{kind}\"}}"), bytes);
        }
    }

    fn webhooks(&mut self, webhook: &Webhook) {
        let c = &webhook.counters;
        for (name, help, counter) in [
            (
                "sidecar_injection_requests_total",
                "Pods that came by.",
                &c.inject_requests,
            ),
            (
                "sidecar_injection_success_total",
                "Pods that were injected.",
                &c.inject_success,
            ),
            (
                "sidecar_injection_skip_total",
                "Pods that were left alone.",
                &c.inject_skip,
            ),
            (
                "sidecar_injection_failure_total",
                "Pods that were refused.",
                &c.inject_failure,
            ),
            (
                "galley_validation_passed",
                "Objects that are valid.",
                &c.validation_passed,
            ),
            (
                "galley_validation_failed",
                "Objects that were refused.",
                &c.validation_failed,
            ),
            (
                "galley_validation_http_error",
                "Requests that were no reviews.",
                &c.malformed,
            ),
        ] {
            self.counter(name, help, counter);
        }
    }
}

/// Memory of this process.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Time of all CPUs that this process has used.
fn cpu_seconds() -> Option<f64> {
    // The kernel counts in hundredths of a second here, whatever its own tick is (USER_HZ).
    const TICKS: u32 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(f64::from(user + system) / f64::from(TICKS))
}
