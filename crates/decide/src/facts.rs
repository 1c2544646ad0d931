//! What a decision may know about a request: bytes as they came, nothing copied.

/// The facts of one HTTP request.
///
/// Implemented by the HTTP/1 head (ranges over a buffer) and by the HTTP/2 head; decisions are
/// generic over it, so that nothing is boxed or copied.
pub trait Facts {
    /// The method, as sent.
    fn method(&self) -> &[u8];
    /// `http` or `https`: how the request reached the mesh.
    fn scheme(&self) -> &[u8];
    /// `:authority` or `Host`, as sent, with its port if it has one; empty if there is none.
    fn authority(&self) -> &[u8];
    /// The path with its query, after [`crate::normalize_path`]: what is decided on must be what
    /// is forwarded.
    fn path(&self) -> &[u8];
    /// Every header field as name and value, in order; names in any case. Need not contain
    /// `Host`, which is asked for as [`Facts::authority`].
    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])>;

    /// The values of one header field; `name` is in lower case.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

/// Space that decisions reuse, one per worker, so that they do not allocate in steady state.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The canonical host, or its reverse.
    pub(crate) host: Vec<u8>,
    /// Values of a repeated header, joined.
    pub(crate) joined: Vec<u8>,
    /// A path in lower case.
    pub(crate) path: Vec<u8>,
}
