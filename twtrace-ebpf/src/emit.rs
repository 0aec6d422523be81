//! Owns: the way into the ring buffer: reserve, count what did not fit, wake the reader rarely.
//! Must not know: what is sent.

use aya_ebpf::maps::ring_buf::RingBufEntry;
use twtrace_common::Plain;

use crate::{config::setting, maps};

/// `BPF_RB_FORCE_WAKEUP` (include/uapi/linux/bpf.h, 6.12).
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

/// Sends a record. A wake-up costs the producer fifty times the record itself. The kernel wakes the reader of an empty
/// ring (bpf_ringbuf_commit(), kernel/bpf/ringbuf.c, 5.10 to 7.3); a reader that lets records gather is woken once more
/// by each record that ends in another step of the ring than it began in. Its own address tells that, at no more than a
/// few instructions, and of two CPUs exactly one passes each step.
#[inline(always)]
pub(crate) fn submit<T: Plain>(mut entry: RingBufEntry<T>) {
    /// What the ring puts in front of a record (`BPF_RINGBUF_HDR_SZ`, include/uapi/linux/bpf.h, 6.12); its length is
    /// rounded up to as much.
    const FRAME: u64 = 8;
    let first = entry.as_mut_ptr().cast::<u64>();
    // The verifier lets nobody reckon with a pointer, but forgets what it is in memory.
    // SAFETY: a record's first word (all begin with a `Header`), which is ours until it is submitted, and is put back.
    let address = unsafe {
        let kept = first.read();
        first.cast::<*mut u64>().write_volatile(first);
        let address = first.read_volatile();
        first.write_volatile(kept);
        address
    };
    let end = address + (size_of::<T>() as u64).next_multiple_of(FRAME);
    let passes = (end ^ (address - FRAME)) & !(setting!(wakeup_bytes) - 1) != 0;
    entry.submit(if passes { FORCE_WAKEUP } else { 0 });
}

/// Sends a record that is worth a wake-up of its own.
#[inline(always)]
pub(crate) fn submit_now<T: Plain>(entry: RingBufEntry<T>) {
    entry.submit(FORCE_WAKEUP);
}
