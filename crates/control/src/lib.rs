//! The control plane: turns what users write in the Kubernetes API into live configuration of
//! every proxy, injects proxies into pods, and validates what is applied.
//!
//! It never carries traffic, and knows proxies only through `lateen-xds`.
