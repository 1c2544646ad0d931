//! The commands, one module each.

pub(crate) mod analyze;
pub(crate) mod bookinfo;
pub(crate) mod cluster;
pub(crate) mod control;
pub(crate) mod install;
pub(crate) mod proxy_config;
pub(crate) mod proxy_status;
pub(crate) mod why;
