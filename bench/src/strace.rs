//! System calls per request, counted by `strace` in a run of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::load::{self, Load};
use crate::{count, procfs};

/// Counts the system calls of a process and its children under `load`; nothing where strace is
/// missing or may not trace.
pub(crate) async fn syscalls_per_request(pid: u32, load: &Load, folder: &Path) -> Option<f64> {
    let output = folder.join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-qq", "-o"]).arg(&output);
    for pid in procfs::family(pid) {
        command.args(["-p", &pid.to_string()]);
    }
    let mut strace = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // Attaching takes a moment, and connections are to be open before most of the count.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let traced = Load {
        duration: Duration::from_secs(3),
        ..load.clone()
    };
    let outcome = load::run(&traced, folder).await.ok();
    Command::new("kill")
        .args(["-INT", &strace.id().to_string()])
        .status()
        .ok()?;
    strace.wait().ok()?;
    let outcome = outcome?;
    let text = std::fs::read_to_string(&output).ok()?;
    let total = text.lines().find(|line| line.ends_with("total"))?;
    let calls: u64 = total.split_whitespace().nth(3)?.parse().ok()?;
    (outcome.requests > 0).then(|| count(calls) / count(outcome.requests))
}
