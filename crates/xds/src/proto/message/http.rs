//! What rules for HTTP do with a request.

use prost::{Message, Oneof};

use super::{Destination, HttpMatch, Retries, StringMatch, Unit, WeightedDestination};

/// Without an action, requests go to `route`.
#[derive(Clone, PartialEq, Message)]
pub struct HttpRule {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub matches: Vec<HttpMatch>,
    #[prost(message, repeated, tag = "3")]
    pub route: Vec<WeightedDestination>,
    #[prost(message, optional, tag = "4")]
    pub rewrite: Option<Rewrite>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "5")]
    pub timeout: Option<u64>,
    #[prost(message, optional, tag = "6")]
    pub retries: Option<Retries>,
    #[prost(message, optional, tag = "7")]
    pub delay: Option<Delay>,
    #[prost(message, optional, tag = "8")]
    pub abort: Option<Abort>,
    #[prost(message, repeated, tag = "9")]
    pub mirrors: Vec<Mirror>,
    #[prost(message, optional, tag = "10")]
    pub cors: Option<CorsPolicy>,
    #[prost(message, optional, tag = "11")]
    pub headers: Option<HeaderRules>,
    #[prost(oneof = "HttpAction", tags = "12, 13, 14")]
    pub action: Option<HttpAction>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum HttpAction {
    #[prost(message, tag = "12")]
    Redirect(Redirect),
    #[prost(message, tag = "13")]
    DirectResponse(DirectResponse),
    #[prost(message, tag = "14")]
    Delegate(Delegate),
}

/// Without a path, that of the request is kept.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Redirect {
    #[prost(string, optional, tag = "1")]
    pub authority: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub scheme: Option<String>,
    #[prost(uint32, tag = "3")]
    pub code: u32,
    #[prost(oneof = "RedirectPath", tags = "4, 5")]
    pub path: Option<RedirectPath>,
    #[prost(message, optional, tag = "6")]
    pub port: Option<RedirectPort>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum RedirectPath {
    #[prost(string, tag = "4")]
    Replace(String),
    #[prost(string, tag = "5")]
    ReplacePrefix(String),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RedirectPort {
    #[prost(oneof = "RedirectPortKind", tags = "1, 2, 3, 4")]
    pub kind: Option<RedirectPortKind>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum RedirectPortKind {
    #[prost(message, tag = "1")]
    Keep(Unit),
    #[prost(uint32, tag = "2")]
    Number(u32),
    #[prost(message, tag = "3")]
    FromRequest(Unit),
    #[prost(message, tag = "4")]
    FromScheme(Unit),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct DirectResponse {
    #[prost(uint32, tag = "1")]
    pub status: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub body: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Delegate {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Rewrite {
    #[prost(string, optional, tag = "1")]
    pub authority: Option<String>,
    #[prost(oneof = "UriRewrite", tags = "2, 3")]
    pub uri: Option<UriRewrite>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum UriRewrite {
    #[prost(string, tag = "2")]
    Prefix(String),
    #[prost(message, tag = "3")]
    Regex(RegexRewrite),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RegexRewrite {
    #[prost(string, tag = "1")]
    pub pattern: String,
    #[prost(string, tag = "2")]
    pub replacement: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Delay {
    /// Nanoseconds.
    #[prost(uint64, tag = "1")]
    pub duration: u64,
    /// Parts per million.
    #[prost(uint32, tag = "2")]
    pub percentage: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Abort {
    /// Parts per million.
    #[prost(uint32, tag = "1")]
    pub percentage: u32,
    #[prost(oneof = "AbortWith", tags = "2, 3")]
    pub with: Option<AbortWith>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Oneof)]
pub enum AbortWith {
    #[prost(uint32, tag = "2")]
    Http(u32),
    #[prost(uint32, tag = "3")]
    Grpc(u32),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Mirror {
    #[prost(message, optional, tag = "1")]
    pub destination: Option<Destination>,
    /// Parts per million.
    #[prost(uint32, tag = "2")]
    pub percentage: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CorsPolicy {
    #[prost(message, repeated, tag = "1")]
    pub allow_origins: Vec<StringMatch>,
    #[prost(string, repeated, tag = "2")]
    pub allow_methods: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub allow_headers: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub expose_headers: Vec<String>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "5")]
    pub max_age: Option<u64>,
    #[prost(bool, tag = "6")]
    pub allow_credentials: bool,
    #[prost(bool, tag = "7")]
    pub answers_unmatched_preflights: bool,
}

/// A part that is absent changes nothing.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct HeaderRules {
    #[prost(message, optional, tag = "1")]
    pub request: Option<HeaderChanges>,
    #[prost(message, optional, tag = "2")]
    pub response: Option<HeaderChanges>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct HeaderChanges {
    #[prost(message, repeated, tag = "1")]
    pub set: Vec<Header>,
    #[prost(message, repeated, tag = "2")]
    pub add: Vec<Header>,
    #[prost(string, repeated, tag = "3")]
    pub remove: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Header {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}
