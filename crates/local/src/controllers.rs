//! The controllers of Kubernetes that a mesh needs.
