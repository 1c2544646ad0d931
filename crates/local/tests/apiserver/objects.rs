//! Built-in types: create, apply, show, change, delete.

use crate::support::Served;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 80}]
        env: [{name: A, value: '1'}, {name: B, value: '2'}]
";

#[test]
fn every_built_in_type_is_discovered() {
    let served = Served::start();
    let list = served.kubectl("api-resources");
    for line in [
        "pods po v1 true Pod",
        "deployments deploy apps/v1 true Deployment",
    ] {
        let found = list
            .lines()
            .any(|one| one.split_whitespace().eq(line.split(' ')));
        assert!(found, "{line} is not in\n{list}");
    }
    assert!(served.kubectl("version").contains("v1.33"));
    assert_eq!(served.kubectl("get --raw /readyz"), "ok");
}

#[test]
fn a_cluster_has_its_namespaces_and_its_own_service() {
    let served = Served::start();
    let names = served.kubectl("get ns -o name");
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(names.contains(&format!("namespace/{name}\n")), "{names}");
    }
    let service = served.kubectl("get svc kubernetes -o jsonpath={.spec.clusterIP}");
    assert_eq!(service, "10.96.0.1");
    assert!(served.kubectl("get endpointslices").contains("kubernetes"));
}

#[test]
fn apply_creates_then_configures_then_leaves_alone() {
    let served = Served::start();
    assert_eq!(served.apply(DEPLOYMENT), "deployment.apps/web created\n");
    assert_eq!(served.apply(DEPLOYMENT), "deployment.apps/web unchanged\n");
    let changed = DEPLOYMENT
        .replace("{name: A, value: '1'}, ", "")
        .replace("web:1", "web:2");
    assert_eq!(served.apply(&changed), "deployment.apps/web configured\n");
    let container = "{.spec.template.spec.containers[0]";
    assert_eq!(
        served.kubectl(&format!(
            "get deploy web -o jsonpath={container}.env[*].name}}-{container}.image}}-{{.metadata.generation}}"
        )),
        "B-web:2-2"
    );
}

#[test]
fn a_deployment_has_the_defaults_of_kubernetes() {
    let served = Served::start();
    served.apply(DEPLOYMENT);
    let yaml = served.kubectl("get deploy web -o yaml");
    for line in [
        "progressDeadlineSeconds: 600",
        "replicas: 1",
        "revisionHistoryLimit: 10",
        "maxSurge: 25%",
        "maxUnavailable: 25%",
        "dnsPolicy: ClusterFirst",
        "protocol: TCP",
        "imagePullPolicy: IfNotPresent",
        "terminationMessagePath: /dev/termination-log",
    ] {
        assert!(yaml.contains(line), "{line} is not in\n{yaml}");
    }
    let table = served.kubectl("get deploy -o wide");
    let head = "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR";
    assert!(
        table
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .eq(head.split(' '))
    );
    assert!(
        served
            .kubectl("describe deploy web")
            .contains("25% max unavailable, 25% max surge")
    );
}

#[test]
fn objects_are_scaled_labelled_annotated_and_patched() {
    let served = Served::start();
    served.apply(DEPLOYMENT);
    let spec = |path: &str| served.kubectl(&format!("get deploy web -o jsonpath={path}"));
    served.kubectl("scale deploy web --replicas=5");
    assert_eq!(spec("{.spec.replicas}"), "5");
    assert_eq!(
        served.kubectl("get deploy web -o jsonpath={.metadata.generation}"),
        "2"
    );
    served.kubectl("label deploy web tier=front");
    served.kubectl("annotate deploy web why=test");
    assert_eq!(
        spec("{.metadata.labels.tier}{.metadata.annotations.why}"),
        "fronttest"
    );
    assert_eq!(spec("{.metadata.generation}"), "2");
    served.kubectl(
        r#"patch deploy web --type=json -p '[{"op":"replace","path":"/spec/replicas","value":4}]'"#,
    );
    assert_eq!(spec("{.spec.replicas}"), "4");
    served.kubectl(r#"patch deploy web --type=merge -p '{"spec":{"replicas":3}}'"#);
    assert_eq!(spec("{.spec.replicas}"), "3");
    served.kubectl(
        r#"patch deploy web -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:3"}]}}}}'"#,
    );
    assert_eq!(spec("{.spec.template.spec.containers[0].image}"), "web:3");
    assert_eq!(spec("{.spec.template.spec.containers[0].env[1].name}"), "B");
    served.kubectl("rollout restart deploy web");
    assert!(!spec("{.spec.template.metadata.annotations}").is_empty());
}

#[test]
fn what_is_wrong_is_refused_in_the_words_of_kubernetes() {
    let served = Served::start();
    served.apply(DEPLOYMENT);
    for (change, with, complaint) in [
        (
            "{matchLabels: {app: web}}",
            "{matchLabels: {app: x}}",
            "field is immutable",
        ),
        (
            "image: web:1",
            "",
            "spec.template.spec.containers[0].image: Required value",
        ),
        (
            "containerPort: 80",
            "containerPort: 0",
            "must be between 1 and 65535, inclusive",
        ),
        (
            "  selector:",
            "  replicas: -1\n  selector:",
            "must be greater than or equal to 0",
        ),
    ] {
        let error = served.fails(
            "apply -f - --validate=false",
            &DEPLOYMENT.replace(change, with),
        );
        assert!(error.contains(complaint), "{error}");
    }
    let error = served.fails(
        "apply -f -",
        &DEPLOYMENT.replace("  selector:", "  selektor: 1\n  selector:"),
    );
    assert!(
        error.contains("unknown field") && error.contains("selektor"),
        "{error}"
    );
    let error = served.fails("create ns Bad_Name", "");
    assert!(
        error.contains("a lowercase RFC 1123 label must consist of"),
        "{error}"
    );
    let error = served.fails("create -n nowhere configmap a", "");
    assert!(
        error.contains("namespaces \"nowhere\" not found"),
        "{error}"
    );
    let error = served.fails("create -f -", DEPLOYMENT);
    assert!(
        error.contains("deployments.apps \"web\" already exists"),
        "{error}"
    );
}

#[test]
fn services_get_addresses_and_node_ports() {
    let served = Served::start();
    served.kubectl("create service nodeport a --tcp=80:8080");
    served.kubectl("create service clusterip b --tcp=80:8080");
    let addresses = served.kubectl("get svc -o jsonpath={.items[*].spec.clusterIP}");
    let addresses: Vec<&str> = addresses.split(' ').collect();
    assert_eq!(addresses.len(), 3);
    assert_ne!(addresses[0], addresses[1]);
    assert_eq!(
        served.kubectl("get svc a -o jsonpath={.spec.ports[0].nodePort}"),
        "30000"
    );
    let taken = "
apiVersion: v1
kind: Service
metadata: {name: c}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
";
    let error = served.fails("apply -f -", taken);
    assert!(
        error.contains("provided IP is already allocated"),
        "{error}"
    );
    let error = served.fails("apply -f -", &taken.replace("10.96.0.1", "1.2.3.4"));
    assert!(
        error.contains("is not in the valid range 10.96.0.0/16"),
        "{error}"
    );
    served.apply(&taken.replace("10.96.0.1", "10.96.0.10"));
    let external = served.kubectl("get svc c -o wide");
    assert!(
        external.contains("10.96.0.10") && external.contains("80/TCP"),
        "{external}"
    );
}

#[test]
fn secrets_and_config_maps_are_made_from_text() {
    let served = Served::start();
    served.kubectl("create secret generic s --from-literal=key=value");
    assert_eq!(
        served.kubectl("get secret s -o jsonpath={.data.key}"),
        "dmFsdWU="
    );
    let error = served.fails(r#"patch secret s -p '{"type":"other"}'"#, "");
    assert!(error.contains("field is immutable"), "{error}");
    served.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: t}\nstringData: {a: b}");
    assert_eq!(
        served.kubectl("get secret t -o jsonpath={.data.a}{.stringData}{.type}"),
        "Yg==Opaque"
    );
    served.kubectl("create configmap c --from-literal=a=b");
    assert!(served.kubectl("get cm c").contains("DATA"));
    assert_eq!(served.kubectl("get cm -l nothing=here -o name"), "");
}

#[test]
fn a_dry_run_on_the_server_changes_nothing() {
    let served = Served::start();
    let said = served.with_input("apply -f - --dry-run=server", DEPLOYMENT);
    assert_eq!(said, "deployment.apps/web created (server dry run)\n");
    assert!(served.fails("get deploy web", "").contains("not found"));
}

#[test]
fn server_side_apply_and_metrics_say_that_they_are_missing() {
    let served = Served::start();
    let error = served.fails("apply --server-side -f -", DEPLOYMENT);
    assert!(
        error.contains("not supported by this API server yet"),
        "{error}"
    );
    let error = served.fails("top pods", "");
    assert!(error.contains("Metrics API not available"), "{error}");
}

#[test]
fn a_namespace_ends_when_its_finalizer_is_gone() {
    let served = Served::start();
    served.kubectl("create ns a");
    served.kubectl("delete ns a --wait=false");
    assert!(served.kubectl("get ns a").contains("Terminating"));
    let error = served.fails("create -n a configmap c", "");
    assert!(error.contains("because it is being terminated"), "{error}");
    let finalized = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"},"spec":{"finalizers":[]}}"#;
    served.with_input(
        "replace --raw /api/v1/namespaces/a/finalize -f -",
        finalized,
    );
    assert!(served.fails("get ns a", "").contains("not found"));
}

#[test]
fn explain_knows_the_fields() {
    let served = Served::start();
    let text = served.kubectl("explain deployment.spec.replicas");
    assert!(text.contains("Number of desired pods"), "{text}");
    assert!(
        served
            .kubectl("explain pod.spec.containers")
            .contains("imagePullPolicy")
    );
}

#[test]
fn everybody_who_is_authenticated_may_do_everything() {
    let served = Served::start();
    assert_eq!(served.kubectl("auth can-i create pods"), "yes\n");
    assert_eq!(
        served.kubectl("auth can-i delete nodes --as=x").trim(),
        "yes"
    );
}
