//! Owns: listed sockets and their summary as JSON lines. Keys are those of events where they mean the same.
//! Must not know: where lines go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::{NetnsCount, PoolPressure, Socket, Summary};
use crate::engine::{Live, TupleKey};
use crate::model::limitation::Limitation;
use crate::output::object_line;

#[derive(Serialize)]
struct Line<'a> {
    netns: u32,
    family: &'static str,
    saddr: IpAddr,
    sport: u16,
    daddr: IpAddr,
    dport: u16,
    role: &'static str,
    substate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<u64>,
    expires_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<&'a str>,
    #[serde(flatten)]
    known: Option<KnownSocket<'a>>,
}

/// What a trace or a recording knows of a socket.
#[derive(Serialize)]
struct KnownSocket<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    owner_via: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    opener_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opener_comm: Option<String>,
}

impl<'a> From<&'a Live> for KnownSocket<'a> {
    fn from(live: &'a Live) -> Self {
        let (owner, identity) = (live.owner.as_ref(), live.identity.as_deref());
        Self {
            pid: owner.map(|owner| owner.pid),
            tid: owner.map(|owner| owner.tid),
            comm: owner.map(|owner| owner.comm.text().into_owned()),
            uid: owner.map(|owner| owner.uid),
            exe: identity.and_then(|identity| identity.exe.as_deref()),
            cgroup: identity.and_then(|identity| identity.cgroup.as_deref()),
            container: identity.and_then(|identity| identity.container.as_ref()).map(ToString::to_string),
            owner_via: live.via.word(),
            opener_pid: live.opener.map(|opener| opener.pid),
            opener_comm: live.opener.map(|opener| opener.comm.text().into_owned()),
        }
    }
}

/// Appends `socket` and a newline to `out`.
pub fn socket_line(socket: &Socket, out: &mut Vec<u8>) {
    let line = Line {
        netns: socket.netns,
        family: if socket.local.address.is_ipv4() { "ipv4" } else { "ipv6" },
        saddr: socket.local.address,
        sport: socket.local.port,
        daddr: socket.remote.address,
        dport: socket.remote.port,
        role: socket.role.word(),
        substate: socket.substate.word(),
        cookie: (socket.cookie != 0).then_some(socket.cookie),
        expires_ms: socket.expires_ms,
        ifindex: (socket.ifindex != 0).then_some(socket.ifindex),
        ifname: socket.ifname.as_deref(),
        known: socket.known.as_ref().map(Into::into),
    };
    object_line(&line, out);
}

#[derive(Serialize)]
struct Counted<'a> {
    sockets: u64,
    states: BTreeMap<&'static str, u64>,
    time_wait: u64,
    time_wait_in_fin_wait2: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    slab_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slab_object_bytes: Option<u64>,
    netns: &'a [NetnsCount],
    tuples: Vec<Tuple>,
    limitations: &'a [Limitation],
}

#[derive(Serialize)]
struct Tuple {
    #[serde(flatten)]
    key: TupleKey,
    ports_in_use: u32,
    ports_in_time_wait: u32,
    ports: u32,
    ports_left: u32,
    pressure: f64,
}

impl From<&PoolPressure> for Tuple {
    fn from(pool: &PoolPressure) -> Self {
        Self {
            key: pool.key,
            ports_in_use: pool.pressure.in_use,
            ports_in_time_wait: pool.pressure.time_wait,
            ports: pool.pressure.ports,
            ports_left: pool.pressure.left(),
            pressure: pool.pressure.fraction(),
        }
    }
}

/// Appends what cannot be seen, as `twtrace events` does, and a newline to `out`.
pub fn limitation_line(limitation: &Limitation, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Line<'a> {
        event: &'static str,
        #[serde(flatten)]
        limitation: &'a Limitation,
    }
    object_line(&Line { event: "limitation", limitation }, out);
}

/// Appends `summary` and a newline to `out`.
pub fn summary_line(summary: &Summary, limitations: &[Limitation], out: &mut Vec<u8>) {
    let counted = Counted {
        sockets: summary.sockets(),
        states: summary.states.iter().copied().collect(),
        time_wait: summary.in_time_wait + summary.in_fin_wait2,
        time_wait_in_fin_wait2: summary.in_fin_wait2,
        slab_bytes: summary.slab.map(|slab| slab.bytes),
        slab_object_bytes: summary.slab.map(|slab| slab.object_bytes),
        netns: &summary.namespaces,
        tuples: summary.pools.iter().map(Into::into).collect(),
        limitations,
    };
    object_line(&counted, out);
}
