//! The network of pods: addresses, services, names.

use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::Api;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cluster::{Place, eventually};

fn server(text: &str) -> serde_json::Value {
    json!({ "containers": [{
        "name": "main", "image": "tester", "args": ["serve", "80", text],
        "readinessProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 1 } }] })
}

async fn service(place: &Place, name: &str, app: &str) {
    let _: Service = place
        .create(json!({ "metadata": { "name": name }, "spec": {
            "selector": { "app": app }, "ports": [{ "port": 8000, "targetPort": 80 }] } }))
        .await;
}

async fn endpoints(place: &Place, name: &str, count: usize) {
    let api: Api<Endpoints> = Api::namespaced(place.client.clone(), &place.name);
    eventually("endpoints", async || {
        let found = api.get_opt(name).await.expect("the server answers")?;
        let subsets = found.subsets.unwrap_or_default();
        let addresses = subsets
            .into_iter()
            .flat_map(|subset| subset.addresses.unwrap_or_default());
        (addresses.count() == count).then_some(())
    })
    .await;
}

pub(crate) async fn pods_reach_each_other_by_address_service_and_name(place: Place) {
    place.pod("web", server("hello")).await;
    service(&place, "front", "web").await;
    let status = place.wait_ready("web").await;
    endpoints(&place, "front", 1).await;
    let address = status.pod_ip.unwrap();
    assert!(address.starts_with("10.244."), "{address}");
    let names = format!(
        "{address}:80 front:8000 front.{0}:8000 front.{0}.svc.cluster.local:8000",
        place.name
    );
    let script = format!(
        "for url in {names} $FRONT_SERVICE_HOST:$FRONT_SERVICE_PORT; do \
         curl -sS --retry 20 --retry-delay 1 --retry-all-errors -m 5 http://$url/ || exit 1; echo; done"
    );
    let log = place.sh("client", &script).await;
    assert_eq!(log, "hello\n".repeat(5));
}

pub(crate) async fn a_pod_reaches_itself_through_its_service(place: Place) {
    let mut spec = server("me");
    spec["containers"].as_array_mut().unwrap().push(json!({
        "name": "client", "image": "busybox", "command": ["sh", "-c",
            "curl -sS --retry 60 --retry-delay 1 --retry-all-errors -m 2 http://mirror:8000/ && echo && sleep 1000"] }));
    spec["terminationGracePeriodSeconds"] = json!(1);
    place.pod("self", spec).await;
    service(&place, "mirror", "self").await;
    place.wait_ready("self").await;
    eventually("an answer from itself", async || {
        let log = place.log("self", "client").await;
        log.ends_with("me\n").then_some(())
    })
    .await;
}

pub(crate) async fn a_service_without_endpoints_refuses_at_once(place: Place) {
    service(&place, "nobody", "none").await;
    // 7: could not connect; 28 would be a timeout.
    let script = "while ! getent hosts nobody; do sleep 0.1; done >/dev/null; \
        for url in nobody:8000 $KUBERNETES_SERVICE_HOST:81; do \
        curl -s -m 20 http://$url/; echo $?; done";
    assert_eq!(place.sh("client", script).await, "7\n7\n");
}

pub(crate) async fn the_api_is_reached_from_a_pod_with_its_own_token(place: Place) {
    let script = "cd /var/run/secrets/kubernetes.io/serviceaccount; \
        curl -sS --cacert ca.crt -H \"Authorization: Bearer $(cat token)\" \
        https://kubernetes.default.svc/api/v1/namespaces/$(cat namespace)/pods/client \
        | grep -o '\"uid\"' | head -1; \
        curl -sS --cacert ca.crt -o /dev/null -w '%{http_code}\\n' https://kubernetes.default.svc/api";
    let log = place.sh("client", script).await;
    assert_eq!(log, "\"uid\"\n401\n");
}

pub(crate) async fn each_pod_has_a_network_of_its_own(place: Place) {
    place.pod("one", server("one")).await;
    place.pod("two", server("two")).await;
    let one = place.wait_ready("one").await.pod_ip.unwrap();
    let two = place.wait_ready("two").await.pod_ip.unwrap();
    assert_ne!(one, two);
    let script = format!(
        "curl -s http://{one}/ http://{two}/; curl -s -m 2 http://127.0.0.1/ || echo; \
         grep -c : /proc/net/dev"
    );
    assert_eq!(place.sh("client", &script).await, "onetwo\n2\n");
}

pub(crate) async fn a_port_of_a_pods_own_loopback_is_forwarded(place: Place) {
    place.pod("web", server("inside")).await;
    place.wait_ready("web").await;
    let mut forward = place.pods().portforward("web", &[80, 81]).await.unwrap();
    let mut stream = forward.take_stream(80).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("inside"), "{answer}");
    let refused = forward.take_error(81).unwrap().await.unwrap();
    let words = "dial tcp4 127.0.0.1:81: connect: connection refused";
    assert!(
        refused.starts_with("error forwarding port 81 to pod web"),
        "{refused}"
    );
    assert!(refused.contains(words), "{refused}");
    place
        .pod(
            "done",
            json!({ "restartPolicy": "Never", "containers": [{
        "name": "main", "image": "busybox", "command": ["true"] }] }),
        )
        .await;
    place.wait_phase("done", "Succeeded").await;
    let mut forward = place.pods().portforward("done", &[80]).await.unwrap();
    let error = forward.take_error(80).unwrap().await.unwrap();
    assert!(
        error.ends_with("the pod's sandbox is not running"),
        "{error}"
    );
}
