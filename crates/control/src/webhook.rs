//! The webhooks: the API server asks what becomes of a pod, and whether an object may be.
//!
//! ```text
//! /inject[/…]   Pod, CREATE ──► inject::inject ──► JSON patch
//! /validate     Istio's kinds ──► lateen_api::validate ──► allowed, with warnings, or refused
//! ```
//!
//! TLS with a certificate of the mesh's authority ([`crate::authority`]), whose public part
//! is written into the webhook configurations ([`registration`]).

pub(crate) mod registration;
mod review;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::Settings;
use crate::engine::State;
use crate::http::{Handler, Request, Response};
use crate::inject::{self, Outcome, Template};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lateen_api::{Object, told, validate};

use review::{Answer, Review};

/// What the webhooks did, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Pods that came by.
    pub(crate) inject_requests: AtomicU64,
    /// Pods that were injected.
    pub(crate) inject_success: AtomicU64,
    /// Pods that were left alone.
    pub(crate) inject_skip: AtomicU64,
    /// Pods that could not be injected.
    pub(crate) inject_failure: AtomicU64,
    /// Time taken by injection in microseconds.
    pub(crate) inject_micros: AtomicU64,
    /// Objects that passed validation.
    pub(crate) validation_passed: AtomicU64,
    /// Objects that were refused.
    pub(crate) validation_failed: AtomicU64,
    /// Requests that were no admission reviews.
    pub(crate) malformed: AtomicU64,
}

/// Answers the API server.
#[derive(Debug)]
pub(crate) struct Webhook {
    settings: Settings,
    state: Arc<State>,
    /// What was done so far.
    pub(crate) counters: Counters,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

// === impl Webhook ===

impl Webhook {
    /// Webhooks over the state of the control plane.
    pub(crate) fn new(settings: Settings, state: Arc<State>) -> Self {
        Self {
            settings,
            state,
            counters: Counters::default(),
        }
    }

    /// The handler of the server.
    pub(crate) fn handler(self: &Arc<Self>) -> Handler {
        let webhook = self.clone();
        Arc::new(move |request| {
            let response = webhook.answer(&request);
            Box::pin(async { response })
        })
    }

    fn answer(&self, request: &Request) -> Response {
        let is_inject = request.path == "/inject" || request.path.starts_with("/inject/");
        let review = match request.path.as_str() {
            _ if is_inject => Review::read(&request.body),
            "/validate" => Review::read(&request.body),
            other => {
                let why = format!("{other} is not served here; /inject and /validate are\n");
                return Response::text(http::StatusCode::NOT_FOUND, why);
            }
        };
        let review = match review {
            Ok(review) => review,
            Err(error) => {
                count(&self.counters.malformed);
                tracing::warn!(path = %request.path, %error, "not an admission review");
                let why = format!("not an AdmissionReview: {error}\n");
                return Response::text(http::StatusCode::BAD_REQUEST, why);
            }
        };
        let answer = if is_inject {
            self.inject(&review)
        } else {
            self.validate(&review)
        };
        Response::json(&review.respond(answer))
    }

    fn inject(&self, review: &Review) -> Answer {
        count(&self.counters.inject_requests);
        let start = Instant::now();
        let (namespace, pod) = (review.namespace.as_str(), &review.object);
        let name = || {
            let metadata = &pod["metadata"];
            let name = metadata["name"]
                .as_str()
                .or_else(|| metadata["generateName"].as_str());
            name.unwrap_or_default().to_owned()
        };
        if review.kind != "Pod" {
            count(&self.counters.inject_skip);
            return Answer::allow();
        }
        let outcome = inject::inject(pod, namespace, &self.template());
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters
            .inject_micros
            .fetch_add(micros, Ordering::Relaxed);
        match outcome {
            Ok(Outcome::Skipped(reason)) => {
                count(&self.counters.inject_skip);
                tracing::debug!(namespace, pod = name(), reason, "left a pod alone");
                Answer::allow()
            }
            Ok(Outcome::Injected {
                pod: injected,
                warnings,
            }) => {
                count(&self.counters.inject_success);
                tracing::info!(namespace, pod = name(), "injected");
                let patch = json_patch::diff(pod, &injected);
                let patch = serde_json::to_vec(&patch).unwrap_or_default();
                Answer {
                    warnings,
                    patch: Some(BASE64.encode(patch)),
                    ..Answer::allow()
                }
            }
            Err(refused) => {
                count(&self.counters.inject_failure);
                tracing::warn!(namespace, pod = name(), error = %refused, "cannot inject");
                Answer::refuse(format!("pod {namespace}/{}: {refused}", name()))
            }
        }
    }

    /// The template with the mesh's settings of this moment.
    fn template(&self) -> Template {
        let index = self.state.index();
        let mesh = index.mesh();
        let settings = &self.settings;
        Template {
            image: settings.proxy_image.clone(),
            revision: settings.revision.clone(),
            cluster: settings.cluster.clone(),
            trust_domain: mesh.mesh.trust_domain.clone(),
            cluster_domain: settings.cluster_domain.clone(),
            discovery_address: format!("{}.{}.svc:15012", settings.service, settings.namespace),
            default_config: mesh.default_config.clone(),
            is_prometheus_merged: mesh.is_prometheus_merged,
        }
    }

    fn validate(&self, review: &Review) -> Answer {
        // Deletion and connection need no judgement.
        if !matches!(review.operation.as_str(), "CREATE" | "UPDATE") {
            return Answer::allow();
        }
        let object = Object(&review.object);
        let mut report = validate(&review.object);
        // What is on its way out is let go, also if it was always wrong: finalizers must be able
        // to end.
        if !review.object["metadata"]["deletionTimestamp"].is_null() {
            report.errors.clear();
        }
        let warnings = told(&report.warnings);
        if report.is_valid() {
            count(&self.counters.validation_passed);
            return Answer {
                warnings,
                ..Answer::allow()
            };
        }
        count(&self.counters.validation_failed);
        let mut reference = object.reference();
        if reference.namespace.is_empty() {
            reference.namespace.clone_from(&review.namespace);
        }
        let message = format!("{reference} is invalid: {report}");
        tracing::info!(%message, "refused an object");
        Answer {
            warnings,
            ..Answer::refuse(message)
        }
    }
}

#[cfg(test)]
mod tests;
