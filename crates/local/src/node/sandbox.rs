//! A pod's own namespaces: network, host name, inter-process communication.
//!
//! They are held open by descriptors, so that no process is needed to keep them.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::network::links::{Attachment, Links};
use crate::sys;

/// The namespaces that a pod's containers share.
#[derive(Debug)]
pub(crate) struct Namespaces {
    net: OwnedFd,
    uts: OwnedFd,
    ipc: OwnedFd,
}

/// A pod's namespaces and its link to the cluster's network.
#[derive(Debug)]
pub(crate) struct Sandbox {
    namespaces: Namespaces,
    address: Ipv4Addr,
    /// `None` for a pod in the node's own network.
    _attachment: Option<Attachment>,
}

// === impl Sandbox ===

impl Sandbox {
    /// Makes the namespaces of a pod and attaches them to the network.
    pub(crate) fn create(hostname: &str, links: &Links) -> io::Result<Self> {
        let namespaces = Namespaces::create(hostname, UnshareFlags::NEWNET)?;
        let attachment = links.attach(namespaces.net.as_fd())?;
        Ok(Self {
            namespaces,
            address: attachment.address(),
            _attachment: Some(attachment),
        })
    }

    /// Makes the namespaces of a pod that uses the node's network.
    pub(crate) fn on_host_network(hostname: &str, node: Ipv4Addr) -> io::Result<Self> {
        Ok(Self {
            namespaces: Namespaces::create(hostname, UnshareFlags::empty())?,
            address: node,
            _attachment: None,
        })
    }

    /// The pod's address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Runs `work` on a thread in the pod's network.
    pub(super) fn within<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        on_thread(|| {
            let net = self.namespaces.net.as_fd();
            move_into_link_name_space(net, Some(LinkNameSpaceType::Network))?;
            work()
        })
    }

    /// What its containers enter.
    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }
}

// === impl Namespaces ===

impl Namespaces {
    /// Makes new ones; the network is new only if `net` says so.
    fn create(hostname: &str, net: UnshareFlags) -> io::Result<Self> {
        on_thread(|| {
            sys::unshare(UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | net)?;
            rustix::system::sethostname(hostname.as_bytes())?;
            let open =
                |kind: &str| File::open(format!("/proc/thread-self/ns/{kind}")).map(OwnedFd::from);
            Ok(Self {
                net: open("net")?,
                uts: open("uts")?,
                ipc: open("ipc")?,
            })
        })
    }

    /// Moves the calling thread into them.
    pub(crate) fn enter(&self) -> io::Result<()> {
        use LinkNameSpaceType as Kind;
        let all = [
            (&self.net, Kind::Network),
            (&self.uts, Kind::HostNameAndNISDomainName),
            (&self.ipc, Kind::InterProcessCommunication),
        ];
        for (descriptor, kind) in all {
            move_into_link_name_space(descriptor.as_fd(), Some(kind))?;
        }
        Ok(())
    }

    /// The same, held once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            net: self.net.try_clone()?,
            uts: self.uts.try_clone()?,
            ipc: self.ipc.try_clone()?,
        })
    }
}

/// Runs `work` on a thread of its own, which may end in other namespaces.
fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new()
            .name("lateen-sandbox".into())
            .spawn_scoped(scope, work)?;
        spawned
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that makes a pod has panicked")))
    })
}
