//! Real pods on a real local cluster, as an ordinary user: what they run, see, and leave behind.

#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "a test fails by panicking, and its futures are few"
)]

#[path = "support/cluster.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod cluster;
#[path = "node_pods/containers.rs"]
mod containers;
#[path = "node_pods/network.rs"]
mod network;
#[path = "node_pods/probes.rs"]
mod probes;
#[path = "support/server.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod server;
#[path = "support/user.rs"]
mod user;
#[path = "node_pods/volumes.rs"]
mod volumes;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use cluster::{Cluster, Place};

fn main() -> ExitCode {
    if let Some(code) = server::main() {
        return code;
    }
    user::run(|| {
        let arguments = Arguments::from_args();
        if arguments.list {
            return libtest_mimic::run(&arguments, trials(&Weak::default())).exit_code();
        }
        let cluster = Arc::new(Cluster::start(|options| {
            options.images.push(server::image());
        }));
        let shared = Weak(Arc::downgrade(&cluster));
        let conclusion = libtest_mimic::run(&arguments, trials(&shared));
        drop(cluster);
        conclusion.exit_code()
    })
}

/// The cluster, for as long as `main` holds it.
#[derive(Clone, Default)]
struct Weak(std::sync::Weak<Cluster>);

fn trials(cluster: &Weak) -> Vec<Trial> {
    macro_rules! trials {
        ($($module:ident :: $name:ident),* $(,)?) => {
            vec![$(trial(cluster, stringify!($name), $module::$name)),*]
        };
    }
    trials![
        containers::a_pod_runs_once_and_its_output_is_in_its_log,
        containers::a_failure_is_reported_with_its_code_and_last_words,
        containers::init_containers_run_in_order_and_a_sidecar_outlives_the_main_container,
        containers::a_container_that_fails_is_restarted_and_then_backed_off,
        containers::an_unknown_image_says_how_to_map_it,
        containers::a_program_that_does_not_exist_is_a_start_error,
        containers::a_deleted_pod_gets_its_hook_sigterm_and_its_grace,
        containers::a_pod_that_ignores_sigterm_is_killed_after_its_grace,
        containers::what_a_container_has_started_ends_with_it,
        containers::capabilities_are_none_but_those_asked_for,
        containers::a_root_shows_programs_of_the_machine_and_nothing_of_its_people,
        containers::a_pod_that_fits_nowhere_stays_pending_and_says_why,
        containers::a_pod_that_is_active_for_too_long_fails,
        volumes::objects_become_files_and_variables,
        volumes::a_pod_waits_for_what_it_refers_to,
        volumes::a_changed_object_changes_the_files_of_running_pods,
        volumes::volumes_are_mounted_anywhere_in_whole_or_in_part,
        volumes::a_volumes_content_cannot_lead_out_of_it,
        volumes::labels_change_under_a_running_pod,
        probes::a_pod_is_ready_when_its_probe_says_so_and_no_longer,
        probes::an_unhealthy_container_is_restarted,
        probes::servers_are_asked_over_tcp_and_http_by_the_name_of_their_port,
        network::pods_reach_each_other_by_address_service_and_name,
        network::a_pod_reaches_itself_through_its_service,
        network::a_service_without_endpoints_refuses_at_once,
        network::the_api_is_reached_from_a_pod_with_its_own_token,
        network::each_pod_has_a_network_of_its_own,
        network::a_port_of_a_pods_own_loopback_is_forwarded,
    ]
}

/// One test in a namespace of its own.
fn trial<F>(
    cluster: &Weak,
    name: &'static str,
    test: impl FnOnce(Place) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = ()>,
{
    let cluster = cluster.clone();
    Trial::test(name, move || {
        let cluster = cluster.0.upgrade().ok_or("the cluster has ended")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut namespace = name.replace('_', "-");
            namespace.truncate(60);
            test(Place::make(cluster.client().await, namespace.trim_end_matches('-')).await).await;
        });
        Ok(())
    })
}
