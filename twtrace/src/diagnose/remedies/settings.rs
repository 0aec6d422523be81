//! Owns: remedies that change a sysctl.
//! Must not know: where facts come from, how they are shown.

use super::{blank, limit, sysctl};
use crate::diagnose::facts::{BindFailure, Netns};
use crate::diagnose::finding::{Effect, Holds, Remedy};
use crate::diagnose::pool::{Pool, Reuse};
use crate::diagnose::predict;
use crate::diagnose::words::{count, grouped, number};

const MAX_TW_BUCKETS: &str = "max_tw_buckets";

/// As wide as it gets without the ports that only root may bind.
const WIDEST: (u16, u16) = (1024, 65_535);

/// The limit of a pool whose TIME_WAIT sockets give their ports back after `after_s` seconds.
fn faster(pool: &Pool<'_>, after_s: f64) -> Vec<Effect> {
    let ports = pool.ports().unwrap_or(0);
    let before = limit(pool);
    vec![
        Effect { what: "limit", unit: "connections/s", before, after: predict::limit(ports, after_s) },
        Effect { what: "a port is free again after", unit: "s", before: pool.hold_s(), after: after_s },
    ]
}

pub(super) fn tw_reuse(pool: &Pool<'_>) -> Remedy {
    let set = pool.netns.settings.tw_reuse;
    let (holds, because) = match (pool.reuse(), pool.tuple.timestamps) {
        (Reuse::NoTimestamps | Reuse::Works | Reuse::MayWork, _) => {
            (Holds::No, format!("it is {} already", set.unwrap_or_default()))
        }
        (Reuse::Bound, _) => {
            (Holds::No, "these ports came from bind(), and connect() takes none of them over".to_owned())
        }
        (_, Some(false)) => (
            Holds::No,
            "these connections have no TCP timestamps, and without them nothing is reused".to_owned(),
        ),
        (Reuse::LoopbackOnly, Some(true)) => {
            (Holds::Yes, "it is 2, for loopback only, which this is not; timestamps are on".to_owned())
        }
        (_, Some(true)) => (Holds::Yes, "it is off, and timestamps are on".to_owned()),
        (_, None) => {
            let why = "whether the peer has timestamps on could not be seen (`ss -ti` shows `ts` on a connection that has)";
            (Holds::Unknown, why.to_owned())
        }
    };
    let after_s = pool.reuse_after_s();
    // What was set outside is thought to hold in here.
    let outside = pool.netns.outside_tw_reuse.filter(|outside| set.is_some_and(|set| set != *outside));
    let because = match outside {
        Some(outside) => format!(
            "{because}; outside it is {outside}, in this network namespace {}: they do not inherit",
            set.unwrap_or_default()
        ),
        None => because,
    };
    Remedy {
        holds,
        because,
        command: Some(sysctl(pool.netns, "tcp_tw_reuse=1")),
        effects: faster(pool, after_s),
        ..blank(
            "tw_reuse",
            format!(
                "tcp_tw_reuse=1: connect() takes ports of TIME_WAIT sockets over {} s old",
                number(after_s)
            ),
            "outgoing connections, timestamps on both ends, sockets in true TIME_WAIT",
            "late segments of the old connection are told apart by timestamps alone; other namespaces keep their own setting",
        )
    }
}

pub(super) fn timestamps(pool: &Pool<'_>) -> Remedy {
    let here = pool.netns.settings.timestamps;
    let (holds, because) = match here {
        Some(0) => (Holds::Yes, "tcp_timestamps is 0 here".to_owned()),
        Some(_) => (Holds::No, "they are on here: it is the peer that does not offer them".to_owned()),
        None => (Holds::Unknown, "the setting could not be seen".to_owned()),
    };
    Remedy {
        holds,
        because,
        command: Some(sysctl(pool.netns, "tcp_timestamps=1")),
        effects: faster(pool, pool.reuse_after_s()),
        ..blank(
            "timestamps",
            "tcp_timestamps=1, so that tcp_tw_reuse can work",
            "they are off here, and on at the peer",
            "12 bytes in each segment; new connections only: those in TIME_WAIT now stay for their 60 s",
        )
    }
}

pub(super) fn reuse_delay(pool: &Pool<'_>) -> Remedy {
    const DEFAULT_MS: u32 = 1000;
    const SHORT_MS: u32 = 100;
    let set = pool.netns.settings.tw_reuse_delay_ms;
    let to_ms = if set.is_some_and(|set| set > DEFAULT_MS) { DEFAULT_MS } else { SHORT_MS };
    let (holds, because) = match set {
        None => {
            (Holds::No, "this kernel has one second fixed (tcp_tw_reuse_delay came with 6.14)".to_owned())
        }
        Some(set) if set <= SHORT_MS => (Holds::No, format!("it is {set} ms already")),
        Some(set) => (Holds::Yes, format!("it is {} ms", grouped(set.into()))),
    };
    Remedy {
        holds,
        because,
        command: Some(sysctl(pool.netns, &format!("tcp_tw_reuse_delay={to_ms}"))),
        effects: faster(pool, f64::from(to_ms) / 1000.0),
        ..blank(
            "reuse_delay",
            format!("tcp_tw_reuse_delay={to_ms}: reuse from {to_ms} ms on"),
            "a kernel that has it (6.14 on), and a round trip far shorter than that",
            "both ends' timestamp clocks must tick at least once in that time, else old and new segments look alike",
        )
    }
}

/// The widest range less what is reserved or listened on in it, and whether that is wider than what there is.
fn widened(netns: &Netns) -> (u32, Holds, String) {
    let settings = &netns.settings;
    let listeners = netns
        .served
        .iter()
        .filter(|served| served.listening && served.port >= WIDEST.0 && !settings.reserves(served.port));
    let listening = listeners.count() as u32;
    let ports = predict::usable(WIDEST, &settings.reserved).saturating_sub(listening);
    let now = settings.ports.unwrap_or(0);
    match settings.port_range {
        None => (ports, Holds::Unknown, "the range could not be seen".to_owned()),
        Some((low, high)) if ports <= now + now / 10 => {
            (ports, Holds::No, format!("it is {low} to {high} already: there is next to nothing to gain"))
        }
        Some((low, high)) => (
            ports,
            Holds::Yes,
            format!("it is {low} to {high}; ports of the wider one that are listened on: {listening}"),
        ),
    }
}

fn blank_port_range(netns: &Netns, effect: impl FnOnce(u32) -> Effect) -> Remedy {
    let (ports, holds, because) = widened(netns);
    let (low, high) = WIDEST;
    Remedy {
        holds,
        because,
        command: Some(sysctl(netns, &format!("ip_local_port_range=\"{low} {high}\""))),
        effects: vec![effect(ports)],
        ..blank(
            "port_range",
            "A wider ip_local_port_range",
            "the range is narrower than it could be; it governs IPv6 too",
            "a client may take the port of a service that is to start later: list such ports in ip_local_reserved_ports",
        )
    }
}

pub(super) fn port_range(pool: &Pool<'_>) -> Remedy {
    let (before, hold_s) = (limit(pool), pool.hold_s());
    blank_port_range(pool.netns, |ports| Effect {
        what: "limit",
        unit: "connections/s",
        before,
        after: predict::limit(ports, hold_s),
    })
}

pub(super) fn port_range_for_open(pool: &Pool<'_>) -> Remedy {
    let pinned = pool.netns.pinned.unwrap_or(0);
    let at_once = |ports: u32| f64::from(ports.saturating_sub(pinned));
    let before = at_once(pool.ports().unwrap_or(0));
    blank_port_range(pool.netns, |ports| Effect {
        what: "limit",
        unit: "connections at once",
        before,
        after: at_once(ports),
    })
}

pub(super) fn port_range_for_bind(netns: &Netns) -> Remedy {
    let before = f64::from(netns.settings.ports.unwrap_or(0));
    blank_port_range(netns, |ports| Effect {
        what: "limit",
        unit: "connections at once",
        before,
        after: f64::from(ports),
    })
}

pub(super) fn max_tw_buckets(netns: &Netns, rate: Option<f64>, refused: f64, object_bytes: u64) -> Remedy {
    let condition = "overflow is counted";
    let risk = "kernel memory, taken only as it fills";
    let set = netns.settings.max_tw_buckets;
    let Some(rate) = rate else {
        return Remedy {
            holds: Holds::Unknown,
            because: "how many sockets all want a second is not known: a filter left some out".to_owned(),
            change: Some("tcp_max_tw_buckets: 120 times the connections that end in a second".to_owned()),
            ..blank(MAX_TW_BUCKETS, "A larger tcp_max_tw_buckets", condition, risk)
        };
    };
    let want = predict::buckets(rate);
    let (holds, because) = match set {
        Some(set) if want <= set => (
            Holds::No,
            format!(
                "{} are room enough for this rate: what refused them was memory, or a burst",
                grouped(set.into())
            ),
        ),
        _ => (Holds::Yes, format!("{} refused: overflow is counted", count(netns.overflow, "socket"))),
    };
    let memory = crate::model::figures::bytes(predict::memory(want.into(), object_bytes));
    Remedy {
        holds,
        because,
        command: Some(sysctl(netns, &format!("tcp_max_tw_buckets={want}"))),
        effects: vec![Effect { what: "refused", unit: "sockets/s", before: refused, after: 0.0 }],
        ..blank(
            MAX_TW_BUCKETS,
            format!("A larger tcp_max_tw_buckets, room for twice this rate ({memory} when full)"),
            condition,
            risk,
        )
    }
}

/// `is_known`: whether SYNs are refused could be seen, and none was: where some are, this would keep their senders out for good.
pub(in crate::diagnose) fn rfc1337(netns: &Netns, observed_s: f64, is_known: bool) -> Remedy {
    let before = netns.reset as f64 / observed_s;
    Remedy {
        holds: if is_known { Holds::Yes } else { Holds::No },
        because: if is_known {
            "tcp_rfc1337 is 0, RSTs ended TIME_WAIT sockets, and no SYN was refused by one".to_owned()
        } else {
            "whether TIME_WAIT sockets refuse SYNs could not be seen here: there the RSTs are what lets clients in".to_owned()
        },
        command: Some(sysctl(netns, "tcp_rfc1337=1")),
        effects: vec![Effect { what: "ended by RST", unit: "sockets/s", before, after: 0.0 }],
        ..blank(
            "rfc1337",
            "tcp_rfc1337=1: TIME_WAIT sockets ignore RSTs",
            "RSTs end TIME_WAIT sockets before their time",
            "their ports and memory are held for the full 60 s",
        )
    }
}

pub(super) fn fin_timeout(netns: &Netns, waiting: u64) -> Remedy {
    let set = netns.settings.fin_timeout_s;
    // Above a minute an orphan waits for what is above it, and as long again as a small socket
    // (tcp_rcv_state_process(), net/ipv4/tcp_input.c, tcp_keepalive_timer(), net/ipv4/tcp_timer.c, 5.10 to 7.3). The
    // kernel waits for a few retransmissions at least (tcp_fin_time(), include/net/tcp.h, 5.10 to 7.3).
    let before_s = match set.unwrap_or(60) {
        most @ 0..=60 => most.max(1),
        more => 2 * (more - 60),
    };
    let after_s = (before_s / 4).clamp(1, 15);
    let holds = if before_s == after_s { Holds::No } else { set.map_or(Holds::Unknown, |_| Holds::Yes) };
    let level = waiting as f64;
    let ratio = f64::from(after_s) / f64::from(before_s);
    Remedy {
        holds,
        because: match set {
            Some(set) => {
                format!("it is {set} s, and orphans wait in FIN_WAIT2: the one thing that it is for")
            }
            None => "the setting could not be seen; by default it is 60 s".to_owned(),
        },
        command: Some(sysctl(netns, &format!("tcp_fin_timeout={after_s}"))),
        effects: vec![
            Effect { what: "FIN_WAIT2 lasts", unit: "s", before: before_s.into(), after: after_s.into() },
            Effect { what: "in FIN_WAIT2", unit: "sockets", before: level, after: level * ratio },
        ],
        ..blank(
            "fin_timeout",
            format!("tcp_fin_timeout={after_s}"),
            "orphans wait in FIN_WAIT2 (it does nothing for TIME_WAIT)",
            "a slow peer that still sends is answered with an RST",
        )
    }
}

/// Where SYNs are refused.
pub(in crate::diagnose) fn rfc1337_off(netns: &Netns) -> Remedy {
    let (holds, because) = match netns.settings.rfc1337 {
        Some(0) => (Holds::No, "it is 0 already"),
        Some(_) => (Holds::Yes, "it is 1, and SYNs are refused by TIME_WAIT sockets"),
        None => (Holds::Unknown, "the setting could not be seen"),
    };
    Remedy {
        holds,
        because: because.to_owned(),
        command: Some(sysctl(netns, "tcp_rfc1337=0")),
        ..blank(
            "rfc1337_off",
            "tcp_rfc1337=0: the RST of a client that was refused frees the socket again",
            "tcp_rfc1337 is 1 and SYNs are refused",
            "a late RST of anybody's ends a TIME_WAIT socket, too",
        )
    }
}

pub(in crate::diagnose) fn restore_fin_timeout(netns: &Netns, set: u32) -> Remedy {
    let effect = Effect { what: "TIME_WAIT lasts", unit: "s", before: 60.0, after: 60.0 };
    Remedy {
        because: format!("it is {set} s, and TIME_WAIT lasts its 60 s all the same"),
        command: Some(sysctl(netns, "tcp_fin_timeout=60")),
        effects: vec![effect],
        ..blank(
            "restore_fin_timeout",
            "Set tcp_fin_timeout back to 60, and take it out of /etc/sysctl.d",
            "few orphans wait in FIN_WAIT2",
            "those that do wait longer",
        )
    }
}

pub(in crate::diagnose) fn restore_max_tw_buckets(netns: &Netns, set: u32, default: u32) -> Remedy {
    let (before, after) = (f64::from(set), f64::from(default));
    Remedy {
        because: "it is lower than what the kernel chose for this machine's memory".to_owned(),
        command: Some(sysctl(netns, &format!("tcp_max_tw_buckets={default}"))),
        effects: vec![Effect { what: "room for", unit: "TIME_WAIT sockets", before, after }],
        ..blank(
            "restore_max_tw_buckets",
            "Set tcp_max_tw_buckets back, and take it out of /etc/sysctl.d",
            "it was lowered",
            "kernel memory, taken only as it fills",
        )
    }
}

pub(in crate::diagnose) fn drop_tw_recycle(path: Option<&str>) -> Remedy {
    let change = match path {
        Some(path) => format!("take the line out of {path}"),
        None => "set it to 0, and take it out of /etc/sysctl.d".to_owned(),
    };
    Remedy {
        because: "it does nothing, or harm".to_owned(),
        change: Some(change),
        ..blank("drop_tw_recycle", "Drop tcp_tw_recycle", "it is set anywhere", "none")
    }
}

/// So that connect() leaves a server's ports alone.
pub(super) fn reserve_ports(netns: &Netns, calls: &[&BindFailure]) -> Remedy {
    let settings = &netns.settings;
    let mut wanted: Vec<u16> = calls.iter().map(|bind| bind.port).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted.retain(|port| !settings.reserves(*port));
    let word = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let list: Vec<String> =
        settings.reserved.iter().map(word).chain(wanted.iter().map(ToString::to_string)).collect();
    let holds = match (settings.port_range, wanted.is_empty()) {
        (_, true) => Holds::No,
        (None, _) => Holds::Unknown,
        _ => Holds::Yes,
    };
    Remedy {
        holds,
        because: if wanted.is_empty() {
            "they are reserved already".to_owned()
        } else {
            "they are within ip_local_port_range, so that connect() may choose them".to_owned()
        },
        command: Some(sysctl(netns, &format!("ip_local_reserved_ports=\"{}\"", list.join(",")))),
        effects: vec![Effect {
            what: "of the server's ports, for connect() to choose",
            unit: "ports",
            before: wanted.len() as f64,
            after: 0.0,
        }],
        ..blank(
            "reserve_ports",
            "Reserve the server's ports: connect() then leaves them alone",
            "a server's port is within ip_local_port_range",
            "connections that have such a port now keep it to their end; the list is replaced as a whole",
        )
    }
}
