//! Owns: popular remedies that do not help, and why not.
//! Must not know: where facts come from, how they are shown.

use super::finding::NotHere;

const LOWER_FIN_TIMEOUT: &str = "lower_fin_timeout";
const OPEN_TW_REUSE: &str = "open_tw_reuse";
const SERVER_PORT_RANGE: &str = "server_port_range";

fn not(id: &'static str, title: &str, why: &str) -> NotHere {
    NotHere { id, title: title.to_owned(), why: why.to_owned() }
}

fn lower_fin_timeout() -> NotHere {
    let why = "it is about FIN_WAIT2; the 60 s of TIME_WAIT are compiled into the kernel (TCP_TIMEWAIT_LEN)";
    not(LOWER_FIN_TIMEOUT, "tcp_fin_timeout lowered", why)
}

fn lower_max_tw_buckets() -> NotHere {
    let why = "beyond it connections end without TIME_WAIT, so old segments can reach new connections; ports are freed by luck";
    not("lower_max_tw_buckets", "tcp_max_tw_buckets lowered", why)
}

fn tw_recycle() -> NotHere {
    not("tw_recycle", "tcp_tw_recycle", "no kernel since 4.12 has it; before, it broke clients behind NAT")
}

fn linger_zero() -> NotHere {
    let why =
        "close() then sends an RST: no TIME_WAIT, but what was not yet read or sent is lost, on either end";
    not("linger_zero", "SO_LINGER with 0 seconds", why)
}

fn client_reuseaddr() -> NotHere {
    let why =
        "it is for a server that binds its port again; a connect() that chooses its port does not look at it";
    not("client_reuseaddr", "SO_REUSEADDR on the client", why)
}

/// For a client's pool.
pub(super) fn of_client() -> Vec<NotHere> {
    vec![lower_fin_timeout(), lower_max_tw_buckets(), tw_recycle(), linger_zero(), client_reuseaddr()]
}

/// For ports that open or bound sockets hold.
pub(super) fn of_held_open() -> Vec<NotHere> {
    let why = "it takes ports over from TIME_WAIT sockets, and these are open";
    vec![
        not(OPEN_TW_REUSE, "tcp_tw_reuse", why),
        lower_fin_timeout(),
        lower_max_tw_buckets(),
        client_reuseaddr(),
    ]
}

/// For sources that are bound first.
pub(super) fn of_bound_source() -> Vec<NotHere> {
    let why = "bind() chooses the port here, and tcp_tw_reuse is asked by connect() only";
    vec![not(OPEN_TW_REUSE, "tcp_tw_reuse", why), lower_fin_timeout(), linger_zero()]
}

/// For sockets that wait for somebody to act.
pub(super) fn of_waiting(fin_timeout: &'static str) -> Vec<NotHere> {
    let why = "it takes ports over from TIME_WAIT sockets, and these are in another state";
    vec![
        not(OPEN_TW_REUSE, "tcp_tw_reuse", why),
        not(LOWER_FIN_TIMEOUT, "tcp_fin_timeout lowered", fin_timeout),
        lower_max_tw_buckets(),
    ]
}

/// For sockets with a range of their own.
pub(super) fn of_socket_range() -> Vec<NotHere> {
    let why = "the namespace's range has ports left: it is the socket's own that is full";
    vec![
        not("socket_port_range", "A wider ip_local_port_range", why),
        lower_fin_timeout(),
        lower_max_tw_buckets(),
    ]
}

/// For orphans in FIN_WAIT2.
pub(super) fn of_half_closed() -> Vec<NotHere> {
    let why = "it takes ports over from sockets in true TIME_WAIT; these wait in FIN_WAIT2";
    vec![not("half_closed_tw_reuse", "tcp_tw_reuse", why), lower_max_tw_buckets(), linger_zero()]
}

/// For a table that is full.
pub(super) fn of_overflow() -> Vec<NotHere> {
    vec![lower_fin_timeout(), lower_max_tw_buckets(), tw_recycle(), linger_zero()]
}

/// For a server that cannot bind.
pub(super) fn of_server() -> Vec<NotHere> {
    vec![server_tw_reuse(), lower_fin_timeout(), linger_zero()]
}

/// For a server whose port an outgoing connection has.
pub(super) fn of_ephemeral_port() -> Vec<NotHere> {
    let why = "both sockets must have it for a port to be shared, and the client's has not";
    vec![not("server_reuseaddr", "SO_REUSEADDR on the server", why), server_tw_reuse(), lower_fin_timeout()]
}

/// For SYNs that TIME_WAIT sockets refuse.
pub(super) fn of_refused_syns(is_set: bool) -> Vec<NotHere> {
    let why = if is_set {
        "it is set: the RST that lets a refused client in is ignored"
    } else {
        "the RST that lets a refused client in would be ignored: connections then fail for a minute and more"
    };
    vec![not("rfc1337_on", "tcp_rfc1337=1", why), tw_recycle(), lower_fin_timeout(), server_tw_reuse()]
}

/// For a client that takes its ports itself.
pub(super) fn of_own_ports() -> Vec<NotHere> {
    let why = "bind() is refused here, and tcp_tw_reuse is asked by connect() only";
    let range = "it is for ports that the kernel chooses, and these are asked for by number";
    vec![
        not(OPEN_TW_REUSE, "tcp_tw_reuse", why),
        not(SERVER_PORT_RANGE, "A wider ip_local_port_range", range),
        lower_fin_timeout(),
    ]
}

/// For an address that is not here.
pub(super) fn of_no_address() -> Vec<NotHere> {
    let range = "no port is looked for before there is an address";
    vec![
        not(SERVER_PORT_RANGE, "A wider ip_local_port_range", range),
        not(OPEN_TW_REUSE, "tcp_tw_reuse", range),
    ]
}

/// For TIME_WAIT on a server's side.
pub(super) fn of_server_side() -> Vec<NotHere> {
    let why = "a server's connections all use its one port: no ephemeral port is in use";
    vec![
        server_tw_reuse(),
        not(SERVER_PORT_RANGE, "A wider ip_local_port_range", why),
        lower_fin_timeout(),
        lower_max_tw_buckets(),
        tw_recycle(),
        linger_zero(),
    ]
}

fn server_tw_reuse() -> NotHere {
    not("server_tw_reuse", "tcp_tw_reuse", "it is about outgoing connections; a server's are incoming")
}
