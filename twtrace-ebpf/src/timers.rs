//! Owns: reading births and ends from the timer tracepoints, for kernels that allow neither fentry nor kprobes.
//! Must not know: the other backends.
//!
//! Sequences, for timers whose function is tw_timer_handler (__mod_timer(), expire_timers(), kernel/time/timer.c,
//! 5.10 to 7.3):
//! birth: START. Re-arm: CANCEL, START. Move to another CPU: CANCEL, START. Expiry: CANCEL, EXPIRE_ENTRY.
//! Early end: CANCEL alone. CANCEL and START of one call happen under the timer base's lock on one CPU, so one word a CPU
//! is enough to pair them.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_jiffies64};
use twtrace_common::{
    loss,
    wire::{REASON_EXPIRED, REASON_REUSED_OUTGOING},
};

use crate::{
    birth,
    config::setting,
    death, maps,
    mem::{Copied, Mem, Start, Typed},
    owner, sock, stack, state,
};

/// Frames below the hook's context, which lies in the frame of bpf_trace_run1() (kernel/trace/bpf_trace.c, 5.10 to
/// 7.3): the program itself, and the return into that function.
const BELOW: usize = 2;

/// Whether `timer` belongs to a TIME_WAIT socket: one load and one compare, for every timer of the machine.
#[inline(always)]
unsafe fn ours(timer: *const u8) -> bool {
    // SAFETY: by the caller.
    unsafe {
        Typed::load::<u64>(timer, setting!(offsets.timer_function))
            == setting!(symbols.tw_timer_handler.start)
    }
}

#[inline(always)]
fn socket_of(timer: *const u8) -> *const u8 {
    timer.wrapping_sub(setting!(offsets.tw_timer) as usize)
}

/// timer_start.
///
/// # Safety
/// `timer` is the typed argument of a tp_btf program.
#[inline(always)]
pub(crate) unsafe fn started(timer: *const u8) {
    // SAFETY: by the caller; the TIME_WAIT socket around the timer is alive and read with the helper.
    unsafe {
        if !ours(timer) {
            return;
        }
        let expires: u64 = Typed::load(timer, setting!(offsets.timer_expires));
        let tw = socket_of(timer);
        let start = Start::of(tw);
        if !sock::tw_is_tcp::<Copied>(start.base()) {
            return;
        }
        let mut conn = sock::of_tw::<Copied>(start.base());
        let armed_for = birth::armed_for(expires.wrapping_sub(bpf_jiffies64()));
        let facts = birth::facts_of::<Copied>(start.base(), tw as u64, 0, false, armed_for, &conn);
        // Where the kernel would not say that a CANCEL was an end, the word is stale and the socket's memory may be another's.
        if rewound(timer) && !owner::closing(facts.key) {
            return;
        }
        birth::born(&mut conn, &facts);
        state::note_born(conn.pairing(facts.key));
    }
}

/// timer_cancel.
///
/// # Safety
/// `timer` is the typed argument of the tp_btf program that `ctx` is the context of.
#[inline(always)]
pub(crate) unsafe fn cancelled(ctx: &impl EbpfContext, timer: *const u8) {
    // SAFETY: as in `started`.
    unsafe {
        if !ours(timer) {
            return;
        }
        let tw = socket_of(timer);
        let start = Start::of(tw);
        let taken = Copied::load::<u64>(start.base(), setting!(offsets.skc_nulls_pprev)) == 0;
        let references: u32 = Copied::load(start.base(), setting!(offsets.skc_refcnt));
        if !taken && references == death::RESTING {
            return unwound(timer);
        }
        let callers =
            if taken { stack::Callers::default() } else { stack::callers(ctx, ctx.as_ptr().cast(), BELOW) };
        if !taken && !callers.ending() {
            if callers.has(stack::UNREAD) {
                maps::count_loss(loss::STACK);
            }
            return unwound(timer);
        }
        if !sock::tw_is_tcp::<Copied>(start.base()) {
            return;
        }
        let mut conn = sock::of_tw::<Copied>(start.base());
        let why =
            if taken { REASON_REUSED_OUTGOING } else { death::from_stack(callers, conn.tuple.substate) };
        death::ended::<Copied>(start.base(), tw as u64, &mut conn, why);
    }
}

#[inline(always)]
fn unwound(timer: *const u8) {
    if let Some(slot) = maps::UNWOUND.get_ptr_mut(0) {
        // SAFETY: a live map value of this CPU; interrupts are off under the timer base's lock.
        unsafe { *slot = timer as u64 };
    }
}

/// Whether `timer` was just taken off its wheel on this CPU.
#[inline(always)]
fn rewound(timer: *const u8) -> bool {
    let Some(slot) = maps::UNWOUND.get_ptr_mut(0) else { return false };
    // SAFETY: as in `unwound`.
    unsafe {
        let same = *slot == timer as u64;
        if same {
            *slot = 0;
        }
        same
    }
}

/// timer_expire_entry.
///
/// # Safety
/// `timer` is the typed argument of a tp_btf program.
#[inline(always)]
pub(crate) unsafe fn expired(timer: *const u8) {
    // SAFETY: as in `started`.
    unsafe {
        if !ours(timer) {
            return;
        }
        rewound(timer);
        let tw = socket_of(timer);
        let start = Start::of(tw);
        if !sock::tw_is_tcp::<Copied>(start.base()) {
            return;
        }
        let mut conn = sock::of_tw::<Copied>(start.base());
        death::ended::<Copied>(start.base(), tw as u64, &mut conn, REASON_EXPIRED);
    }
}
