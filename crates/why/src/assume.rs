//! What files do not say: a cluster gives addresses to services, makes pods of Deployments and
//! endpoints of pods, and injects proxies; files have none of that.
//!
//! What is missing is made up, in the plainest way, and each thing is told: an answer is worth no
//! more than what it takes for granted.

use std::collections::{BTreeMap, BTreeSet};

use lateen_api::Object;
use lateen_model::{Labels, selects};
use serde_json::{Map, Value, json};

use crate::Error;

/// Objects of files, completed.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// All of them.
    pub objects: Vec<Value>,
    /// What was made up.
    pub assumptions: Vec<String>,
    /// Namespace and name of the caller's pod.
    pub caller: (String, String),
}

/// Kinds that make pods.
const MAKERS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];
/// The container of a proxy.
const PROXY: &str = "istio-proxy";

struct Completion {
    objects: Vec<Value>,
    assumptions: Vec<String>,
    pods: u8,
    addresses: u8,
}

/// Completes the objects of files for a request from `from`: the name of a pod or of what makes
/// pods, the value of a label `app`, or `namespace/key=value,…` for a pod with these labels.
///
/// # Errors
/// If nothing in the files is the caller.
pub fn complete(objects: Vec<Value>, from: &str, namespace: &str) -> Result<Completed, Error> {
    let mut completion = Completion {
        objects,
        assumptions: Vec::new(),
        pods: 0,
        addresses: 0,
    };
    completion.name_namespaces(namespace);
    completion.drop_repeated();
    completion.make_pods();
    let caller = completion.find_caller(from, namespace)?;
    completion.give_addresses();
    completion.make_endpoints();
    Ok(Completed {
        objects: completion.objects,
        assumptions: completion.assumptions,
        caller,
    })
}

// === impl Completion ===

impl Completion {
    fn assume(&mut self, what: String) {
        self.assumptions.push(what);
    }

    /// Objects without a namespace are in the one that `kubectl apply` would put them into.
    fn name_namespaces(&mut self, namespace: &str) {
        for object in &mut self.objects {
            let is_of_cluster = matches!(Object(object).kind(), "Namespace" | "Node");
            if Object(object).namespace().is_empty() && !is_of_cluster {
                object["metadata"]["namespace"] = namespace.into();
            }
        }
    }

    /// Of an object that comes several times the last one counts, as if they were applied in order.
    fn drop_repeated(&mut self) {
        let mut places = BTreeMap::new();
        for (at, object) in self.objects.iter().enumerate() {
            let counted = places.entry(Object(object).reference()).or_insert((0, at));
            *counted = (counted.0 + 1, at);
        }
        for (object, (count, _)) in places.iter().filter(|(_, (count, _))| *count > 1) {
            self.assumptions.push(format!(
                "{object} comes {count} times in the files: the last one counts"
            ));
        }
        let kept: BTreeSet<usize> = places.into_values().map(|(_, at)| at).collect();
        let all = std::mem::take(&mut self.objects).into_iter().enumerate();
        self.objects = all
            .filter(|(at, _)| kept.contains(at))
            .map(|(_, object)| object)
            .collect();
    }

    /// One pod for each workload.
    fn make_pods(&mut self) {
        let makers = self.objects.iter().filter(|object| {
            let object = Object(object);
            object.group() == "apps" && MAKERS.contains(&object.kind())
        });
        let makers: Vec<Value> = makers.cloned().collect();
        for maker in makers {
            let maker = Object(&maker);
            let template = &maker.spec()["template"];
            let mut pod = json!({ "metadata": template["metadata"], "spec": template["spec"] });
            pod["metadata"]["name"] = maker.name().into();
            pod["metadata"]["namespace"] = maker.namespace().into();
            let proxy = inject(&mut pod);
            let address = self.run(&mut pod);
            self.assume(format!(
                "{} has one pod, ready, at {address}, {proxy}",
                maker.reference()
            ));
            self.objects.push(pod);
        }
    }

    /// Gives a pod what a cluster would; answers its address.
    fn run(&mut self, pod: &mut Value) -> String {
        self.pods += 1;
        let address = format!("10.244.255.{}", self.pods);
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["status"] = json!({
            "phase": "Running",
            "podIP": address,
            "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        });
        address
    }

    /// Finds the caller among the pods, or makes it of labels.
    fn find_caller(&mut self, from: &str, namespace: &str) -> Result<(String, String), Error> {
        if from.contains('=') {
            return self.make_caller(from, namespace);
        }
        let from = from.rsplit('/').next().unwrap_or(from);
        let (dotted, own) = match from.rsplit_once('.') {
            Some((name, namespace)) => (name, namespace),
            None => (from, namespace),
        };
        for (name, namespace) in [(dotted, own), (from, namespace)] {
            let pods = self.pods_of(namespace);
            let by_name = pods.iter().find(|pod| pod.name() == name);
            let by_label = || pods.iter().find(|pod| pod.label("app") == Some(name));
            if let Some(pod) = by_name.or_else(by_label) {
                return Ok((namespace.to_owned(), pod.name().to_owned()));
            }
        }
        if self.pods_of(own).is_empty() || dotted.starts_with("istio-") {
            let label = match dotted.strip_prefix("istio-") {
                Some(gateway) => format!("{own}/app={dotted},istio={gateway}"),
                None => format!("{own}/app={dotted}"),
            };
            return self.make_caller(&label, own);
        }
        let known: Vec<&str> = self.pods_of(own).iter().map(|pod| pod.name()).collect();
        Err(Error::Caller(format!(
            "no pod in the files is called {dotted:?} or has the label app={dotted} in namespace \
             {own:?}; there are: {}; `--from {own}/app={dotted}` assumes one",
            known.join(", ")
        )))
    }

    fn pods_of(&self, namespace: &str) -> Vec<Object<'_>> {
        let objects = self.objects.iter().map(Object);
        objects
            .filter(|object| object.is("", "Pod") && object.namespace() == namespace)
            .collect()
    }

    /// A caller of which only the labels are known.
    fn make_caller(&mut self, from: &str, namespace: &str) -> Result<(String, String), Error> {
        let (namespace, labels) = match from.split_once('/') {
            Some((namespace, labels)) if !namespace.contains('=') => (namespace, labels),
            _ => (namespace, from),
        };
        let mut map = Map::new();
        for pair in labels.split(',') {
            let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(Error::Caller(format!(
                    "{from:?} is no list of labels: write namespace/key=value,key=value"
                )));
            };
            map.insert(key.to_owned(), value.into());
        }
        let is_gateway = map.contains_key("istio");
        let name = if is_gateway { "gateway" } else { "caller" };
        let role = if is_gateway { "router" } else { "sidecar" };
        let mut pod = json!({
            "metadata": { "name": name, "namespace": namespace, "labels": map },
            "spec": { "containers": [{ "name": PROXY, "args": ["proxy", role] }] },
        });
        let address = self.run(&mut pod);
        self.objects.push(pod);
        let kind = if is_gateway {
            "gateway"
        } else {
            "pod with a sidecar"
        };
        self.assume(format!(
            "the caller is a {kind} in namespace {namespace} with the labels {labels}, at {address}"
        ));
        if is_gateway {
            self.expose(namespace, labels);
        }
        Ok((namespace.to_owned(), name.to_owned()))
    }

    /// The Service of a gateway that the files do not have.
    fn expose(&mut self, namespace: &str, labels: &str) {
        let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
        let selector: Labels = pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let mut services = self.objects.iter().map(Object);
        let is_exposed = services.any(|object| {
            object.is("", "Service")
                && object.namespace() == namespace
                && selects(&labels_in(&object.spec()["selector"]), &selector)
        });
        if is_exposed {
            return;
        }
        let ports = [(80, 8080, "http2"), (443, 8443, "https")].map(
            |(port, target, name)| json!({ "name": name, "port": port, "targetPort": target }),
        );
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "istio-gateway", "namespace": namespace },
            "spec": { "selector": selector, "ports": ports },
        }));
        self.assume(
            "a Service leads from port 80 to 8080 of the gateway, and from 443 to 8443".into(),
        );
    }

    /// A cluster IP for each service that would have one.
    fn give_addresses(&mut self) {
        let mut given = Vec::new();
        for object in &mut self.objects {
            let is_service = Object(object).is("", "Service");
            let spec = &object["spec"];
            let has_none = spec["clusterIP"].is_null() && spec["clusterIPs"].is_null();
            if !is_service || !has_none || spec["type"] == "ExternalName" {
                continue;
            }
            self.addresses += 1;
            let address = format!("10.96.255.{}", self.addresses);
            object["spec"]["clusterIP"] = address.as_str().into();
            object["spec"]["clusterIPs"] = json!([address]);
            given.push(format!(
                "{} has the address {address}",
                Object(object).reference()
            ));
        }
        self.assumptions.extend(given);
    }

    /// Endpoints for each service that selects pods and has no slice.
    fn make_endpoints(&mut self) {
        let slices = self.objects.iter().filter_map(|object| {
            let name = Object(object).label("kubernetes.io/service-name")?;
            Some((Object(object).namespace().to_owned(), name.to_owned()))
        });
        let has_slice: BTreeSet<(String, String)> = slices.collect();
        let services = self.objects.iter().filter(|object| {
            let object = Object(object);
            let key = (object.namespace().to_owned(), object.name().to_owned());
            object.is("", "Service") && !has_slice.contains(&key)
        });
        let made: Vec<Value> = services
            .filter_map(|service| self.slice(Object(service)))
            .flatten()
            .collect();
        self.objects.extend(made);
    }

    /// A slice for each pod of a service: their named ports may differ.
    fn slice(&self, service: Object<'_>) -> Option<Vec<Value>> {
        let selector = labels_in(&service.spec()["selector"]);
        if selector.is_empty() {
            return None;
        }
        let pods = self.pods_of(service.namespace()).into_iter();
        let slices = pods
            .filter(|pod| selects(&selector, &pod.labels()))
            .filter_map(|pod| {
                let address = pod.0["status"]["podIP"].as_str()?;
                let ports = service.spec()["ports"].as_array()?.iter();
                let ports: Vec<Value> = ports.filter_map(|port| target(port, pod)).collect();
                let mut conditions = pod.0["status"]["conditions"].as_array()?.iter();
                let is_ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
                Some(json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": {
                        "name": format!("{}-{}", service.name(), pod.name()),
                        "namespace": service.namespace(),
                        "labels": { "kubernetes.io/service-name": service.name() },
                    },
                    "addressType": "IPv4",
                    "ports": ports,
                    "endpoints": [{
                        "addresses": [address],
                        "conditions": { "ready": is_ready },
                        "targetRef": { "kind": "Pod", "name": pod.name() },
                    }],
                }))
            });
        Some(slices.collect())
    }
}

/// A port of a service as a port of a pod; nothing if the pod has none of that name.
fn target(port: &Value, pod: Object<'_>) -> Option<Value> {
    let number = match &port["targetPort"] {
        Value::Null => port["port"].as_u64()?,
        Value::String(name) => {
            let containers = pod.spec()["containers"].as_array()?.iter();
            let mut ports = containers.flat_map(|it| it["ports"].as_array().into_iter().flatten());
            ports.find(|it| it["name"] == **name)?["containerPort"].as_u64()?
        }
        number => number.as_u64()?,
    };
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    Some(
        json!({ "name": port["name"].as_str().unwrap_or(""), "port": number, "protocol": protocol }),
    )
}

/// Gives a pod its proxy as injection would; answers what it did in words.
fn inject(pod: &mut Value) -> &'static str {
    let object = Object(pod);
    let inject = "sidecar.istio.io/inject";
    let is_off =
        object.label(inject) == Some("false") || object.annotation(inject) == Some("false");
    let is_gateway = object.annotation("inject.istio.io/templates") == Some("gateway");
    let role = if is_gateway { "router" } else { "sidecar" };
    let Some(containers) = pod["spec"]["containers"].as_array_mut() else {
        return "without containers";
    };
    let own = containers.iter_mut().find(|it| it["name"] == PROXY);
    match own {
        Some(proxy) => {
            if proxy["args"].is_null() {
                proxy["args"] = json!(["proxy", role]);
            }
            "with its own proxy"
        }
        None if is_off => "without a proxy, as it asks",
        None => {
            containers.push(json!({ "name": PROXY, "args": ["proxy", role] }));
            pod["metadata"]["labels"]["security.istio.io/tlsMode"] = "istio".into();
            "with an injected proxy"
        }
    }
}

fn labels_in(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(name: &str, annotations: &Value) -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": { "template": {
                "metadata": { "labels": { "app": name }, "annotations": annotations },
                "spec": { "containers": [
                    { "name": "app", "ports": [{ "name": "web", "containerPort": 8000 }] }] } } } })
    }

    fn service(name: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": { "app": name },
                "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] } })
    }

    fn find<'a>(completed: &'a Completed, kind: &str) -> &'a Value {
        let mut objects = completed.objects.iter();
        objects.find(|object| object["kind"] == kind).unwrap()
    }

    #[test]
    fn a_deployment_and_its_service_become_a_pod_and_its_endpoint() {
        let objects = vec![deployment("web", &json!({})), service("web")];
        let completed = complete(objects, "web", "shop").unwrap();
        assert_eq!(completed.caller, ("shop".into(), "web".into()));
        let slice = find(&completed, "EndpointSlice");
        assert_eq!(slice["ports"][0]["port"], 8000);
        assert_eq!(slice["endpoints"][0]["addresses"][0], "10.244.255.1");
        assert_eq!(
            find(&completed, "Service")["spec"]["clusterIP"],
            "10.96.255.1"
        );
        assert_eq!(
            completed.assumptions.len(),
            2,
            "{:?}",
            completed.assumptions
        );
    }

    #[test]
    fn a_pod_that_refuses_injection_has_no_proxy() {
        let off = json!({ "sidecar.istio.io/inject": "false" });
        let completed = complete(vec![deployment("web", &off)], "web", "default").unwrap();
        let containers = &find(&completed, "Pod")["spec"]["containers"];
        assert_eq!(containers.as_array().unwrap().len(), 1);
        assert!(completed.assumptions[0].contains("without a proxy"));
    }

    #[test]
    fn a_caller_of_labels_is_made_and_an_unknown_one_is_refused() {
        let completed = complete(Vec::new(), "shop/app=web,version=v1", "default").unwrap();
        assert_eq!(completed.caller.0, "shop");
        let labels = &find(&completed, "Pod")["metadata"]["labels"];
        assert_eq!(labels, &json!({ "app": "web", "version": "v1" }));
        let error = complete(vec![deployment("web", &json!({}))], "nobody", "default");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("there are: web"), "{error}");
        assert!(complete(Vec::new(), "a/=b", "default").is_err());
    }

    #[test]
    fn the_last_of_several_equal_objects_counts() {
        let mut changed = service("web");
        changed["spec"]["ports"][0]["port"] = 81.into();
        let objects = vec![service("web"), changed];
        let completed = complete(objects, "default/app=a", "default").unwrap();
        assert_eq!(find(&completed, "Service")["spec"]["ports"][0]["port"], 81);
        assert!(completed.assumptions[0].contains("2 times"));
    }
}
