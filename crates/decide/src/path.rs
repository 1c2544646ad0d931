//! The path of a request in canonical form.

/// Brings the path of a request into the form that is decided on *and* forwarded. Answers `false`
/// and leaves `into` alone if `path` already has that form, so that the usual request is not
/// copied; else `into` holds it, and must be what is forwarded.
///
/// RFC 3986: dot segments are removed (clamped at the root), percent-encoded unreserved characters
/// are decoded; the query is kept as it is. What is not an absolute path (`*`) is kept too.
pub fn normalize_path(path: &[u8], into: &mut Vec<u8>) -> bool {
    let _ = (path, into);
    unimplemented!()
}
