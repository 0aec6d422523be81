//! Owns: remedies that change the server, or what is bound.
//! Must not know: where facts come from, how they are shown.

use super::blank;
use crate::doctor::facts::{Netns, Served, Tuple};
use crate::doctor::finding::{Effect, Remedy};
use crate::doctor::predict;
use crate::doctor::words::count;

pub(super) const REUSEADDR: &str = "reuseaddr";
pub(super) const PEER_MUST_CLOSE: &str = "peer_must_close";
pub(super) const LONGER_CONNECTIONS: &str = "longer_connections";
pub(super) const OTHER_PORT: &str = "other_port";
pub(super) const UNBOUND_PORT: &str = "unbound_port";

pub(super) fn reuseaddr(served: &Served) -> Remedy {
    let open = if served.open == 0 {
        String::new()
    } else {
        format!("; its {} must have been bound with it too", count(served.open, "open socket"))
    };
    Remedy {
        because: format!(
            "nobody listens on the port, only {} hold it{open}",
            count(served.time_wait, "TIME_WAIT socket")
        ),
        change: Some("set SO_REUSEADDR before bind(), in every start of the server".to_owned()),
        effects: vec![Effect {
            what: "the port can be bound after",
            unit: "s",
            before: predict::TIME_WAIT_S,
            after: 0.0,
        }],
        ..blank(
            REUSEADDR,
            "SO_REUSEADDR",
            "a server binds a port that only closed connections hold",
            "none on Linux: a port that somebody listens on stays refused",
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
            PEER_MUST_CLOSE,
            "Make the peer close its end",
            "the peer is a program that can be changed",
            "none",
        )
    }
}

pub(in crate::doctor) fn longer_connections(netns: &Netns, observed_s: f64) -> Remedy {
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
            LONGER_CONNECTIONS,
            format!("{} requests on each connection", super::REQUESTS),
            "clients come back over the same connection",
            "a client that closes first has TIME_WAIT on its side, where ports are at stake",
        )
    }
}

pub(in crate::doctor) fn other_port(port: u16) -> Remedy {
    Remedy {
        because: "a listener keeps its port whatever SO_REUSEADDR says".to_owned(),
        change: Some(format!(
            "stop who listens on port {port}, take another port, or share it: SO_REUSEPORT on all, by one user"
        )),
        effects: vec![Effect { what: "bind() that fails", unit: "of 100", before: 100.0, after: 0.0 }],
        ..blank(OTHER_PORT, "Another port, or one listener less", "somebody listens on it", "none")
    }
}

pub(in crate::doctor) fn unbound_port(netns: &Netns, tuple: &Tuple) -> Remedy {
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
