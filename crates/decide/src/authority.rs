//! The host of an authority in canonical form.
