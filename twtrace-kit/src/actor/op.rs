//! Owns: the words between actors and who commands them, and how one word travels over their UNIX socket, with or
//! without a file descriptor beside it.
//! Must not know: what an actor does on hearing one, nor any scenario.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest message, bytes. All of them are a few dozen.
const MESSAGE: usize = 4096;

/// Which half of a connection to shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Half {
    /// SHUT_WR.
    Write,
    /// SHUT_RDWR.
    Both,
}

/// What an actor is asked to do. Sockets are named by their descriptor number in that actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Op {
    /// A TCP socket, IPv6 or IPv4, with SO_REUSEADDR or without. Answer: [`Reply::Fd`].
    Socket {
        /// AF_INET6 instead of AF_INET.
        v6: bool,
        /// Set SO_REUSEADDR.
        reuse: bool,
    },
    /// bind().
    Bind(RawFd, SocketAddr),
    /// IP_BIND_ADDRESS_NO_PORT.
    BindNoPort(RawFd),
    /// IP_LOCAL_PORT_RANGE: from the first to the second, both included.
    PortRange(RawFd, u16, u16),
    /// connect() that does not wait for an answer. Answer: [`Reply::Done`] once the SYN was sent.
    Begin(RawFd, SocketAddr),
    /// listen().
    Listen(RawFd),
    /// connect().
    Connect(RawFd, SocketAddr),
    /// accept(). Answer: [`Reply::Fd`].
    Accept(RawFd),
    /// accept() by an io_uring. Answer: [`Reply::Fd`].
    RingAccept(RawFd),
    /// bind() by an io_uring.
    RingBind(RawFd, SocketAddr),
    /// getsockname(). Answer: [`Reply::Addr`].
    Local(RawFd),
    /// getpeername(). Answer: [`Reply::Addr`].
    Peer(RawFd),
    /// Sends so many bytes.
    Send(RawFd, usize),
    /// Receives exactly so many bytes.
    Receive(RawFd, usize),
    /// Waits for the peer's FIN; data before it is an error.
    Eof(RawFd),
    /// shutdown().
    Shutdown(RawFd, Half),
    /// close().
    Close(RawFd),
    /// close() by a second thread of the process, which has this name. Answer: [`Reply::Number`], its tid.
    CloseOnThread(RawFd, String),
    /// SO_LINGER with 0 seconds.
    LingerZero(RawFd),
    /// Drops all that comes in (SO_ATTACH_FILTER), or no longer.
    DropIncoming(RawFd, bool),
    /// SO_COOKIE. Answer: [`Reply::Number`].
    Cookie(RawFd),
    /// A copy of the descriptor travels back beside [`Reply::Done`].
    Give(RawFd),
    /// A descriptor comes with this. Answer: [`Reply::Fd`].
    Take,
    /// Closes the socket so that only a cycle of UNIX sockets in flight holds it: the kernel's collector closes it.
    Strand(RawFd),
    /// Its arguments lie in a page of this file from now on, which never comes, and the lock of its memory is held.
    HangArguments(String),
    /// fork(): the child is an actor of its own; its control socket travels back beside [`Reply::Number`], its pid.
    Fork,
    /// Moves into a new network namespace with lo up. Answer: [`Reply::Number`], its inode.
    Unshare,
    /// Moves into the network namespace that comes with this. Answer: [`Reply::Number`], its inode.
    Join,
    /// Becomes this user for good.
    SetUser(u32),
    /// Connects to this port of one loopback address after the other and closes first, until [`Op::Halt`]; pauses for so many
    /// milliseconds after each seven. Answers only then: [`Reply::Number`], how many connections were made.
    Churn(u16, u64),
    /// Accepts from this listener and closes second, until [`Op::Halt`]. Answers only then: [`Reply::Done`].
    Absorb(RawFd),
    /// Ends [`Op::Churn`] and [`Op::Absorb`]; has no answer of its own.
    Halt,
}

/// What an actor answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is done.
    Done,
    /// A descriptor number.
    Fd(RawFd),
    /// A number.
    Number(u64),
    /// An address.
    Addr(SocketAddr),
    /// The call failed with this errno; 0 where it had none.
    Failed(i32, String),
}

/// Sends one message, with a descriptor beside it where there is one.
pub(super) fn send<T: Serialize>(to: &impl AsFd, message: &T, beside: Option<RawFd>) -> Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let fds: Vec<RawFd> = beside.into_iter().collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    let raw = to.as_fd().as_raw_fd();
    sendmsg::<UnixAddr>(raw, &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one message; `None` once the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(from: &impl AsFd) -> Result<Option<(T, Option<OwnedFd>)>> {
    let mut bytes = [0_u8; MESSAGE];
    let mut space = nix::cmsg_space!(RawFd);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let raw = from.as_fd().as_raw_fd();
    let message = recvmsg::<UnixAddr>(raw, &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let length = message.bytes;
    let mut beside = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
                beside = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if length == 0 {
        return Ok(None);
    }
    let message =
        serde_json::from_slice(&bytes[..length]).context("a message that nobody could have sent")?;
    Ok(Some((message, beside)))
}
