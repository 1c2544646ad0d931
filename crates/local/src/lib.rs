//! A Kubernetes small enough to carry: an API server, the few controllers a mesh needs, and a
//! node that runs pods as processes, on one machine, without root.
//!
//! It is not a part of the mesh: the mesh sees only the Kubernetes API, as on any cluster.

#![allow(
    clippy::large_futures,
    reason = "nothing here is per request of a mesh; boxing each call would only hide the story"
)]

pub mod apiserver;
pub mod cluster;
pub mod controllers;
pub mod dns;
mod events;
pub mod network;
pub mod node;
pub mod publisher;
mod sys;
