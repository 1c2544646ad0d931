//! Netlink: requests to the kernel as messages of attributes, and its acknowledged answers.
//!
//! It knows the framing and the error reports, and nothing of links or rules. Requests are
//! answered before `send` returns, so a blocking socket with a generous time limit is enough.

pub(crate) mod message;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use self::message::{Attributes, Message, Received};
use crate::{Error, sys};

/// A netlink socket of the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

/// 1 MiB: a whole ruleset goes in one datagram, and a dump never sends more than 32 KiB at once.
const BUFFER: i32 = 1 << 20;
/// The kernel writes dumps in parts of at most 32 KiB (NLMSG_GOODSIZE and the reader's size).
const PART: usize = 64 << 10;
/// Only a kernel in trouble needs this long.
const PATIENCE_SECONDS: i64 = 20;

// === impl Socket ===

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(protocol: i32) -> Result<Self, Error> {
        let wrap = |cause| Error::system("open a netlink socket", cause);
        let fd = sys::netlink_socket(protocol).map_err(wrap)?;
        let option = |level, name, value| sys::set_option(fd.as_fd(), level, name, value);
        option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1).map_err(wrap)?;
        option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1).map_err(wrap)?;
        for (forced, limited) in [
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        ] {
            // Forcing needs the capability; without it the system's limit applies, which only
            // bounds the size of a ruleset.
            if option(libc::SOL_SOCKET, forced, BUFFER).is_err() {
                option(libc::SOL_SOCKET, limited, BUFFER).map_err(wrap)?;
            }
        }
        sys::set_receive_timeout(fd.as_fd(), PATIENCE_SECONDS).map_err(wrap)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends one request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, what: &str, message: Message) -> Result<(), Error> {
        let sequence = self.next_sequence();
        let bytes = message.acknowledged().finish(sequence);
        self.send(what, &bytes)?;
        self.collect(what, sequence, |_| Ok(())).map(drop)
    }

    /// Sends one question and hands every message of the answer to `each`.
    pub(crate) fn dump(
        &mut self,
        what: &str,
        message: Message,
        each: impl FnMut(&Received<'_>) -> Result<(), String>,
    ) -> Result<(), Error> {
        let sequence = self.next_sequence();
        let bytes = message.finish(sequence);
        self.send(what, &bytes)?;
        self.collect(what, sequence, each)
    }

    /// Sends messages as one transaction between `begin` and `end`. On failure tells the index of
    /// the first message that the kernel refused, if it named one.
    pub(crate) fn transact(
        &mut self,
        begin: Message,
        messages: Vec<Message>,
        end: Message,
    ) -> Result<(), BatchError> {
        let Some(last) = messages.len().checked_sub(1) else {
            return Ok(());
        };
        let first = self.sequence.wrapping_add(2);
        let mut bytes = begin.finish(self.next_sequence());
        for (index, message) in messages.into_iter().enumerate() {
            // One acknowledgement, of the last message, tells that all is done: a large batch
            // with one each would overflow the receive buffer.
            let message = if index == last {
                message.acknowledged()
            } else {
                message
            };
            bytes.extend_from_slice(&message.finish(self.next_sequence()));
        }
        bytes.extend_from_slice(&end.finish(self.next_sequence()));
        sys::send(self.fd.as_fd(), &bytes).map_err(|cause| BatchError::new(None, cause))?;
        self.verdict(first, last)
    }

    /// Reads until the last message of a batch is answered, or an error arrives.
    fn verdict(&mut self, first: u32, last: usize) -> Result<(), BatchError> {
        let mut buffer = vec![0; PART];
        loop {
            let length = sys::receive(self.fd.as_fd(), &mut buffer)
                .map_err(|cause| BatchError::new(None, cause))?;
            for received in message::split(&buffer[..length]) {
                let Some(report) = received.report() else {
                    continue;
                };
                let offset = received.sequence.wrapping_sub(first);
                let index = usize::try_from(offset).ok().filter(|index| *index <= last);
                // The kernel reports on the transaction as a whole by the opening message.
                if index.is_none() && offset != u32::MAX {
                    continue; // A late answer to an earlier transaction that failed.
                }
                match report {
                    Ok(()) if index == Some(last) => return Ok(()),
                    Ok(()) => {}
                    Err((cause, detail)) => {
                        return Err(BatchError {
                            index,
                            cause,
                            detail,
                        });
                    }
                }
            }
        }
    }

    fn send(&self, what: &str, bytes: &[u8]) -> Result<(), Error> {
        sys::send(self.fd.as_fd(), bytes).map_err(|cause| Error::system(what, cause))
    }

    fn collect(
        &mut self,
        what: &str,
        sequence: u32,
        mut each: impl FnMut(&Received<'_>) -> Result<(), String>,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; PART];
        loop {
            let length = sys::receive(self.fd.as_fd(), &mut buffer)
                .map_err(|cause| Error::system(what, cause))?;
            for received in message::split(&buffer[..length]) {
                if received.sequence != sequence {
                    continue; // A late answer to an earlier request that failed.
                }
                match received.report() {
                    Some(Ok(())) => return Ok(()),
                    Some(Err((cause, detail))) => {
                        return Err(Error::Kernel {
                            what: what.into(),
                            cause,
                            detail,
                        });
                    }
                    None => each(&received).map_err(|why| Error::Answer {
                        what: what.into(),
                        why,
                    })?,
                }
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// Why a transaction was refused.
#[derive(Debug)]
pub(crate) struct BatchError {
    /// The message that was refused; nothing if it was the transaction as a whole.
    pub(crate) index: Option<usize>,
    /// The error number.
    pub(crate) cause: io::Error,
    /// The kernel's words.
    pub(crate) detail: String,
}

// === impl BatchError ===

impl BatchError {
    fn new(index: Option<usize>, cause: io::Error) -> Self {
        Self {
            index,
            cause,
            detail: String::new(),
        }
    }
}

/// Reads the text of an extended acknowledgement.
fn extended_text(bytes: &[u8]) -> String {
    const TEXT: u16 = 1; // NLMSGERR_ATTR_MSG
    Attributes::new(bytes)
        .find(|(kind, _)| *kind == TEXT)
        .map(|(_, value)| message::text(value))
        .unwrap_or_default()
}
