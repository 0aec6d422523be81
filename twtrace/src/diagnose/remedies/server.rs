//! Owns: remedies that change the server, or what is bound.
//! Must not know: where facts come from, how they are shown.

use super::blank;
use crate::diagnose::facts::{Netns, Tuple};
use crate::diagnose::finding::{Effect, Holds, Remedy};
use crate::diagnose::predict;
use crate::diagnose::words::count;

const UNBOUND_PORT: &str = "unbound_port";

/// The kernel asks both: who has the port must have set it as well, and TIME_WAIT sockets inherit it
/// (inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c, 5.10 to 7.3; inet_twsk_alloc(),
/// net/ipv4/inet_timewait_sock.c, 5.10 to 7.3).
pub(super) fn reuseaddr(time_wait: u64, open: u64, left_s: u64, was_set: Option<bool>) -> Remedy {
    let others = if open == 0 {
        String::new()
    } else {
        format!("; its {} must have been bound with it too", count(open, "open socket"))
    };
    let before = if left_s == 0 { predict::TIME_WAIT_S } else { left_s as f64 };
    Remedy {
        // Whether those that hold the port have it, nobody can ask.
        holds: if was_set == Some(true) { Holds::No } else { Holds::Unknown },
        because: match was_set {
            Some(true) => "it was set on the socket that failed, so who holds the port was bound without it: once every start sets \
                           it, closed connections keep no server from its port"
                .to_owned(),
            Some(false) => format!(
                "it was not set on the socket that failed, nobody was seen to listen, and only {} hold the port{others}; it helps at \
                 once if the server before had set it",
                count(time_wait, "TIME_WAIT socket")
            ),
            None => format!(
                "nobody was seen to listen, and only {} hold the port{others}; it helps if the socket that failed does not set it, \
                 or the one before did not",
                count(time_wait, "TIME_WAIT socket")
            ),
        },
        change: Some("set SO_REUSEADDR before bind(), in every start of the server".to_owned()),
        effects: vec![Effect { what: "the port can be bound after", unit: "s", before, after: 0.0 }],
        ..blank(
            "reuseaddr",
            "SO_REUSEADDR",
            "a server binds a port that only closed connections hold",
            "none on Linux: a port that somebody listens on stays refused",
        )
    }
}

/// For whoever takes source ports by number.
pub(super) fn unbound_ports(netns: &Netns, taken: u64) -> Remedy {
    let ports = f64::from(netns.settings.ports.unwrap_or(0));
    Remedy {
        because: format!("{} of its own are in TIME_WAIT, and it asks for these very ports", count(taken, "port")),
        change: Some(
            "do not bind the port: let connect() choose one (NFS: the mount option noresvport); or keep one connection in \
             place of many; or wait for the minute of TIME_WAIT before a port is asked for again"
                .to_owned(),
        ),
        effects: vec![Effect { what: "ports to choose from", unit: "ports", before: taken as f64, after: ports }],
        ..blank(
            UNBOUND_PORT,
            "Let connect() choose the port",
            "the peer does not insist on the port",
            "a peer that trusts low ports, or knows the client by its port, must be told",
        )
    }
}

pub(super) fn local_address(netns: &Netns) -> Remedy {
    Remedy {
        because: "the call is refused because of the address, and ports are free".to_owned(),
        change: Some(format!(
            "look at the addresses that there are (`{}ip addr`), and give the interface the missing one, or the program another: \
             127.0.0.1 in place of ::1 or localhost where IPv6 is off. `net.ipv4.ip_nonlocal_bind` is for addresses that come \
             later",
            netns.enter
        )),
        ..blank(
            "local_address",
            "An address that is here",
            "a call names, or needs, an address that no interface has",
            "none",
        )
    }
}

pub(super) fn peer_must_close(waiting: u64) -> Remedy {
    Remedy {
        because: "this end has closed, and the peer's FIN does not come".to_owned(),
        change: Some(
            "let the peer close when it reads the end of the stream; on the peer such sockets are in CLOSE_WAIT: `ss -tnp \
             state close-wait`"
                .to_owned(),
        ),
        effects: vec![Effect { what: "in FIN_WAIT2", unit: "sockets", before: waiting as f64, after: 0.0 }],
        ..blank(
            "peer_must_close",
            "Make the peer close its end",
            "the peer is a program that can be changed",
            "none",
        )
    }
}

pub(in crate::diagnose) fn longer_connections(netns: &Netns, observed_s: f64) -> Remedy {
    let made: u64 = netns.served.iter().flat_map(|served| &served.shares).map(|share| share.created).sum();
    let level =
        predict::held(made as f64 / observed_s, predict::TIME_WAIT_S).max(netns.server_time_wait as f64);
    Remedy {
        because: "the server closes first; only if their number troubles somebody".to_owned(),
        change: Some(
            "keep connections open longer (nginx: `keepalive_requests`, `keepalive_timeout`)".to_owned(),
        ),
        effects: vec![Effect {
            what: "in TIME_WAIT",
            unit: "sockets",
            before: level,
            after: level / super::REQUESTS,
        }],
        ..blank(
            "longer_connections",
            format!("{} requests on each connection", super::REQUESTS),
            "clients come back over the same connection",
            "a client that closes first has TIME_WAIT on its side, where ports are at stake",
        )
    }
}

pub(in crate::diagnose) fn other_port(ports: &str) -> Remedy {
    Remedy {
        because: "a listener keeps its port whatever SO_REUSEADDR says".to_owned(),
        change: Some(format!(
            "stop who listens on {ports}, take another port, or share it: SO_REUSEPORT on all, by one user"
        )),
        effects: vec![Effect { what: "bind() that fails", unit: "of 100", before: 100.0, after: 0.0 }],
        ..blank("other_port", "Another port, or one listener less", "somebody listens on it", "none")
    }
}

pub(in crate::diagnose) fn unbound_port(netns: &Netns, tuple: &Tuple) -> Remedy {
    let ports = f64::from(netns.settings.ports.unwrap_or(0));
    let used = f64::from(tuple.peak.all());
    Remedy {
        because: "the port was bound before connect(), so that the kernel could not choose a free one"
            .to_owned(),
        change: Some("do not bind the port: let connect() choose one; or choose another".to_owned()),
        effects: vec![Effect {
            what: "ports left",
            unit: "ports",
            before: 0.0,
            after: (ports - used).max(0.0),
        }],
        ..blank(
            UNBOUND_PORT,
            "Let connect() choose the port",
            "the peer does not insist on the port",
            "a peer that knows the client by its port must be told",
        )
    }
}
