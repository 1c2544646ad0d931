//! Links of pods: a pair of virtual Ethernet ends each, routed point to point.
//!
//! There is no bridge and no subnet: a pod has one address of its own and reaches everything
//! through the node's, the cluster's namespace has one route per pod. Both ends know each other's
//! hardware address, so that nothing is ever asked for on the wire.
//!
//! ```text
//! pod: eth0 10.244.0.2/32, default via 10.244.0.1 ──── pod-0-2: 10.244.0.2 on link   (cluster)
//!                                                      lo:      10.244.0.1/32
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::{IpNet, Ipv4Net};
use lateen_capture::link::{Connection, Route, Veth};
use lateen_capture::netns::Netns;
use lateen_capture::sysctl;

use super::addresses::Addresses;

/// The link inside of every pod.
const POD_LINK: &str = "eth0";

/// The cluster's side of all links.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cluster: Mutex<Connection>,
    addresses: Mutex<Addresses>,
    node: Ipv4Addr,
}

/// A pod's link; dropping it removes the link and frees the address.
#[derive(Debug)]
pub(crate) struct Attachment {
    links: Links,
    address: Ipv4Addr,
}

// === impl Links ===

impl Links {
    /// Prepares the calling thread's network namespace, which is the cluster's.
    pub(crate) fn open(pods: Ipv4Net, own: &[Ipv4Addr], services: Ipv4Net) -> io::Result<Self> {
        let addresses = Addresses::new(pods);
        let node = addresses.node();
        let mut cluster = Connection::open().map_err(io::Error::other)?;
        prepare(&mut cluster, node, own, services).map_err(io::Error::other)?;
        Ok(Self {
            shared: Arc::new(Shared {
                cluster: Mutex::new(cluster),
                addresses: Mutex::new(addresses),
                node,
            }),
        })
    }

    /// The node's address, which is every pod's gateway.
    pub(crate) fn node(&self) -> Ipv4Addr {
        self.shared.node
    }

    /// Gives a pod's network namespace an address and a link to the cluster.
    pub(crate) fn attach(&self, pod: BorrowedFd<'_>) -> io::Result<Attachment> {
        let address = lock(&self.shared.addresses).take().ok_or_else(|| {
            io::Error::other("no address is left in the range of pods; delete some pods")
        })?;
        let attachment = Attachment {
            links: self.clone(),
            address,
        };
        self.connect(pod, address).map_err(io::Error::other)?;
        Ok(attachment)
    }

    fn connect(&self, pod: BorrowedFd<'_>, address: Ipv4Addr) -> Result<(), Cause> {
        let node = self.shared.node;
        let name = name_of(address);
        {
            let mut cluster = lock(&self.shared.cluster);
            cluster.add_veth(&Veth {
                name: &name,
                peer: POD_LINK,
                peer_netns: Some(pod),
                mtu: None,
                hardware_addresses: Some([hardware_of(node), hardware_of(address)]),
            })?;
            cluster.set_up(&name)?;
            cluster.add_neighbor(&name, address.into(), hardware_of(address))?;
            cluster.add_route(&Route::on_link(host(address), &name))?;
        }
        let pod = Netns::from(pod.try_clone_to_owned()?);
        pod.run(|| configure(address, node))??;
        Ok(())
    }
}

/// Any of the causes for which a link cannot be made.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Inside of the pod: its addresses, its only route, and the settings that runtimes give pods.
fn configure(address: Ipv4Addr, node: Ipv4Addr) -> Result<(), lateen_capture::Error> {
    let mut pod = Connection::open()?;
    pod.set_up("lo")?;
    pod.add_address(POD_LINK, host(address))?;
    pod.set_up(POD_LINK)?;
    pod.add_neighbor(POD_LINK, node.into(), hardware_of(node))?;
    pod.add_route(&Route::on_link(host(node), POD_LINK))?;
    let everything = IpNet::from(Ipv4Net::default());
    pod.add_route(&Route::via(everything, node.into(), POD_LINK))?;
    // A container has no NET_BIND_SERVICE, and servers that listen on port 80 are common.
    sysctl::set("net/ipv4/ip_unprivileged_port_start", "0")
}

/// The cluster's own namespace: its addresses, its routes, forwarding.
fn prepare(
    cluster: &mut Connection,
    node: Ipv4Addr,
    own: &[Ipv4Addr],
    services: Ipv4Net,
) -> Result<(), lateen_capture::Error> {
    cluster.set_up("lo")?;
    cluster.add_address("lo", host(node))?;
    for address in own {
        cluster.add_address("lo", host(*address))?;
    }
    // A route must exist before a connection of the cluster's own to a service is translated.
    let mut route = Route::on_link(services.into(), "lo");
    route.source = Some(node.into());
    cluster.add_route(&route)?;
    sysctl::enable_forwarding()?;
    for link in ["all", "default"] {
        // Replies take the way that requests came; the host's own setting may be stricter.
        sysctl::set(&format!("net/ipv4/conf/{link}/rp_filter"), "0")?;
    }
    Ok(())
}

// === impl Attachment ===

impl Attachment {
    /// The pod's address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let shared = &self.links.shared;
        // The link would go with the pod's namespace, but later; the address is free only then.
        if let Err(error) = lock(&shared.cluster).delete(&name_of(self.address))
            && !error.is_not_found()
        {
            tracing::warn!(address = %self.address, %error, "the link of a pod stays");
            return;
        }
        lock(&shared.addresses).give_back(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cluster's end of a pod's link: at most 15 bytes, unique as the address is.
fn name_of(address: Ipv4Addr) -> String {
    let [_, _, high, low] = address.octets();
    format!("pod-{high}-{low}")
}

/// A locally administered hardware address that follows from the address.
fn hardware_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

fn host(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::V4(address))
}
