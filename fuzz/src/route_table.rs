//! The compiled route table against the naive interpreter of Istio's semantics: for any rules and
//! any request both decide the same. It belongs to `lateen-decide`; until its target is written
//! the property test of that crate is what compares them.
