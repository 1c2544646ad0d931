//! Tests that hold what `lateen why` says against what a proxy does.
//!
//! It is a crate of its own because no other may know both sides: the command knows the control
//! plane and never the proxy, the proxy knows nothing of either.
