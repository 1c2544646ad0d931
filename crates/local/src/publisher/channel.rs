//! A socket pair that carries whole messages and descriptors with them.
//!
//! `SOCK_SEQPACKET` keeps the bounds of messages, so that a descriptor can never be taken for
//! another message's, and reports the end of the peer, which datagrams do not.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys;

/// The largest message: a DNS answer of 64 KiB in base64 with its frame.
const MAX_MESSAGE: usize = 96 * 1024;
/// The most descriptors that one message carries: the listeners of a cluster and a few files.
const MAX_DESCRIPTORS: usize = 32;

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct Channel(AsyncFd<OwnedFd>);

/// What arrived: bytes, and the descriptors that came with them.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The message.
    pub(crate) bytes: Vec<u8>,
    /// In the order in which they were sent.
    pub(crate) descriptors: Vec<OwnedFd>,
}

// === impl Channel ===

impl Channel {
    /// Takes one end over; must be called inside a runtime.
    pub(crate) fn new(end: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&end, true)?;
        Ok(Self(sys::watch(end)?))
    }

    /// Sends one message; waits while the peer's buffer is full.
    pub(crate) async fn send(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.0
            .async_io(Interest::WRITABLE, |end| {
                send(end.as_fd(), bytes, descriptors)
            })
            .await
    }

    /// Receives one message; `None` is the peer's end.
    pub(crate) async fn receive(&self) -> io::Result<Option<Parcel>> {
        self.0
            .async_io(Interest::READABLE, |end| receive(end.as_fd()))
            .await
    }
}

/// Makes a channel; both ends are closed on `exec` unless they become a standard stream.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message.
pub(crate) fn send(
    end: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if bytes.len() > MAX_MESSAGE || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::other(format!(
            "a message of {} bytes and {} descriptors does not fit into the channel",
            bytes.len(),
            descriptors.len()
        )));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other(
            "the descriptors do not fit into a control message",
        ));
    }
    // A peer that has gone is an error to handle, never a signal.
    sendmsg(
        end,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one message; `None` is the peer's end.
pub(crate) fn receive(end: BorrowedFd<'_>) -> io::Result<Option<Parcel>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        end,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    let received = match received {
        // The peer ended with unread messages: its end all the same.
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        other => other?,
    };
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some(Parcel { bytes, descriptors }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_own_message() {
        let (left, right) = pair().unwrap();
        let mut file =
            File::from(rustix::fs::memfd_create("note", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"inside").unwrap();
        send(left.as_fd(), b"plain", &[]).unwrap();
        send(left.as_fd(), b"with a file", &[file.as_fd()]).unwrap();
        let first = receive(right.as_fd()).unwrap().unwrap();
        assert_eq!(
            (first.bytes.as_slice(), first.descriptors.len()),
            (b"plain".as_slice(), 0)
        );
        let second = receive(right.as_fd()).unwrap().unwrap();
        assert_eq!(second.bytes, b"with a file");
        let mut file = File::from(second.descriptors.into_iter().next().unwrap());
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
    }

    #[test]
    fn the_end_of_a_peer_is_seen_after_its_last_message() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), b"last words", &[]).unwrap();
        drop(left);
        assert_eq!(
            receive(right.as_fd()).unwrap().unwrap().bytes,
            b"last words"
        );
        assert!(receive(right.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_message_too_large_is_refused_before_it_is_sent() {
        let (left, _right) = pair().unwrap();
        let error = send(left.as_fd(), &vec![0; MAX_MESSAGE + 1], &[]).unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
    }
}
