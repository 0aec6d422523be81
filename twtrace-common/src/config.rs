//! Owns: what the loader tells the kernel side once, before it is loaded, in a frozen `.rodata` global. The verifier
//! sees constants, so branches on these values cost nothing and loads at these offsets are direct.
//! Must not know: where the values come from (BTF, kallsyms, the command line).

use crate::Plain;
use crate::name::NamePattern;
use crate::wire::Words;

/// How many values each list of [`Filter`] can hold in the kernel; longer lists are decided in user space.
pub const FILTER_VALUES: usize = 8;

/// Byte offsets of kernel fields, from the running kernel's BTF. An offset that is not there is [`MISSING`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `sock_common.skc_daddr` (be32).
    pub skc_daddr: u32,
    /// `sock_common.skc_rcv_saddr` (be32).
    pub skc_rcv_saddr: u32,
    /// `sock_common.skc_dport` (be16).
    pub skc_dport: u32,
    /// `sock_common.skc_num` (u16, host order: the local port until the socket lets go of it).
    pub skc_num: u32,
    /// `sock_common.skc_state` (u8).
    pub skc_state: u32,
    /// `sock_common.skc_family` (u16).
    pub skc_family: u32,
    /// `sock_common.skc_bound_dev_if` (int).
    pub skc_bound_dev_if: u32,
    /// `sock_common.skc_prot` (struct proto *).
    pub skc_prot: u32,
    /// `sock_common.skc_net.net` (struct net *).
    pub skc_net: u32,
    /// `sock_common.skc_v6_daddr` (16 bytes).
    pub skc_v6_daddr: u32,
    /// `sock_common.skc_v6_rcv_saddr` (16 bytes).
    pub skc_v6_rcv_saddr: u32,
    /// `sock_common.skc_cookie` (u64).
    pub skc_cookie: u32,
    /// `sock_common.skc_flags` (unsigned long; bits are `enum sock_flags`).
    pub skc_flags: u32,
    /// `sock_common.skc_nulls_node.pprev` (pointer; NULL once unhashed by a local connect).
    pub skc_nulls_pprev: u32,
    /// `sock_common.skc_refcnt` (u32).
    pub skc_refcnt: u32,
    /// `sock.sk_shutdown` (u8).
    pub sk_shutdown: u32,
    /// `sock.sk_err` (int).
    pub sk_err: u32,
    /// `sock.sk_lingertime` (unsigned long, jiffies).
    pub sk_lingertime: u32,
    /// `sock.sk_txhash` (u32; 0 until the first connect() that found a port; with IPv6, until the first that looked for
    /// one where tcp_v6_connect(), net/ipv6/tcp_ipv6.c, chooses it before, as 7.2 and 7.3 do and 6.12 does not).
    pub sk_txhash: u32,
    /// `sock.sk_protocol` (u16).
    pub sk_protocol: u32,
    /// `sock.sk_lock.owned` (int): 0 in softirq, 1 under lock_sock() (net/core/sock.c, 5.10 to 7.3).
    pub sk_lock_owned: u32,
    /// `sock.sk_socket` (struct socket *).
    pub sk_socket: u32,
    /// `sock_common.skc_reuse` (4 bits: SO_REUSEADDR), counted in bits.
    pub skc_reuse_bit: u32,
    /// `sock.sk_userlocks` (4 bits or more: `SOCK_BIND*_LOCK`), counted in bits.
    pub sk_userlocks_bit: u32,
    /// `inet_connection_sock.icsk_bind_hash` (pointer to the `inet_bind_bucket` of the local port).
    pub icsk_bind_hash: u32,
    /// `inet_bind_bucket.fastreuse` (signed char; below 0: connect() chose the port).
    pub bind_fastreuse: u32,
    /// `inet_sock.inet_sport` (be16).
    pub inet_sport: u32,
    /// `inet_sock.local_port_range` (u32 since 6.8, two u16 before; lowest port first; include/net/inet_sock.h, 6.1 to
    /// 7.3). Where a kernel has none (before 6.3, but for 6.1 from 6.1.31 on), no socket has a range of its own.
    /// Optional.
    pub local_port_range: u32,
    /// `tcp_sock.bytes_sent` (u64). Optional.
    pub bytes_sent: u32,
    /// `tcp_sock.bytes_retrans` (u64). Optional.
    pub bytes_retrans: u32,
    /// `tcp_sock.bytes_received` (u64). Optional.
    pub bytes_received: u32,
    /// `tcp_sock.write_seq` (u32).
    pub write_seq: u32,
    /// `tcp_sock.linger2` (int).
    pub linger2: u32,
    /// `inet_timewait_sock.tw_substate` (u8).
    pub tw_substate: u32,
    /// `inet_timewait_sock.tw_sport` (be16).
    pub tw_sport: u32,
    /// `inet_timewait_sock.tw_timer` (struct timer_list).
    pub tw_timer: u32,
    /// `timer_list.function`.
    pub timer_function: u32,
    /// `timer_list.expires` (unsigned long, jiffies).
    pub timer_expires: u32,
    /// `net.ns.inum` (u32).
    pub net_inum: u32,
    /// `net.ipv4.tcp_death_row` as an offset in `struct net`: of the struct itself, or of a pointer to it
    /// (5.18 to 6.0), see [`Config::death_row_is_pointer`]. Optional.
    pub net_death_row: u32,
    /// `inet_timewait_death_row.tw_refcount` (refcount_t, one more than the sockets) or, before 5.18, `tw_count`
    /// (atomic_t; include/net/netns/ipv4.h, 5.10 to 7.3), see [`Config::tw_count_bias`]. Optional.
    pub dr_count: u32,
    /// `inet_timewait_death_row.sysctl_max_tw_buckets` (int). Optional.
    pub dr_max: u32,
    /// `socket.file` (struct file *).
    pub socket_file: u32,
    /// `file.f_count` (atomic_long_t, 0 when closed) or `file.f_ref` (file_ref_t, negative when closed), see
    /// [`Config::file_ref_signed`].
    pub file_count: u32,
    /// `task_struct.flags` (unsigned int, `PF_*`).
    pub task_flags: u32,
    /// `task_struct.group_leader` (struct task_struct *).
    pub task_group_leader: u32,
    /// `task_struct.comm` (16 bytes).
    pub task_comm: u32,
    /// `task_struct.start_boottime` (u64 ns).
    pub task_start_boottime: u32,
    /// `task_struct.cred` (const struct cred *). Optional.
    pub task_cred: u32,
    /// `cred.uid.val` (u32, in the initial user namespace). Optional.
    pub cred_uid: u32,
    /// `task_struct.files` (struct files_struct *). Optional (accept in the tracepoint backend).
    pub task_files: u32,
    /// `files_struct.fdt` (struct fdtable *). Optional.
    pub files_fdt: u32,
    /// `fdtable.fd` (struct file **). Optional.
    pub fdt_fd: u32,
    /// `file.private_data` (void *; the struct socket of a socket). Optional.
    pub file_private_data: u32,
    /// `socket.sk` (struct sock *). Optional.
    pub socket_sk: u32,
    /// `proto.name` (char[32]).
    pub proto_name: u32,
}

/// An offset that the running kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// A range of kernel text, `start` included, `end` not. All zero: not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

/// Functions that are looked for on the stack when a TIME_WAIT socket dies early (net/ipv4/inet_timewait_sock.c,
/// tcp_minisocks.c, tcp.c, tcp_ipv4.c and net/ipv6/tcp_ipv6.c, 5.10 to 7.3).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// `tw_timer_handler`: the timer function of every TIME_WAIT socket.
    pub tw_timer_handler: Text,
    /// `inet_twsk_deschedule_put`.
    pub inet_twsk_deschedule_put: Text,
    /// `inet_twsk_purge`.
    pub inet_twsk_purge: Text,
    /// `tcp_timewait_state_process`.
    pub tcp_timewait_state_process: Text,
    /// `tcp_abort`.
    pub tcp_abort: Text,
    /// `tcp_v4_rcv`.
    pub tcp_v4_rcv: Text,
    /// `tcp_v6_rcv`.
    pub tcp_v6_rcv: Text,
}

/// How many entries of a list of [`Filter`] are used: first come those of which one must match, then those of which none may.
/// One number, because each that is read costs instructions for every connection, filter or not.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used(pub u16);

impl Used {
    /// `wanted` entries of which one must match, then `unwanted` of which none may.
    pub const fn new(wanted: u8, unwanted: u8) -> Self {
        Self(wanted as u16 | (unwanted as u16) << 8)
    }

    /// Entries of which one must match; 0 lets everything pass.
    #[inline(always)]
    pub const fn wanted(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// Entries of either kind.
    #[inline(always)]
    pub const fn all(self) -> usize {
        self.wanted() + (self.0 >> 8) as usize
    }
}

/// A network, IPv4 mapped into IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its address.
    pub address: Words,
    /// Bits of the address that count.
    pub mask: Words,
}

/// What is decided in the kernel about which events travel. A list of which nothing is used lets everything pass.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Owner's name.
    pub comms: [NamePattern; FILTER_VALUES],
    /// Remote networks.
    pub peers: [Network; FILTER_VALUES],
    /// Owner's pid (caller's for failures).
    pub pids: [u32; FILTER_VALUES],
    /// Owner's uid.
    pub uids: [u32; FILTER_VALUES],
    /// Inode of the network namespace.
    pub netns: [u32; FILTER_VALUES],
    /// Local port, host order.
    pub sports: [u16; FILTER_VALUES],
    /// Remote port, host order.
    pub dports: [u16; FILTER_VALUES],
    /// Either port, host order.
    pub ports: [u16; FILTER_VALUES],
    /// Entries used in `comms`.
    pub n_comms: Used,
    /// Entries used in `peers`.
    pub n_peers: Used,
    /// Entries used in `pids`.
    pub n_pids: Used,
    /// Entries used in `uids`.
    pub n_uids: Used,
    /// Entries used in `netns`.
    pub n_netns: Used,
    /// Entries used in `sports`.
    pub n_sports: Used,
    /// Entries used in `dports`.
    pub n_dports: Used,
    /// Entries used in `ports`.
    pub n_ports: Used,
    /// 1: an entry of `comms` says how the name ends.
    pub tails: u8,
    /// 4 or 6, 0 for both.
    pub family: u8,
    /// A bit for each `ROLE_*` that is wanted, 0 for all.
    pub roles: u8,
    /// 1: it matters in which cgroup an owner is; user space says of which ones nothing travels.
    pub by_cgroup: u8,
    /// 1: failures of connect() and bind() travel whatever the errno is, not only those for want of a port.
    pub failures_all: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// The whole configuration.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Kernel field offsets.
    pub offsets: Offsets,
    /// Kernel text ranges.
    pub symbols: Symbols,
    /// The filters.
    pub filter: Filter,
    /// Seeds the key of closing sockets where the kernel gives no cookies, so that nobody can make keys collide on purpose.
    pub seed: u64,
    /// A power of two: bytes waiting in the ring at each multiple of which the reader is woken.
    pub wakeup_bytes: u64,
    /// The kernel's jiffies a second (CONFIG_HZ).
    pub hz: u32,
    /// One of `BACKEND_*`.
    pub backend: u32,
    /// Arguments of inet_csk_accept() (net/ipv4/inet_connection_sock.c, 5.10 to 7.3): 4 up to 6.9, 2 since (kernel
    /// commit 92ef0fd55ac8).
    pub accept_args: u32,
    /// Taken from the count to get the number of TIME_WAIT sockets: 1 with `tw_refcount`, 0 with `tw_count`.
    pub tw_count_bias: u32,
    /// 1: `net_death_row` is the offset of a pointer.
    pub death_row_is_pointer: u8,
    /// 1: `file_count` is a file_ref_t.
    pub file_ref_signed: u8,
    /// 1: `bpf_get_socket_cookie` serves in tracing programs here (5.12 and later).
    pub socket_cookie: u8,
    /// 1: the debug log is on.
    pub debug_log: u8,
    /// 1: only ends of sockets whose creation passed the filter travel (a filter on the owner is set).
    pub track_live: u8,
    /// 1: `bpf_get_current_task_btf` is here (5.11 and later).
    pub task_btf: u8,
    /// 1: the exit of tcp_timewait_state_process() is hooked.
    pub sees_verdicts: u8,
    /// `BY_STATE_*`: what inet_sock_set_state has to tell, because no hook of its own does.
    pub by_state: u8,
    /// 1: it is measured how long connect() looks for a port.
    pub times_connect: u32,
    /// 0.
    pub unused: u32,
}

/// [`Config::by_state`]: who connects.
pub const BY_STATE_CLIENT: u8 = 1 << 0;
/// [`Config::by_state`]: that a handshake is done.
pub const BY_STATE_SERVER: u8 = 1 << 1;
/// [`Config::by_state`]: who sends the first FIN.
pub const BY_STATE_OWNER: u8 = 1 << 2;
/// [`Config::by_state`]: that a socket is gone, with a TIME_WAIT socket or without.
pub const BY_STATE_END: u8 = 1 << 3;
/// [`Config::by_state`]: that a socket listens.
pub const BY_STATE_LISTEN: u8 = 1 << 4;
/// [`Config::by_state`]: that a connect() came to nothing after its SYN was sent.
pub const BY_STATE_FAILURE: u8 = 1 << 5;
/// [`Config::by_state`]: all of these.
pub const BY_STATE_ALL: u8 = (1 << 6) - 1;

/// fentry and fexit on the kernel's functions.
pub const BACKEND_FENTRY: u32 = 1;
/// kprobes and kretprobes on the same functions.
pub const BACKEND_KPROBE: u32 = 2;
/// Tracepoints only.
pub const BACKEND_TRACEPOINT: u32 = 3;

// SAFETY: repr(C), u32 fields only.
unsafe impl Plain for Offsets {}
// SAFETY: repr(C), integers only; sizes asserted below leave no room for implicit padding.
unsafe impl Plain for Filter {}
// SAFETY: as above.
unsafe impl Plain for Network {}
// SAFETY: as above.
unsafe impl Plain for Symbols {}
// SAFETY: as above.
unsafe impl Plain for Config {}

const _: () = {
    assert!(size_of::<Offsets>().is_multiple_of(8));
    assert!(size_of::<NamePattern>() == 72 && size_of::<Network>() == 32);
    assert!(size_of::<Filter>() == FILTER_VALUES * (72 + 32 + 3 * 4 + 3 * 2) + 8 * 2 + 5 + 3);
    assert!(size_of::<Config>() == size_of::<Offsets>() + 7 * 16 + size_of::<Filter>() + 16 + 16 + 8 + 8);
};
