//! `lateen down`, `status` and `logs`.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::options::context_name;
use super::state::{Home, Lock, Record};
use super::{Error, kubeconfig};

/// How long the cluster may take to end by itself; its own end has a shorter bound.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a killed process may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a cluster that is just starting may take to say who it is.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a file is looked at that nobody announces changes of.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Whether a cluster runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It does not run.
    Stopped,
    /// It is starting and has not yet said who it is.
    Starting,
    /// It runs.
    Running(Box<Record>),
}

/// Answers whether the cluster `name` runs, and as what.
pub fn status(name: &str, state: Option<&Path>) -> Result<Status, Error> {
    match Home::find(name, state)? {
        Some(home) => status_of(&home),
        None => Ok(Status::Stopped),
    }
}

/// The clusters of this user that run, by their names.
pub fn running(state: Option<&Path>) -> Result<Vec<(String, Record)>, Error> {
    let mut running = Vec::new();
    for (name, home) in Home::all(state)? {
        if let Status::Running(record) = status_of(&home)? {
            running.push((name, *record));
        }
    }
    Ok(running)
}

fn status_of(home: &Home) -> Result<Status, Error> {
    if home.lock()?.is_some() {
        return Ok(Status::Stopped);
    }
    Ok(match home.record()? {
        Some(record) => Status::Running(Box::new(record)),
        None => Status::Starting,
    })
}

/// Ends the cluster `name`; returns false if it did not run.
///
/// When this returns, none of its processes is left, and with them went namespaces, links, rules
/// and mounts. The objects of its API are kept for the next `up`.
pub fn down(name: &str, state: Option<&Path>) -> Result<bool, Error> {
    let Some(home) = Home::find(name, state)? else {
        return Ok(false);
    };
    let (_lock, was_running) = stop(&home, name)?;
    Ok(was_running)
}

/// Ends the cluster `name` and forgets everything of it; returns false if there was none.
pub fn purge(name: &str, state: Option<&Path>) -> Result<bool, Error> {
    let Some(home) = Home::find(name, state)? else {
        return Ok(false);
    };
    let (_lock, _) = stop(&home, name)?;
    home.remove()?;
    Ok(true)
}

/// Ends a cluster; returns its lock, so that no `up` comes between, and whether it ran.
fn stop(home: &Home, name: &str) -> Result<(Lock, bool), Error> {
    let mut kubeconfig = kubeconfig::path(None);
    let mut was_running = false;
    let lock = if let Some(lock) = home.lock()? {
        lock
    } else {
        was_running = true;
        let record = wait_for_record(home)?;
        if let Some(record) = record {
            end(&record)?;
            kubeconfig = record.kubeconfig.or(kubeconfig);
        }
        wait_for_lock(home)?
    };
    home.remove_record()?;
    if let Some(path) = kubeconfig {
        let kept = home.previous_context();
        let previous = fs::read_to_string(&kept).unwrap_or_default();
        let previous = (!previous.is_empty()).then_some(previous.as_str());
        kubeconfig::remove(&path, &context_name(name), previous)?;
        let _ = fs::remove_file(kept);
    }
    Ok((lock, was_running))
}

/// Copies the log of the cluster to `out`; if asked to follow, until the cluster has ended.
pub fn follow_log(
    name: &str,
    state: Option<&Path>,
    follow: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let home = Home::find(name, state)?.ok_or_else(|| Error::Unknown { name: name.into() })?;
    let path = home.log();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    loop {
        // Looked at before reading: what was written before the end is still read.
        let is_running = home.lock()?.is_none();
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(Error::file("read", &path))?;
        out.write_all(&text)
            .map_err(Error::system("write the log"))?;
        out.flush().map_err(Error::system("write the log"))?;
        if !follow || !is_running {
            return Ok(());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn wait_for_record(home: &Home) -> Result<Option<Record>, Error> {
    let end = Instant::now() + RECORD_TIMEOUT;
    loop {
        if let Some(record) = home.record()? {
            return Ok(Some(record));
        }
        if Instant::now() > end || home.lock()?.is_some() {
            return Ok(None);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Asks the publisher to end, which ends the supervisor first; then insists.
fn end(record: &Record) -> Result<(), Error> {
    let publisher = record.publisher.open();
    let supervisor = record.supervisor.open();
    if let Some(publisher) = &publisher {
        send(publisher, Signal::TERM)?;
    } else if let Some(supervisor) = &supervisor {
        send(supervisor, Signal::KILL)?;
    }
    let processes = [
        (supervisor, record.supervisor.pid),
        (publisher, record.publisher.pid),
    ];
    for (process, pid) in processes {
        let Some(process) = process else { continue };
        if has_ended(&process, END_TIMEOUT)? {
            continue;
        }
        send(&process, Signal::KILL)?;
        if !has_ended(&process, KILL_TIMEOUT)? {
            return Err(Error::Stuck { pid });
        }
    }
    Ok(())
}

fn send(process: &OwnedFd, signal: Signal) -> Result<(), Error> {
    match rustix::process::pidfd_send_signal(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::system("end the cluster")(error)),
    }
}

fn has_ended(process: &OwnedFd, within: Duration) -> Result<bool, Error> {
    let timeout = Timespec::try_from(within).map_err(|_| {
        Error::system("wait for the cluster")(io::Error::from(io::ErrorKind::InvalidInput))
    })?;
    loop {
        let mut waited = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut waited, Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::system("wait for the cluster")(error)),
        }
    }
}

fn wait_for_lock(home: &Home) -> Result<Lock, Error> {
    let end = Instant::now() + KILL_TIMEOUT;
    loop {
        if let Some(lock) = home.lock()? {
            return Ok(lock);
        }
        if Instant::now() > end {
            return Err(Error::File {
                what: "lock",
                path: home.directory().join("lock"),
                cause: io::Error::other("a process that nobody knows holds it"),
            });
        }
        thread::sleep(LOOK_AGAIN / 10);
    }
}
