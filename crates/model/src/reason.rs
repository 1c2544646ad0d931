//! Why a request got what it got: one closed list for metrics, logs and `lateen why`.

use std::fmt;

/// Why the proxy answered a request itself, or why an exchange did not end well.
///
/// The flag is Envoy's `response_flags`, the details are Envoy's `RESPONSE_CODE_DETAILS`, so that
/// dashboards and alerts keep working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No rule matched the request.
    NoRoute,
    /// The destination's host or subset does not exist.
    NoCluster,
    /// No endpoint of the destination takes requests.
    NoHealthyUpstream,
    /// The host that is asked for has no address, or nobody said in time which.
    DnsResolutionFailure,
    /// The connection to the upstream failed.
    UpstreamConnectionFailure,
    /// The upstream closed the connection before its response was whole.
    UpstreamConnectionTermination,
    /// The upstream's response is not valid HTTP.
    UpstreamProtocolError,
    /// A limit of the upstream (connections, pending requests) is reached.
    UpstreamOverflow,
    /// The route's timeout.
    UpstreamRequestTimeout,
    /// The client went away before the response was whole.
    DownstreamConnectionTermination,
    /// The client's request is not valid HTTP.
    DownstreamProtocolError,
    /// The request's head or a part of it is too large.
    RequestHeadTooLarge,
    /// The client did not send its head in time.
    RequestHeadTimeout,
    /// The request's transfer coding is unknown.
    UnknownTransferCoding,
    /// The request's version of HTTP is neither 1.0 nor 1.1.
    UnsupportedVersion,
    /// The stream was idle for too long.
    StreamIdleTimeout,
    /// The connection reached the age that its destination allows.
    ConnectionDurationLimit,
    /// The destination is unknown and the mesh allows only registered ones.
    BlackHole,
    /// The request loops: its original destination is the proxy itself.
    Loop,
    /// The proxy is overloaded.
    Overload,
    /// Retries were due, but none was left (the last answer is sent on) or the limit forbade them.
    RetryLimitExceeded,
    /// A fault was injected in place of an answer.
    FaultAbort,
    /// A fault delayed the request, which then went its way.
    FaultDelay,
    /// The rule answers by itself, or sends the client elsewhere.
    DirectResponse,
}

impl Reason {
    /// Every reason, for tables and documentation.
    pub const ALL: [Self; 24] = [
        Self::NoRoute,
        Self::NoCluster,
        Self::NoHealthyUpstream,
        Self::DnsResolutionFailure,
        Self::UpstreamConnectionFailure,
        Self::UpstreamConnectionTermination,
        Self::UpstreamProtocolError,
        Self::UpstreamOverflow,
        Self::UpstreamRequestTimeout,
        Self::DownstreamConnectionTermination,
        Self::DownstreamProtocolError,
        Self::RequestHeadTooLarge,
        Self::RequestHeadTimeout,
        Self::UnknownTransferCoding,
        Self::UnsupportedVersion,
        Self::StreamIdleTimeout,
        Self::ConnectionDurationLimit,
        Self::BlackHole,
        Self::Loop,
        Self::Overload,
        Self::RetryLimitExceeded,
        Self::FaultAbort,
        Self::FaultDelay,
        Self::DirectResponse,
    ];

    /// Envoy's flag for `response_flags`; `-` where Envoy has none.
    pub fn flag(self) -> &'static str {
        match self {
            Self::NoRoute => "NR",
            Self::NoCluster => "NC",
            Self::NoHealthyUpstream => "UH",
            Self::DnsResolutionFailure => "DF",
            Self::UpstreamConnectionFailure => "UF",
            Self::UpstreamConnectionTermination => "UC",
            Self::UpstreamProtocolError => "UPE",
            Self::UpstreamOverflow => "UO",
            Self::UpstreamRequestTimeout => "UT",
            Self::DownstreamConnectionTermination => "DC",
            Self::DownstreamProtocolError
            | Self::RequestHeadTooLarge
            | Self::UnknownTransferCoding
            | Self::UnsupportedVersion => "DPE",
            Self::StreamIdleTimeout => "SI",
            Self::ConnectionDurationLimit => "DT",
            Self::Overload => "OM",
            Self::RetryLimitExceeded => "URX",
            Self::FaultAbort => "FI",
            Self::FaultDelay => "DI",
            Self::RequestHeadTimeout | Self::BlackHole | Self::Loop | Self::DirectResponse => "-",
        }
    }

    /// Envoy's words for `RESPONSE_CODE_DETAILS`.
    pub fn details(self) -> &'static str {
        match self {
            Self::NoRoute => "route_not_found",
            Self::NoCluster => "cluster_not_found",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::DnsResolutionFailure => "dns_resolution_failure",
            Self::UpstreamConnectionFailure => {
                "upstream_reset_before_response_started{connection_failure}"
            }
            Self::UpstreamConnectionTermination => {
                "upstream_reset_before_response_started{connection_termination}"
            }
            Self::UpstreamProtocolError => "upstream_reset_before_response_started{protocol_error}",
            Self::UpstreamOverflow => "upstream_reset_before_response_started{overflow}",
            Self::UpstreamRequestTimeout => "response_timeout",
            Self::DownstreamConnectionTermination => "downstream_remote_disconnect",
            Self::DownstreamProtocolError => "http1.codec_error",
            Self::RequestHeadTooLarge => "request_headers_too_large",
            Self::RequestHeadTimeout => "request_header_timeout",
            Self::UnknownTransferCoding => "http1.invalid_transfer_encoding",
            Self::UnsupportedVersion => "http1.unsupported_version",
            Self::StreamIdleTimeout => "stream_idle_timeout",
            Self::ConnectionDurationLimit => "max_connection_duration_reached",
            Self::BlackHole | Self::DirectResponse => "direct_response",
            Self::Loop => "loop",
            Self::Overload => "overload",
            Self::RetryLimitExceeded => "via_upstream",
            Self::FaultAbort => "fault_filter_abort",
            Self::FaultDelay => "fault_filter_delay",
        }
    }

    /// The status of the proxy's own answer; 0 where there is nobody left to answer, or where the
    /// status does not follow from the reason.
    pub fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::DownstreamProtocolError | Self::Loop => 400,
            Self::RequestHeadTooLarge => 431,
            Self::RequestHeadTimeout | Self::StreamIdleTimeout => 408,
            Self::UnknownTransferCoding => 501,
            Self::UnsupportedVersion => 505,
            Self::UpstreamProtocolError | Self::BlackHole => 502,
            Self::NoCluster
            | Self::NoHealthyUpstream
            | Self::DnsResolutionFailure
            | Self::UpstreamConnectionFailure
            | Self::UpstreamConnectionTermination
            | Self::UpstreamOverflow
            | Self::Overload => 503,
            Self::UpstreamRequestTimeout => 504,
            // The status of these is the upstream's, or what the rule says.
            Self::RetryLimitExceeded
            | Self::FaultAbort
            | Self::FaultDelay
            | Self::DirectResponse
            | Self::ConnectionDurationLimit
            | Self::DownstreamConnectionTermination => 0,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.details())
    }
}
