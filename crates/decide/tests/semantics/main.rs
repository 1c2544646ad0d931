//! What decisions mean: scenarios from Istio's rules, and generated meshes against an
//! interpreter.

mod actions;
mod check;
mod clusters;
mod delegates;
mod destination_rules;
mod equivalence;
mod gateways;
mod generate;
mod listeners;
mod naive;
mod names;
mod request;
mod store;
mod treatment;
mod virtual_services;
mod world;
