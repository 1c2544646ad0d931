//! Why a cluster did not start or end: what happened, to what, and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::options::command;

/// Why a local cluster could not be started, found or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cluster of that name runs already.
    #[error(
        "the cluster {name:?} is already running; `{}` ends it",
        command("down", name)
    )]
    Running {
        /// Its name.
        name: String,
    },
    /// No cluster of that name was ever started here, or it was forgotten.
    #[error(
        "there is no cluster {name:?} on this machine; `{}` starts it",
        command("up", name)
    )]
    Unknown {
        /// Its name.
        name: String,
    },
    /// An image was mapped to what cannot be run.
    #[error("the image {image} cannot stand for {}: {why}", program.display())]
    Image {
        /// The image's name.
        image: String,
        /// What it was mapped to.
        program: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A cluster's name that cannot be one.
    #[error(
        "{name:?} cannot be the name of a cluster: use 1 to 40 lowercase letters, digits and \
         dashes, beginning with a letter"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// A host port cannot be opened.
    #[error(
        "{address} cannot be opened for {purpose}: {cause}{}",
        port_advice(cause)
    )]
    Port {
        /// What it was for.
        purpose: String,
        /// The address wanted.
        address: SocketAddr,
        /// The system's answer.
        cause: io::Error,
    },
    /// The kernel refuses namespaces to this user.
    #[error("the kernel refuses to make the cluster's namespaces ({cause}). {advice}")]
    Namespaces {
        /// The system's answer.
        cause: io::Error,
        /// Which setting, and how to change it.
        advice: String,
    },
    /// A file or directory of the cluster.
    #[error("{what} {}: {cause}", path.display())]
    File {
        /// What was tried, such as "write".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// A directory that others could have prepared.
    #[error(
        "{} is not safe to use: {why}; remove it, or set XDG_STATE_HOME to a directory of your own",
        path.display()
    )]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A kubeconfig that cannot be read or kept.
    #[error("the kubeconfig {} cannot be changed: {why}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another system call.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
    /// The cluster ended, or said why it cannot go on, before it was ready.
    #[error("the cluster did not start: {why}; its log is {}", log.display())]
    Start {
        /// Its last words.
        why: String,
        /// Its log.
        log: PathBuf,
    },
    /// The cluster did not end.
    #[error("the cluster's process {pid} does not end, even by SIGKILL")]
    Stuck {
        /// The process.
        pid: i32,
    },
}

// === impl Error ===

impl Error {
    /// Wraps a failed system call: `.map_err(Error::system("make a socket"))`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::System {
            what,
            cause: cause.into(),
        }
    }

    /// Wraps an error of a file: `.map_err(Error::file("write", &path))`.
    pub(crate) fn file<E: Into<io::Error>>(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |cause| Self::File {
            what,
            path,
            cause: cause.into(),
        }
    }
}

fn port_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "; another program has it: choose another port, or 0 for any",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root: choose a higher one",
        _ => "",
    }
}
