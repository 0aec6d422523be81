//! Owns: what a process's figures usually mean, in one plain sentence.
//! Must not know: how figures are come by, how sentences are shown.

use std::fmt;

use super::read::Figures;
use super::spread::Percentiles;
use crate::model::figures;
use crate::model::pool::Pressure;

/// Below this many connections, a pattern would be a guess.
const ENOUGH: u64 = 10;
/// Half of all connections living shorter than this is a sign of too little reuse, in microseconds.
const SHORT_US: u64 = 1_000_000;

/// What a pattern is told from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// TIME_WAIT sockets created.
    pub created: u64,
    /// Of those, where this end connected.
    pub client: u64,
    /// Of those, where this end was connected to.
    pub server: u64,
    /// Of those, orphans that wait for their peer's FIN.
    pub fin_wait2: u64,
    /// TIME_WAIT sockets refused.
    pub overflow: u64,
    /// connect() failures for want of a port.
    pub connect_failed: u64,
    /// Of those, how many came while TIME_WAIT sockets held at least half of the ports.
    pub starved: u64,
    /// bind() and listen() failures for want of a port.
    pub bind_failed: u64,
    /// Failures of all these calls for another reason.
    pub otherwise: u64,
    /// Share of connections that lived under 5 ms.
    pub under_5ms: Option<f64>,
    /// How long connections lived, in microseconds.
    pub age_us: Option<Percentiles>,
    /// Payload sent a connection, in bytes.
    pub sent: Option<Percentiles>,
    /// Of the pools it draws from, the one that is full or full soonest.
    pub pressure: Option<Pressure>,
}

impl Evidence {
    /// From what is counted in a process's row; the rest is of what it deals with.
    pub fn of(figures: &Figures, starved: u64, pressure: Option<Pressure>) -> Self {
        let Figures { counts, otherwise, client, server, fin_wait2, under_5ms, age_us, sent, .. } = *figures;
        Self {
            created: counts.created,
            client,
            server,
            fin_wait2,
            overflow: counts.overflow,
            connect_failed: counts.connect_failed.saturating_sub(otherwise.connect),
            starved,
            bind_failed: counts.bind_failed.saturating_sub(otherwise.bind),
            otherwise: otherwise.connect + otherwise.bind,
            under_5ms,
            age_us,
            sent,
            pressure,
        }
    }
}

/// What the figures of a process usually mean. The most pressing comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// connect() fails for want of a port.
    NoPortsLeft {
        /// How often.
        failed: u64,
        /// Mostly while TIME_WAIT sockets held at least half of the ports towards one destination; `None` where the netns'
        /// ports are not known.
        by_time_wait: Option<bool>,
    },
    /// bind() or listen() fails.
    CannotBind {
        /// How often.
        failed: u64,
    },
    /// connect(), bind() or listen() fails, and not for want of a port.
    FailsOtherwise {
        /// How often.
        failed: u64,
    },
    /// Connections end without TIME_WAIT.
    TableFull {
        /// How often.
        refused: u64,
    },
    /// A pool of ports is nearly empty, but nothing has failed yet.
    PortsRunOut {
        /// Seconds until it is empty, at the present rates.
        full_in_s: f64,
    },
    /// Many connections wait for the peer's FIN.
    PeerDoesNotClose {
        /// Share of connections.
        share: f64,
    },
    /// The accepting side closes first.
    ServerClosesFirst {
        /// Share of connections.
        share: f64,
    },
    /// One connection for each request.
    NoReuse {
        /// Share of connections that lived under 5 ms.
        share: f64,
        /// Payload sent by half of them at most, in bytes.
        sent: Option<u64>,
    },
    /// Connections are used, but not for long.
    LittleReuse {
        /// Half of the connections lived shorter than this, in microseconds.
        age_us: u64,
    },
    /// Long-lived connections.
    LongLived {
        /// Half of the connections lived longer than this, in microseconds.
        age_us: u64,
    },
    /// Too few connections to tell it by.
    Few,
    /// Nothing to tell it by.
    Unclear,
}

impl Pattern {
    /// The pattern that the evidence shows.
    pub fn of(evidence: &Evidence) -> Self {
        Self::failing(evidence).or_else(|| Self::of_connections(evidence)).unwrap_or(Self::Unclear)
    }

    fn failing(evidence: &Evidence) -> Option<Self> {
        let pressure = evidence.pressure;
        if evidence.connect_failed != 0 {
            let by_time_wait = pressure.map(|_| evidence.starved * 2 >= evidence.connect_failed);
            return Some(Self::NoPortsLeft { failed: evidence.connect_failed, by_time_wait });
        }
        if evidence.bind_failed != 0 {
            return Some(Self::CannotBind { failed: evidence.bind_failed });
        }
        if evidence.overflow != 0 {
            return Some(Self::TableFull { refused: evidence.overflow });
        }
        if let Some(full_in_s) = pressure.and_then(|pressure| pressure.full_in_s) {
            return Some(Self::PortsRunOut { full_in_s });
        }
        (evidence.otherwise != 0).then_some(Self::FailsOtherwise { failed: evidence.otherwise })
    }

    fn of_connections(evidence: &Evidence) -> Option<Self> {
        if evidence.created < ENOUGH {
            return (evidence.created != 0).then_some(Self::Few);
        }
        let share = |count: u64| count as f64 / evidence.created as f64;
        if share(evidence.fin_wait2) >= 0.2 {
            return Some(Self::PeerDoesNotClose { share: share(evidence.fin_wait2) });
        }
        if share(evidence.server) >= 0.5 {
            return Some(Self::ServerClosesFirst { share: share(evidence.server) });
        }
        if let Some(share) = evidence.under_5ms.filter(|share| *share >= 0.9) {
            return Some(Self::NoReuse { share, sent: evidence.sent.map(|sent| sent.p50) });
        }
        let age_us = evidence.age_us?.p50;
        Some(if age_us < SHORT_US { Self::LittleReuse { age_us } } else { Self::LongLived { age_us } })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoPortsLeft { failed, by_time_wait: Some(true) } => write!(
                f,
                "connect() failed {}: TIME_WAIT sockets held the ports towards one destination. Reuse connections.",
                times(failed)
            ),
            Self::NoPortsLeft { failed, by_time_wait: Some(false) } => write!(
                f,
                "connect() failed {} for want of a port, but not for TIME_WAIT: look for open or bound sockets.",
                times(failed)
            ),
            Self::NoPortsLeft { failed, by_time_wait: None } => {
                write!(f, "connect() failed {} for want of a port.", times(failed))
            }
            Self::CannotBind { failed } => write!(
                f,
                "bind() or listen() failed {}: the address is in use. A server that starts again needs SO_REUSEADDR.",
                times(failed)
            ),
            Self::FailsOtherwise { failed } => write!(
                f,
                "connect(), bind() or listen() failed {}, not for want of a port: the errors of its events say why.",
                times(failed)
            ),
            Self::TableFull { refused } => write!(
                f,
                "{} ended without TIME_WAIT, because tcp_max_tw_buckets was reached or memory ran short.",
                if refused == 1 { "1 connection".to_owned() } else { format!("{refused} connections") }
            ),
            _ => self.fmt_unfailing(f),
        }
    }
}

impl Pattern {
    fn fmt_unfailing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PortsRunOut { full_in_s: 0.0 } => f.write_str(
                "No port is left towards one destination: connect() fails there. Reuse connections.",
            ),
            Self::PortsRunOut { full_in_s } => write!(
                f,
                "At this rate, no port is left towards one destination in {}. Reuse connections.",
                figures::span(full_in_s)
            ),
            Self::PeerDoesNotClose { share } => write!(
                f,
                "{}% of its connections wait in FIN_WAIT2 after close(): the peer keeps its end open, or is slow to close.",
                percent(share)
            ),
            Self::ServerClosesFirst { share } => write!(
                f,
                "{}% are connections it accepted and closed first: they cost memory, but no ephemeral ports.",
                percent(share)
            ),
            Self::NoReuse { share, sent: Some(sent) } => write!(
                f,
                "{}% of its connections lived under 5 ms, half sent at most {sent} bytes: one request each, no connection reuse.",
                percent(share)
            ),
            Self::NoReuse { share, sent: None } => write!(
                f,
                "{}% of its connections lived under 5 ms: one request each, no connection reuse.",
                percent(share)
            ),
            Self::LittleReuse { age_us } => write!(
                f,
                "Half of its connections lived under {}: they are given up early. A larger or longer-lived pool would help.",
                span(age_us)
            ),
            Self::LongLived { age_us } => {
                write!(
                    f,
                    "Half of its connections lived {} or longer: they are in use, not wasted.",
                    span(age_us)
                )
            }
            Self::Few => f.write_str("Too few connections yet to tell a pattern."),
            _ => f.write_str("Opened before tracing; no pattern yet."),
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Never says 100 where something is missing.
fn percent(share: f64) -> u32 {
    if share >= 1.0 { 100 } else { (share * 100.0).round().min(99.0) as u32 }
}

fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{:.1} ms", us as f64 / 1_000.0),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(created: u64) -> Evidence {
        Evidence { created, client: created, ..Evidence::default() }
    }

    fn ages(p50: u64) -> Option<Percentiles> {
        Some(Percentiles { p50, p90: p50, p99: p50 })
    }

    fn pool(in_use: u32, full_in_s: Option<f64>) -> Option<Pressure> {
        Some(Pressure { in_use, time_wait: in_use, ports: 1000, full_in_s, has_rates: true })
    }

    #[test]
    fn each_pattern_is_told_by_its_mark() {
        let quick = Evidence { under_5ms: Some(0.98), age_us: ages(900), sent: ages(83), ..clients(101) };
        for (evidence, want) in [
            (
                quick,
                "98% of its connections lived under 5 ms, half sent at most 83 bytes: one request each, no connection reuse.",
            ),
            (
                Evidence { sent: None, under_5ms: Some(0.999), ..quick },
                "99% of its connections lived under 5 ms: one request each",
            ),
            (Evidence { created: 9, ..quick }, "Too few connections yet"),
            (Evidence { age_us: None, under_5ms: None, ..quick }, "Opened before"),
            (
                Evidence { otherwise: 5, ..quick },
                "connect(), bind() or listen() failed 5 times, not for want",
            ),
            (Evidence { otherwise: 1, pressure: pool(500, Some(29.0)), ..quick }, "At this rate, no port"),
            (
                Evidence { otherwise: 5, bind_failed: 1, ..quick },
                "bind() or listen() failed once: the address",
            ),
            (
                Evidence { under_5ms: Some(0.89), age_us: ages(211_000), ..quick },
                "Half of its connections lived under 211 ms",
            ),
            (
                Evidence { under_5ms: Some(0.0), age_us: ages(31_000_000), ..quick },
                "Half of its connections lived 31 s or longer",
            ),
            (
                Evidence { client: 1, server: 100, ..quick },
                "99% are connections it accepted and closed first",
            ),
            (Evidence { fin_wait2: 23, ..quick }, "23% of its connections wait in FIN_WAIT2"),
            (
                Evidence { pressure: pool(500, Some(29.0)), ..quick },
                "At this rate, no port is left towards one destination in 29s.",
            ),
            (
                Evidence { pressure: pool(1000, Some(0.0)), ..quick },
                "No port is left towards one destination: connect() fails there.",
            ),
        ] {
            let text = Pattern::of(&evidence).to_string();
            assert!(text.starts_with(want), "{text:?} for {evidence:?}");
        }
    }

    #[test]
    fn each_failure_is_told_by_its_kind() {
        let quick = Evidence { under_5ms: Some(0.98), age_us: ages(900), ..clients(101) };
        for (evidence, want) in [
            (Evidence { overflow: 17, ..quick }, "17 connections ended without TIME_WAIT"),
            (Evidence { bind_failed: 3, overflow: 17, ..quick }, "bind() or listen() failed 3 times"),
            (
                Evidence { connect_failed: 7, starved: 4, pressure: pool(10, None), ..quick },
                "connect() failed 7 times: TIME_WAIT",
            ),
            (
                Evidence { connect_failed: 7, starved: 3, pressure: pool(990, None), ..quick },
                "connect() failed 7 times for want of a port, but",
            ),
            (
                Evidence { connect_failed: 1, bind_failed: 3, ..Evidence::default() },
                "connect() failed once for want of a port.",
            ),
        ] {
            let text = Pattern::of(&evidence).to_string();
            assert!(text.starts_with(want), "{text:?} for {evidence:?}");
        }
    }

    #[test]
    fn without_ages_nothing_is_claimed() {
        assert_eq!(Pattern::of(&clients(1009)), Pattern::Unclear);
    }
}
