//! Owns: the TCP sockets of a network namespace as the kernel lists them: sock_diag(7), or `/proc/net/tcp` where a
//! kernel lacks it.
//! Must not know: who owns a socket, what a listing is wanted for.

mod message;
mod proctcp;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use twtrace_common::wire::SUBSTATE_FIN_WAIT2;

use super::Error;
use super::netns::Netns;
use crate::model::event::{Conn, Substate};

/// `idiag_timer` of a TIME_WAIT socket, whatever its substate (inet_twsk_diag_fill(), net/ipv4/tcp_diag.c, 7.3, before
/// 6.18 net/ipv4/inet_diag.c). Full sockets have 0 to 2 or 4 (inet_sk_diag_fill(), net/ipv4/inet_diag.c, 5.10 to 7.3),
/// so this alone tells the FIN_WAIT2 of an orphan in a mini-socket from that of a full socket. `/proc/net/tcp` uses the
/// same number.
pub const TIMER_TIME_WAIT: u8 = 3;

/// States of include/net/tcp_states.h, 5.10 to 7.3, by number; 12 is never shown as such.
const STATE_NAMES: [&str; 12] = [
    "UNKNOWN",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];

/// The name of a TCP state, as the kernel spells it less the `TCP_`: `TIME_WAIT`, `SYN_RECV`.
pub fn state_name(state: u8) -> &'static str {
    STATE_NAMES.get(usize::from(state)).unwrap_or(&STATE_NAMES[0])
}

/// A set of TCP states; bit `1 << n` for state `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every state that a listed socket can have.
    pub const ALL: Self = Self(0xffe);
    /// Both substates of TIME_WAIT sockets; full sockets in FIN_WAIT2 are in it too.
    pub const TIME_WAIT_OR_FIN_WAIT2: Self = Self(1 << 5 | 1 << 6);
    /// Sockets that hold a port for a connection, TIME_WAIT left out (of those in FIN_WAIT2, the full ones and the others).
    pub const CONNECTED: Self = Self(0xffe & !(1 << 6 | 1 << 7 | 1 << 10));
    /// Sockets that connections can come in on.
    pub const LISTEN: Self = Self(1 << 10);

    /// Sockets that are bound to a port, and neither connected nor listening (TCP_BOUND_INACTIVE). They are listed in CLOSE; a
    /// kernel before 6.8 lists none.
    pub const BOUND: Self = Self(1 << 13);
    /// ESTABLISHED ones.
    pub const ESTABLISHED: Self = Self(1 << 1);

    /// Sockets in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the state with this number is in the set.
    pub fn contains(self, state: u8) -> bool {
        1_u32.checked_shl(state.into()).is_some_and(|bit| self.0 & bit != 0)
    }
}

/// A TCP socket as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagSocket {
    /// 4 or 6: what is on the wire; 4 for an IPv6 socket with IPv4-mapped addresses. A listener with family 6 and
    /// the address `::` mostly takes IPv4 connections as well.
    pub family: u8,
    /// It is an IPv6 socket, though `family` is 4.
    pub is_mapped: bool,
    /// State number, 1 to 11; for a TIME_WAIT socket its substate. See [`state_name`].
    pub state: u8,
    /// Which timer runs: 0 none, 1 retransmit, 2 keep-alive, [`TIMER_TIME_WAIT`], 4 zero-window probe.
    pub timer: u8,
    /// Local address, network order, IPv4 mapped.
    pub saddr: [u8; 16],
    /// Remote address, network order, IPv4 mapped.
    pub daddr: [u8; 16],
    /// Local port, host order.
    pub sport: u16,
    /// Remote port, host order.
    pub dport: u16,
    /// Interface that the socket is bound to, 0 for none (and where only `/proc/net/tcp` could be read).
    pub ifindex: u32,
    /// Time until the timer fires, in milliseconds; 0 if it is due or none runs.
    pub expires_ms: u32,
    /// Uid of the socket in the user namespace of the reader; 0 for a TIME_WAIT socket, which has none.
    pub uid: u32,
    /// Inode of the socket; 0 for a TIME_WAIT socket and for one that no file refers to any more.
    pub inode: u32,
    /// Socket cookie, the number that `ss -e` prints in hex as `sk:`; 0 where only `/proc/net/tcp` could be read.
    /// Listing a socket that has no cookie gives it one (sock_diag_save_cookie(), net/core/sock_diag.c, 5.10 to 7.3).
    pub cookie: u64,
}

impl DiagSocket {
    /// Whether connections can come in on it.
    pub fn listens(&self) -> bool {
        States::LISTEN.contains(self.state)
    }

    /// Whether this is a TIME_WAIT socket (a mini-socket), in either substate.
    pub fn is_time_wait(&self) -> bool {
        self.timer == TIMER_TIME_WAIT
    }

    /// The connection, as events name it.
    pub fn conn(&self, netns: u32) -> Conn {
        Conn {
            netns,
            ifindex: self.ifindex,
            saddr: self.local_ip(),
            daddr: self.remote_ip(),
            sport: self.sport,
            dport: self.dport,
        }
    }

    /// What a TIME_WAIT socket is in.
    pub fn substate(&self) -> Substate {
        if self.state == SUBSTATE_FIN_WAIT2 { Substate::FinWait2 } else { Substate::TimeWait }
    }

    /// Local address.
    pub fn local_ip(&self) -> IpAddr {
        ip(self.saddr)
    }

    /// Remote address.
    pub fn remote_ip(&self) -> IpAddr {
        ip(self.daddr)
    }
}

fn ip(mapped: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(mapped).to_canonical()
}

fn map_v4(address: [u8; 4]) -> [u8; 16] {
    Ipv4Addr::from(address).to_ipv6_mapped().octets()
}

/// 4 where either address of an IPv6 socket is an IPv4 one in disguise.
fn wire_family(saddr: [u8; 16], daddr: [u8; 16]) -> u8 {
    let mapped = |address| Ipv6Addr::from(address).to_ipv4_mapped().is_some();
    if mapped(saddr) || mapped(daddr) { 4 } else { 6 }
}

/// What keeps a listing from being all it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degraded {
    /// sock_diag could not be used, so `/proc/net/tcp` was read: no cookies, no interfaces, time left in steps of
    /// 10 ms.
    NoSockDiag {
        /// What the kernel said.
        reason: String,
    },
    /// The kernel said that sockets changed places during each of several dumps (NLM_F_DUMP_INTR).
    Interrupted,
}

impl Degraded {
    /// What would help.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoSockDiag { .. } => "modprobe tcp_diag",
            Self::Interrupted => "list again",
        }
    }
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSockDiag { reason } => write!(
                f,
                "sock_diag for TCP is not available ({reason}), so sockets come from /proc/net/tcp, without cookies \
                 and interfaces; remedy: modprobe tcp_diag"
            ),
            Self::Interrupted => write!(
                f,
                "sockets changed too fast for a consistent list: some may be missing; remedy: list again"
            ),
        }
    }
}

/// Sockets, and what is to be known of how they were got.
///
/// The kernel lists a table while it changes: a socket that is made or ends during the listing may be in it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In the kernel's order (by hash), IPv4 sockets first; each cookie once.
    pub sockets: Vec<DiagSocket>,
    /// `None`: nothing is amiss.
    pub degraded: Option<Degraded>,
}

/// The TCP sockets of `ns` that are in `states`.
///
/// # Errors
/// Those of [`Netns::within`], and [`Error::Io`] or [`Error::Malformed`] if neither sock_diag nor `/proc/net/tcp`
/// could be read.
pub fn tcp(ns: &Netns, states: States) -> Result<Listing, Error> {
    ns.within(|| tcp_here(states))?
}

/// A port that connect() chooses from no range such as this: what is looked at must not be changed by looking.
fn port_beside((low, high): (u16, u16)) -> u16 {
    match (low, high) {
        (_, ..65_521) => 65_521,
        (1_034.., _) => 1_033,
        _ => 1_009,
    }
}

/// Whether the kernel lists sockets that are bound and nothing else, as those from 6.8 on do: found out once, with a socket of the
/// caller's own that is gone at once, on a port beside the range. `None` where that cannot be had.
pub fn lists_bound() -> Option<bool> {
    static LISTS: std::sync::OnceLock<Option<bool>> = std::sync::OnceLock::new();
    *LISTS.get_or_init(|| {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
        let flags = SockFlag::SOCK_CLOEXEC;
        let ours = socket(AddressFamily::Inet, SockType::Stream, flags, None).ok()?;
        let port = port_beside(super::sysctls::port_range_here()?);
        // An address that nobody else has, but for listeners on all; nor another twtrace, which may look just now.
        let [.., high, low] = std::process::id().to_be_bytes();
        bind(std::os::fd::AsRawFd::as_raw_fd(&ours), &SockaddrIn::new(127, 83, high, low, port)).ok()?;
        let listing = tcp_here(States::BOUND).ok().filter(|listing| listing.degraded.is_none())?;
        Some(listing.sockets.iter().any(|socket| socket.sport == port))
    })
}

/// The established connections of `ns`, and whether each has TCP timestamps; none where the kernel does not say.
///
/// # Errors
/// Those of [`Netns::within`], and [`Error::Io`] or [`Error::Malformed`] if sock_diag fails.
pub fn timestamps(ns: &Netns) -> Result<Vec<(DiagSocket, bool)>, Error> {
    ns.within(|| match transport::dump_timestamps(States::ESTABLISHED) {
        Ok(all) => Ok(all),
        Err(transport::Failure::Unavailable(_)) => Ok(Vec::new()),
        Err(transport::Failure::Failed(error)) => Err(error),
    })?
}

/// What became of a TIME_WAIT socket that was asked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    There(DiagSocket),
    /// It is not: there is none, or another one in its place.
    Gone,
    /// The kernel did not say.
    Unknown,
}

/// Asks after single TIME_WAIT sockets of `ns`, by connection, and by cookie where that is known. Unlike a dump this is exact: a socket that
/// is there all the while is found.
///
/// # Errors
/// Those of [`Netns::within`], and [`Error::Io`] or [`Error::Malformed`] if sock_diag fails. Where there is none, all are unknown.
pub fn look_up(ns: &Netns, asked: &[(Conn, Option<u64>)]) -> Result<Vec<Presence>, Error> {
    let conns: Vec<Conn> = asked.iter().map(|(conn, _)| *conn).collect();
    let answers = match ns.within(|| transport::look_up(&conns))? {
        Ok(answers) => answers,
        Err(transport::Failure::Unavailable(_)) => return Ok(vec![Presence::Unknown; asked.len()]),
        Err(transport::Failure::Failed(error)) => return Err(error),
    };
    let presence = |(answer, (conn, cookie)): (_, &(Conn, Option<u64>))| match answer {
        Ok(Some(socket)) if is_it(&socket, conn, *cookie) => Presence::There(socket),
        Ok(_) => Presence::Gone,
        Err(transport::Unanswered) => Presence::Unknown,
    };
    Ok(answers.into_iter().zip(asked).map(presence).collect())
}

/// In the place of a socket that is gone the kernel finds whoever listens there (inet_lookup(),
/// include/net/inet_hashtables.h, 5.10 to 7.3).
fn is_it(socket: &DiagSocket, conn: &Conn, cookie: Option<u64>) -> bool {
    socket.is_time_wait()
        && socket.conn(conn.netns) == *conn
        && cookie.is_none_or(|cookie| socket.cookie == 0 || cookie == socket.cookie)
}

/// The ports that any of these sockets listens on.
pub fn listening_ports<H: BuildHasher + Default>(sockets: &[DiagSocket]) -> HashSet<u16, H> {
    sockets.iter().filter(|socket| socket.listens()).map(|socket| socket.sport).collect()
}

fn tcp_here(states: States) -> Result<Listing, Error> {
    let (sockets, degraded) = match transport::dump_all(states) {
        Ok(all) => all,
        Err(transport::Failure::Unavailable(reason)) => {
            (proctcp::read(states)?, Some(Degraded::NoSockDiag { reason }))
        }
        Err(transport::Failure::Failed(error)) => return Err(error),
    };
    Ok(Listing { sockets, degraded })
}
