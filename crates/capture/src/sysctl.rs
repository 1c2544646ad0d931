//! Settings below `/proc/sys`. Those of `net/` are the calling thread's namespace's.

use std::fs;

use crate::Error;

/// Sets `name`, such as `net/ipv4/ip_forward`.
pub fn set(name: &str, value: &str) -> Result<(), Error> {
    fs::write(path(name), value)
        .map_err(|cause| Error::system(format!("set {name} to {value}"), cause))
}

/// Reads `name`.
pub fn get(name: &str) -> Result<String, Error> {
    fs::read_to_string(path(name))
        .map(|text| text.trim_end().to_owned())
        .map_err(|cause| Error::system(format!("read {name}"), cause))
}

/// Answers whether this namespace speaks IPv6 at all.
pub fn has_ipv6() -> bool {
    get("net/ipv6/conf/all/disable_ipv6").is_ok_and(|value| value == "0")
}

/// Lets packets pass from link to link.
pub fn enable_forwarding() -> Result<(), Error> {
    set("net/ipv4/ip_forward", "1")?;
    if has_ipv6() {
        set("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Lets a link answer ARP for every address that it has a route to, as a pod's gateway does.
pub fn enable_proxy_arp(link: &str) -> Result<(), Error> {
    set(&format!("net/ipv4/conf/{link}/proxy_arp"), "1")?;
    // A link answers after up to 800 ms otherwise, which a pod's first packet would wait for.
    set(&format!("net/ipv4/neigh/{link}/proxy_delay"), "0")
}

/// Lets packets from and to 127.0.0.0/8 be redirected over `link`.
pub fn enable_route_localnet(link: &str) -> Result<(), Error> {
    set(&format!("net/ipv4/conf/{link}/route_localnet"), "1")
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}
