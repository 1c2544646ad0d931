//! Why a resource is refused: the text becomes the NACK that the control plane shows as the
//! object's status.

/// Why a resource was refused; everything else stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A regular expression cannot be compiled.
    #[error("{object}: {field}: the regular expression {pattern:?} {problem}")]
    Regex {
        /// The object, as `Kind/namespace/name`.
        object: String,
        /// Where in the object, such as `http[0].match[1].uri.regex`.
        field: String,
        /// The expression.
        pattern: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A field has a value that cannot be carried out.
    #[error("{object}: {field}: {problem}")]
    Field {
        /// The object, as `Kind/namespace/name`.
        object: String,
        /// Where in the object.
        field: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
}
