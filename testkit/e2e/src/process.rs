//! Processes of a mesh, seen from outside.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::ensure;

/// A process and everything that descends from it.
pub fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for pid in all()? {
        // The name in the second field may hold anything, spaces and parentheses included.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        if let Some(parent) = after_name
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse::<u32>().ok())
        {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == pid)
                .map(|(child, _)| *child),
        );
    }
    Ok(found)
}

/// The namespaces that processes are in and this one is not.
pub fn namespaces(pids: &[u32]) -> BTreeSet<String> {
    let of = |process: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(format!("/proc/{process}/ns"))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string()))
            .collect()
    };
    let own = of("self");
    pids.iter()
        .flat_map(|pid| of(&pid.to_string()))
        .filter(|one| !own.contains(one))
        .collect()
}

/// The processes that are in any of these namespaces.
pub fn in_namespaces(wanted: &BTreeSet<String>) -> anyhow::Result<Vec<u32>> {
    let mut found = all()?;
    found.retain(|pid| !namespaces(&[*pid]).is_disjoint(wanted));
    Ok(found)
}

/// Whether a process exists.
pub fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn all() -> anyhow::Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc")?.flatten();
    Ok(entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// The proxy of a pod.
pub fn proxy_of(pod: &str) -> anyhow::Result<Vec<u32>> {
    let variable = format!("POD_NAME={pod}");
    find(|process| {
        process.command_line.contains("lateen-proxy\0sidecar")
            && process
                .environment
                .split('\0')
                .any(|entry| entry == variable)
    })
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: &str) -> anyhow::Result<()> {
    let status = std::process::Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status()?;
    ensure!(status.success(), "kill -{signal} {pid}: {status}");
    Ok(())
}

struct Process {
    command_line: String,
    environment: String,
}

fn find(wanted: impl Fn(&Process) -> bool) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for pid in all()? {
        // A process may end while it is looked at, and others' environments are not ours to read.
        let read = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}"));
            bytes
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        if wanted(&Process {
            command_line: read("cmdline"),
            environment: read("environ"),
        }) {
            found.push(pid);
        }
    }
    Ok(found)
}
