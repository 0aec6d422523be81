//! Owns: what calls came to: bind() that failed for want of a port, any call for another reason, the range of ports that sockets have of
//! their own (IP_LOCAL_PORT_RANGE), closes that ended in an RST, SYNs that were refused, and how long connect() looked for a port.
//! Must not know: where that was seen or how it was counted, what it means.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{Process, Settings};
use crate::engine::failures::Calls;
use crate::engine::{Percentiles, Spread};
use crate::model::event::{Errno, PortVia};

/// bind() or listen() failed because the port is taken, or all are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BindFailure {
    /// The address asked for, where that is known.
    pub saddr: Option<IpAddr>,
    /// The port asked for; 0 for any.
    pub port: u16,
    /// How often.
    pub failed: u64,
    /// Of those, with SO_REUSEADDR set on the socket.
    pub reuseaddr: u64,
    /// Of those, without; of the rest it is not known.
    pub no_reuseaddr: u64,
    /// What their sockets say of a range of their own.
    pub ranged: Ranged,
    /// Who asked.
    pub caller: Process,
    /// How many destinations this caller has connections to from this address.
    pub destinations: u32,
}

impl BindFailure {
    /// Whether the kernel was to choose the port, and had none.
    pub fn is_for_any(&self) -> bool {
        self.port == 0
    }
}

/// A client's TIME_WAIT socket that held a port which bind() was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outgoing {
    /// Whose it was.
    pub process: Process,
    /// Where its connection went.
    pub daddr: IpAddr,
    /// To which port.
    pub dport: u16,
    /// It is known to have gone out; else only that nobody saw it come in.
    pub is_client: bool,
    /// Whether it is known to have asked for the port itself: `None` where nobody knows.
    pub is_bound: Option<bool>,
    /// How long it had left when bind() failed for the last time, in milliseconds.
    pub left_ms: u64,
}

impl Outgoing {
    /// What is known of how it had its port.
    pub(super) fn is_bound(via: Option<PortVia>) -> Option<bool> {
        via.map(|via| matches!(via, PortVia::Bind | PortVia::BindAny))
    }
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// connect().
    Connect,
    /// bind() or listen().
    Bind,
}

/// Calls of one process that failed with one errno that is not of ports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// Which call.
    pub call: Call,
    /// What it returned.
    #[serde(serialize_with = "word")]
    pub errno: Errno,
    /// Of connect() the remote address, of bind() the local one.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How often.
    pub failed: u64,
    /// Who asked.
    pub caller: Process,
}

fn word<S: Serializer>(errno: &Errno, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(errno.word())
}

/// What was seen of the sockets whose calls failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ranged {
    /// Calls of sockets that were looked at.
    pub looked: u64,
    /// Of those, of sockets that have a range of their own.
    pub calls: u64,
    /// The lowest port of the range that most of these have; 0 where that end is the namespace's.
    pub low: u16,
    /// The highest, likewise.
    pub high: u16,
}

impl Ranged {
    /// Of calls of several kinds together.
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a Calls>) -> Self {
        let (mut sum, mut most) = (Self::default(), 0);
        for calls in all {
            (sum.looked, sum.calls) = (sum.looked + calls.looked, sum.calls + calls.ranged);
            if calls.ranged > most {
                most = calls.ranged;
                (sum.low, sum.high) = calls.range;
            }
        }
        sum
    }

    /// The ports that such a socket may have, both ends included: an end that is not within the namespace's range does not count
    /// (inet_sk_get_local_port_range(), net/ipv4/inet_connection_sock.c, 6.1 to 7.3). `None` where no socket has a
    /// range of its own.
    pub fn within(&self, settings: &Settings) -> Option<(u16, u16)> {
        if self.calls == 0 {
            return None;
        }
        let (low, high) = settings.port_range.unwrap_or((1, u16::MAX));
        let or = |own: u16, all: u16| if (low..=high).contains(&own) { own } else { all };
        Some((or(self.low, low), or(self.high, high)))
    }
}

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

/// How long connect() looked for a port: inet_hash_connect() (net/ipv4/inet_hashtables.c, 5.10 to 7.3) from entry to
/// exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectTimes {
    /// Calls that were timed.
    pub calls: u64,
    /// Half of them took at most so long, in microseconds.
    pub p50_us: u64,
    /// 99 % of them.
    pub p99_us: u64,
}

impl ConnectTimes {
    /// `None` where there were no calls.
    pub fn of(times: &Spread) -> Option<Self> {
        let Percentiles { p50, p99, .. } = times.percentiles()?;
        Some(Self { calls: times.len(), p50_us: p50, p99_us: p99 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_out_of_the_namespaces_range_does_not_count() {
        let settings = Settings { port_range: Some((40_000, 49_999)), ..Settings::default() };
        let within = |low, high| Ranged { looked: 7, calls: 7, low, high }.within(&settings);
        assert_eq!(within(43_000, 43_010), Some((43_000, 43_010)));
        assert_eq!(within(0, 43_010), Some((40_000, 43_010)));
        assert_eq!(within(43_000, 0), Some((43_000, 49_999)));
        assert_eq!(within(1024, 2047), Some((40_000, 49_999)));
        assert_eq!(Ranged { looked: 7, ..Ranged::default() }.within(&settings), None);
        let unknown = Ranged { looked: 1, calls: 1, low: 7, high: 11 }.within(&Settings::default());
        assert_eq!(unknown, Some((7, 11)));
    }

    #[test]
    fn the_range_of_most_calls_is_told() {
        let calls = |looked, ranged, range| Calls { looked, ranged, range, ..Calls::default() };
        let all = [calls(3, 2, (11, 13)), calls(7, 5, (17, 19)), calls(23, 0, (0, 0))];
        assert_eq!(Ranged::of(all.iter()), Ranged { looked: 33, calls: 7, low: 17, high: 19 });
    }
}
