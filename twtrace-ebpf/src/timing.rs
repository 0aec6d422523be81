//! Owns: how long connect() looks for a port: from the entry of inet_hash_connect() (net/ipv4/inet_hashtables.c, 5.10
//! to 7.3) to its exit.
//! Must not know: hooks; what is made of it.
//!
//! Only where the configuration asks for it: nothing of this is in the programs of other traces.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};

use crate::{
    config::setting,
    maps::{self, ConnectTime, Connecting},
    mem::Mem,
    sock,
};

/// Bits below the leading one that tell durations apart, as `Spread` in user space has them.
const SUB_BITS: u32 = 2;

/// connect() of this socket begins to look for a port.
///
/// # Safety
/// `sk` is a `struct sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn began<M: Mem>(sk: *const u8) {
    if setting!(times_connect) == 0 {
        return;
    }
    // SAFETY: a helper without preconditions; the socket by the caller.
    let connecting = unsafe { Connecting { ns: bpf_ktime_get_ns(), netns: sock::netns::<M>(sk), pad: 0 } };
    // Without room it is not measured.
    let _ = maps::CONNECTING.insert(bpf_get_current_pid_tgid(), connecting, 0);
}

/// It has found one, or none.
#[inline(always)]
pub(crate) fn ended() {
    if setting!(times_connect) == 0 {
        return;
    }
    let task = bpf_get_current_pid_tgid();
    let Some(connecting) = maps::CONNECTING.get_ptr(task) else { return };
    // SAFETY: a live map value of this task, which is here; a helper without preconditions.
    let (connecting, now_ns) = unsafe { (*connecting, bpf_ktime_get_ns()) };
    let _ = maps::CONNECTING.remove(task);
    let took_us = now_ns.saturating_sub(connecting.ns) / 1_000;
    maps::count_one(ConnectTime { netns: connecting.netns, bucket: bucket(took_us) });
}

/// The bucket of a value, a quarter of a power of two wide.
#[inline(always)]
fn bucket(value: u64) -> u32 {
    if value < 1 << SUB_BITS {
        return value as u32;
    }
    let exponent = 63 - value.leading_zeros();
    let sub = (value >> (exponent - SUB_BITS)) as u32 & ((1 << SUB_BITS) - 1);
    ((exponent - SUB_BITS + 1) << SUB_BITS) + sub
}
