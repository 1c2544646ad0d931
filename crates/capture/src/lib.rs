//! Traffic capture and the network plumbing it stands on: nftables rules, network namespaces,
//! links, addresses and routes, all over netlink, so that no `ip`, `nft` or shell is needed.
