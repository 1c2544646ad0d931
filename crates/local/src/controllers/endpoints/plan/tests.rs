use k8s_openapi::api::core::v1::{Container, ContainerPort, PodIP, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::controllers::pods::testing::{at, in_phase, pod};

/// A Service `web` with a named target port and a numbered one.
pub(in super::super) fn service() -> Service {
    let port = |name: &str, number, target| ServicePort {
        name: Some(name.into()),
        port: number,
        target_port: Some(target),
        ..ServicePort::default()
    };
    let mut service = Service {
        spec: Some(ServiceSpec {
            selector: Some([("app".to_owned(), "a".to_owned())].into()),
            cluster_ip: Some("10.96.0.7".into()),
            ports: Some(vec![
                port("http", 80, IntOrString::String("web".into())),
                port("metrics", 9090, IntOrString::Int(9091)),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    service.metadata.namespace = Some("default".into());
    service.metadata.name = Some("web".into());
    service.metadata.uid = Some("uid-service".into());
    service
}

/// A ready pod with an address, whose port `web` is 8080.
pub(in super::super) fn ready(name: &str, ip: &str) -> Arc<Pod> {
    let mut pod = pod(name, Some(1));
    pod.spec.get_or_insert_default().containers = vec![Container {
        ports: Some(vec![ContainerPort {
            name: Some("web".into()),
            container_port: 8080,
            ..ContainerPort::default()
        }]),
        ..Container::default()
    }];
    let status = pod.status.get_or_insert_default();
    status.pod_ip = Some(ip.into());
    status.pod_ips = Some(vec![PodIP { ip: ip.into() }]);
    Arc::new(pod)
}

fn changed(pod: &Arc<Pod>, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
    let mut pod = Pod::clone(pod);
    change(&mut pod);
    Arc::new(pod)
}

fn conditions(slice: &EndpointSlice) -> Vec<(String, [Option<bool>; 3])> {
    let endpoints = slice.endpoints.iter().map(|endpoint| {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let flags = [conditions.ready, conditions.serving, conditions.terminating];
        (endpoint.addresses[0].clone(), flags)
    });
    endpoints.collect()
}

#[test]
fn ports_are_resolved_by_name_in_each_pod() {
    let other = changed(&ready("b", "10.244.0.3"), |pod| {
        let containers = &mut pod.spec.get_or_insert_default().containers;
        containers[0].ports.get_or_insert_default()[0].container_port = 9999;
    });
    let changes = plan(&service(), &[ready("a", "10.244.0.2"), other], &[]);
    let mut ports: Vec<_> = changes
        .create
        .iter()
        .map(|slice| {
            slice
                .ports
                .iter()
                .flatten()
                .filter_map(|port| port.port)
                .collect::<Vec<_>>()
        })
        .collect();
    ports.sort();
    assert_eq!(
        ports,
        [[8080, 9091], [9999, 9091]],
        "a slice for each set of ports"
    );
}

#[test]
fn a_pod_is_ready_serving_or_terminating() {
    let unready = changed(&ready("b", "10.244.0.3"), |pod| {
        pod.status.get_or_insert_default().conditions = None;
    });
    let ending = changed(&ready("c", "10.244.0.4"), |pod| {
        pod.metadata.deletion_timestamp = Some(Time(at(9)));
    });
    let ended = Arc::new(in_phase(Pod::clone(&ready("d", "10.244.0.5")), "Succeeded"));
    let without_address = Arc::new(pod("e", Some(1)));
    let pods = [
        ready("a", "10.244.0.2"),
        unready,
        ending,
        ended,
        without_address,
    ];
    let changes = plan(&service(), &pods, &[]);
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(
        conditions(&changes.create[0]),
        [
            ("10.244.0.2".to_owned(), [yes, yes, no]),
            ("10.244.0.3".to_owned(), [no, no, no]),
            ("10.244.0.4".to_owned(), [no, yes, yes]),
        ]
    );
    let mut publishing = service();
    publishing
        .spec
        .get_or_insert_default()
        .publish_not_ready_addresses = Some(true);
    let changes = plan(&publishing, &pods, &[]);
    assert!(
        conditions(&changes.create[0])
            .iter()
            .all(|(_, [ready, ..])| *ready == yes)
    );
}

#[test]
fn what_is_as_wished_is_not_written_and_what_is_not_is_changed_in_place() {
    let created = plan(&service(), &[ready("a", "10.244.0.2")], &[]).create;
    let known: Vec<_> = created.into_iter().map(Arc::new).collect();
    assert_eq!(
        plan(&service(), &[ready("a", "10.244.0.2")], &known),
        Changes::default()
    );
    let two = [ready("a", "10.244.0.2"), ready("b", "10.244.0.1")];
    let changes = plan(&service(), &two, &known);
    assert_eq!(
        (
            changes.create.len(),
            changes.update.len(),
            changes.delete.len()
        ),
        (0, 1, 0)
    );
    let addresses: Vec<_> = conditions(&changes.update[0])
        .into_iter()
        .map(|(ip, _)| ip)
        .collect();
    assert_eq!(addresses, ["10.244.0.1", "10.244.0.2"]);
    let none = plan(&service(), &[], &known);
    assert_eq!(none.update[0].endpoints, [], "an empty slice stays");
}

#[test]
fn more_than_a_hundred_endpoints_are_split_and_the_surplus_goes() {
    let pods: Vec<_> = (0..150)
        .map(|index| ready(&format!("p{index}"), &format!("10.244.1.{index}")))
        .collect();
    let known: Vec<_> = plan(&service(), &pods, &[])
        .create
        .into_iter()
        .map(Arc::new)
        .collect();
    assert_eq!(
        known
            .iter()
            .map(|slice| slice.endpoints.len())
            .collect::<Vec<_>>(),
        [100, 50]
    );
    let changes = plan(&service(), &pods[..100], &known);
    assert_eq!((changes.update.len(), changes.delete.len()), (0, 1));
}

#[test]
fn a_pod_below_its_service_has_a_name() {
    let named = changed(&ready("a", "10.244.0.2"), |pod| {
        let spec = pod.spec.get_or_insert_default();
        spec.hostname = Some("db-0".into());
        spec.subdomain = Some("web".into());
    });
    let mut headless = service();
    headless.spec.get_or_insert_default().cluster_ip = Some("None".into());
    let changes = plan(&headless, &[named], &[]);
    assert_eq!(
        changes.create[0].endpoints[0].hostname.as_deref(),
        Some("db-0")
    );
    assert_eq!(label(&changes.create[0], HEADLESS), Some(""));
}

#[test]
fn services_without_a_selector_and_external_names_have_no_endpoints_of_ours() {
    assert!(has_endpoints(&service()));
    let mut without = service();
    without.spec.get_or_insert_default().selector = None;
    assert!(!has_endpoints(&without));
    let mut external = service();
    external.spec.get_or_insert_default().type_ = Some("ExternalName".into());
    assert!(!has_endpoints(&external));
}
