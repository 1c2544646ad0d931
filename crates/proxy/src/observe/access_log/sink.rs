//! The thread that writes the access log of all workers.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How many buffers wait for a slow disk or pipe before lines are dropped.
const MOST_WAITING: usize = 64;

/// A way to the log thread.
#[derive(Debug, Clone)]
pub struct Sink {
    sender: SyncSender<Chunk>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Chunk {
    path: Arc<str>,
    lines: Vec<u8>,
}

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
        if self.sender.try_send(Chunk { path, lines }).is_err() {
            self.dropped.fetch_add(chunk_lines, Ordering::Relaxed);
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
        match write(&mut open, &chunk) {
            Ok(()) => has_complained = false,
            Err(error) => {
                open = Open::Nothing;
                if !has_complained {
                    has_complained = true;
                    tracing::error!(path = %chunk.path, %error,
                        "cannot write the access log; lines are lost until it can be written again");
                }
            }
        }
    }
}

fn write(open: &mut Open, chunk: &Chunk) -> io::Result<()> {
    if &*chunk.path == "/dev/stdout" {
        *open = Open::Stdout;
    } else if !matches!(open, Open::File(path, _) if *path == chunk.path) {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&*chunk.path)?;
        *open = Open::File(Arc::clone(&chunk.path), file);
    }
    match open {
        Open::File(_, file) => file.write_all(&chunk.lines),
        Open::Stdout | Open::Nothing => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&chunk.lines)?;
            stdout.flush()
        }
    }
}
