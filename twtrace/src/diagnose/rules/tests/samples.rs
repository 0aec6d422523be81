//! Owns: the facts that tests of rules and of their words start from.
//! Must not know: the rules.

use crate::diagnose::facts::*;
use crate::engine::TupleKey;

/// The namespace of these facts.
pub(super) const NETNS: u32 = 4_026_531_840;

pub(in crate::diagnose) fn share(pid: u32, comm: &str) -> Share {
    Share { process: Process { pid: Some(pid), comm: comm.into(), ..Process::default() }, ..Share::default() }
}

/// A client that made 400 short connections.
pub(in crate::diagnose) fn client() -> Share {
    let habits = Habits { as_client: 400, age_us: Some(900), sent: Some(101), ..Habits::default() };
    Share { time_wait: 400, created: 400, habits: Some(habits), ..share(97, "checkout-api") }
}

/// A pool of 1000 ports towards another machine: 400 in TIME_WAIT, made in ten seconds.
pub(in crate::diagnose) fn tuple() -> Tuple {
    let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
    let ports = Ports { time_wait: 400, ..Ports::default() };
    Tuple {
        reach: Reach::Elsewhere,
        now: ports,
        peak: ports,
        created: 400,
        timestamps: Some(true),
        shares: vec![client()],
        ..Tuple::empty(&TupleKey { netns: NETNS, saddr, daddr, dport: 5432 })
    }
}

/// Ports that are nowhere near their end: a tenth of what a minute at this rate would take away.
pub(super) fn calm() -> Tuple {
    let ports = Ports { time_wait: 40, ..Ports::default() };
    Tuple { now: ports, peak: ports, created: 40, ..tuple() }
}

pub(in crate::diagnose) fn netns() -> Netns {
    let settings = Settings {
        port_range: Some((40_000, 40_999)),
        ports: Some(1000),
        tw_reuse: Some(2),
        tw_reuse_delay_ms: Some(1000),
        max_tw_buckets: Some(131_072),
        max_tw_buckets_default: Some(131_072),
        timestamps: Some(1),
        rfc1337: Some(0),
        fin_timeout_s: Some(60),
        ..Settings::default()
    };
    Netns {
        netns: NETNS,
        settings,
        time_wait: 400,
        fin_wait2: Some(0),
        peak_time_wait: 400,
        created: 400,
        pinned: Some(0),
        range_in_use: Some(400),
        ..Netns::default()
    }
}

pub(in crate::diagnose) fn facts(netns: Netns) -> Facts {
    let slab = Some(Slab { object_bytes: 248, bytes: 1 << 20 });
    let backend = "tracepoint".to_owned();
    Facts { observed_ms: 10_000, backend, slab, namespaces: vec![netns], ..Facts::default() }
}

pub(in crate::diagnose) fn with_tuple(tuple: Tuple) -> Facts {
    facts(Netns { tuples: vec![tuple], ..netns() })
}

pub(in crate::diagnose) fn full(ports: Ports, failed: u64) -> Tuple {
    Tuple { now: ports, peak: ports, failed, ..tuple() }
}
