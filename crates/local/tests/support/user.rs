//! Runs a test binary as an ordinary user, whoever started it.
//!
//! The cluster's processes are this binary again, so that a test binary has a `main` of its own:
//! it becomes whatever role it was started in, or gives up root, or runs its tests.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

/// Nobody.
const NOBODY: u32 = 65534;

/// Runs `tests` in a process of an ordinary user; the cluster's roles come first.
pub(crate) fn run(tests: impl FnOnce() -> ExitCode) -> ExitCode {
    if let Some(code) = lateen_local::cluster::child_main() {
        return code;
    }
    // Root is served, too; who wants to see that asks for it.
    let stays_root = std::env::var_os("LATEEN_TEST_AS_ROOT").is_some();
    if !rustix::process::geteuid().is_root() || stays_root {
        return tests();
    }
    let program = readable_copy().expect("this program can be copied");
    let ended = as_nobody(&program);
    std::fs::remove_file(&program).expect("the copy can be removed");
    match ended {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => panic!("the tests cannot be run as an ordinary user: {error}"),
    }
}

/// Builds may lie in root's home, where nobody else gets.
fn readable_copy() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let name = own.file_name().unwrap_or_default().to_string_lossy();
    let copy = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    std::fs::copy(own, &copy)?;
    Ok(copy)
}

fn as_nobody(program: &Path) -> std::io::Result<ExitStatus> {
    Command::new(program)
        .args(std::env::args_os().skip(1))
        // Root's home is nobody's business.
        .env_remove("HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("KUBECONFIG")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
}
