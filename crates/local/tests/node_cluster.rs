//! The life of a local cluster, as an ordinary user: up, down, killed, and what is left.

#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "a test fails by panicking, and its futures are few"
)]

#[path = "support/cluster.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod cluster;
#[path = "node_cluster/life.rs"]
mod life;
#[path = "node_cluster/publishing.rs"]
mod publishing;
#[path = "support/server.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod server;
#[path = "support/user.rs"]
mod user;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = server::main() {
        return code;
    }
    user::run(|| {
        let mut arguments = Arguments::from_args();
        // What is left of a cluster is looked for on the whole machine.
        arguments.test_threads = Some(1);
        let trial = |name: &str, test: fn()| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
        };
        macro_rules! trials {
            ($($module:ident :: $name:ident),* $(,)?) => {
                vec![$(trial(stringify!($name), $module::$name)),*]
            };
        }
        let trials = trials![
            life::down_leaves_no_process_mount_namespace_or_link,
            life::nothing_is_left_when_the_supervisor_is_killed,
            life::nothing_is_left_when_the_publisher_is_killed,
            life::objects_outlive_the_cluster_and_its_pods_start_again,
            life::images_are_kept_until_the_cluster_is_purged,
            life::a_second_cluster_of_the_same_name_is_refused,
            life::a_port_that_is_taken_is_named,
            life::manifests_that_cannot_be_applied_end_the_start,
            publishing::services_are_reached_through_ports_of_the_host,
        ];
        libtest_mimic::run(&arguments, trials).exit_code()
    })
}

/// Runs asynchronous steps of a test.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be started")
        .block_on(work)
}
