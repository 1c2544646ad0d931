//! The cluster's network: links of pods, service addresses by nftables.
