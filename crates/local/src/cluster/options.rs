//! What a cluster is started with.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::Error;
use crate::node::images::Mapping;

/// The longest name: it becomes part of a node's name, whose bound is 63.
const MAX_NAME: usize = 40;

/// The name of the cluster that commands mean if they name none.
pub const DEFAULT_NAME: &str = "lateen";

/// What a cluster is started with; it travels to the supervisor as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Its name: that of its node, of its state directory and (after `lateen-`) of its context.
    pub name: String,
    /// Where the API server listens on the host.
    pub api: SocketAddr,
    /// The services that have a host port from the start.
    pub published: Vec<Published>,
    /// Images beyond those built in; an earlier mapping wins. Those of the cluster's last start
    /// are added, unless an image of the same name is here.
    pub images: Vec<Mapping>,
    /// Where the mesh's own programs are; `None`: beside this one.
    pub programs: Option<PathBuf>,
    /// The objects to apply before the cluster counts as ready, in this order.
    pub manifests: Vec<Value>,
    /// The kubeconfig to write the context to; `None`: `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The directory that holds the clusters' state; `None`: see [`super::state`].
    pub state: Option<PathBuf>,
}

/// A service with a host port of its own, opened before the cluster starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// What it is, for messages: "ingress HTTP".
    pub purpose: String,
    /// Where to listen on the host; port 0 takes any.
    pub address: SocketAddr,
    /// Where its connections go.
    pub service: ServicePort,
}

/// A port of a service.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePort {
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub name: String,
    /// The port's number.
    pub port: u16,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        let ingress = |purpose: &str, host_port: u16, port: u16| Published {
            purpose: purpose.into(),
            address: (Ipv4Addr::LOCALHOST, host_port).into(),
            service: ServicePort {
                namespace: "istio-system".into(),
                name: "istio-ingressgateway".into(),
                port,
            },
        };
        Self {
            name: DEFAULT_NAME.into(),
            api: (Ipv4Addr::LOCALHOST, 6443).into(),
            published: vec![
                ingress("ingress HTTP", 8080, 80),
                ingress("ingress HTTPS", 8443, 443),
            ],
            images: Vec::new(),
            programs: None,
            manifests: Vec::new(),
            kubeconfig: None,
            state: None,
        }
    }
}

impl Options {
    /// Where the mesh's own programs are.
    pub(crate) fn programs(&self) -> io::Result<PathBuf> {
        if let Some(programs) = &self.programs {
            return Ok(programs.clone());
        }
        let mut path = std::env::current_exe()?;
        path.pop();
        Ok(path)
    }
}

/// Checks a cluster's name, which becomes part of paths and of a node's name.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let is_fine = name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_fine {
        return Ok(());
    }
    Err(Error::Name { name: name.into() })
}

/// The kubeconfig context of a cluster.
pub fn context_name(name: &str) -> String {
    if name == DEFAULT_NAME {
        return name.into();
    }
    format!("lateen-{name}")
}

/// A command about a cluster, as a person types it: `lateen down`, `lateen down --name two`.
pub fn command(verb: &str, name: &str) -> String {
    if name == DEFAULT_NAME {
        return format!("lateen {verb}");
    }
    format!("lateen {verb} --name {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for good in ["lateen", "a", "mesh-2"] {
            check_name(good).unwrap();
        }
        for bad in [
            "",
            "..",
            "a/b",
            "A",
            "-a",
            "a-",
            "2a",
            "a_b",
            &"a".repeat(41),
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn contexts_of_two_clusters_differ() {
        assert_eq!(context_name("lateen"), "lateen");
        assert_eq!(context_name("other"), "lateen-other");
    }

    #[test]
    fn commands_name_every_cluster_but_the_usual_one() {
        assert_eq!(command("down", "lateen"), "lateen down");
        assert_eq!(command("down", "two"), "lateen down --name two");
    }
}
