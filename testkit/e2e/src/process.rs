//! Processes of a mesh, seen from outside.

use std::path::Path;

use anyhow::ensure;

/// Processes that run a program of `programs`, or were started with it in sight.
pub fn of_mesh(programs: &Path) -> anyhow::Result<Vec<u32>> {
    let needle = programs
        .parent()
        .unwrap_or(programs)
        .to_string_lossy()
        .into_owned();
    find(|process| {
        [
            &process.command_line,
            &process.environment,
            &process.program,
        ]
        .into_iter()
        .any(|text| text.contains(&needle))
    })
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
    program: String,
}

fn find(wanted: impl Fn(&Process) -> bool) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process may end while it is looked at, and others' environments are not ours to read.
        let read = |file: &str| {
            std::fs::read(entry.path().join(file))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let program = std::fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let process = Process {
            command_line: read("cmdline").unwrap_or_default(),
            environment: read("environ").unwrap_or_default(),
            program: program.to_string_lossy().into_owned(),
        };
        if pid != std::process::id() && wanted(&process) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Network namespaces that anything of a mesh still holds, by any process whose root or programs
/// are the mesh's.
pub fn network_namespaces_of(programs: &Path) -> anyhow::Result<Vec<String>> {
    let own = std::fs::read_link("/proc/self/ns/net")?;
    let mut found = Vec::new();
    for pid in of_mesh(programs)? {
        // It may end while it is looked at.
        if let Ok(namespace) = std::fs::read_link(format!("/proc/{pid}/ns/net"))
            && namespace != own
        {
            found.push(namespace.display().to_string());
        }
    }
    Ok(found)
}
