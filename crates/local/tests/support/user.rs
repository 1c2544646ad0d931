//! Runs a test binary as an ordinary user, whoever started it.
//!
//! The cluster's processes are this binary again, so that a test binary has a `main` of its own:
//! it becomes whatever role it was started in, or gives up root, or runs its tests.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Nobody.
const NOBODY: u32 = 65534;

/// Runs `tests` in a process of an ordinary user; the cluster's roles come first.
pub(crate) fn run(tests: impl FnOnce() -> ExitCode) -> ExitCode {
    if let Some(code) = lateen_local::cluster::child_main() {
        return code;
    }
    // Root is served, too; who wants to see that asks for it.
    let stays_root = std::env::var_os("LATEEN_TEST_AS_ROOT").is_some();
    if rustix::process::geteuid().is_root() && !stays_root {
        let program = std::env::current_exe().expect("this program has a path");
        let error = Command::new(program)
            .args(std::env::args_os().skip(1))
            // Root's home is nobody's business.
            .env_remove("HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("KUBECONFIG")
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .exec();
        panic!("the tests cannot be run as an ordinary user: {error}");
    }
    tests()
}
