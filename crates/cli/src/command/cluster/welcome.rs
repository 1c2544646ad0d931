//! What `lateen up` says in the end: where everything is, and what to try next.

use std::fmt;
use std::net::SocketAddr;

use lateen_local::cluster::Record;
use lateen_local::cluster::options::{command, context_name};

/// What there is to tell.
pub(super) struct Welcome<'a> {
    /// The cluster's name.
    pub(super) name: &'a str,
    /// What it says of itself.
    pub(super) record: &'a Record,
    /// Where the gateway answers.
    pub(super) ingress: SocketAddr,
    /// The sample is there, with its route.
    pub(super) has_bookinfo: bool,
    /// The pods that are not ready.
    pub(super) unready: &'a [String],
}

// === impl Welcome ===

impl Welcome<'_> {
    fn next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Try next:\n")?;
        if self.has_bookinfo {
            f.write_str(
                "  kubectl get pods                      each pod 2/2: the application and its proxy\n  \
                   lateen proxy-status                   every proxy in sync\n  \
                   kubectl apply -f samples/bookinfo/networking/destination-rule-all.yaml\n  \
                   kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-75-25.yaml\n                                        \
                   reload the page: a quarter of the loads shows black stars\n",
            )?;
        } else {
            f.write_str(
                "  kubectl label namespace default istio-injection=enabled\n  \
                   kubectl apply -f samples/bookinfo/platform/kube/bookinfo.yaml\n  \
                   kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml\n",
            )?;
        }
        writeln!(f, "  {:<37} end it", command("down", self.name))
    }
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, ingress) = (self.name, self.ingress);
        f.write_str("\nThe mesh is up.\n\n")?;
        if self.has_bookinfo {
            writeln!(f, "  Bookinfo      http://{ingress}/productpage")?;
        } else {
            writeln!(f, "  Ingress       http://{ingress}")?;
        }
        let (api, context) = (self.record.api, context_name(name));
        writeln!(
            f,
            "  Kubernetes    https://{api}  (kubectl context `{context}`)\n"
        )?;
        if !self.unready.is_empty() {
            let pods = self.unready.join(", ");
            writeln!(
                f,
                "Not ready yet: {pods}\n`kubectl describe pod` tells why.\n"
            )?;
        }
        if self.record.kubeconfig.is_none() {
            let env = command("env", name);
            writeln!(
                f,
                "No kubeconfig could be written: `eval \"$({env})\"` sets KUBECONFIG.\n"
            )?;
        }
        self.next(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(name: &str, has_bookinfo: bool, unready: &[String]) -> String {
        let process = json!({ "pid": 1, "startTime": 1 });
        let record: Record = serde_json::from_value(json!({
            "publisher": process, "supervisor": process, "started": "2026-01-02T03:04:05Z",
            "api": "127.0.0.1:6443", "ports": [], "kubeconfig": null,
        }))
        .unwrap();
        Welcome {
            name,
            record: &record,
            ingress: "127.0.0.1:8080".parse().unwrap(),
            has_bookinfo,
            unready,
        }
        .to_string()
    }

    #[test]
    fn every_hint_about_a_named_cluster_names_it() {
        let text = text("two", false, &[]);
        assert!(text.contains("  lateen down --name two "), "{text}");
        assert!(text.contains("$(lateen env --name two)"), "{text}");
        assert!(text.contains("`lateen-two`"), "{text}");
    }

    #[test]
    fn what_is_deployed_is_shown_and_not_suggested() {
        let text = text("lateen", true, &["default/web-1".into()]);
        assert!(text.contains("http://127.0.0.1:8080/productpage"), "{text}");
        assert!(!text.contains("bookinfo.yaml"), "{text}");
        assert!(text.contains("Not ready yet: default/web-1"), "{text}");
    }
}
