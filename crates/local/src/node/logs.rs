//! Logs of containers: what they print, in the format of the container runtime interface.
//!
//! ```text
//! <log dir>/<namespace>_<pod>_<uid>/<container>/<restart count>.log
//! 2026-01-02T03:04:05.678901234Z stdout F a whole line
//! 2026-01-02T03:04:05.678901234Z stderr P a part of a line that is too long
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::container::launch::Output;

/// A longer line is written in parts; container runtimes use the same bound.
const MAX_LINE: usize = 16 * 1024;
/// A larger file is put aside.
const MAX_FILE: u64 = 10 * 1024 * 1024;
/// How many files of a container's one run are kept, the current one included.
const MAX_FILES: u32 = 5;

/// A file that is being written.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

/// The two streams of a container on their way into its log.
#[derive(Debug)]
pub(crate) struct Streams {
    tasks: [JoinHandle<()>; 2],
}

/// The directory of a pod's logs.
pub(crate) fn pod_directory(logs: &Path, namespace: &str, name: &str, uid: &str) -> PathBuf {
    logs.join(format!("{namespace}_{name}_{uid}"))
}

/// The log of a container's run.
pub(crate) fn path(pod: &Path, container: &str, restarts: i32) -> PathBuf {
    pod.join(container).join(format!("{restarts}.log"))
}

/// Opens a log and returns what a container is to write to; called inside of a runtime.
pub(crate) fn open(path: PathBuf) -> io::Result<(Output, Streams)> {
    let log = Arc::new(Mutex::new(Log::open(path)?));
    let (out, out_task) = stream("stdout", Arc::clone(&log))?;
    let (error, error_task) = stream("stderr", log)?;
    let streams = Streams {
        tasks: [out_task, error_task],
    };
    Ok((Output { out, error }, streams))
}

/// The last lines of a log as they were printed, for a container's last words.
pub(crate) fn tail(path: &Path, lines: usize, bytes: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text
        .lines()
        .filter_map(|line| line.splitn(4, ' ').nth(3))
        .collect();
    let tail = all[all.len().saturating_sub(lines)..].join("\n");
    let mut start = tail.len().saturating_sub(bytes);
    while !tail.is_char_boundary(start) {
        start += 1;
    }
    tail[start..].to_owned()
}

// === impl Streams ===

impl Streams {
    /// Waits until everything that was printed is in the log.
    pub(crate) async fn finish(self) {
        for task in self.tasks {
            // It ends with its stream; a panic in it has been reported.
            let _ = task.await;
        }
    }
}

// === impl Log ===

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.size >= MAX_FILE {
            self.rotate()?;
        }
        self.file.write_all(text)?;
        self.size += text.len() as u64;
        Ok(())
    }

    /// `0.log` becomes `0.log.1`, which becomes `0.log.2`; the last is dropped.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..MAX_FILES - 1).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))?;
        *self = Self::open(self.path.clone())?;
        Ok(())
    }
}

/// Makes a pipe whose reading end is copied into the log until all writers have gone.
fn stream(name: &'static str, log: Arc<Mutex<Log>>) -> io::Result<(OwnedFd, JoinHandle<()>)> {
    let (reading, writing) = io::pipe()?;
    let mut reading = pipe::Receiver::from_owned_fd(reading.into())?;
    let task = tokio::spawn(async move {
        let mut lines = Lines::new(name);
        let mut buffer = vec![0; MAX_LINE];
        loop {
            let length = match reading.read(&mut buffer).await {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    tracing::warn!(%error, "the output of a container cannot be read");
                    break;
                }
            };
            let text = lines.push(&buffer[..length], Timestamp::now());
            append(&log, &text);
        }
        append(&log, &lines.finish(Timestamp::now()));
    });
    Ok((writing.into(), task))
}

fn append(log: &Mutex<Log>, text: &[u8]) {
    if text.is_empty() {
        return;
    }
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    // A full disk must not stop the container, which would block on its pipe.
    if let Err(error) = log.write(text) {
        tracing::warn!(path = %log.path.display(), %error, "a log cannot be written");
    }
}

/// Turns a stream of bytes into lines of the log.
#[derive(Debug)]
struct Lines {
    stream: &'static str,
    /// A line whose end has not come.
    partial: Vec<u8>,
}

// === impl Lines ===

impl Lines {
    fn new(stream: &'static str) -> Self {
        Self {
            stream,
            partial: Vec::new(),
        }
    }

    fn push(&mut self, mut bytes: &[u8], now: Timestamp) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len() + 64);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.split(&mut text, now);
            self.emit(&mut text, "F", now);
        }
        self.partial.extend_from_slice(bytes);
        self.split(&mut text, now);
        text
    }

    /// What was printed without an end of line.
    fn finish(&mut self, now: Timestamp) -> Vec<u8> {
        let mut text = Vec::new();
        if !self.partial.is_empty() {
            self.emit(&mut text, "P", now);
        }
        text
    }

    /// Writes what is too long for one line in parts.
    fn split(&mut self, text: &mut Vec<u8>, now: Timestamp) {
        while self.partial.len() > MAX_LINE {
            let rest = self.partial.split_off(MAX_LINE);
            self.emit(text, "P", now);
            self.partial = rest;
        }
    }

    fn emit(&mut self, text: &mut Vec<u8>, tag: &str, now: Timestamp) {
        text.extend_from_slice(format!("{now:.9} {} {tag} ", self.stream).as_bytes());
        text.append(&mut self.partial);
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut lines = Lines::new("stdout");
        let mut all = lines.push(b"one\ntw", time());
        all.extend(lines.push(b"o\n\nlast", time()));
        all.extend(lines.finish(time()));
        let at = "2026-01-02T03:04:05.000000000Z stdout F";
        let part = "2026-01-02T03:04:05.000000000Z stdout P";
        assert_eq!(
            text(all),
            format!("{at} one\n{at} two\n{at} \n{part} last\n")
        );
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let mut lines = Lines::new("stderr");
        let all = text(lines.push(&vec![b'x'; MAX_LINE * 2 + 1], time()));
        assert_eq!(all.matches(" stderr P ").count(), 2);
        assert_eq!(lines.partial.len(), 1);
        assert!(text(lines.finish(time())).ends_with(" stderr P x\n"));
    }

    #[test]
    fn a_large_log_is_put_aside_and_few_are_kept() {
        let directory = std::env::temp_dir().join(format!("lateen-logs-{}", std::process::id()));
        let path = directory.join("0.log");
        let mut log = Log::open(path.clone()).unwrap();
        for number in 0..8 {
            log.size = MAX_FILE;
            log.write(format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
        assert_eq!(
            fs::read_to_string(directory.join("0.log.4")).unwrap(),
            "3\n"
        );
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            MAX_FILES as usize
        );
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn both_streams_end_up_in_one_log() {
        let directory = std::env::temp_dir().join(format!("lateen-streams-{}", std::process::id()));
        let path = path(&directory, "app", 3);
        let (output, streams) = open(path.clone()).unwrap();
        File::from(output.out).write_all(b"hello\n").unwrap();
        File::from(output.error).write_all(b"oh").unwrap();
        streams.finish().await;
        let log = fs::read_to_string(&path).unwrap();
        assert!(
            log.contains(" stdout F hello\n") && log.contains(" stderr P oh\n"),
            "{log}"
        );
        assert!(path.ends_with("app/3.log"));
        let mut last: Vec<_> = tail(&path, 9, 99).lines().map(str::to_owned).collect();
        last.sort();
        assert_eq!(last, ["hello", "oh"]);
        assert_eq!(tail(&path, 1, 1).len(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
