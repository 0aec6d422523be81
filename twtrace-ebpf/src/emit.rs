//! Owns: the way into the ring buffer: reserve, count what did not fit, wake the reader rarely.
//! Must not know: what is sent.

use aya_ebpf::{helpers::generated::bpf_ringbuf_query, maps::ring_buf::RingBufEntry};
use twtrace_common::Plain;

use crate::{config::setting, maps};

/// `BPF_RB_AVAIL_DATA` (include/uapi/linux/bpf.h).
const AVAIL_DATA: u64 = 0;
/// `BPF_RB_NO_WAKEUP` (include/uapi/linux/bpf.h).
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP` (include/uapi/linux/bpf.h).
const FORCE_WAKEUP: u64 = 2;

/// Room for one record; where there is none, one more loss in `slot`.
#[inline(always)]
pub(crate) fn reserve<T: Plain>(slot: u32) -> Option<RingBufEntry<T>> {
    let entry = maps::EVENTS.reserve::<T>(0);
    if entry.is_none() {
        maps::count_loss(slot);
    }
    entry
}

/// Room for a record that may be missing: what it says can also be found out otherwise.
#[inline(always)]
pub(crate) fn reserve_hint<T: Plain>() -> Option<RingBufEntry<T>> {
    maps::EVENTS.reserve::<T>(0)
}

/// Sends a record. A wake-up costs the producer fifty times the record itself, so the reader looks by itself on a
/// tick and is woken only when much is waiting.
#[inline(always)]
pub(crate) fn submit<T: Plain>(entry: RingBufEntry<T>) {
    // SAFETY: EVENTS is a ring buffer map; the query has no side effect.
    let waiting = unsafe { bpf_ringbuf_query((&raw const maps::EVENTS).cast_mut().cast(), AVAIL_DATA) };
    let much = waiting >= setting!(wakeup_bytes);
    entry.submit(if much { FORCE_WAKEUP } else { NO_WAKEUP });
}

/// Sends a record that is worth a wake-up of its own.
#[inline(always)]
pub(crate) fn submit_now<T: Plain>(entry: RingBufEntry<T>) {
    entry.submit(FORCE_WAKEUP);
}
