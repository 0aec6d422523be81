//! Owns: what is only counted: RSTs that this host sent, SYNs that were refused.
//! Must not know: how it was counted, what it means.

use std::net::IpAddr;

use serde::Serialize;

use super::Process;

/// Connections that a process ended with an RST.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Aborted {
    /// Who.
    pub process: Process,
    /// With SO_LINGER 0.
    pub linger: u64,
    /// With data that nobody had read.
    pub unread_data: u64,
    /// For another reason.
    pub other: u64,
}

impl Aborted {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.linger + self.unread_data + self.other
    }
}

/// How many closes ended in an RST for which reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortReasons {
    /// With SO_LINGER 0, as events tell.
    pub linger: u64,
    /// With data that nobody had read.
    pub unread: u64,
    /// TCPAbortOnData beyond `linger`: data came after close() (tcp_rcv_state_process(), net/ipv4/tcp_input.c, 5.10 to
    /// 7.3), which no event tells, or an event is missing.
    pub later: u64,
}

/// SYNs that a TIME_WAIT socket refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SynRefused {
    /// The local port.
    pub port: u16,
    /// Who sent them.
    pub peer: IpAddr,
    /// How many.
    pub count: u64,
}
