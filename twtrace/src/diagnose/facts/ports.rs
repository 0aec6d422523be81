//! Owns: what state a socket is in, as far as ports of a pool are concerned.
//! Must not know: pools.

pub use crate::model::ports::{Ports, State};

use crate::host::net::sockdiag::DiagSocket;

/// States of include/net/tcp_states.h, 5.10 to 7.3.
pub(super) const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
/// What a socket that is bound and nothing else is listed as: it is asked for by the bit of TCP_BOUND_INACTIVE, and has its
/// own state (inet_diag_dump_icsk(), net/ipv4/inet_diag.c, 6.12; tcp_diag_dump(), net/ipv4/tcp_diag.c, 7.3).
pub(super) const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
pub(super) const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

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
}
