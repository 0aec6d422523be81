//! Owns: the way into the ring buffer: reserve, count what did not fit, wake the reader rarely.
//! Must not know: what is sent.

use aya_ebpf::{helpers::generated::bpf_ringbuf_query, maps::ring_buf::RingBufEntry};
use twtrace_common::Plain;

use crate::{config::setting, maps};

/// `BPF_RB_AVAIL_DATA` (include/uapi/linux/bpf.h).
const AVAIL_DATA: u64 = 0;
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

/// Sends a record. A wake-up costs the producer fifty times the record itself. The kernel wakes the reader of an empty ring; a
/// reader that lets records gather is woken once more when they pass a multiple of the threshold, not for each one above it: two
/// CPUs that pass one at the same moment may both miss it, and the next multiple serves.
#[inline(always)]
pub(crate) fn submit<T: Plain>(entry: RingBufEntry<T>) {
    /// What the ring puts in front of a record (`BPF_RINGBUF_HDR_SZ`).
    const FRAME: u64 = 8;
    let step = setting!(wakeup_bytes);
    // SAFETY: EVENTS is a ring buffer map; the query has no side effect. The record is in what waits already.
    let waiting = unsafe { bpf_ringbuf_query((&raw const maps::EVENTS).cast_mut().cast(), AVAIL_DATA) };
    let before = waiting.wrapping_sub(size_of::<T>() as u64 + FRAME);
    let passes = (waiting ^ before) & !(step - 1) != 0;
    entry.submit(if passes { FORCE_WAKEUP } else { 0 });
}

/// Sends a record that is worth a wake-up of its own.
#[inline(always)]
pub(crate) fn submit_now<T: Plain>(entry: RingBufEntry<T>) {
    entry.submit(FORCE_WAKEUP);
}
