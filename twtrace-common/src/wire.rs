//! Owns: the records in the ring buffer. Each starts with a [`Header`] whose `kind` says which struct it is.
//! Must not know: how they are made or shown.
//!
//! Byte order: integers are the machine's, ports included (`sport`, `dport` are host order); addresses are network
//! order, IPv4 as `::ffff:a.b.c.d` with `family` 4.

use crate::Plain;

/// 16 bytes as they lie in memory.
pub type Words = [u64; 2];

/// The bytes that words are made of, in memory order.
pub fn bytes_of_words(words: Words) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&words[0].to_ne_bytes());
    second.copy_from_slice(&words[1].to_ne_bytes());
    bytes
}

/// Bytes as words, the other way round.
pub fn words_of_bytes(bytes: [u8; 16]) -> Words {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
}

/// A TIME_WAIT socket was created: a [`Birth`].
pub const KIND_CREATED: u16 = 1;
/// A TIME_WAIT socket ended: an [`Ended`].
pub const KIND_ENDED: u16 = 2;
/// A connection ended with no TIME_WAIT socket because one was refused: a [`Birth`] with `tw` 0.
pub const KIND_OVERFLOW: u16 = 3;
/// connect() failed: a [`Failed`].
pub const KIND_CONNECT_FAILED: u16 = 4;
/// bind() or listen() failed: a [`Failed`].
pub const KIND_BIND_FAILED: u16 = 5;
/// A process was met for the first time; lets user space look it up while it still lives: a [`Process`].
pub const KIND_PROCESS: u16 = 6;
/// This host ended a connection with an RST of its own: an [`Aborted`].
pub const KIND_ABORTED: u16 = 7;
/// A SYN met a TIME_WAIT socket and was not taken: an [`Ended`] whose socket lives on.
pub const KIND_SYN_REFUSED: u16 = 8;

/// `Header::flags`: `owner` holds a task.
pub const HAS_OWNER: u16 = 1 << 0;
/// `Header::flags`: `opener_pid`, `opener_comm` and `opener_start_ns` hold a task.
pub const HAS_OPENER: u16 = 1 << 1;
/// `Header::flags`: `age_ns` is known.
pub const HAS_AGE: u16 = 1 << 2;
/// `Header::flags`: `bytes_sent` and `bytes_received` are known.
pub const HAS_BYTES: u16 = 1 << 3;

/// `Header::flags` of `KIND_BIND_FAILED`: whether SO_REUSEADDR is set is known, and [`REUSEADDR`] says it.
pub const HAS_REUSEADDR: u16 = 1 << 4;
/// `Header::flags`: it is.
pub const REUSEADDR: u16 = 1 << 5;
/// `Header::flags` of `KIND_CONNECT_FAILED` and `KIND_BIND_FAILED`: `own_range` was looked at.
pub const HAS_OWN_RANGE: u16 = 1 << 6;

/// `Tuple::role`: not known.
pub const ROLE_UNKNOWN: u8 = 0;
/// `Tuple::role`: this end connected.
pub const ROLE_CLIENT: u8 = 1;
/// `Tuple::role`: this end was connected to.
pub const ROLE_SERVER: u8 = 2;

/// `Tuple::substate`: an orphan that waits for its peer's FIN (`TCP_FIN_WAIT2`, include/net/tcp_states.h, 6.12).
pub const SUBSTATE_FIN_WAIT2: u8 = 5;
/// `Tuple::substate`: true TIME_WAIT (`TCP_TIME_WAIT`, include/net/tcp_states.h, 6.12).
pub const SUBSTATE_TIME_WAIT: u8 = 6;

/// `Tuple::reason`: this backend cannot tell.
pub const REASON_UNKNOWN: u8 = 0;
/// `Tuple::reason`: its timer ran out.
pub const REASON_EXPIRED: u8 = 1;
/// `Tuple::reason`: a new connect() took the port.
pub const REASON_REUSED_OUTGOING: u8 = 2;
/// `Tuple::reason`: a new SYN from the peer took it.
pub const REASON_REUSED_INCOMING: u8 = 3;
/// `Tuple::reason`: an RST ended it early.
pub const REASON_RESET: u8 = 4;
/// `Tuple::reason`: `ss -K`.
pub const REASON_KILLED: u8 = 5;
/// `Tuple::reason`: its network namespace went away.
pub const REASON_PURGED: u8 = 6;

/// `Birth::via`: closed before twtrace began, nothing known.
pub const VIA_NONE: u32 = 0;
/// `Birth::via`: the owner called close().
pub const VIA_CLOSE: u32 = 1;
/// `Birth::via`: the owner called shutdown().
pub const VIA_SHUTDOWN: u32 = 2;
/// `Birth::via`: the owner was exiting.
pub const VIA_EXIT: u32 = 3;
/// `Birth::via`: the kernel closed it by itself; the opener stands in.
pub const VIA_OPENER: u32 = 4;

/// `port_via`: not known.
pub const PORT_UNKNOWN: u32 = 0;
/// `port_via`: connect() chose it.
pub const PORT_CONNECT: u32 = 1;
/// `port_via`: bind() with port 0 chose it.
pub const PORT_BIND_ANY: u32 = 2;
/// `port_via`: bind() was asked for it.
pub const PORT_BIND: u32 = 3;
/// `port_via`: the listener's.
pub const PORT_ACCEPT: u32 = 4;

/// `Aborted::why`: something else.
pub const WHY_OTHER: u32 = 0;
/// `Aborted::why`: close() with SO_LINGER 0.
pub const WHY_LINGER: u32 = 1;
/// `Aborted::why`: close() with data that nobody had read.
pub const WHY_UNREAD_DATA: u32 = 2;

/// What every record starts with. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// One of `KIND_*`.
    pub kind: u16,
    /// `HAS_*` bits.
    pub flags: u16,
    /// Inode of the network namespace (`net.ns.inum`).
    pub netns: u32,
    /// CLOCK_MONOTONIC in nanoseconds (`bpf_ktime_get_ns`).
    pub mono_ns: u64,
}

/// A connection's identity. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Local address, IPv4 mapped: 16 bytes in network order, in words so that the kernel side copies two and not 16.
    pub saddr: Words,
    /// Remote address, IPv4 mapped: 16 bytes in network order.
    pub daddr: Words,
    /// Local port, host order.
    pub sport: u16,
    /// Remote port, host order.
    pub dport: u16,
    /// Interface the socket is bound to (`sk_bound_dev_if`), 0 for none. Part of the identity (VRF).
    pub ifindex: u32,
    /// 4 or 6: what is on the wire.
    pub family: u8,
    /// One of `ROLE_*`.
    pub role: u8,
    /// One of `SUBSTATE_*`, 0 where it does not apply.
    pub substate: u8,
    /// One of `REASON_*`; only in [`Ended`].
    pub reason: u8,
    /// Zero.
    pub pad: u32,
}

/// A process as the kernel saw it in the act. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// What user space calls pid (`task.tgid`), in the initial pid namespace.
    pub pid: u32,
    /// What user space calls tid (`task.pid`).
    pub tid: u32,
    /// Real uid in the initial user namespace.
    pub uid: u32,
    /// Zero.
    pub pad: u32,
    /// Id (inode) of the cgroup v2 directory, 0 where unknown.
    pub cgroup_id: u64,
    /// When the process started, nanoseconds of CLOCK_BOOTTIME (`task.group_leader.start_boottime`); tells reused pids apart.
    pub start_ns: u64,
    /// The process's name (`task.group_leader.comm`), 16 bytes up to a NUL.
    pub comm: Words,
}

/// `KIND_CREATED` and `KIND_OVERFLOW`. 200 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Birth {
    /// What every record starts with.
    pub header: Header,
    /// The connection.
    pub tuple: Tuple,
    /// Address of the `inet_timewait_sock`; an opaque id, 0 for an overflow.
    pub tw: u64,
    /// Socket cookie (`skc_cookie`), 0 for none.
    pub cookie: u64,
    /// How long the timer was armed for, in milliseconds; 0 for an overflow.
    pub timeout_ms: u32,
    /// One of `VIA_*`.
    pub via: u32,
    /// Who sent the first local FIN; valid with `HAS_OWNER`.
    pub owner: Task,
    /// Who called connect() or accept(); valid with `HAS_OPENER`.
    pub opener_pid: u32,
    /// One of `PORT_*`.
    pub port_via: u32,
    /// See [`Task::start_ns`].
    pub opener_start_ns: u64,
    /// See [`Task::comm`].
    pub opener_comm: Words,
    /// How long the connection lived, in nanoseconds; valid with `HAS_AGE`.
    pub age_ns: u64,
    /// Payload sent, retransmissions excluded; valid with `HAS_BYTES`.
    pub bytes_sent: u64,
    /// Payload received, the peer's FIN excluded; valid with `HAS_BYTES`.
    pub bytes_received: u64,
}

/// `KIND_ENDED` and `KIND_SYN_REFUSED`. 80 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// What every record starts with.
    pub header: Header,
    /// The connection; `reason` and the substate it died in are set.
    pub tuple: Tuple,
    /// Address of the `inet_timewait_sock`, as in its [`Birth`].
    pub tw: u64,
    /// Socket cookie, 0 for none.
    pub cookie: u64,
}

/// `KIND_CONNECT_FAILED` and `KIND_BIND_FAILED`. 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// What every record starts with.
    pub header: Header,
    /// What was asked for; a port or address that was not given is 0.
    pub tuple: Tuple,
    /// Positive errno.
    pub errno: u32,
    /// One of `PORT_*`.
    pub port_via: u32,
    /// The socket's own range of ports (IP_LOCAL_PORT_RANGE): the lowest in the lower half, the highest in the upper, each 0 where
    /// that end is the namespace's. Valid with `HAS_OWN_RANGE`.
    pub own_range: u32,
    /// Zero.
    pub pad: u32,
    /// The caller.
    pub task: Task,
}

/// `KIND_ABORTED`. 152 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aborted {
    /// What every record starts with; `HAS_OWNER`, `HAS_BYTES`.
    pub header: Header,
    /// The connection.
    pub tuple: Tuple,
    /// Socket cookie, 0 for none.
    pub cookie: u64,
    /// One of `WHY_*`.
    pub why: u32,
    /// One of `PORT_*`.
    pub port_via: u32,
    /// Who did it, where a process did; valid with `HAS_OWNER`.
    pub owner: Task,
    /// One of `VIA_*`.
    pub via: u32,
    /// Zero.
    pub pad: u32,
    /// See [`Birth::bytes_sent`].
    pub bytes_sent: u64,
    /// See [`Birth::bytes_received`].
    pub bytes_received: u64,
}

/// `KIND_PROCESS`. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// What every record starts with.
    pub header: Header,
    /// The process.
    pub task: Task,
}

// SAFETY: integers only.
unsafe impl Plain for Words {}
// SAFETY: repr(C), integers only, padding explicit (sizes asserted below).
unsafe impl Plain for Header {}
// SAFETY: as above.
unsafe impl Plain for Tuple {}
// SAFETY: as above.
unsafe impl Plain for Task {}
// SAFETY: as above.
unsafe impl Plain for Birth {}
// SAFETY: as above.
unsafe impl Plain for Ended {}
// SAFETY: as above.
unsafe impl Plain for Failed {}
// SAFETY: as above.
unsafe impl Plain for Aborted {}
// SAFETY: as above.
unsafe impl Plain for Process {}

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<Tuple>() == 48);
    assert!(size_of::<Task>() == 48);
    assert!(size_of::<Birth>() == 16 + 48 + 8 + 8 + 8 + 48 + 8 + 8 + 16 + 24);
    assert!(size_of::<Ended>() == 16 + 48 + 16);
    assert!(size_of::<Failed>() == 16 + 48 + 16 + 48);
    assert!(size_of::<Aborted>() == 16 + 48 + 16 + 48 + 8 + 16);
    assert!(size_of::<Process>() == 16 + 48);
    assert!(core::mem::offset_of!(Birth, owner) == 88);
    assert!(core::mem::offset_of!(Birth, age_ns) == 168);
};
