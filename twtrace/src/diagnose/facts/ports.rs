//! Owns: ports of a pool by what holds them.
//! Must not know: how that was found out.

use serde::Serialize;

use crate::host::net::sockdiag::DiagSocket;

/// States of include/net/tcp_states.h.
pub(super) const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
/// What a socket that is bound and nothing else is listed as: it is asked for by the bit of TCP_BOUND_INACTIVE, and has its
/// own state (`inet_diag_dump_icsk`, net/ipv4/inet_diag.c).
pub(super) const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
pub(super) const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

/// Ports of a pool by what holds them. Each port counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// TIME_WAIT sockets in true TIME_WAIT.
    pub time_wait: u32,
    /// TIME_WAIT sockets in FIN_WAIT2: orphans, which `tcp_fin_timeout` ends.
    pub fin_wait2: u32,
    /// ESTABLISHED sockets.
    pub established: u32,
    /// SYN_SENT: nobody has answered yet.
    pub syn_sent: u32,
    /// CLOSE_WAIT: the peer has closed, the program here has not.
    pub close_wait: u32,
    /// Full sockets in FIN_WAIT2 that a descriptor holds: no time limit ends them.
    pub fin_wait2_held: u32,
    /// LAST_ACK, FIN_WAIT1, CLOSING: closed here, and the peer does not acknowledge it.
    pub unacknowledged: u32,
    /// Sockets in any other state.
    pub others: u32,
}

impl Ports {
    /// All of them.
    pub fn all(&self) -> u32 {
        self.time_wait + self.fin_wait2 + self.open()
    }

    /// Those that full sockets hold.
    pub fn open(&self) -> u32 {
        let Self { established, syn_sent, close_wait, fin_wait2_held, unacknowledged, others, .. } = self;
        established + syn_sent + close_wait + fin_wait2_held + unacknowledged + others
    }

    /// Counts a port that this socket is on.
    pub(super) fn add(&mut self, socket: &DiagSocket) {
        self.add_state(&State::of(socket));
    }

    /// Counts a port that a socket in this state is on.
    pub(super) fn add_state(&mut self, state: &State) {
        *match state {
            State::TimeWait => &mut self.time_wait,
            State::FinWait2 => &mut self.fin_wait2,
            State::Established => &mut self.established,
            State::SynSent => &mut self.syn_sent,
            State::CloseWait => &mut self.close_wait,
            State::FinWait2Held => &mut self.fin_wait2_held,
            State::Unacknowledged => &mut self.unacknowledged,
            State::Other => &mut self.others,
        } += 1;
    }
}

/// What a socket on a port is in; see [`Ports`], which has a number for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is a number of Ports")]
pub enum State {
    TimeWait,
    FinWait2,
    Established,
    SynSent,
    CloseWait,
    FinWait2Held,
    Unacknowledged,
    Other,
}

impl State {
    pub(crate) fn of(socket: &DiagSocket) -> Self {
        match (socket.is_time_wait(), socket.state) {
            (true, FIN_WAIT2) => Self::FinWait2,
            (true, _) => Self::TimeWait,
            (false, ESTABLISHED) => Self::Established,
            (false, SYN_SENT) => Self::SynSent,
            (false, CLOSE_WAIT) => Self::CloseWait,
            // An orphan whose time is longer than a mini-socket's has no inode.
            (false, FIN_WAIT2) if socket.inode != 0 => Self::FinWait2Held,
            (false, FIN_WAIT2) => Self::FinWait2,
            (false, LAST_ACK | FIN_WAIT1 | CLOSING) => Self::Unacknowledged,
            (false, _) => Self::Other,
        }
    }

    pub(super) fn is_time_wait(self) -> bool {
        matches!(self, Self::TimeWait | Self::FinWait2)
    }

    /// Whether a socket that stays in it for seconds waits for somebody who does not do his part.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, Self::SynSent | Self::CloseWait | Self::FinWait2Held | Self::Unacknowledged)
    }
}
