//! The thread that writes the access log of all workers.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How many buffers wait for a slow disk or pipe before lines are dropped.
const MOST_WAITING: usize = 64;

/// A way to the log thread.
#[derive(Debug, Clone)]
pub struct Sink {
    sender: SyncSender<Chunk>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Chunk {
    Lines {
        path: Arc<str>,
        lines: Vec<u8>,
    },
    /// Answers when everything before it has been written.
    Finish(SyncSender<()>),
}

/// How long the end of the process waits for a slow disk or pipe.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What the thread has open.
enum Open {
    Nothing,
    Stdout,
    File(Arc<str>, File),
}

// === impl Sink ===

impl Sink {
    /// Starts the thread; it ends with the last sink.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || run(&receiver))?;
        Ok(Self {
            sender,
            dropped: Arc::default(),
        })
    }

    /// Writes lines to a file; drops them if the thread is too far behind.
    pub(super) fn write(&self, path: Arc<str>, lines: Vec<u8>) {
        let count = || lines_in(&lines);
        let chunk_lines = count();
        if self.sender.try_send(Chunk::Lines { path, lines }).is_err() {
            self.dropped.fetch_add(chunk_lines, Ordering::Relaxed);
        }
    }

    /// Waits until everything has been written, but not for long.
    pub fn finish(&self) {
        let (done, finished) = sync_channel(1);
        if self.sender.try_send(Chunk::Finish(done)).is_ok() {
            // Whether it was or not, the process ends now.
            let _ = finished.recv_timeout(LAST_WAIT);
        }
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn lines_in(text: &[u8]) -> u64 {
    text.split(|byte| *byte == b'\n').count() as u64 - 1
}

fn run(chunks: &Receiver<Chunk>) {
    let mut open = Open::Nothing;
    let mut has_complained = false;
    while let Ok(chunk) = chunks.recv() {
        let (path, lines) = match chunk {
            Chunk::Lines { path, lines } => (path, lines),
            Chunk::Finish(done) => {
                // Nobody waits any more if it fails.
                let _ = done.send(());
                continue;
            }
        };
        match write(&mut open, &path, &lines) {
            Ok(()) => has_complained = false,
            Err(error) => {
                open = Open::Nothing;
                if !has_complained {
                    has_complained = true;
                    tracing::error!(%path, %error,
                        "cannot write the access log; lines are lost until it can be written again");
                }
            }
        }
    }
}

fn write(open: &mut Open, path: &Arc<str>, lines: &[u8]) -> io::Result<()> {
    if &**path == "/dev/stdout" {
        *open = Open::Stdout;
    } else if !matches!(open, Open::File(current, _) if current == path) {
        let file = OpenOptions::new().create(true).append(true).open(&**path)?;
        *open = Open::File(Arc::clone(path), file);
    }
    match open {
        Open::File(_, file) => file.write_all(lines),
        Open::Stdout | Open::Nothing => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines)?;
            stdout.flush()
        }
    }
}
