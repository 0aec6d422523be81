//! Owns: remedies for sockets that wait for somebody who does not act, and for ports that are not connect()'s to choose.
//! Must not know: where facts come from, how they are shown.

use super::blank;
use crate::diagnose::facts::AbortReasons;
use crate::diagnose::finding::{Effect, Remedy};
use crate::diagnose::pool::Pool;
use crate::diagnose::range::Range;
use crate::diagnose::words::{aborts, grouped};

pub(super) fn check_path() -> Remedy {
    Remedy {
        because: "nothing comes back from there".to_owned(),
        change: Some(
            "look where segments are dropped: a firewall or security group, a route, a peer that is down or whose queue of \
             connections is full (`ss -ltn` there, ListenOverflows in its `nstat -az`)"
                .to_owned(),
        ),
        ..blank(
            "check_path",
            "Find out who drops the segments",
            "the peer, or what is between, does not answer",
            "none",
        )
    }
}

pub(super) fn connect_timeout() -> Remedy {
    Remedy {
        because: "a SYN is sent for two minutes and more where the program has no time limit of its own".to_owned(),
        change: Some(
            "give the client a time limit for connecting of a few seconds, and let it give up for a while what does not \
             answer"
                .to_owned(),
        ),
        ..blank(
            "connect_timeout",
            "A time limit for connecting",
            "the program waits longer than its users do",
            "a peer that is slow to answer is taken for one that is gone",
        )
    }
}

pub(super) fn close_sockets(because: &str, change: &str) -> Remedy {
    Remedy {
        because: because.to_owned(),
        change: Some(change.to_owned()),
        ..blank(
            "close_sockets",
            "Close the descriptors",
            "a program holds descriptors of connections that are over",
            "none: nothing can come of these connections",
        )
    }
}

pub(super) fn release_ports() -> Remedy {
    Remedy {
        because: "they are on listeners, or bound and never connected".to_owned(),
        change: Some(
            "close sockets that are bound and not used; put the ports of services outside of ip_local_port_range, or let \
             there be fewer of them in it"
                .to_owned(),
        ),
        ..blank(
            "release_ports",
            "Let go of ports that are bound and not used",
            "bound sockets without a connection hold ports of the range",
            "who waits on such a port must be told",
        )
    }
}

pub(super) fn wider_socket_range(pool: &Pool<'_>, range: Range) -> Remedy {
    let ports = pool.ports().unwrap_or(range.ports);
    Remedy {
        because: format!(
            "its {} ports are all in use, and {} are allowed here",
            grouped(range.ports.into()),
            grouped(ports.into())
        ),
        change: Some(
            "give its sockets more ports (IP_LOCAL_PORT_RANGE, 51, level IPPROTO_IP), or do not set the option; fewer \
             connections, kept longer, need fewer ports"
                .to_owned(),
        ),
        effects: vec![Effect {
            what: "ports that it may use",
            unit: "ports",
            before: range.ports.into(),
            after: ports.into(),
        }],
        ..blank(
            "wider_socket_range",
            "A wider range for these sockets",
            "sockets have a range of their own within the namespace's",
            "whoever counts on their ports (a firewall, a NAT) must be told",
        )
    }
}

/// For whoever uses a port again within the minute of TIME_WAIT.
pub(super) fn keep_nat_ports() -> Remedy {
    Remedy {
        because: "SYNs come from ports whose last connection is in TIME_WAIT here".to_owned(),
        change: Some(
            "on the NAT or proxy in front: give a port out again only after 60 s or more (conntrack: \
             nf_conntrack_tcp_timeout_time_wait, 120 s), choose ports at random, have more of them, do not flush its table; or \
             let the client's end close first, so that TIME_WAIT is on its side"
                .to_owned(),
        ),
        ..blank(
            "keep_nat_ports",
            "Let the NAT keep a closed connection's port for a minute",
            "a NAT or client uses a port again within 60 s of its last connection",
            "the NAT needs more ports",
        )
    }
}

/// For who closes with an RST.
pub(super) fn graceful_close(reasons: &AbortReasons) -> Remedy {
    let linger = match reasons.linger {
        0 => "",
        _ => {
            ", and do not set SO_LINGER with 0 seconds; if TIME_WAIT is the reason why it is set, see keep_alive and tw_reuse"
        }
    };
    Remedy {
        because: aborts(reasons),
        change: Some(format!(
            "read to the end of what the peer sends before close() (shutdown(SHUT_WR) tells it that no more comes){linger}"
        )),
        ..blank(
            "graceful_close",
            "Close without an RST",
            "the program sets SO_LINGER 0, or closes before it has read everything that the peer sends",
            "connections that close first are in TIME_WAIT again",
        )
    }
}

pub(in crate::diagnose) fn conntrack_room() -> Remedy {
    Remedy {
        because: "the table is nearly full".to_owned(),
        change: Some(
            "in the machine's first network namespace: raise net.netfilter.nf_conntrack_max (and the buckets with it); or \
             lower nf_conntrack_tcp_timeout_established, five days by default; or do not track what needs no NAT (NOTRACK)"
                .to_owned(),
        ),
        ..blank(
            "conntrack_room",
            "More room for connection tracking",
            "connection tracking is nearly full",
            "kernel memory, some 320 bytes a connection",
        )
    }
}
