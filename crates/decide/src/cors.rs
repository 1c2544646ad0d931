//! Cross-origin resource sharing, in compiled form.

use lateen_model::http::CorsPolicy;
use lateen_model::route::StringMatch;

use crate::condition::Test;

/// A policy of cross-origin resource sharing.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: std::sync::Arc<[Test]>,
    /// `access-control-allow-methods`, joined by commas; empty if not given.
    pub allow_methods: Box<str>,
    /// `access-control-allow-headers`.
    pub allow_headers: Box<str>,
    /// `access-control-expose-headers`.
    pub expose_headers: Box<str>,
    /// `access-control-max-age`; empty if not given.
    pub max_age: Box<str>,
    /// `access-control-allow-credentials: true`.
    pub allow_credentials: bool,
    /// Preflights of other origins are answered by the proxy.
    pub answers_unmatched_preflights: bool,
    written: CorsPolicy,
}

// === impl Cors ===

impl Cors {
    /// Compiles a policy.
    ///
    /// # Errors
    /// The place of the origin, its expression and what is wrong with it.
    pub fn compile(written: &CorsPolicy) -> Result<Self, (usize, String, String)> {
        let mut origins = Vec::with_capacity(written.allow_origins.len());
        for (at, origin) in written.allow_origins.iter().enumerate() {
            let test = Test::compile(origin).map_err(|(text, problem)| (at, text, problem))?;
            origins.push(test);
        }
        let max_age = written.max_age.map(|age| age.as_secs().to_string());
        Ok(Self {
            origins: origins.into(),
            allow_methods: written.allow_methods.join(",").into(),
            allow_headers: written.allow_headers.join(",").into(),
            expose_headers: written.expose_headers.join(",").into(),
            max_age: max_age.unwrap_or_default().into(),
            allow_credentials: written.allow_credentials,
            answers_unmatched_preflights: written.answers_unmatched_preflights,
            written: written.clone(),
        })
    }

    /// The policy as it was written.
    pub fn written(&self) -> &CorsPolicy {
        &self.written
    }

    /// Answers whether an origin is allowed.
    pub fn allows(&self, origin: &[u8]) -> bool {
        let any = |one: &StringMatch| *one == StringMatch::Exact("*".into());
        self.origins.iter().any(|test| test.accepts(origin))
            || self.written.allow_origins.iter().any(any)
    }
}

impl PartialEq for Cors {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Cors {}
