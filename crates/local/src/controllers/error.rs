//! Why a reconciliation did not succeed.

/// Why a controller could not bring an object to what is wished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a request, or could not be reached.
    #[error("{what}: {source}")]
    Api {
        /// What was tried, with the object's name.
        what: String,
        /// What the client reports.
        source: Box<kube::Error>,
    },
    /// The object is wrong in a way that only its author can change.
    #[error("{what}: {why}")]
    Invalid {
        /// The object.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A controller ended.
    #[error("a controller ended by itself: {0}")]
    Stopped(String),
}

// === impl Error ===

impl Error {
    /// Wraps an error of the client.
    pub(super) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api {
            what,
            source: Box::new(source),
        }
    }

    /// Answers whether the object was changed by somebody else meanwhile, so that a new plan with
    /// what is known then succeeds.
    pub(super) fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// Answers whether the object does not exist any more.
    pub(super) fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// Answers whether an object of that name exists already.
    pub(super) fn is_existing(&self) -> bool {
        self.status()
            .is_some_and(kube::core::Status::is_already_exists)
    }

    /// Answers whether the namespace takes no new objects because it is being deleted.
    pub(super) fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            status.code == 403
                && (causes
                    .clone()
                    .any(|cause| cause.reason == "NamespaceTerminating")
                    || status.message.contains("being terminated"))
        })
    }

    /// What the server said, without the client's wrapping.
    pub(super) fn message(&self) -> String {
        match self.status() {
            Some(status) => status.message.clone(),
            None => self.to_string(),
        }
    }

    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Invalid { .. } | Self::Stopped(_) => None,
        }
    }
}
