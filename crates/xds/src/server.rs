//! The control plane's side.
