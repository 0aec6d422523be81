//! Owns: the conversation with the kernel over a netlink socket, in the calling thread's network namespace.
//! Must not know: the form of the messages.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::message::{Ask, Message, messages, request, request_both, request_one};
use super::{Degraded, DiagSocket, States};
use crate::engine::Hasher;
use crate::host::net::Error;
use crate::model::event::Conn;

/// The kernel fills at most 32 KiB at a time (netlink_recvmsg(), net/netlink/af_netlink.c, 5.10 to 7.3); room for
/// growth.
const BUFFER_LEN: usize = 64 * 1024;
/// How often a dump that the kernel calls inconsistent is begun anew.
const ATTEMPTS: u32 = 3;
const WHAT: &str = "listing TCP sockets with sock_diag";

/// Why there is no listing.
pub(super) enum Failure {
    /// This kernel, or what confines this process, has no sock_diag for TCP.
    Unavailable(String),
    /// It has, but it failed.
    Failed(Error),
}

impl Failure {
    fn new(errno: Errno) -> Self {
        match errno {
            // ENOENT: tcp_diag is a module and is not there. The others: no sock_diag at all, or seccomp or an LSM
            // forbids it.
            Errno::ENOENT
            | Errno::EPROTONOSUPPORT
            | Errno::EAFNOSUPPORT
            | Errno::EOPNOTSUPP
            | Errno::EPERM
            | Errno::EACCES
            | Errno::ENOSYS => Self::Unavailable(io::Error::from(errno).to_string()),
            _ => Self::Failed(Error::Io { what: WHAT.into(), source: errno.into() }),
        }
    }
}

/// The sockets of both families in `states`, and what is amiss with the list.
pub(super) fn dump_all(states: States) -> Result<(Vec<DiagSocket>, Option<Degraded>), Failure> {
    let (all, degraded) = collect(states, Ask::Plain)?;
    Ok((all.sockets, degraded))
}

/// Those of them that are full sockets, and whether each one's connection has TCP timestamps.
pub(super) fn dump_timestamps(states: States) -> Result<Vec<(DiagSocket, bool)>, Failure> {
    collect(states, Ask::Info).map(|(all, _)| all.timestamps)
}

/// How many sockets are asked after before the answers are read: they must all fit into the socket's buffer.
const ASKED_AT_ONCE: usize = 32;
/// How long an answer may take, in seconds. The kernel answers at once, or drops an answer that finds no room.
const ANSWER_S: i64 = 1;

/// What there is in the place of each connection: a socket of whatever kind, or none; `Err` where the kernel did not say.
pub(super) fn look_up(asked: &[Conn]) -> Result<Vec<Result<Option<DiagSocket>, Unanswered>>, Failure> {
    let netlink = open()?;
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::seconds(ANSWER_S)).map_err(Failure::new)?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut answers = vec![Err(Unanswered); asked.len()];
    for (batch, start) in asked.chunks(ASKED_AT_ONCE).zip((0..).step_by(ASKED_AT_ONCE)) {
        // Sequence numbers from 1: the index of the question, and one.
        let requests: Vec<u8> = batch
            .iter()
            .enumerate()
            .flat_map(|(at, conn)| request_one(conn, (start + at + 1) as u32))
            .collect();
        retry(|| send(netlink.as_raw_fd(), &requests, MsgFlags::empty())).map_err(Failure::new)?;
        let mut left = batch.len();
        while left != 0 {
            let Ok(datagram) = receive(&netlink, &mut buffer) else { break };
            for envelope in messages(datagram) {
                let envelope = envelope.map_err(|why| Failure::Failed(Error::malformed(WHAT, why)))?;
                let index = (envelope.sequence as usize).wrapping_sub(1);
                let Some(answer) = answers.get_mut(index).filter(|_| index >= start) else { continue };
                *answer = match envelope.message {
                    Message::Socket(socket) => Ok(Some(socket)),
                    Message::End(libc::ENOENT | libc::ESTALE) => Ok(None),
                    Message::End(_) => Err(Unanswered),
                    Message::Other => continue,
                };
                left = left.saturating_sub(1);
            }
        }
    }
    Ok(answers)
}

/// The kernel did not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unanswered;

fn open() -> Result<OwnedFd, Failure> {
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)
        .map_err(Failure::new)
}

fn collect(states: States, ask: Ask) -> Result<(Collected, Option<Degraded>), Failure> {
    let mut listing = Listing { netlink: open()?, buffer: vec![0; BUFFER_LEN], sequence: 0 };
    let mut all = Collected::default();
    if let Ok(degraded) = listing.attempt(&mut all, |sequence| request_both(states, ask, sequence)) {
        return Ok((all, degraded));
    }
    // Where the older way to ask is not to be had, the newer one may be.
    let mut all = Collected::default();
    let mut of =
        |family: i32| listing.attempt(&mut all, |sequence| request(family as u8, states, ask, sequence));
    let (four, six) = (of(libc::AF_INET)?, of(libc::AF_INET6)?);
    Ok((all, four.or(six)))
}

/// One conversation.
struct Listing {
    netlink: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Listing {
    /// Adds what a request lists to `all`, and says what is amiss with the list.
    fn attempt<const LEN: usize>(
        &mut self,
        all: &mut Collected,
        request: impl Fn(u32) -> [u8; LEN],
    ) -> Result<Option<Degraded>, Failure> {
        for _ in 0..ATTEMPTS {
            self.sequence += 1;
            let request = request(self.sequence);
            if !dump(&self.netlink, &request, self.sequence, &mut self.buffer, all)? {
                return Ok(None);
            }
        }
        Ok(Some(Degraded::Interrupted))
    }
}

/// Adds the sockets of an answer to `all` and says whether the kernel's tables changed under the dump.
fn dump(
    netlink: &OwnedFd,
    request: &[u8],
    sequence: u32,
    buffer: &mut [u8],
    all: &mut Collected,
) -> Result<bool, Failure> {
    retry(|| send(netlink.as_raw_fd(), request, MsgFlags::empty())).map_err(Failure::new)?;
    let mut interrupted = false;
    loop {
        let datagram = receive(netlink, buffer)?;
        for envelope in messages(datagram) {
            let envelope = envelope.map_err(|why| Failure::Failed(Error::malformed(WHAT, why)))?;
            if envelope.sequence != sequence {
                continue;
            }
            interrupted |= envelope.interrupted;
            match envelope.message {
                Message::Socket(socket) => {
                    all.timestamps.extend(envelope.timestamps.map(|has| (socket, has)));
                    all.add(socket);
                }
                Message::End(0) => return Ok(interrupted),
                Message::End(errno) => return Err(Failure::new(Errno::from_raw(errno))),
                Message::Other => {}
            }
        }
    }
}

/// The next datagram from the kernel. Any other sender is ignored.
fn receive<'a>(netlink: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8], Failure> {
    let length = loop {
        let received = retry(|| {
            let mut parts = [IoSliceMut::new(buffer)];
            let got = recvmsg::<NetlinkAddr>(netlink.as_raw_fd(), &mut parts, None, MsgFlags::empty())?;
            Ok((got.bytes, got.flags, got.address))
        });
        let (length, flags, sender) = received.map_err(Failure::new)?;
        if sender.is_some_and(|sender| sender.pid() != 0) {
            continue;
        }
        if flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(Failure::Failed(Error::malformed(
                WHAT,
                format!("an answer of over {BUFFER_LEN} bytes"),
            )));
        }
        break length;
    };
    Ok(&buffer[..length])
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Sockets, each once: between two parts of a dump the kernel finds its place again by counting, so a change may
/// make it list a socket twice. What was heard last counts.
#[derive(Default)]
struct Collected {
    sockets: Vec<DiagSocket>,
    indexes: HashMap<u64, usize, Hasher>,
    timestamps: Vec<(DiagSocket, bool)>,
}

impl Collected {
    fn add(&mut self, socket: DiagSocket) {
        let next = self.sockets.len();
        match *self.indexes.entry(socket.cookie).or_insert(next) {
            index if index < next && socket.cookie != 0 => self.sockets[index] = socket,
            _ => self.sockets.push(socket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(cookie: u64, state: u8) -> DiagSocket {
        DiagSocket {
            family: 4,
            is_mapped: false,
            state,
            timer: 0,
            saddr: [0; 16],
            daddr: [0; 16],
            sport: 1009,
            dport: 80,
            ifindex: 0,
            expires_ms: 0,
            uid: 0,
            inode: 0,
            cookie,
        }
    }

    #[test]
    fn a_cookie_is_kept_once_with_what_was_heard_last() {
        let mut all = Collected::default();
        for (cookie, state) in [(7, 1), (11, 1), (7, 6), (0, 1), (0, 2), (13, 10)] {
            all.add(socket(cookie, state));
        }
        let kept: Vec<_> = all.sockets.iter().map(|s| (s.cookie, s.state)).collect();
        assert_eq!(kept, [(7, 6), (11, 1), (0, 1), (0, 2), (13, 10)]);
    }

    #[test]
    fn both_ways_to_ask_list_the_same_sockets_of_both_families() {
        let ours: Vec<_> =
            ["127.0.0.1:0", "[::1]:0"].map(std::net::TcpListener::bind).into_iter().flatten().collect();
        let ports: Vec<u16> = ours.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        let Ok(netlink) = open() else { return };
        let mut listing = Listing { netlink, buffer: vec![0; BUFFER_LEN], sequence: 0 };
        let (mut one, mut two) = (Collected::default(), Collected::default());
        let (states, ask) = (States::LISTEN, Ask::Plain);
        // This kernel may know but one of them.
        if listing.attempt(&mut one, |sequence| request_both(states, ask, sequence)).is_err() {
            return;
        }
        for family in [libc::AF_INET, libc::AF_INET6] {
            assert!(
                listing.attempt(&mut two, |sequence| request(family as u8, states, ask, sequence)).is_ok()
            );
        }
        let found = |all: Collected| {
            let mine = all.sockets.into_iter().filter(|socket| ports.contains(&socket.sport));
            let mut mine: Vec<_> = mine.map(|socket| (socket.sport, socket.family, socket.cookie)).collect();
            mine.sort_unstable();
            mine
        };
        let (one, two) = (found(one), found(two));
        assert_eq!((one.len(), &one), (ports.len(), &two));
    }

    #[test]
    fn only_what_another_source_can_make_up_for_counts_as_unavailable() {
        for errno in [Errno::ENOENT, Errno::EPROTONOSUPPORT, Errno::EPERM, Errno::EACCES] {
            assert!(matches!(Failure::new(errno), Failure::Unavailable(_)), "{errno}");
        }
        for errno in [Errno::ENOBUFS, Errno::ENOMEM, Errno::EINVAL, Errno::EMFILE] {
            assert!(matches!(Failure::new(errno), Failure::Failed(_)), "{errno}");
        }
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut answers = vec![Ok(17), Err(Errno::EINTR), Err(Errno::EINTR)];
        assert_eq!(retry(|| answers.pop().unwrap()), Ok(17));
        assert_eq!(retry::<()>(|| Err(Errno::ENOBUFS)), Err(Errno::ENOBUFS));
    }
}
