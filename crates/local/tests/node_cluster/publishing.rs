//! Services on ports of the host.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use lateen_local::cluster::{Published, ServicePort};
use serde_json::json;

use crate::block_on;
use crate::cluster::{Cluster, eventually};
use crate::server;

fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn services_are_reached_through_ports_of_the_host() {
    let labels = json!({ "app": "web" });
    let web = json!({ "name": "web", "image": "tester", "args": ["serve", "8080", "published"],
        "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 } });
    let service = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "namespace": "shop" },
            "spec": { "type": "LoadBalancer", "selector": labels,
                "ports": [{ "name": "http", "port": 18080, "targetPort": 8080 }] } })
    };
    let cluster = Cluster::start(|options| {
        options.images.push(server::image());
        options.published = vec![Published {
            purpose: "the shop".into(),
            address: "127.0.0.1:0".parse().unwrap(),
            service: ServicePort {
                namespace: "shop".into(),
                name: "front".into(),
                port: 18080,
            },
        }];
        options.manifests = vec![
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }),
            service("front"),
            service("late"),
            json!({ "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "replicas": 2, "selector": { "matchLabels": labels },
                    "template": { "metadata": { "labels": labels }, "spec": { "containers": [web] } } } }),
        ];
    });
    block_on(async {
        let services: Api<Service> = Api::namespaced(cluster.client().await, "shop");
        let published = async |name: &str| {
            let status = services.get(name).await.expect("it was applied").status?;
            let ingress = status.load_balancer?.ingress?.into_iter().next()?;
            let port = ingress.ports?.into_iter().next()?;
            assert_eq!(port.error, None);
            let ip = ingress.ip?.parse().expect("an address");
            Some(SocketAddr::new(
                ip,
                u16::try_from(port.port).expect("a port"),
            ))
        };
        for name in ["front", "late"] {
            let address = eventually("an address", async || published(name).await).await;
            // Refused until a pod is ready, and never left waiting.
            let answer = eventually("an answer", async || get(address).ok()).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("published"),
                "{answer}"
            );
        }
    });
}
