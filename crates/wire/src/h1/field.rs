//! Header fields: spans over the caller's buffer, the names that the engine knows, and checked
//! names and values for fields that are written.
//!
//! It is not a map: a head is a short list in the order in which it was sent, and is searched by
//! [`Id`] (one byte per field) or by name.

/// A range of the buffer from which a head was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A span of two offsets. Heads are limited to less than 4 GiB ([`super::head::Limits`]).
    #[allow(
        clippy::cast_possible_truncation,
        reason = "`Limits::head_bytes` is a u32, and no offset of a head is beyond it"
    )]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// The offset of the first byte.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// The offset after the last byte.
    pub fn end(self) -> usize {
        self.end as usize
    }

    /// The number of bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are no bytes.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes; empty if `input` is not the buffer from which the span was made.
    pub fn of(self, input: &[u8]) -> &[u8] {
        input.get(self.start()..self.end()).unwrap_or_default()
    }
}

/// The fields that the engine, the router or the access log look for: a byte to compare instead
/// of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the field of that name")]
pub enum Id {
    Other,
    Te,
    Via,
    Date,
    Host,
    Cookie,
    Expect,
    Server,
    Trailer,
    Upgrade,
    Connection,
    KeepAlive,
    UserAgent,
    ContentType,
    XRequestId,
    Authorization,
    ContentLength,
    Http2Settings,
    XForwardedFor,
    ProxyConnection,
    XForwardedHost,
    TransferEncoding,
    XForwardedProto,
    XEnvoyAttemptCount,
    XEnvoyOriginalPath,
}

impl Id {
    /// Finds the id of a name, in any case.
    pub fn of(name: &[u8]) -> Self {
        let candidates: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::Te)],
            3 => &[("via", Self::Via)],
            4 => &[("host", Self::Host), ("date", Self::Date)],
            6 => &[
                ("cookie", Self::Cookie),
                ("server", Self::Server),
                ("expect", Self::Expect),
            ],
            7 => &[("upgrade", Self::Upgrade), ("trailer", Self::Trailer)],
            10 => &[
                ("connection", Self::Connection),
                ("user-agent", Self::UserAgent),
                ("keep-alive", Self::KeepAlive),
            ],
            12 => &[
                ("content-type", Self::ContentType),
                ("x-request-id", Self::XRequestId),
            ],
            13 => &[("authorization", Self::Authorization)],
            14 => &[
                ("content-length", Self::ContentLength),
                ("http2-settings", Self::Http2Settings),
            ],
            15 => &[("x-forwarded-for", Self::XForwardedFor)],
            16 => &[
                ("proxy-connection", Self::ProxyConnection),
                ("x-forwarded-host", Self::XForwardedHost),
            ],
            17 => &[
                ("transfer-encoding", Self::TransferEncoding),
                ("x-forwarded-proto", Self::XForwardedProto),
            ],
            21 => &[
                ("x-envoy-attempt-count", Self::XEnvoyAttemptCount),
                ("x-envoy-original-path", Self::XEnvoyOriginalPath),
            ],
            _ => &[],
        };
        // The first byte decides nearly always: most names of these lengths are of none of these.
        let first = name.first().map_or(0, |byte| byte | 0x20);
        for (candidate, id) in candidates {
            let candidate = candidate.as_bytes();
            if candidate[0] == first && name.eq_ignore_ascii_case(candidate) {
                return *id;
            }
        }
        Self::Other
    }

    /// Whether fields of this name belong to one connection and are never sent on as they are:
    /// the writer makes its own where the next connection needs one (RFC 9110 §7.6.1).
    ///
    /// `Proxy-Authorization` and `Proxy-Authenticate` are not among them: nobody authenticates to
    /// a transparent proxy, so they are meant for a proxy further on (RFC 9110 §11.7).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
        )
    }

    /// Whether `Connection` may not name this field away, and an [`super::write::Edit`] may not
    /// touch it: it says where a message ends or for whom it is.
    pub fn is_protected(self) -> bool {
        matches!(
            self,
            Self::Host | Self::ContentLength | Self::TransferEncoding | Self::Connection
        )
    }
}

/// One field line of a parsed head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name as sent.
    pub name: Span,
    /// The value without the white space around it; may be empty.
    pub value: Span,
    /// Which of the known fields it is.
    pub id: Id,
    /// Whether it is for this connection only: hop-by-hop by definition, or because `Connection`
    /// names it. Such fields are neither sent on nor shown to the router.
    pub is_hop: bool,
}

/// A field's name, checked to be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    bytes: &'a [u8],
    id: Id,
}

impl<'a> Name<'a> {
    /// Checks a name; nothing if it is not a token.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        is_token(bytes).then(|| Self {
            bytes,
            id: Id::of(bytes),
        })
    }

    /// The name.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Which of the known fields it names.
    pub fn id(self) -> Id {
        self.id
    }

    /// Whether a field has this name.
    pub(crate) fn names(self, field: &Field, input: &[u8]) -> bool {
        self.id == field.id
            && (self.id != Id::Other || self.bytes.eq_ignore_ascii_case(field.name.of(input)))
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $constant:ident = $text:literal, $id:ident;)*) => {
        impl Name<'static> {
            $($(#[$doc])* pub const $constant: Self = Self { bytes: $text, id: Id::$id };)*
        }

        #[cfg(test)]
        const CONSTANTS: &[Name<'static>] = &[$(Name::$constant),*];
    };
}

names! {
    /// `date`
    DATE = b"date", Date;
    /// `server`
    SERVER = b"server", Server;
    /// `via`
    VIA = b"via", Via;
    /// `content-type`
    CONTENT_TYPE = b"content-type", ContentType;
    /// `location`
    LOCATION = b"location", Other;
    /// `x-request-id`
    X_REQUEST_ID = b"x-request-id", XRequestId;
    /// `x-forwarded-for`
    X_FORWARDED_FOR = b"x-forwarded-for", XForwardedFor;
    /// `x-forwarded-proto`
    X_FORWARDED_PROTO = b"x-forwarded-proto", XForwardedProto;
    /// `x-forwarded-host`
    X_FORWARDED_HOST = b"x-forwarded-host", XForwardedHost;
    /// `x-envoy-attempt-count`
    X_ENVOY_ATTEMPT_COUNT = b"x-envoy-attempt-count", XEnvoyAttemptCount;
    /// `x-envoy-original-path`
    X_ENVOY_ORIGINAL_PATH = b"x-envoy-original-path", XEnvoyOriginalPath;
    /// `x-envoy-upstream-service-time`
    X_ENVOY_UPSTREAM_SERVICE_TIME = b"x-envoy-upstream-service-time", Other;
    /// `x-envoy-decorator-operation`
    X_ENVOY_DECORATOR_OPERATION = b"x-envoy-decorator-operation", Other;
    /// `x-envoy-internal`
    X_ENVOY_INTERNAL = b"x-envoy-internal", Other;
    /// `x-envoy-external-address`
    X_ENVOY_EXTERNAL_ADDRESS = b"x-envoy-external-address", Other;
    /// `x-envoy-peer-metadata`
    X_ENVOY_PEER_METADATA = b"x-envoy-peer-metadata", Other;
    /// `x-envoy-peer-metadata-id`
    X_ENVOY_PEER_METADATA_ID = b"x-envoy-peer-metadata-id", Other;
    /// `x-envoy-downstream-service-cluster`
    X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER = b"x-envoy-downstream-service-cluster", Other;
    /// `x-envoy-downstream-service-node`
    X_ENVOY_DOWNSTREAM_SERVICE_NODE = b"x-envoy-downstream-service-node", Other;
    /// `x-envoy-expected-rq-timeout-ms`
    X_ENVOY_EXPECTED_RQ_TIMEOUT_MS = b"x-envoy-expected-rq-timeout-ms", Other;
    /// `x-envoy-force-trace`
    X_ENVOY_FORCE_TRACE = b"x-envoy-force-trace", Other;
    /// `x-envoy-ip-tags`
    X_ENVOY_IP_TAGS = b"x-envoy-ip-tags", Other;
    /// `x-envoy-max-retries`
    X_ENVOY_MAX_RETRIES = b"x-envoy-max-retries", Other;
    /// `x-envoy-retry-on`
    X_ENVOY_RETRY_ON = b"x-envoy-retry-on", Other;
    /// `x-envoy-retry-grpc-on`
    X_ENVOY_RETRY_GRPC_ON = b"x-envoy-retry-grpc-on", Other;
    /// `x-envoy-upstream-rq-timeout-ms`
    X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS = b"x-envoy-upstream-rq-timeout-ms", Other;
}

/// A field's value, checked to have no control character but HTAB: nothing written through it can
/// end its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// Checks a value; nothing if it has a control character, or white space around it.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let is_trimmed = !bytes.first().is_some_and(|byte| is_ows(*byte))
            && !bytes.last().is_some_and(|byte| is_ows(*byte));
        (is_trimmed && bytes.iter().all(|byte| is_value_byte(*byte))).then_some(Self(bytes))
    }

    /// The value.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Whether `byte` is optional white space: SP or HTAB.
pub(crate) fn is_ows(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Which bytes may be in a token (RFC 9110 §5.6.2).
const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut byte: u8 = 0;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

/// Whether `byte` may be in a token.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// Whether `bytes` are a token: not empty, and nothing but token characters.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether `byte` may be in a field's value: visible, SP, HTAB or obs-text (RFC 9110 §5.5).
pub(crate) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Removes white space on both sides.
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_ows(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, without the white space around them. Empty members
/// are left out (RFC 9110 §5.6.1.2).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trim_ows)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_any_case() {
        assert_eq!(Id::of(b"TRANSFER-encoding"), Id::TransferEncoding);
        assert_eq!(Id::of(b"hOST"), Id::Host);
        assert_eq!(Id::of(b"x-other"), Id::Other);
        assert_eq!(Id::of(b"hosts"), Id::Other);
    }

    #[test]
    fn constant_names_carry_the_id_that_a_parsed_name_would() {
        for name in CONSTANTS {
            assert_eq!(Some(*name), Name::new(name.as_bytes()));
        }
    }

    #[test]
    fn a_value_that_could_end_its_line_is_refused() {
        assert!(Value::new(b"a\r\nb: c").is_none());
        assert!(Value::new(b"a\nb").is_none());
        assert!(Value::new(b"a\0b").is_none());
        assert!(Value::new(b" a").is_none());
        assert!(Value::new(b"a\tb \xc3\xa9").is_some());
        assert!(Value::new(b"").is_some());
    }

    #[test]
    fn lists_leave_out_empty_members() {
        let members: Vec<&[u8]> = list(b" a ,, b,\t").collect();
        assert_eq!(members, [b"a", b"b"]);
    }
}
