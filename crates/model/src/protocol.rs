//! What a service's port speaks, and how that is found out (Istio's protocol selection).

use serde::Serialize;

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.1 towards the upstream.
    Http,
    /// HTTP/2 towards the upstream.
    Http2,
    /// gRPC: HTTP/2 with gRPC's status in metrics and local replies.
    Grpc,
    /// gRPC-Web: HTTP/2 upstream.
    GrpcWeb,
    /// TLS that the mesh does not open; routed by SNI.
    Https,
    /// TLS that the mesh does not open; routed by SNI.
    Tls,
    /// Opaque bytes; the server may speak first.
    Tcp,
    /// Never captured.
    Udp,
    /// Nothing was declared: found out from the first bytes.
    Unknown,
}

/// Ports on which servers speak first, hence TCP unless declared otherwise.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// Selects the protocol of a Kubernetes service port: `appProtocol`, then the prefix of the
    /// port's name (`<protocol>[-suffix]`), then the well-known ports of server-first protocols.
    pub fn select(number: u16, name: &str, app_protocol: Option<&str>) -> Self {
        let declared = app_protocol.and_then(Self::from_app_protocol).or_else(|| {
            let name = name.to_ascii_lowercase();
            if name == "grpc-web" || name.starts_with("grpc-web-") {
                return Some(Self::GrpcWeb);
            }
            Self::from_name(name.split('-').next().unwrap_or(""))
        });
        match declared {
            Some(protocol) => protocol,
            None if SERVER_FIRST.contains(&number) => Self::Tcp,
            None => Self::Unknown,
        }
    }

    /// Reads a protocol's name as Istio's kinds write it, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "http" | "http_proxy" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" | "mongo" | "redis" | "mysql" => Self::Tcp,
            "udp" => Self::Udp,
            _ => return None,
        })
    }

    fn from_app_protocol(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "kubernetes.io/h2c" => Some(Self::Http2),
            "kubernetes.io/ws" => Some(Self::Http),
            "kubernetes.io/wss" => Some(Self::Https),
            other => Self::from_name(other),
        }
    }

    /// Answers whether requests of this protocol are routed one by one.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// The name as Istio's kinds write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-WEB",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Unknown => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_beats_the_port_name_and_the_name_beats_the_number() {
        assert_eq!(Protocol::select(80, "tcp-a", Some("http")), Protocol::Http);
        assert_eq!(
            Protocol::select(80, "tcp-a", Some("my.org/strange")),
            Protocol::Tcp
        );
        assert_eq!(Protocol::select(3306, "http-a", None), Protocol::Http);
        assert_eq!(Protocol::select(3306, "db", None), Protocol::Tcp);
        assert_eq!(Protocol::select(9080, "web", None), Protocol::Unknown);
        assert_eq!(
            Protocol::select(9080, "GRPC-web-x", None),
            Protocol::GrpcWeb
        );
    }
}
