//! Logs of containers, from the files that the node writes in the format of the container runtime
//! interface: `<RFC 3339 time> <stdout|stderr> <P|F> <text>`, where `P` is a part of a line.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::current;
use crate::apiserver::body::{self, Body};
use crate::apiserver::call::Call;
use crate::apiserver::object;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::Key;

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(200);

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// What of a log the client wants.
struct Wish {
    since: Option<Timestamp>,
    tail: Option<usize>,
    limit: Option<usize>,
    with_times: bool,
    follow: bool,
}

/// A log that is being read.
struct Log {
    core: Arc<Core>,
    pod: Key,
    uid: String,
    container: String,
    path: PathBuf,
    offset: u64,
    /// The beginning of a line whose end has not been written yet.
    rest: Vec<u8>,
    /// Whether the last piece that was shown ended in the middle of a line.
    is_mid_line: bool,
    wish: Wish,
    is_over: bool,
}

pub(super) fn read(core: &Arc<Core>, call: &Call) -> Result<Response<Body>, Failure> {
    let pod = current(core, call)?;
    let container = choose_container(call, &pod)?;
    let wish = Wish::of(call)?;
    let directory = core.options.log_dir.as_ref().ok_or_else(|| {
        Failure::not_implemented("this API server was not told where the logs of containers are")
    })?;
    let directory = directory
        .join(format!(
            "{}_{}_{}",
            call.namespace,
            call.name,
            object::uid(&pod)
        ))
        .join(&container);
    let path = choose_file(call, &pod, &container, &directory)?;
    let mut log = Log {
        core: core.clone(),
        pod: Key::of(&pod),
        uid: object::uid(&pod).to_owned(),
        container,
        path,
        offset: 0,
        rest: Vec::new(),
        is_mid_line: false,
        wish,
        is_over: false,
    };
    let start = log.start().map_err(Failure::internal)?;
    let stream = futures::stream::unfold((log, Some(start)), |(mut log, start)| async move {
        if let Some(start) = start {
            return Some((Bytes::from(start), (log, None)));
        }
        let chunk = log.follow().await?;
        Some((chunk, (log, None)))
    });
    let body = body::stream(stream);
    Ok(body::typed(StatusCode::OK, "text/plain", body))
}

/// The container that the client names, or the only one.
fn choose_container(call: &Call, pod: &Value) -> Result<String, Failure> {
    let names = |list: &str| -> Vec<String> {
        let containers = object::items(pod, &["spec", list]).iter();
        containers
            .map(|container| object::text(container, &["name"]).to_owned())
            .collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    let wanted = call.query.get("container");
    if wanted.is_empty() {
        let [only] = containers.as_slice() else {
            let mut message = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                call.name,
                containers.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(
                    " or one of the init containers: [{}]",
                    init.join(" ")
                ));
            }
            return Err(Failure::bad_request(message));
        };
        return Ok(only.clone());
    }
    if containers.iter().chain(&init).any(|name| name == wanted) {
        return Ok(wanted.to_owned());
    }
    let name = &call.name;
    Err(Failure::bad_request(format!(
        "container {wanted} is not valid for pod {name}"
    )))
}

/// The log of the current run of the container, or of the one before.
fn choose_file(
    call: &Call,
    pod: &Value,
    container: &str,
    directory: &Path,
) -> Result<PathBuf, Failure> {
    let mut runs: Vec<(u32, PathBuf)> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path
                .file_name()?
                .to_str()?
                .strip_suffix(".log")?
                .parse()
                .ok()?;
            Some((number, path))
        })
        .collect();
    runs.sort();
    if call.query.flag("previous") {
        let count = object::items(pod, &["status", "containerStatuses"])
            .iter()
            .chain(object::items(pod, &["status", "initContainerStatuses"]))
            .find(|status| object::text(status, &["name"]) == container)
            .and_then(|status| status["restartCount"].as_u64())
            .unwrap_or(0);
        let before = runs
            .into_iter()
            .rev()
            .find(|(run, _)| u64::from(*run) < count);
        return before.map(|(_, path)| path).ok_or_else(|| {
            Failure::bad_request(format!(
                "previous terminated container \"{container}\" in pod \"{}\" not found",
                call.name
            ))
        });
    }
    runs.pop().map(|(_, path)| path).ok_or_else(|| {
        Failure::bad_request(format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: {}",
            call.name,
            waiting_reason(pod, container)
        ))
    })
}

fn waiting_reason(pod: &Value, container: &str) -> String {
    let reason = ["containerStatuses", "initContainerStatuses"]
        .into_iter()
        .flat_map(|list| object::items(pod, &["status", list]))
        .find(|status| object::text(status, &["name"]) == container)
        .map_or("", |status| {
            object::text(status, &["state", "waiting", "reason"])
        });
    if reason.is_empty() {
        "ContainerCreating"
    } else {
        reason
    }
    .to_owned()
}

// === impl Wish ===

impl Wish {
    fn of(call: &Call) -> Result<Self, Failure> {
        let number = |name: &str| -> Result<Option<usize>, Failure> {
            match call.query.number(name)? {
                None => Ok(None),
                Some(number) => usize::try_from(number).map(Some).map_err(|_| {
                    Failure::bad_request(format!("{name}: must be greater than or equal to 0"))
                }),
            }
        };
        let since = match (
            call.query.number("sinceSeconds")?,
            call.query.get("sinceTime"),
        ) {
            (Some(seconds), _) => Timestamp::now()
                .checked_sub(SignedDuration::from_secs(seconds))
                .ok(),
            (None, "") => None,
            (None, text) => Some(text.parse().map_err(|error| {
                Failure::bad_request(format!("sinceTime: {text:?} is not a time: {error}"))
            })?),
        };
        Ok(Self {
            since,
            tail: number("tailLines")?,
            limit: number("limitBytes")?,
            with_times: call.query.flag("timestamps"),
            follow: call.query.flag("follow"),
        })
    }
}

// === impl Log ===

impl Log {
    /// All that is there now, cut to what the client wants.
    fn start(&mut self) -> std::io::Result<Vec<u8>> {
        let mut shown = Vec::new();
        loop {
            let piece = self.read_more()?;
            if piece.is_none() {
                break;
            }
            shown.extend(piece.into_iter().flatten());
        }
        if let Some(tail) = self.wish.tail {
            let cut = start_of_tail(&shown, tail);
            shown.drain(..cut);
        }
        if let Some(limit) = self.wish.limit {
            shown.truncate(limit);
            self.is_over |= shown.len() == limit;
        }
        Ok(shown)
    }

    /// What has been written since, waiting for it; nothing when the container has ended.
    async fn follow(&mut self) -> Option<Bytes> {
        while self.wish.follow && !self.is_over {
            // The state is asked for before the file is read: what was written before the end of
            // the container is still shown.
            let is_running = self.is_running();
            match self.read_more() {
                Ok(Some(piece)) if !piece.is_empty() => return Some(piece.into()),
                Ok(Some(_)) => {}
                Ok(None) if is_running => tokio::time::sleep(POLL).await,
                Ok(None) | Err(_) => self.is_over = true,
            }
        }
        None
    }

    /// Reads and renders the next chunk of the file; nothing at its end.
    fn read_more(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut chunk = vec![0; CHUNK];
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        self.offset += count as u64;
        self.rest.extend_from_slice(&chunk[..count]);
        let mut shown = Vec::new();
        let whole = self
            .rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.render(line, &mut shown);
        }
        Ok(Some(shown))
    }

    fn render(&mut self, line: &[u8], shown: &mut Vec<u8>) {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(_stream), Some(tag), Some(text)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        if let Some(since) = self.wish.since {
            let time = std::str::from_utf8(time)
                .ok()
                .and_then(|time| time.parse::<Timestamp>().ok());
            if time.is_some_and(|time| time < since) {
                return;
            }
        }
        if self.wish.with_times && !self.is_mid_line {
            shown.extend_from_slice(time);
            shown.push(b' ');
        }
        self.is_mid_line = tag.starts_with(b"P");
        let text = if self.is_mid_line {
            text.strip_suffix(b"\n").unwrap_or(text)
        } else {
            text
        };
        shown.extend_from_slice(text);
    }

    fn is_running(&self) -> bool {
        let Some(pod) = self.core.store.get("pods", &self.pod) else {
            return false;
        };
        if object::uid(&pod) != self.uid {
            return false;
        }
        let statuses = ["containerStatuses", "initContainerStatuses"]
            .into_iter()
            .flat_map(|list| object::items(&pod, &["status", list]));
        let mut own = statuses.filter(|status| object::text(status, &["name"]) == self.container);
        own.next()
            .is_some_and(|status| status["state"]["running"].is_object())
    }
}

/// Where the last `count` lines begin.
fn start_of_tail(text: &[u8], count: usize) -> usize {
    if count == 0 {
        return text.len();
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    body.iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(count - 1)
        .map_or(0, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_counts_lines_from_the_end() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(&text[start_of_tail(text, 1)..], b"three\n");
        assert_eq!(&text[start_of_tail(text, 2)..], b"two\nthree\n");
        assert_eq!(&text[start_of_tail(text, 9)..], text);
        assert_eq!(&text[start_of_tail(text, 0)..], b"");
    }
}
