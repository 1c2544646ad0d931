//! The publisher's process: starts the supervisor, serves it, ends with it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

use super::options::Options;
use super::state::{Home, Process, Record};
use super::{Error, isolate, kubeconfig};
use crate::publisher::channel::{self, Channel, Parcel};
use crate::publisher::server;
use crate::sys;

/// How long the supervisor may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(8);

/// What `up` hands to the publisher and the publisher to the supervisor.
///
/// The descriptors of the same parcel are, in this order: the options, the lock, where `up` waits
/// for events, the API's listener, the listeners of [`Options::published`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    /// The state root that was chosen; the environment of a later process may differ.
    pub(super) root: PathBuf,
}

/// A [`Handover`] with its descriptors told apart.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) options: Options,
    pub(super) home: Home,
    pub(super) lock: OwnedFd,
    pub(super) events: OwnedFd,
    pub(super) api: OwnedFd,
    pub(super) published: Vec<OwnedFd>,
    /// The options as they came, to be passed on.
    document: OwnedFd,
    root: PathBuf,
}

/// What `up` is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Event {
    /// What is being done now.
    Doing(String),
    /// The cluster is ready.
    Ready,
    /// It will never be.
    Failed(String),
}

/// Runs the publisher to its end.
pub(super) fn main() -> ExitCode {
    if let Err(error) = sys::close_inherited() {
        eprintln!("publisher: descriptors of whoever started it stay open: {error}");
    }
    let events = match take_channel() {
        Ok(channel) => channel,
        Err(error) => return fail(&error),
    };
    match run(&events) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(events.as_fd(), &Event::Failed(error.to_string()));
            fail(&error)
        }
    }
}

fn run(up: &OwnedFd) -> Result<(), Error> {
    // A session of its own: neither the terminal's end nor its interrupt is this process's.
    rustix::process::setsid().map_err(Error::system("make a session"))?;
    name_this_process(c"lateen-publish");
    // The supervisor and its containers inherit it.
    raise_limits();
    let received = Received::receive(up)?;
    let (inside, outside) = channel::pair().map_err(Error::system("make a channel"))?;
    let supervisor = isolate::start(&inside)?;
    // Only the supervisor holds its end, so that the end of either is seen.
    drop(inside);
    received.home.write_record(&Record {
        publisher: Process::of(rustix::process::getpid()).map_err(Error::system("find myself"))?,
        supervisor: Process::of(supervisor.pid).map_err(Error::system("find the supervisor"))?,
        started: Timestamp::now(),
        api: received.options.api,
        ports: Record::ports_of(&received.options.published),
        kubeconfig: kubeconfig::path(received.options.kubeconfig.as_deref()),
    })?;
    let (home, lock) = (received.home.clone(), received.lock.try_clone());
    let _lock = lock.map_err(Error::system("keep the lock"))?;
    received.send(&outside)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("start a runtime"))?;
    let served = runtime.block_on(serve(outside, &supervisor.pidfd));
    home.remove_record()?;
    served.map_err(Error::system("serve the supervisor"))
}

/// Serves until the supervisor has ended, which a signal makes it do.
async fn serve(outside: OwnedFd, supervisor: &OwnedFd) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = sys::watch(supervisor.try_clone()?)?;
    let channel = Channel::new(outside)?;
    let serve = async {
        if let Err(error) = server::serve(channel).await {
            eprintln!("publisher: the channel to the supervisor is broken: {error}");
        }
        // Without its channel the supervisor ends by itself.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ready = ended.readable() => ready?.retain_ready(),
        () = serve => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    end(supervisor, &ended).await
}

async fn end(supervisor: &OwnedFd, ended: &AsyncFd<OwnedFd>) -> io::Result<()> {
    for kind in [Signal::TERM, Signal::KILL] {
        match rustix::process::pidfd_send_signal(supervisor, kind) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if let Ok(ready) = tokio::time::timeout(END_TIMEOUT, ended.readable()).await {
            ready?.retain_ready();
            let options = rustix::process::WaitIdOptions::EXITED;
            rustix::process::waitid(rustix::process::WaitId::PidFd(supervisor.as_fd()), options)?;
            return Ok(());
        }
    }
    Err(io::Error::other(
        "the supervisor does not end, even by SIGKILL",
    ))
}

// === impl Handover ===

impl Handover {
    /// Sends what a cluster is started with; `descriptors` are those after the options.
    pub(super) fn send(
        &self,
        to: &OwnedFd,
        options: &Options,
        descriptors: &[&OwnedFd],
    ) -> Result<(), Error> {
        let document = document(options).map_err(Error::system("write down the options"))?;
        self.send_document(to, &document, descriptors)
    }

    fn send_document(
        &self,
        to: &OwnedFd,
        document: &OwnedFd,
        descriptors: &[&OwnedFd],
    ) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).map_err(Error::system("write down a message"))?;
        let mut all = vec![document.as_fd()];
        all.extend(descriptors.iter().map(|descriptor| descriptor.as_fd()));
        channel::send(to.as_fd(), &bytes, &all).map_err(Error::system("hand the listeners over"))
    }
}

// === impl Received ===

impl Received {
    /// Receives what [`Handover::send`] sent.
    pub(super) fn receive(from: &OwnedFd) -> Result<Self, Error> {
        let parcel = channel::receive(from.as_fd())
            .and_then(|parcel| parcel.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(Error::system("receive what to start"))?;
        Self::open(parcel)
    }

    fn open(parcel: Parcel) -> Result<Self, Error> {
        let Handover { root } =
            serde_json::from_slice(&parcel.bytes).map_err(Error::system("read a message"))?;
        let mut descriptors = parcel.descriptors.into_iter();
        let mut next = || {
            descriptors
                .next()
                .ok_or_else(|| io::Error::other("a descriptor is missing"))
                .map_err(Error::system("receive what to start"))
        };
        let (document, lock, events, api) = (next()?, next()?, next()?, next()?);
        let options = read_document(&document).map_err(Error::system("read the options"))?;
        Ok(Self {
            home: Home::open(&options.name, Some(&root))?,
            options,
            lock,
            events,
            api,
            published: descriptors.collect(),
            document,
            root,
        })
    }

    /// Passes everything on and keeps nothing: a listener must close with the supervisor.
    fn send(self, to: &OwnedFd) -> Result<(), Error> {
        let mut descriptors = vec![&self.lock, &self.events, &self.api];
        descriptors.extend(&self.published);
        let handover = Handover { root: self.root };
        handover.send_document(to, &self.document, &descriptors)
    }
}

/// Names this process for `ps` and `top`, which would call it `exe` by the path that it runs.
pub(super) fn name_this_process(name: &CStr) {
    // It changes nothing but what people see.
    let _ = rustix::thread::set_name(name);
}

/// Takes as many descriptors as the system allows: each pod needs a few, each connection one.
fn raise_limits() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        eprintln!(
            "the limit of open files stays at {:?}: {error}",
            limit.current
        );
    }
}

/// Takes the channel that this process was started with from its standard input.
pub(super) fn take_channel() -> Result<OwnedFd, Error> {
    let stdin = io::stdin();
    let channel = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)
        .map_err(Error::system("take over the channel"))?;
    let null = File::open("/dev/null").map_err(Error::file("open", "/dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(Error::system("close the standard input"))?;
    Ok(channel)
}

/// Tells `up` how it goes; it may have gone, which is its right.
pub(super) fn tell(up: std::os::fd::BorrowedFd<'_>, event: &Event) {
    if let Ok(bytes) = serde_json::to_vec(event) {
        let _ = channel::send(up, &bytes, &[]);
    }
}

/// The options are larger than a message may be, with all the schemas in their manifests.
fn document(options: &Options) -> io::Result<OwnedFd> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("lateen-options", flags)?);
    file.write_all(&serde_json::to_vec(options)?)?;
    Ok(file.into())
}

fn read_document(document: &OwnedFd) -> io::Result<Options> {
    let mut file = File::from(document.try_clone()?);
    file.rewind()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("publisher: {error}");
    ExitCode::FAILURE
}
