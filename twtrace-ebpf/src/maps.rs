//! Owns: every map, what it is keyed by, and how long an entry lives.
//! Must not know: who fills them.
//!
//! Sizes are defaults; the loader may set others before it creates them.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
pub(crate) use twtrace_common::owner::{BORN, ENTERED, Owner};
use twtrace_common::{loss, wire::Task};

use crate::table::{self, Place, Set, Slot};

/// Who opened a connection. 80 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Opener {
    /// The process that called connect() or accept(); all zero while a server's connection waits for accept().
    pub(crate) task: Task,
    /// CLOCK_MONOTONIC at connect(), or when the handshake of an incoming connection was done.
    pub(crate) since_ns: u64,
    /// The peer's address and port, mixed: tells a socket whose address was reused from the one that was met.
    pub(crate) check: u64,
    /// One of `ROLE_*`.
    pub(crate) role: u64,
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
pub(crate) static STACK: PerCpuArray<[u64; FRAMES]> = PerCpuArray::with_max_entries(1, 0);

/// Room for the task whose call fails: too large for the program's own stack.
#[map]
pub(crate) static CALLER: PerCpuArray<Task> = PerCpuArray::with_max_entries(1, 0);

/// How often each `loss::*` happened, per CPU. One entry, so that user space reads all with one call: while a call reads a
/// map the kernel runs no perf-type program on that CPU (bpf_disable_instrumentation).
#[map]
pub(crate) static LOSS: PerCpuArray<[u64; loss::SLOTS as usize]> = PerCpuArray::with_max_entries(1, 0);

/// `struct sock *` → who opened it; from SYN_SENT (or ESTABLISHED, for a server) to FIN_WAIT1 or CLOSE. The least
/// recently used go first: an opener that is not there is shown as unknown, never guessed.
#[map]
pub(crate) static OPENERS: LruHashMap<u64, Opener> = LruHashMap::with_max_entries(65_536, 0);

/// Sets in [`OWNERS`].
pub(crate) const OWNER_SETS: u32 = 32_768;

/// Key of a connection (`sock::Conn::key`) → who sent its first FIN; from FIN_WAIT1 to CLOSE. 131,072 entries, 17 MB.
#[map]
pub(crate) static OWNERS: Array<Set<Owner>> = Array::with_max_entries(OWNER_SETS, 0);

/// The entry of a closing connection.
#[inline(always)]
pub(crate) fn owner_of(key: u64) -> Option<*mut Slot<Owner>> {
    table::find(&OWNERS, OWNER_SETS, key)
}

/// A place for the entry of a closing connection, to be filled and published. Where there is none, or another connection's
/// entry had to leave for it, one more loss.
#[inline(always)]
pub(crate) fn claim_owner(key: u64) -> Option<Place<Owner>> {
    let place = table::claim(&OWNERS, OWNER_SETS, key);
    let lost = match &place {
        // SAFETY: a live map value, still as it was. One whose TIME_WAIT socket was told has done its work.
        Some(place) => place.evicted && unsafe { (*place.slot).value.marks } & BORN == 0,
        None => true,
    };
    if lost {
        count_loss(loss::OWNER);
    }
    place
}

/// Frees the place of a closing connection.
#[inline(always)]
pub(crate) fn forget_owner(slot: *mut Slot<Owner>, key: u64) {
    table::remove(&OWNERS, OWNER_SETS, slot, key);
}

/// `inet_timewait_sock *` → 1, for those whose `created` passed a filter on the owner; empty without such a filter.
#[map]
pub(crate) static LIVE: HashMap<u64, u8> = HashMap::with_max_entries(1, 0);

/// Process (pid and start mixed with its name) → 1, once user space was told of it.
#[map]
pub(crate) static SEEN: LruHashMap<u64, u8> = LruHashMap::with_max_entries(8_192, 0);

/// Ports in LISTEN → 1; seeded by the loader with those that were there before.
#[map]
pub(crate) static LISTENERS: LruHashMap<Listening, u8> = LruHashMap::with_max_entries(16_384, 0);

/// `pid_tgid` → the errno inet_hash_connect() returned, until the state goes back to CLOSE (kprobe backend).
#[map]
pub(crate) static CONNECT_ERRNO: LruHashMap<u64, u32> = LruHashMap::with_max_entries(4_096, 0);

/// `pid_tgid` → the bind() under way (kprobe and tracepoint backends).
#[map]
pub(crate) static BIND_CALLS: LruHashMap<u64, BindCall> = LruHashMap::with_max_entries(4_096, 0);

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
        // Atomic, because a program in process context can be interrupted by another one on the same CPU. In assembly,
        // because `core` has no atomics for BPF; without a fetch, because 5.10 does not know fetching atomics.
        // SAFETY: a live map value, 8-byte aligned.
        unsafe {
            core::arch::asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1u64);
        }
    }
}
