//! What a person sees while something takes time: one line that moves on a terminal, plain lines
//! elsewhere. Always on standard error: standard output is for data.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const TICK: Duration = Duration::from_millis(80);
/// Without a terminal a step that goes on tells so this often.
const REMIND: Duration = Duration::from_secs(10);

/// A step that goes on until it is told how it ended.
pub(crate) struct Step {
    text: watch::Sender<String>,
    began: Instant,
    painter: JoinHandle<()>,
    is_over: Arc<AtomicBool>,
}

impl Step {
    /// Begins a step and shows it.
    pub(crate) fn begin(text: impl Into<String>) -> Self {
        let text = text.into();
        let (sender, receiver) = watch::channel(text.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let painter = if is_terminal() {
            tokio::spawn(spin(receiver, Arc::clone(&is_over)))
        } else {
            eprintln!("  {text} …");
            tokio::spawn(remind(receiver, began))
        };
        Self {
            text: sender,
            began,
            painter,
            is_over,
        }
    }

    /// Says more precisely what is waited for.
    pub(crate) fn note(&self, text: impl Into<String>) {
        let text = text.into();
        self.text.send_if_modified(|old| {
            let is_new = *old != text;
            *old = text;
            is_new
        });
    }

    /// Ends the step well.
    pub(crate) fn done(self, text: impl AsRef<str>) {
        self.end("✔", "32", text.as_ref());
    }

    /// Ends the step badly; the error itself is the caller's to print.
    pub(crate) fn failed(self, text: impl AsRef<str>) {
        self.end("✘", "31", text.as_ref());
    }

    fn end(self, mark: &str, color: &str, text: &str) {
        self.is_over.store(true, Ordering::Relaxed);
        self.painter.abort();
        let took = self.began.elapsed().as_secs_f32();
        if is_terminal() {
            let mark = if has_color() {
                format!("\x1b[{color}m{mark}\x1b[0m")
            } else {
                mark.to_owned()
            };
            eprintln!("\r\x1b[2K{mark} {text} ({took:.1} s)");
        } else {
            eprintln!("{mark} {text} ({took:.1} s)");
        }
    }
}

async fn spin(text: watch::Receiver<String>, is_over: Arc<AtomicBool>) {
    for frame in FRAMES.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let line = format!("\r\x1b[2K{frame} {} …", text.borrow().as_str());
        let mut out = std::io::stderr();
        // A terminal that went away is no reason to fail.
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .ok();
        tokio::time::sleep(TICK).await;
    }
}

async fn remind(mut text: watch::Receiver<String>, began: Instant) {
    loop {
        tokio::select! {
            changed = text.changed() => {
                if changed.is_err() {
                    return;
                }
                eprintln!("  {} …", text.borrow_and_update().as_str());
            }
            () = tokio::time::sleep(REMIND) => {
                eprintln!("  {} … ({:.0} s)", text.borrow().as_str(), began.elapsed().as_secs_f32());
            }
        }
    }
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn has_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
