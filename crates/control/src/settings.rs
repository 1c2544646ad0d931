//! What an installation may choose; everything else is in the cluster's own objects.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Settings of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace of the control plane, which is also the mesh's root namespace unless
    /// MeshConfig says otherwise.
    pub namespace: String,
    /// The revision that it serves: `istio.io/rev` of namespaces, pods and objects.
    pub revision: String,
    /// The image of injected sidecars.
    pub proxy_image: String,
    /// The name of the cluster in metrics.
    pub cluster: String,
    /// The domain of the cluster's services.
    pub cluster_domain: String,
    /// The ConfigMap in [`Self::namespace`] whose key `mesh` is MeshConfig.
    pub mesh_config_map: String,
    /// The Service by which the webhooks are called.
    pub service: String,
    /// Where proxies connect in plaintext; no Secrets there.
    pub xds_address: SocketAddr,
    /// Where proxies connect with TLS and a token.
    pub secured_xds_address: SocketAddr,
    /// Where readiness and debug pages are served.
    pub http_address: SocketAddr,
    /// Where metrics are served.
    pub monitoring_address: SocketAddr,
    /// Where the webhooks are served (TLS).
    pub webhook_address: SocketAddr,
    /// A kubeconfig; the cluster that the program runs in (or the usual files) if unset.
    pub kubeconfig: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        // The unspecified IPv6 address takes IPv4 too; the listeners fall back where there is
        // no IPv6.
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Self {
            namespace: "istio-system".into(),
            revision: "default".into(),
            proxy_image: format!(
                "docker.io/lateen/lateen-proxy:{}",
                env!("CARGO_PKG_VERSION")
            ),
            cluster: "Kubernetes".into(),
            cluster_domain: "cluster.local".into(),
            mesh_config_map: "istio".into(),
            service: "istiod".into(),
            xds_address: any(15010),
            secured_xds_address: any(15012),
            http_address: any(8080),
            monitoring_address: any(15014),
            webhook_address: any(15017),
            kubeconfig: None,
        }
    }
}
