//! Admission: what changes or refuses objects on their way into the store.

pub(crate) mod built_in;
mod dial;
mod rules;
pub(crate) mod webhooks;
