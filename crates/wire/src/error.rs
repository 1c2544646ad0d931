//! Why bytes were refused: the one [`Error`] of this crate, and the status that it answers.
//!
//! An error is a decision for the caller (which status, then close); the [`Fault`] inside it is
//! for people: it is the text of the log and of the response's details, never matched on.

/// Why bytes were refused. Every variant ends the connection on which they came: after bytes that
/// two implementations may read differently, nothing that follows can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message is malformed or ambiguous: 400.
    #[error("malformed message: {0}")]
    Malformed(Fault),
    /// The head is longer than the limit: 431.
    #[error("the head is longer than {0} bytes")]
    HeadTooLarge(usize),
    /// There are more header fields than the limit: 431.
    #[error("the head has more than {0} header fields")]
    TooManyFields(usize),
    /// A well-formed transfer coding that is not understood here: 501.
    #[error("the transfer coding is not implemented; only `chunked` is")]
    UnknownCoding,
    /// A version of HTTP other than 1.x: 505.
    #[error("the version of HTTP is not 1.0 or 1.1")]
    UnsupportedVersion,
}

impl Error {
    /// The status that answers a request with this error.
    pub fn request_status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::HeadTooLarge(_) | Self::TooManyFields(_) => 431,
            Self::UnknownCoding => 501,
            Self::UnsupportedVersion => 505,
        }
    }

    /// The status that a client gets for a response with this error: always 502, as whatever an
    /// upstream did wrong is the same to the client.
    pub fn response_status(self) -> u16 {
        502
    }
}

/// What exactly is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line feed without a carriage return before it.
    #[error("a line ends with LF alone")]
    BareLf,
    /// A carriage return without a line feed after it.
    #[error("a CR is not followed by LF")]
    BareCr,
    /// Too many empty lines before the start line.
    #[error("too many empty lines before the request line")]
    EmptyLines,
    /// The method is not a token.
    #[error("the method is not a token")]
    Method,
    /// The request line has not exactly three words separated by single spaces.
    #[error("the request line is not `method SP target SP version`")]
    RequestLine,
    /// The target is in none of the forms that the method allows, or has forbidden bytes.
    #[error("the request target is invalid")]
    Target,
    /// The version is not `HTTP/1.0` or `HTTP/1.1`.
    #[error("the HTTP version is invalid")]
    Version,
    /// The status line is not `version SP code SP reason`.
    #[error("the status line is invalid")]
    StatusLine,
    /// The status code is below 100.
    #[error("the status code is out of range")]
    StatusCode,
    /// White space before the first field, or a folded line.
    #[error("a field line starts with white space (obs-fold)")]
    ObsFold,
    /// White space between a field's name and its colon.
    #[error("white space before the colon of a field")]
    SpaceBeforeColon,
    /// A field's name is empty or not a token, or its line has no colon.
    #[error("a field name is not a token")]
    FieldName,
    /// A field's value has control characters.
    #[error("a field value has a control character")]
    FieldValue,
    /// A request of HTTP/1.1 without Host.
    #[error("the Host field is missing")]
    HostMissing,
    /// More than one Host.
    #[error("more than one Host field")]
    HostRepeated,
    /// The value of Host is not `host [":" port]`.
    #[error("the Host field is invalid")]
    HostInvalid,
    /// Both Content-Length and Transfer-Encoding.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// More than one Content-Length, or a list in one.
    #[error("more than one Content-Length")]
    LengthRepeated,
    /// A Content-Length that is not a decimal number of at most 63 bits.
    #[error("the Content-Length is not a decimal number in range")]
    LengthInvalid,
    /// A Content-Length other than 0 in a message that cannot have content.
    #[error("a Content-Length where no content is allowed")]
    LengthForbidden,
    /// Transfer-Encoding in HTTP/1.0.
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInHttp10,
    /// Transfer-Encoding that is not grammatical, or where `chunked` is not once and last.
    #[error("the Transfer-Encoding is invalid")]
    CodingInvalid,
    /// Transfer-Encoding in a response that cannot have content.
    #[error("Transfer-Encoding in a response without content")]
    CodingForbidden,
    /// The Connection field is not a list of tokens, or is too long a list.
    #[error("the Connection field is invalid")]
    Connection,
    /// A response switches protocols although the request did not ask for that protocol.
    #[error("a switch of protocols that was not asked for")]
    UnaskedUpgrade,
    /// A chunk's size is missing or not hexadecimal.
    #[error("a chunk size is not a hexadecimal number")]
    ChunkSize,
    /// A chunk's size has more than 63 bits or too many digits.
    #[error("a chunk size is out of range")]
    ChunkSizeTooLarge,
    /// A chunk extension is not grammatical.
    #[error("a chunk extension is invalid")]
    ChunkExtension,
    /// Chunk lines take more bytes than their data justifies.
    #[error("chunk extensions are too long")]
    ChunkOverhead,
    /// A chunk's data is not followed by CRLF.
    #[error("chunk data is not followed by CRLF")]
    ChunkEnd,
    /// The trailer section is longer, or has more fields, than the limit.
    #[error("the trailer section is too large")]
    TrailerTooLarge,
}
