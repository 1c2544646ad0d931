//! The crate's one error: what was tried, on which object, what the kernel said, what to do.

use std::fmt::Write as _;
use std::io;

/// Why a change of the network was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a change or a question.
    #[error("{what}: {cause}{}{}", said(detail), advice(cause))]
    Kernel {
        /// What was tried, with the object's name.
        what: String,
        /// The kernel's error number.
        cause: io::Error,
        /// The kernel's own words (extended acknowledgement); empty if it gave none.
        detail: String,
    },
    /// A system call around it failed: a namespace, a file below `/proc/sys`.
    #[error("{what}: {cause}{}", advice(cause))]
    System {
        /// What was tried, with the object's name.
        what: String,
        /// The error.
        cause: io::Error,
    },
    /// The kernel answered what this program cannot read.
    #[error("{what}: the kernel's answer is not understood ({why})")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// What was to be installed contradicts itself; nothing was sent.
    #[error("{what}: {why}")]
    Invalid {
        /// The object.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A flag cannot be read.
    #[error("--{flag} {value:?}: {why}")]
    Flag {
        /// The flag's name, without dashes.
        flag: String,
        /// What was given.
        value: String,
        /// What is wrong with it and what would be right.
        why: String,
    },
}

// === impl Error ===

impl Error {
    /// Wraps a failed system call.
    pub(crate) fn system(what: impl Into<String>, cause: io::Error) -> Self {
        Self::System {
            what: what.into(),
            cause,
        }
    }

    /// The error number, if the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { cause, .. } | Self::System { cause, .. } => cause.raw_os_error(),
            Self::Answer { .. } | Self::Invalid { .. } | Self::Flag { .. } => None,
        }
    }

    /// Answers whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.errno(),
            Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL)
        )
    }

    /// Answers whether the object exists already.
    pub fn is_existing(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
}

fn said(detail: &str) -> String {
    let mut text = String::new();
    if !detail.is_empty() {
        let _ = write!(text, ", the kernel says: {detail}");
    }
    text
}

/// The likely next step for an error number.
fn advice(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "; this needs CAP_NET_ADMIN in the network namespace: run as root, or give the \
             container that capability"
        }
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            "; the kernel lacks a feature: load the modules nf_tables, nft_chain_nat, nft_redir, \
             nft_masq, nft_numgen and veth, or use a kernel that has them"
        }
        Some(libc::EINVAL) => "; a kernel older than 5.2 has no NAT in inet tables",
        Some(libc::EROFS) => "; /proc/sys is mounted read-only here",
        Some(libc::ENOSPC | libc::EUSERS) => {
            "; a limit on namespaces is reached: see /proc/sys/user/max_*_namespaces"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_was_tried_and_what_to_do() {
        let error = Error::Kernel {
            what: "replace table inet lateen".into(),
            cause: io::Error::from_raw_os_error(libc::EPERM),
            detail: String::new(),
        };
        let text = error.to_string();
        assert!(text.starts_with("replace table inet lateen: "), "{text}");
        assert!(text.contains("CAP_NET_ADMIN"), "{text}");
    }

    #[test]
    fn the_kernels_own_words_are_kept() {
        let error = Error::Kernel {
            what: "add link a".into(),
            cause: io::Error::from_raw_os_error(libc::EEXIST),
            detail: "name in use".into(),
        };
        assert!(error.to_string().ends_with("the kernel says: name in use"));
        assert!(error.is_existing());
    }
}
