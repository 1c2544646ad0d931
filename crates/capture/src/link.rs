//! Links, addresses, routes and neighbours of a network namespace, over rtnetlink.

mod route;

pub use route::{Route, RouteKind};

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;

use crate::Error;
use crate::netlink::Socket;
use crate::netlink::message::{Attributes, Message, Received, flag};

/// A connection to the links of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
}

/// A link as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub is_up: bool,
    /// The largest packet.
    pub mtu: u32,
    /// Its hardware address; empty if it has none.
    pub hardware_address: Vec<u8>,
}

/// A pair of virtual Ethernet links to make.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// The name of the end in this namespace.
    pub name: &'a str,
    /// The name of the other end.
    pub peer: &'a str,
    /// The namespace of the other end; this one if unset.
    pub peer_netns: Option<BorrowedFd<'a>>,
    /// The largest packet of both ends; 1500 if unset.
    pub mtu: Option<u32>,
    /// The hardware addresses of this end and of the other; random if unset.
    pub hardware_addresses: Option<[[u8; 6]; 2]>,
}

/// The length of rtnetlink's fixed headers.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

const CREATE: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const REPLACE: i32 = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;

// === impl Connection: links ===

impl Connection {
    /// Connects to the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Socket::open(libc::NETLINK_ROUTE).map(|socket| Self { socket })
    }

    /// All links, in order of their index.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        let question = Message::new(libc::RTM_GETLINK, flag(libc::NLM_F_DUMP), &[0; LINK_HEADER]);
        self.socket.dump("list links", question, |received| {
            links.extend(read_link(received)?);
            Ok(())
        })?;
        Ok(links)
    }

    /// A link by name.
    ///
    /// # Errors
    /// One for which [`Error::is_not_found`] holds, if there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, Error> {
        let mut found = None;
        let mut question = Message::new(libc::RTM_GETLINK, 0, &[0; LINK_HEADER]);
        question.text(libc::IFLA_IFNAME, name);
        let what = format!("find link {name}");
        self.socket
            .dump(&what, question.acknowledged(), |received| {
                found = read_link(received)?;
                Ok(())
            })?;
        found.ok_or_else(|| Error::Answer {
            what,
            why: "it has no link in it".into(),
        })
    }

    /// Makes a pair of virtual Ethernet links.
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> Result<(), Error> {
        let addresses = veth.hardware_addresses.as_ref();
        let mut message = Message::new(libc::RTM_NEWLINK, flag(CREATE), &[0; LINK_HEADER]);
        end(
            &mut message,
            veth.name,
            veth.mtu,
            addresses.map(|[own, _]| own),
        );
        message.nest(libc::IFLA_LINKINFO, |link| {
            link.text(libc::IFLA_INFO_KIND, "veth");
            link.nest(libc::IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.raw(&[0; LINK_HEADER]);
                    end(peer, veth.peer, veth.mtu, addresses.map(|[_, other]| other));
                    if let Some(netns) = veth.peer_netns {
                        peer.ne32(libc::IFLA_NET_NS_FD, descriptor(netns));
                    }
                });
            });
        });
        let what = format!("add the links {} and {}", veth.name, veth.peer);
        self.socket.request(&what, message)
    }

    /// Deletes a link; the other end of a pair goes with it.
    pub fn delete(&mut self, name: &str) -> Result<(), Error> {
        let mut message = Message::new(libc::RTM_DELLINK, 0, &[0; LINK_HEADER]);
        message.text(libc::IFLA_IFNAME, name);
        self.socket.request(&format!("delete link {name}"), message)
    }

    /// Brings a link up.
    pub fn set_up(&mut self, name: &str) -> Result<(), Error> {
        self.set_state(name, true)
    }

    /// Brings a link down.
    pub fn set_down(&mut self, name: &str) -> Result<(), Error> {
        self.set_state(name, false)
    }

    /// Sets the largest packet.
    pub fn set_mtu(&mut self, name: &str, mtu: u32) -> Result<(), Error> {
        self.change(
            name,
            &format!("set the MTU of link {name} to {mtu}"),
            |message| {
                message.ne32(libc::IFLA_MTU, mtu);
            },
        )
    }

    /// Sets the hardware address.
    pub fn set_hardware_address(&mut self, name: &str, address: [u8; 6]) -> Result<(), Error> {
        self.change(
            name,
            &format!("set the hardware address of link {name}"),
            |message| {
                message.bytes(libc::IFLA_ADDRESS, &address);
            },
        )
    }

    /// Renames a link, which must be down.
    pub fn rename(&mut self, name: &str, new: &str) -> Result<(), Error> {
        let index = self.link(name)?.index;
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_header(index, 0, 0));
        message.text(libc::IFLA_IFNAME, new);
        self.socket
            .request(&format!("rename link {name} to {new}"), message)
    }

    /// Moves a link into another namespace.
    pub fn move_to(&mut self, name: &str, netns: BorrowedFd<'_>) -> Result<(), Error> {
        self.change(
            name,
            &format!("move link {name} to another namespace"),
            |message| {
                message.ne32(libc::IFLA_NET_NS_FD, descriptor(netns));
            },
        )
    }

    fn set_state(&mut self, name: &str, is_up: bool) -> Result<(), Error> {
        let up = libc::IFF_UP.cast_unsigned();
        let flags = if is_up { up } else { 0 };
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_header(0, flags, up));
        message.text(libc::IFLA_IFNAME, name);
        let state = if is_up { "up" } else { "down" };
        self.socket
            .request(&format!("bring link {name} {state}"), message)
    }

    fn change(
        &mut self,
        name: &str,
        what: &str,
        fill: impl FnOnce(&mut Message),
    ) -> Result<(), Error> {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &[0; LINK_HEADER]);
        message.text(libc::IFLA_IFNAME, name);
        fill(&mut message);
        self.socket.request(what, message)
    }
}

// === impl Connection: addresses and neighbours ===

impl Connection {
    /// Gives a link an address; without effect if it has it.
    pub fn add_address(&mut self, link: &str, address: IpNet) -> Result<(), Error> {
        let what = format!("add address {address} to link {link}");
        self.address(libc::RTM_NEWADDR, REPLACE, link, address, &what)
    }

    /// Takes an address from a link.
    pub fn delete_address(&mut self, link: &str, address: IpNet) -> Result<(), Error> {
        let what = format!("delete address {address} of link {link}");
        self.address(libc::RTM_DELADDR, 0, link, address, &what)
    }

    /// All addresses, each with its link's index.
    pub fn addresses(&mut self) -> Result<Vec<(u32, IpNet)>, Error> {
        let mut found = Vec::new();
        let question = Message::new(
            libc::RTM_GETADDR,
            flag(libc::NLM_F_DUMP),
            &[0; ADDRESS_HEADER],
        );
        self.socket.dump("list addresses", question, |received| {
            let (prefix, index) = match received.payload {
                [_, prefix, _, _, a, b, c, d, ..] => {
                    (*prefix, u32::from_ne_bytes([*a, *b, *c, *d]))
                }
                _ => return Err("an address without a header".into()),
            };
            let attributes = received.attributes(ADDRESS_HEADER);
            // Of a point-to-point link the first is the own address, the second the other end's.
            let bytes = attributes
                .get(libc::IFA_LOCAL)
                .or(attributes.get(libc::IFA_ADDRESS));
            let address = bytes.and_then(read_ip);
            found.extend(
                address
                    .and_then(|ip| IpNet::new(ip, prefix).ok())
                    .map(|net| (index, net)),
            );
            Ok(())
        })?;
        Ok(found)
    }

    /// Fixes the hardware address of a neighbour, so that nobody asks for it.
    pub fn add_neighbor(&mut self, link: &str, ip: IpAddr, hardware: [u8; 6]) -> Result<(), Error> {
        let index = self.link(link)?.index;
        let header = neighbor_header(index, ip, libc::NUD_PERMANENT, 0);
        let mut message = Message::new(libc::RTM_NEWNEIGH, flag(REPLACE), &header);
        message.bytes(libc::NDA_DST, &ip_bytes(ip));
        message.bytes(libc::NDA_LLADDR, &hardware);
        self.socket
            .request(&format!("add neighbour {ip} to link {link}"), message)
    }

    /// Has a link answer for an address that lives behind this host (IPv6's proxy ARP).
    pub fn add_proxy_neighbor(&mut self, link: &str, ip: IpAddr) -> Result<(), Error> {
        let index = self.link(link)?.index;
        let header = neighbor_header(index, ip, libc::NUD_PERMANENT, libc::NTF_PROXY);
        let mut message = Message::new(libc::RTM_NEWNEIGH, flag(REPLACE), &header);
        message.bytes(libc::NDA_DST, &ip_bytes(ip));
        self.socket.request(
            &format!("answer for neighbour {ip} on link {link}"),
            message,
        )
    }

    fn address(
        &mut self,
        kind: u16,
        flags: i32,
        link: &str,
        net: IpNet,
        what: &str,
    ) -> Result<(), Error> {
        let index = self.link(link)?.index;
        let mut header = vec![family(net.addr()), net.prefix_len(), 0, 0];
        header.extend_from_slice(&index.to_ne_bytes());
        let mut message = Message::new(kind, flag(flags), &header);
        let bytes = ip_bytes(net.addr());
        message.bytes(libc::IFA_LOCAL, &bytes);
        message.bytes(libc::IFA_ADDRESS, &bytes);
        if net.addr().is_ipv6() {
            // Nobody else can have it; the second that duplicate detection takes would be lost.
            message.ne32(libc::IFA_FLAGS, libc::IFA_F_NODAD);
        }
        self.socket.request(what, message)
    }
}

/// `veth`'s attribute that describes the other end (`VETH_INFO_PEER`).
const VETH_INFO_PEER: u16 = 1;

/// Describes one end of a pair.
fn end(message: &mut Message, name: &str, mtu: Option<u32>, hardware: Option<&[u8; 6]>) {
    message.text(libc::IFLA_IFNAME, name);
    if let Some(mtu) = mtu {
        message.ne32(libc::IFLA_MTU, mtu);
    }
    if let Some(hardware) = hardware {
        message.bytes(libc::IFLA_ADDRESS, hardware);
    }
}

fn link_header(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    for number in [index, flags, change] {
        header.extend_from_slice(&number.to_ne_bytes());
    }
    header
}

fn neighbor_header(index: u32, ip: IpAddr, state: u16, flags: u8) -> Vec<u8> {
    let mut header = vec![family(ip), 0, 0, 0];
    header.extend_from_slice(&index.to_ne_bytes());
    header.extend_from_slice(&state.to_ne_bytes());
    header.extend_from_slice(&[flags, 0]);
    header
}

fn read_link(received: &Received<'_>) -> Result<Option<Link>, String> {
    if received.kind != libc::RTM_NEWLINK {
        return Ok(None);
    }
    let number = |at: usize| {
        let bytes = received.payload.get(at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let (index, flags) = number(4).zip(number(8)).ok_or("a link without a header")?;
    let attributes: Attributes<'_> = received.attributes(LINK_HEADER);
    Ok(Some(Link {
        index,
        name: attributes
            .text(libc::IFLA_IFNAME)
            .ok_or("a link without a name")?,
        is_up: flags & libc::IFF_UP.cast_unsigned() != 0,
        mtu: attributes.ne32(libc::IFLA_MTU).unwrap_or(0),
        hardware_address: attributes
            .get(libc::IFLA_ADDRESS)
            .unwrap_or_default()
            .to_vec(),
    }))
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("open descriptors are not negative")
}

/// The number of an address's family.
fn family(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    u8::try_from(family).expect("families are small numbers")
}

fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}
