//! `lateen up`: opens host ports, starts the publisher, waits until the cluster is ready.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::options::{Options, Published, context_name};
use super::outside::{Event, Handover};
use super::state::{Home, Record};
use super::{Error, PUBLISHER, images, isolate, kubeconfig};
use crate::publisher::channel;

/// What `up` is doing, for whoever waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// One line, such as "starting the API server".
    pub text: String,
}

/// Starts a cluster and returns when it is ready; it goes on in the background.
///
/// The caller must dispatch [`super::child_main`] first thing in `main`: the cluster's processes
/// are this program again.
pub fn up(options: &Options, mut progress: impl FnMut(Progress)) -> Result<Record, Error> {
    let home = Home::open(&options.name, options.state.as_deref())?;
    let Some(lock) = home.lock()? else {
        return Err(Error::Running {
            name: options.name.clone(),
        });
    };
    home.remove_record()?;
    let mut options = options.clone();
    options.images = images::all(&home, &options)?;
    let listeners = open_ports(&mut options)?;
    images::keep(&home, &options.images)?;
    let (ours, theirs) = channel::pair().map_err(Error::system("make a channel"))?;
    let (events, tell) = channel::pair().map_err(Error::system("make a channel"))?;
    let log = home.open_log()?;
    let log = || log.try_clone().map_err(Error::file("open", home.log()));
    Command::new(isolate::THIS_PROGRAM)
        .arg0("lateen")
        .arg(PUBLISHER)
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(log()?)
        .stderr(log()?)
        .spawn()
        .map_err(Error::system("start the publisher"))?;
    let lock = OwnedFd::from(lock.0);
    let mut descriptors = vec![&lock, &tell];
    descriptors.extend(&listeners);
    let root = home.directory().parent().unwrap_or(home.directory());
    let handover = Handover { root: root.into() };
    handover.send(&ours, &options, &descriptors)?;
    // From here on only the cluster holds them: an end of either is seen.
    drop((lock, tell, listeners));
    wait_until_ready(&home, &ours, &events, &mut progress)?;
    select_context(&home, &options)?;
    home.record()?.ok_or_else(|| Error::Start {
        why: "it has already ended".into(),
        log: home.log(),
    })
}

/// Opens the host's ports and notes which ones they became.
fn open_ports(options: &mut Options) -> Result<Vec<OwnedFd>, Error> {
    let mut listeners = vec![open_port("the API server", &mut options.api)?];
    for Published {
        purpose, address, ..
    } in &mut options.published
    {
        listeners.push(open_port(purpose, address)?);
    }
    Ok(listeners)
}

fn open_port(purpose: &str, address: &mut SocketAddr) -> Result<OwnedFd, Error> {
    let open = || {
        let listener = TcpListener::bind(*address)?;
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    };
    let (opened, listener) = open().map_err(|cause: io::Error| Error::Port {
        purpose: purpose.into(),
        address: *address,
        cause,
    })?;
    *address = opened;
    Ok(listener.into())
}

fn wait_until_ready(
    home: &Home,
    publisher: &OwnedFd,
    events: &OwnedFd,
    progress: &mut impl FnMut(Progress),
) -> Result<(), Error> {
    let failed = |why: String| Error::Start {
        why,
        log: home.log(),
    };
    loop {
        let parcel =
            channel::receive(events.as_fd()).map_err(Error::system("wait for the cluster"))?;
        let Some(parcel) = parcel else {
            // The publisher tells on its own channel what kept it from starting anything.
            let last = channel::receive(publisher.as_fd()).ok().flatten();
            let last = last.and_then(|parcel| serde_json::from_slice(&parcel.bytes).ok());
            return Err(failed(match last {
                Some(Event::Failed(why)) => why,
                _ => format!("it ended unexpectedly. {}", home.last_words()),
            }));
        };
        let event = serde_json::from_slice(&parcel.bytes)
            .map_err(Error::system("understand the cluster"))?;
        match event {
            Event::Doing(text) => progress(Progress { text }),
            Event::Ready => return Ok(()),
            Event::Failed(why) => return Err(failed(why)),
        }
    }
}

/// Adds the cluster's context to the user's kubeconfig and selects it.
fn select_context(home: &Home, options: &Options) -> Result<(), Error> {
    let Some(path) = kubeconfig::path(options.kubeconfig.as_deref()) else {
        return Ok(());
    };
    let access = kubeconfig::Access::load(&home.kubeconfig())?;
    let name = context_name(&options.name);
    let previous = kubeconfig::add(&path, &name, &access)?;
    // After a crash the context was never removed: what was before it then is still what was.
    if previous.as_deref() == Some(name.as_str()) {
        return Ok(());
    }
    let kept = home.previous_context();
    kubeconfig::replace(&kept, previous.unwrap_or_default().as_bytes())
        .map_err(Error::file("write", kept))
}
