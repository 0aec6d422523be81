//! Owns: every map, what it is keyed by, and how long an entry lives.
//! Must not know: who fills them.
//!
//! Sizes are defaults; the loader may set others before it creates them.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use twtrace_common::{
    loss,
    wire::{Task, Words},
};

use crate::table::{self, Set};

/// Who opened a connection. 80 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Opener {
    /// The process that called connect() or accept(); all zero while a server's connection waits for accept().
    pub(crate) task: Task,
    /// CLOCK_MONOTONIC at connect(), or when the connection was there for accept(); 0: not known.
    pub(crate) since_ns: u64,
    /// See `sock::opener_key`.
    pub(crate) check: u64,
    /// One of `ROLE_*`.
    pub(crate) role: u64,
    /// The `struct sock`, to see whether the connection is still there.
    pub(crate) sk: u64,
}

/// Who sent the first FIN of a connection. 104 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// Who did it; all zero where not known.
    pub(crate) task: Task,
    /// One of [`twtrace_common::wire`]'s `VIA_*`.
    pub(crate) via: u32,
    /// Who opened it; 0: not known.
    pub(crate) opener_pid: u32,
    /// See [`Task::start_ns`].
    pub(crate) opener_start_ns: u64,
    /// See [`Task::comm`].
    pub(crate) opener_comm: Words,
    /// See [`Opener::since_ns`].
    pub(crate) since_ns: u64,
    /// One of `ROLE_*`.
    pub(crate) role: u32,
    /// One of `PORT_*`.
    pub(crate) port_via: u32,
    /// The `struct sock`, for backends whose birth hook does not get it.
    pub(crate) sk: u64,
}

/// What bind() was asked for, between its entry and its return.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct BindCall {
    /// kprobe: the `struct sock`. tracepoint: user address of the sockaddr.
    pub(crate) pointer: u64,
    /// kprobe: the port asked for. tracepoint: the file descriptor.
    pub(crate) number: u64,
}

/// The port a process listens on.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Listening {
    pub(crate) netns: u32,
    pub(crate) port: u32,
}

/// To user space.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// Frames looked at. Deep enough from a timer's hook to `tcp_v4_rcv`, on every kernel tried.
pub(crate) const FRAMES: usize = 12;

/// Room for one stack: too large for the program's own.
#[map]
pub(crate) static STACK: PerCpuArray<[u64; FRAMES.next_power_of_two()]> = PerCpuArray::with_max_entries(1, 0);

/// How often each `loss::*` happened, per CPU. One entry, so that user space reads all with one call: while a call reads a
/// map the kernel runs no perf-type program on that CPU (bpf_map_copy_value(), kernel/bpf/syscall.c, 5.10 to 7.3, calls
/// bpf_disable_instrumentation()).
#[map]
pub(crate) static LOSS: PerCpuArray<[u64; loss::SLOTS as usize]> = PerCpuArray::with_max_entries(1, 0);

/// Sets in [`OPENERS`].
pub(crate) const OPENER_SETS: u32 = 16_384;

/// Key of a connection (`sock::opener_key`) → who opened it; from connect() or accept() to the first FIN or the end, as far
/// as a hook sees that (a connect() that is given up passes none with fentry). Of a set that is full those go first whose connection is over, then
/// the oldest: an opener that is not there is shown as unknown, never guessed. 65,536 entries.
#[map]
pub(crate) static OPENERS: Array<Set<Opener>> = Array::with_max_entries(OPENER_SETS, 0);

/// Sets in [`OWNERS`].
pub(crate) const OWNER_SETS: u32 = 16_384;

/// Key of a connection (`sock::key_of_sk`) → who sent its first FIN; from FIN_WAIT1 to the birth, or to CLOSE. 65,536 entries.
#[map]
pub(crate) static OWNERS: Array<Set<Owner>> = Array::with_max_entries(OWNER_SETS, 0);

/// What this CPU did last to a connection in tcp_time_wait(), which mostly runs from its start to CLOSE with softirqs
/// off: not so for a packet that waited while a process held the socket (__release_sock(), net/core/sock.c, 5.10 to
/// 7.3).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Passing {
    /// Whose TIME_WAIT socket was made: `struct sock *`, or its key for the tracepoint backend.
    pub(crate) born: u64,
    /// Whose tcp_time_wait() was entered: `struct sock *`.
    pub(crate) entered: u64,
    /// The TIME_WAIT socket that tcp_timewait_state_process() judged.
    pub(crate) judged: u64,
    /// What it said (`enum tcp_tw_status`).
    pub(crate) verdict: u64,
}

/// Where a pointer becomes a number.
#[map]
pub(crate) static SCRATCH: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// See [`Passing`].
#[map]
pub(crate) static PASSING: PerCpuArray<Passing> = PerCpuArray::with_max_entries(1, 0);

/// `inet_timewait_sock *` → 1, for those whose `created` passed a filter on the owner; empty without such a filter.
#[map]
pub(crate) static LIVE: HashMap<u64, u8> = HashMap::with_max_entries(1, 0);

/// Ids of cgroups that user space found the filter to leave out → 1; empty without a filter on cgroups. An id is not used again, and
/// its cgroup's path stays as it is (`kernfs_node.id`; v2 hierarchies rename nothing). The one that was not met for longest goes first, and
/// is found once more.
#[map]
pub(crate) static STRANGERS: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1, 0);

/// Connections to this machine on this CPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    /// Jiffies when counting began.
    pub(crate) since: u64,
    /// How many came since whose openers and ages were looked at; once those are many, how many came since.
    pub(crate) count: u64,
}

/// One for handshakes, one for calls of accept().
#[map]
pub(crate) static RATES: PerCpuArray<Rate> = PerCpuArray::with_max_entries(2, 0);

/// Processes in one set of [`SEEN`].
pub(crate) const SEEN_WAYS: usize = 4;
/// Sets in [`SEEN`].
pub(crate) const SEEN_SETS: u32 = 4_096;

/// Fingerprints of processes that user space was told of, the latest of a set first. What two CPUs write at the same time is at
/// worst told twice.
#[map]
pub(crate) static SEEN: Array<[u64; SEEN_WAYS]> = Array::with_max_entries(SEEN_SETS, 0);

/// Ports in LISTEN → 1; seeded by the loader with those that were there before.
#[map]
pub(crate) static LISTENERS: LruHashMap<Listening, u8> = LruHashMap::with_max_entries(16_384, 0);

/// `pid_tgid` → the errno inet_hash_connect() returned, until the state goes back to CLOSE (kprobe backend), or that was told already (where all failures are).
#[map]
pub(crate) static CONNECT_ERRNO: LruHashMap<u64, u32> = LruHashMap::with_max_entries(4_096, 0);

/// `pid_tgid` → the bind() under way (kprobe and tracepoint backends).
#[map]
pub(crate) static BIND_CALLS: LruHashMap<u64, BindCall> = LruHashMap::with_max_entries(4_096, 0);

/// A connect() that looks for a port.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Connecting {
    /// CLOCK_MONOTONIC when it began, in nanoseconds.
    pub(crate) ns: u64,
    /// Inode of the network namespace.
    pub(crate) netns: u32,
    pub(crate) pad: u32,
}

/// How long connect() looked for a port.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ConnectTime {
    /// Inode of the network namespace.
    pub(crate) netns: u32,
    /// Of the duration in microseconds, see `timing`.
    pub(crate) bucket: u32,
}

/// `pid_tgid` → its connect() under way; empty where connects are not timed.
#[map]
pub(crate) static CONNECTING: HashMap<u64, Connecting> = HashMap::with_max_entries(1, 0);

/// Connects that took so long; empty where they are not timed.
#[map]
pub(crate) static CONNECT_TIMES: HashMap<ConnectTime, u64> = HashMap::with_max_entries(1, 0);

/// Counts one connect(). Without room it is not counted.
#[inline(always)]
pub(crate) fn count_one(time: ConnectTime) {
    const NEW: u64 = aya_ebpf::bindings::BPF_NOEXIST as u64;
    // What another CPU has put there meanwhile is as good.
    let add = || {
        let _ = CONNECT_TIMES.insert(time, 0, NEW);
        CONNECT_TIMES.get_ptr_mut(time)
    };
    if let Some(counter) = CONNECT_TIMES.get_ptr_mut(time).or_else(add) {
        // SAFETY: a live map value, 8-byte aligned.
        unsafe { table::add(counter, 1) };
    }
}

/// The TIME_WAIT timer that was last taken off its wheel on this CPU and did not die of it: what follows is its
/// expiry, or a START that arms it anew (tracepoint backend).
#[map]
pub(crate) static UNWOUND: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Counts one loss.
#[inline(always)]
pub(crate) fn count_loss(slot: u32) {
    if let Some(counters) = LOSS.get_ptr_mut(0) {
        // SAFETY: `slot` is one of `loss::*`.
        let counter = unsafe { counters.cast::<u64>().add(slot as usize) };
        // Atomic, because a program in process context can be interrupted by another one on the same CPU.
        // SAFETY: a live map value, 8-byte aligned.
        unsafe { table::add(counter, 1) };
    }
}
