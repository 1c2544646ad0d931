//! The cluster's network: links of pods, service addresses by nftables, the way out.
//!
//! `services` (what kube-proxy does elsewhere) and `egress` (connections that leave the cluster) are
//! complete and are run by the supervisor in the cluster's namespace; links and addresses of pods
//! belong beside them.

pub(crate) mod egress;
pub(crate) mod services;
