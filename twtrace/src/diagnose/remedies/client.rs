//! Owns: remedies that change the client, or where its connections go.
//! Must not know: where facts come from, how they are shown.

use super::known::how_to_keep;
use super::{REQUESTS, blank, limit};
use crate::diagnose::facts::{BindFailure, Habits, Process, Reach, Share, Tuple};
use crate::diagnose::finding::{Effect, Holds, Remedy};
use crate::diagnose::pool::{ENOUGH, Pool, Reuse};
use crate::diagnose::predict;
use crate::diagnose::words::{count, grouped, number, short_time};

const MORE_ADDRESSES: &str = "more_addresses";
const BIND_NO_PORT: &str = "bind_no_port";

/// Connections that live so long are in use, not wasted, in microseconds.
const LONG_US: u64 = 10_000_000;

/// Requests that a connection could carry: no more than a process was seen to make connections for, and few, so as not to promise too
/// much.
fn requests<'a>(shares: impl Iterator<Item = &'a Share>) -> f64 {
    let (processes, made) = shares
        .filter(|share| share.created != 0)
        .fold((0_u64, 0_u64), |(processes, made), share| (processes + 1, made + share.created));
    // Of whom nobody knows, nothing is promised beyond what is usual.
    if processes == 0 { REQUESTS } else { (made as f64 / processes as f64).min(REQUESTS) }
}

/// A process that makes one connection, or hardly more, has none to use again.
const FEWEST: f64 = 2.0;

fn is_reusable((holds, because): (Holds, String), requests: f64) -> (Holds, String) {
    if requests < FEWEST && holds != Holds::No {
        let why = format!(
            "each process was seen to make {} connections to there: it has none to use again",
            number(requests)
        );
        return (Holds::No, why);
    }
    (holds, because)
}

/// Whether connections are short and many, and in what words.
fn is_short_lived(created: u64, habits: Option<&Habits>) -> (Holds, String) {
    let age_us = habits.and_then(|habits| habits.age_us);
    match age_us {
        _ if created < ENOUGH => {
            (Holds::Unknown, "too few connections were seen to tell how long they live".to_owned())
        }
        Some(age_us) if age_us >= LONG_US => (
            Holds::No,
            format!(
                "half of the connections lived {} or longer: they are in use already",
                short_time(age_us)
            ),
        ),
        Some(age_us) => {
            let sent = habits.and_then(|habits| habits.sent);
            let sent =
                sent.map_or_else(String::new, |sent| format!(" and sent at most {}", count(sent, "byte")));
            let seen = count(created, "connection");
            (Holds::Yes, format!("of {seen} seen, half lived at most {}{sent}", short_time(age_us)))
        }
        None => (Holds::Unknown, "how long the connections lived could not be seen".to_owned()),
    }
}

fn blank_keep_alive((holds, because): (Holds, String), who: Option<&Process>, requests: f64) -> Remedy {
    let condition = "a client opens many short connections to one peer, and the peer keeps them open";
    let risk = "the peer may close an idle connection just as it is used: requests that may not be repeated need care";
    let change = Some(how_to_keep(who).to_owned());
    let title = format!("Reuse connections: {} requests on each, say", number(requests));
    Remedy { holds, because, change, ..blank("keep_alive", title, condition, risk) }
}

pub(super) fn keep_alive(pool: &Pool<'_>) -> Remedy {
    let share = pool.tuple.shares.iter().find(|share| share.created != 0);
    let habits = share.and_then(|share| share.habits);
    let requests = requests(pool.tuple.shares.iter());
    let told = is_reusable(is_short_lived(pool.tuple.created, habits.as_ref()), requests);
    let remedy = blank_keep_alive(told, share.map(|share| &share.process), requests);
    let before =
        predict::held(pool.rate(), predict::TIME_WAIT_S).min(f64::from(pool.ports().unwrap_or(u32::MAX)));
    let after = predict::held(pool.rate() / requests, predict::TIME_WAIT_S);
    let ports = Effect { what: "peak in TIME_WAIT", unit: "ports", before, after: after.min(before) };
    let serves = limit(pool);
    let served = Effect { what: "limit", unit: "requests/s", before: serves, after: serves * requests };
    let mut effects = Vec::new();
    effects.extend(pool.ports().map(|_| served));
    // At a rate that is still too high for them, ports fill up all the same, only later; and where connect() takes ports over, how many
    // wait at a time is its choice.
    let is_foreseen =
        ports.after < ports.before && pool.reuse() != Reuse::Works && !pool.netns.pools_are_parts;
    effects.extend(is_foreseen.then_some(ports));
    Remedy { effects, ..remedy }
}

/// The same, where it is the table of TIME_WAIT sockets that is short.
pub(super) fn keep_alive_for_table(habits: Option<&Habits>, rate: Option<f64>) -> Remedy {
    let seen = habits.map_or(0, |habits| habits.as_client + habits.as_server).max(ENOUGH);
    let requests =
        habits.map_or(REQUESTS, |habits| ((habits.as_client + habits.as_server) as f64).clamp(1.0, REQUESTS));
    let told = is_reusable(is_short_lived(seen, habits), requests);
    let effect = rate.map(|rate| {
        let before = predict::held(rate, predict::TIME_WAIT_S);
        Effect { what: "TIME_WAIT at this rate", unit: "sockets", before, after: before / requests }
    });
    Remedy { effects: effect.into_iter().collect(), ..blank_keep_alive(told, None, requests) }
}

/// The same, where it is a NAT's ports that are short.
pub(super) fn keep_alive_behind_nat(tuples: &[&Tuple], budget: u32, hold_s: f64) -> Remedy {
    let created = tuples.iter().map(|tuple| tuple.created).sum();
    let share = tuples.iter().flat_map(|tuple| &tuple.shares).find(|share| share.created != 0);
    let habits = share.and_then(|share| share.habits);
    let requests = requests(tuples.iter().flat_map(|tuple| &tuple.shares));
    let told = is_reusable(is_short_lived(created, habits.as_ref()), requests);
    let before = predict::limit(budget, hold_s);
    let effect = Effect { what: "limit", unit: "requests/s", before, after: before * requests };
    let remedy = blank_keep_alive(told, share.map(|share| &share.process), requests);
    Remedy { effects: vec![effect], ..remedy }
}

pub(super) fn more_nat_addresses(budget: u32, hold_s: f64) -> Remedy {
    let condition = "the NAT is given a second public address, or the destination has several";
    let before = predict::limit(budget, hold_s);
    Remedy {
        because: "each pair of addresses and destination port has ports of its own".to_owned(),
        change: Some(
            "a second address on the NAT gateway, or a route around it (a private endpoint)".to_owned(),
        ),
        effects: vec![Effect { what: "limit", unit: "connections/s", before, after: 2.0 * before }],
        ..blank(
            MORE_ADDRESSES,
            "Twice the addresses",
            condition,
            "who allows the old address must allow the new one",
        )
    }
}

pub(super) fn peer_closes_first(pool: &Pool<'_>) -> Remedy {
    let condition = "this end closes first, and the peer can be made to";
    let peak = f64::from(pool.tuple.peak.time_wait);
    let change = "let the server end the connection (HTTP/1.1: the client sends `Connection: close` and reads to the \
                  end of the stream before it closes)";
    Remedy {
        because: "this end closes first now: its TIME_WAIT sockets are the evidence".to_owned(),
        change: Some(change.to_owned()),
        effects: vec![Effect { what: "in TIME_WAIT here", unit: "ports", before: peak, after: 0.0 }],
        ..blank(
            "peer_closes_first",
            "Let the peer close first: TIME_WAIT is then on its side, where no port is at stake",
            condition,
            "a client that must wait for the server's FIN needs a time limit",
        )
    }
}

/// Where both ends are on one machine.
pub(super) fn unix_socket(pool: &Pool<'_>) -> Option<Remedy> {
    if !matches!(pool.tuple.reach, Reach::Loopback | Reach::ThisHost) {
        return None;
    }
    let used = f64::from(pool.tuple.peak.all());
    let condition = "both ends are on this machine and can use a Unix socket";
    Some(Remedy {
        because: format!("{} is an address of this very machine", pool.tuple.daddr),
        change: Some(
            "listen on, and connect to, a Unix socket (nginx: `server unix:/run/app.sock;`)".to_owned(),
        ),
        effects: vec![Effect { what: "in use", unit: "ports", before: used, after: 0.0 }],
        ..blank(
            "unix_socket",
            "Use a Unix socket instead of TCP: it has no ports and no TIME_WAIT",
            condition,
            "the peer's address is no longer known to the backend; containers need a shared directory",
        )
    })
}

pub(super) fn loopback_address(pool: &Pool<'_>) -> Remedy {
    let (before, ports) = (limit(pool), pool.ports().unwrap_or(0));
    let has_timestamps = pool.netns.settings.timestamps.is_some_and(|set| set != 0);
    Remedy {
        holds: if has_timestamps { Holds::Yes } else { Holds::No },
        because: if has_timestamps {
            "tcp_tw_reuse is 2 and timestamps are on: only the address is in the way".to_owned()
        } else {
            "without timestamps (tcp_timestamps is 0) reuse works on no address".to_owned()
        },
        change: Some(format!(
            "connect to 127.0.0.1 instead of {} (the server must listen there)",
            pool.tuple.daddr
        )),
        effects: vec![Effect {
            what: "limit",
            unit: "connections/s",
            before,
            after: predict::limit(ports, pool.reuse_after_s()),
        }],
        ..blank(
            "loopback_address",
            "Connect to a loopback address",
            "tcp_tw_reuse is 2, and the backend is on this machine",
            "the backend sees 127.0.0.1 as its client's address",
        )
    }
}

fn blank_more_addresses(pool: &Pool<'_>, effect: Effect) -> Remedy {
    let how = match pool.tuple.reach {
        Reach::Loopback => "let the server listen on 0.0.0.0 and connect to 127.0.0.1 and 127.0.0.2 in turn",
        _ => {
            "connect to two addresses or ports of the server in turn, or bind a second source address (with \
             IP_BIND_ADDRESS_NO_PORT)"
        }
    };
    Remedy {
        because: "ports are counted for each pair of addresses and destination port by itself".to_owned(),
        change: Some(how.to_owned()),
        effects: vec![effect],
        ..blank(
            MORE_ADDRESSES,
            "Twice the source or destination addresses, or destination ports",
            "the peer can be reached in more than one way, or this machine has more than one address",
            "firewalls and access lists must know the new addresses",
        )
    }
}

pub(super) fn more_addresses(pool: &Pool<'_>) -> Remedy {
    let before = limit(pool);
    blank_more_addresses(pool, Effect { what: "limit", unit: "connections/s", before, after: 2.0 * before })
}

pub(super) fn more_addresses_for_open(pool: &Pool<'_>) -> Remedy {
    let before = f64::from(pool.ports().unwrap_or(0).saturating_sub(pool.netns.pinned.unwrap_or(0)));
    blank_more_addresses(
        pool,
        Effect { what: "limit", unit: "connections at once", before, after: 2.0 * before },
    )
}

pub(super) fn fewer_connections(pool: &Pool<'_>) -> Remedy {
    let open = f64::from(pool.tuple.peak.open());
    let pinned = pool.netns.pinned.unwrap_or(0);
    // What one process has open can be shared within it, and no further.
    let processes = pool.tuple.shares.iter().filter(|share| share.open != 0).count().max(1) as f64;
    let shared = (open / processes).clamp(1.0, REQUESTS);
    Remedy {
        holds: if shared < FEWEST { Holds::No } else { Holds::Yes },
        because: format!(
            "{} open to this one destination, {} pinned by bound sockets",
            count(pool.tuple.peak.open().into(), "connection"),
            count(pinned.into(), "port"),
        ),
        change: Some(
            "bound the connection pool, close what is idle, or carry several requests on one connection (HTTP/2)"
                .to_owned(),
        ),
        effects: vec![Effect { what: "open", unit: "ports", before: open, after: open / shared }],
        ..blank(
            "fewer_connections",
            format!("Fewer open connections: one for each {} now, say", number(shared)),
            "the connections are idle, or can be shared",
            "requests may have to wait for a connection",
        )
    }
}

pub(super) fn bind_no_port(ports: u32, bind: &BindFailure) -> Remedy {
    let ports = f64::from(ports);
    let destinations = bind.destinations.max(1);
    Remedy {
        because: format!(
            "bind() asked for any port, and the caller has {}",
            count(destinations.into(), "destination")
        ),
        change: Some(
            "set IP_BIND_ADDRESS_NO_PORT (24, level IPPROTO_IP) before bind(): the port is then chosen by connect(), for each \
             destination by itself. Or do not bind at all where routing chooses that address anyway"
                .to_owned(),
        ),
        effects: vec![Effect {
            what: "limit",
            unit: "connections at once",
            before: ports,
            after: ports * f64::from(destinations),
        }],
        ..blank(
            BIND_NO_PORT,
            format!("Choose the port at connect(): {} ports for each destination", grouped(ports as u64)),
            "the client binds a source address first, and does not need to know the port before connect()",
            "getsockname() tells the port only after connect()",
        )
    }
}

/// Where others than the caller have bound the ports.
pub(super) fn bind_no_port_of_others(pool: &Pool<'_>, closed: u32) -> Remedy {
    let ports = pool.ports().unwrap_or(0);
    let left = f64::from(ports.saturating_sub(closed + pool.netns.pinned.unwrap_or(0)));
    Remedy {
        change: Some(
            "in the program that holds them: set IP_BIND_ADDRESS_NO_PORT (24, level IPPROTO_IP) before it binds its source \
             address, or do not bind at all where routing chooses that address anyway"
                .to_owned(),
        ),
        because: format!("{} were bound before they were connected", count(closed.into(), "port")),
        effects: vec![Effect {
            what: "ports for this destination",
            unit: "ports",
            before: left,
            after: left + f64::from(closed),
        }],
        ..blank(
            BIND_NO_PORT,
            "Choose the port at connect(), where it was bound",
            "a client binds a source address first, and does not need to know the port before connect()",
            "getsockname() tells the port only after connect()",
        )
    }
}
