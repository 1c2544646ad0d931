//! Routes of the main table, and local ones.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Connection, REPLACE, family, ip_bytes, read_ip};
use crate::Error;
use crate::netlink::message::{Message, Received, flag};

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: IpNet,
    /// The next hop; none if the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// The link; found out by the kernel from `via` if unset.
    pub link: Option<String>,
    /// The address that own connections come from.
    pub source: Option<IpAddr>,
    /// Whether the next hop is on the link even though no address says so.
    pub is_onlink: bool,
    /// What happens to packets.
    pub kind: RouteKind,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouteKind {
    /// Sends packets on.
    #[default]
    Unicast,
    /// Takes packets as this host's own.
    Local,
    /// Answers that the destination is unreachable.
    Unreachable,
}

/// The length of the fixed header.
const HEADER: usize = 12;

// === impl Route ===

impl Route {
    /// To what is on a link.
    pub fn on_link(destination: IpNet, link: impl Into<String>) -> Self {
        Self {
            destination,
            via: None,
            link: Some(link.into()),
            source: None,
            is_onlink: false,
            kind: RouteKind::Unicast,
        }
    }

    /// By a next hop that a link reaches, whatever the link's addresses are.
    pub fn via(destination: IpNet, hop: IpAddr, link: impl Into<String>) -> Self {
        Self {
            via: Some(hop),
            is_onlink: true,
            ..Self::on_link(destination, link)
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            RouteKind::Local => f.write_str("local ")?,
            RouteKind::Unreachable => f.write_str("unreachable ")?,
        }
        write!(f, "{}", self.destination)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(link) = &self.link {
            write!(f, " dev {link}")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        f.write_str(if self.is_onlink { " onlink" } else { "" })
    }
}

// === impl Connection ===

impl Connection {
    /// Adds a route, in place of one to the same destination.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        self.route(
            libc::RTM_NEWROUTE,
            REPLACE,
            route,
            &format!("add route {route}"),
        )
    }

    /// Deletes a route.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), Error> {
        self.route(
            libc::RTM_DELROUTE,
            0,
            route,
            &format!("delete route {route}"),
        )
    }

    /// The routes of the main table.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let links = self.links()?;
        let name = |index| {
            let link = links.iter().find(|link| link.index == index);
            link.map(|link| link.name.clone())
        };
        let mut routes = Vec::new();
        let question = Message::new(libc::RTM_GETROUTE, flag(libc::NLM_F_DUMP), &[0; HEADER]);
        self.socket.dump("list routes", question, |received| {
            routes.extend(read_route(received, &name));
            Ok(())
        })?;
        Ok(routes)
    }

    fn route(&mut self, kind: u16, flags: i32, route: &Route, what: &str) -> Result<(), Error> {
        if let Some(via) = route.via
            && via.is_ipv4() != route.destination.addr().is_ipv4()
        {
            return Err(Error::Invalid {
                what: what.into(),
                why: "the next hop is of another version of IP".into(),
            });
        }
        let index = match &route.link {
            Some(link) => Some(self.link(link)?.index),
            None => None,
        };
        let mut message = Message::new(kind, flag(flags), &header(route));
        message.bytes(libc::RTA_DST, &ip_bytes(route.destination.network()));
        if let Some(via) = route.via {
            message.bytes(libc::RTA_GATEWAY, &ip_bytes(via));
        }
        if let Some(index) = index {
            message.ne32(libc::RTA_OIF, index);
        }
        if let Some(source) = route.source {
            message.bytes(libc::RTA_PREFSRC, &ip_bytes(source));
        }
        self.socket.request(what, message)
    }
}

fn header(route: &Route) -> Vec<u8> {
    let (table, scope, kind) = match route.kind {
        RouteKind::Unicast if route.via.is_none() => {
            (libc::RT_TABLE_MAIN, libc::RT_SCOPE_LINK, libc::RTN_UNICAST)
        }
        RouteKind::Unicast => (
            libc::RT_TABLE_MAIN,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
        ),
        RouteKind::Local => (libc::RT_TABLE_LOCAL, libc::RT_SCOPE_HOST, libc::RTN_LOCAL),
        RouteKind::Unreachable => (
            libc::RT_TABLE_MAIN,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNREACHABLE,
        ),
    };
    let mut header = vec![
        family(route.destination.addr()),
        route.destination.prefix_len(),
        0,
        0,
        table,
        libc::RTPROT_STATIC,
        scope,
        kind,
    ];
    let onlink = if route.is_onlink { RTNH_F_ONLINK } else { 0 };
    header.extend_from_slice(&onlink.to_ne_bytes());
    header
}

/// The next hop is on the link (`linux/rtnetlink.h`).
const RTNH_F_ONLINK: u32 = 4;

fn read_route(received: &Received<'_>, name: &impl Fn(u32) -> Option<String>) -> Option<Route> {
    let [version, prefix, _, _, table, _, _, kind, flags @ ..] = received.payload else {
        return None;
    };
    let kind = match *kind {
        libc::RTN_UNICAST => RouteKind::Unicast,
        libc::RTN_UNREACHABLE => RouteKind::Unreachable,
        _ => return None,
    };
    if *table != libc::RT_TABLE_MAIN {
        return None;
    }
    let attributes = received.attributes(HEADER);
    let any = if i32::from(*version) == libc::AF_INET {
        IpAddr::from([0; 4])
    } else {
        IpAddr::from([0; 16])
    };
    let ip = |kind| attributes.get(kind).and_then(read_ip);
    let flags = u32::from_ne_bytes(*flags.first_chunk()?);
    Some(Route {
        destination: IpNet::new(ip(libc::RTA_DST).unwrap_or(any), *prefix).ok()?,
        via: ip(libc::RTA_GATEWAY),
        link: attributes.ne32(libc::RTA_OIF).and_then(name),
        source: ip(libc::RTA_PREFSRC),
        is_onlink: flags & RTNH_F_ONLINK != 0,
        kind,
    })
}
