//! The API server: what kubectl and kube clients talk to.
