//! What decisions mean: scenarios from Istio's rules, and generated meshes against an
//! interpreter.

mod check;
mod equivalence;
mod generate;
mod naive;
mod request;
