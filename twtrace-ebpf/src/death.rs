//! Owns: the end of a TIME_WAIT socket and its reason.
//! Must not know: which backend saw it.
//!
//! inet_twsk_kill() (net/ipv4/inet_timewait_sock.c) is where every one ends. What its fields and the stack say there
//! was found the same on 5.10, 6.1, 6.12, 6.18 and 7.3.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_ktime_get_ns};
use twtrace_common::{
    loss,
    wire::{
        Ended, Header, KIND_ENDED, REASON_EXPIRED, REASON_KILLED, REASON_PURGED, REASON_RESET,
        REASON_REUSED_INCOMING, REASON_REUSED_OUTGOING, REASON_UNKNOWN, SUBSTATE_FIN_WAIT2,
    },
};

use crate::{
    config::setting,
    emit, filter, maps,
    mem::{Mem, Probed},
    sock::{self, Conn},
    stack::{self, Callers},
};

/// References on a TIME_WAIT socket that only its timer and the hash tables hold: timer, ehash, bhash.
pub(crate) const RESTING: u32 = 3;

/// Whether a local connect() has taken it out of the table already (__inet_check_established): the only path that
/// unhashes before it kills.
///
/// # Safety
/// `tw` is an `inet_timewait_sock`.
#[inline(always)]
pub(crate) unsafe fn unhashed(tw: *const u8) -> bool {
    // SAFETY: by the caller.
    unsafe { Probed::load::<u64>(tw, setting!(offsets.skc_nulls_pprev)) == 0 }
}

/// `skc_refcnt`.
///
/// # Safety
/// `tw` is an `inet_timewait_sock`.
#[inline(always)]
pub(crate) unsafe fn references(tw: *const u8) -> u32 {
    // SAFETY: by the caller.
    unsafe { Probed::load(tw, setting!(offsets.skc_refcnt)) }
}

/// Why `tw` ends, at the entry of inet_twsk_kill().
///
/// # Safety
/// `tw` is an `inet_timewait_sock`.
#[inline(always)]
pub(crate) unsafe fn reason(ctx: &impl EbpfContext, tw: *const u8, substate: u8) -> u8 {
    // SAFETY: by the caller.
    unsafe {
        if unhashed(tw) {
            return REASON_REUSED_OUTGOING;
        }
        // Whoever ends one early looked it up and holds a reference of its own.
        if references(tw) == RESTING {
            return REASON_EXPIRED;
        }
    }
    // Early, or expired while a packet or a dump held a reference.
    from_stack(stack::callers(ctx), substate)
}

/// Why it ends, told from who is on the stack.
#[inline(always)]
pub(crate) fn from_stack(callers: Callers, substate: u8) -> u8 {
    if callers.expiry() {
        REASON_EXPIRED
    } else if callers.purge() {
        REASON_PURGED
    } else if callers.abort() {
        REASON_KILLED
    } else if callers.state_process() {
        // An RST came in.
        REASON_RESET
    } else if callers.receive() {
        // tcp_timewait_state_process() returned TCP_TW_RST, which it does in FIN_WAIT2 only, or TCP_TW_SYN, in TIME_WAIT only.
        if substate == SUBSTATE_FIN_WAIT2 { REASON_RESET } else { REASON_REUSED_INCOMING }
    } else {
        REASON_UNKNOWN
    }
}

/// Says that `tw` ended.
///
/// # Safety
/// `tw` is an `inet_timewait_sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn ended<M: Mem>(tw: *const u8, conn: &mut Conn, reason: u8) {
    // Asked first: an entry must go even if its end is filtered out.
    if setting!(track_live) != 0 && maps::LIVE.remove(tw as u64).is_err() {
        return;
    }
    if !filter::conn_passes(conn) {
        return;
    }
    conn.tuple.reason = reason;
    if let Some(mut entry) = emit::reserve::<Ended>(loss::ENDED) {
        // SAFETY: the helper has no preconditions; the record's memory is ours until it is submitted; every field is
        // written; `tw` by the caller.
        unsafe {
            let record = &mut *entry.as_mut_ptr();
            record.header =
                Header { kind: KIND_ENDED, flags: 0, netns: conn.netns, mono_ns: bpf_ktime_get_ns() };
            record.tuple = conn.tuple;
            record.tw = tw as u64;
            record.cookie = Probed::load(tw, setting!(offsets.skc_cookie));
        }
        emit::submit(entry);
    }
}

/// The whole body at the entry of inet_twsk_kill().
///
/// # Safety
/// `tw` is an `inet_timewait_sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn killed<M: Mem>(ctx: &impl EbpfContext, tw: *const u8) {
    // SAFETY: by the caller.
    unsafe {
        if !sock::tw_is_tcp::<M>(tw) {
            return;
        }
        let mut conn = sock::of_tw::<M>(tw);
        let why = reason(ctx, tw, conn.tuple.substate);
        ended::<M>(tw, &mut conn, why);
    }
}
