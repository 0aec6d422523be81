//! Owns: the end of a TIME_WAIT socket and its reason.
//! Must not know: which backend saw it.
//!
//! inet_twsk_kill() (net/ipv4/inet_timewait_sock.c) is where every one ends. What its fields and the stack say there
//! was found the same on 5.10, 6.1, 6.12, 6.18 and 7.3.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_ktime_get_ns};
use twtrace_common::{
    loss,
    wire::{
        Ended, Header, KIND_ENDED, KIND_SYN_REFUSED, REASON_EXPIRED, REASON_KILLED, REASON_PURGED,
        REASON_RESET, REASON_REUSED_INCOMING, REASON_REUSED_OUTGOING, REASON_UNKNOWN, SUBSTATE_FIN_WAIT2,
    },
};

use crate::{
    config::setting,
    emit, filter, maps,
    mem::{self, Copied, Mem, Probed, Start},
    sock::{self, Conn},
    stack::{self, Callers},
    state,
};

/// References on a TIME_WAIT socket that only its timer and the hash tables hold: timer, ehash, bhash
/// (inet_twsk_hashdance(), inet_twsk_hashdance_schedule(), net/ipv4/inet_timewait_sock.c, 5.10 to 7.3).
pub(crate) const RESTING: u32 = 3;

/// Why the TIME_WAIT socket at `tw` ends, at the entry of inet_twsk_kill().
#[inline(always)]
unsafe fn reason<M: Mem>(
    ctx: &impl EbpfContext,
    above: (*const u8, usize),
    base: *const u8,
    tw: u64,
    substate: u8,
) -> u8 {
    // SAFETY: by the caller.
    unsafe {
        // A local connect() has taken it out of the table already: the only path that unhashes before it kills
        // (__inet_check_established(), net/ipv4/inet_hashtables.c, and __inet6_check_established(),
        // net/ipv6/inet6_hashtables.c, 5.10 to 7.3).
        if M::load::<u64>(base, setting!(offsets.skc_nulls_pprev)) == 0 {
            return REASON_REUSED_OUTGOING;
        }
        // Whoever ends one early looked it up and holds a reference of its own.
        if M::load::<u32>(base, setting!(offsets.skc_refcnt)) == RESTING {
            return REASON_EXPIRED;
        }
    }
    match judged(tw) {
        TW_SYN => return REASON_REUSED_INCOMING,
        TW_RST => return REASON_RESET,
        _ => {}
    }
    // Early, or expired while a packet or a dump held a reference.
    from_stack(stack::callers(ctx, above.0, above.1), substate)
}

/// `enum tcp_tw_status` (include/net/tcp.h, 5.10 to 7.3): what becomes of a packet that met a TIME_WAIT socket.
/// Whatever else it says of a SYN, an ACK or nothing at all (tcp_timewait_check_oow_rate_limit(),
/// net/ipv4/tcp_minisocks.c, 5.10 to 7.3), refuses it.
const TW_RST: u64 = 1;
const TW_SYN: u64 = 3;

/// What tcp_timewait_state_process() said of `tw` on this CPU just now: tcp_v4_rcv() (net/ipv4/tcp_ipv4.c, 5.10 to 7.3)
/// ends it right after.
#[inline(always)]
fn judged(tw: u64) -> u64 {
    if setting!(sees_verdicts) == 0 {
        return 0;
    }
    let Some(passing) = state::passing() else { return 0 };
    let verdict = if passing.judged == tw { passing.verdict } else { 0 };
    passing.judged = 0;
    verdict
}

/// tcp_timewait_state_process() begins: what it said before led to nothing, as that of a SYN for a port on which nobody listens any more.
#[inline(always)]
pub(crate) fn judge_anew() {
    if let Some(passing) = state::passing() {
        passing.judged = 0;
    }
}

/// tcp_timewait_state_process() returned `verdict` for `tw` and the packet whose TCP header is `header`.
///
/// # Safety
/// `tw` is an `inet_timewait_sock` and `header` a `tcphdr`.
#[inline(always)]
pub(crate) unsafe fn judge(tw: *const u8, header: *const u8, verdict: u32) {
    let verdict = u64::from(verdict);
    /// The byte of a TCP header that holds its flags (RFC 9293, 3.1).
    const FLAGS: u32 = 13;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    if verdict == TW_SYN || verdict == TW_RST {
        if let Some(passing) = state::passing() {
            passing.judged = tw as u64;
            passing.verdict = verdict;
        }
    } else {
        // SAFETY: by the caller.
        let flags: u8 = unsafe { Probed::load(header, FLAGS) };
        if flags & (SYN | RST | ACK) == SYN {
            // SAFETY: by the caller.
            unsafe { syn_refused(tw) };
        }
    }
}

/// A SYN met `tw` and was not taken.
#[inline(always)]
unsafe fn syn_refused(tw: *const u8) {
    // SAFETY: by the caller.
    unsafe {
        let start = Start::of(tw);
        if !sock::tw_is_tcp::<Copied>(start.base()) {
            return;
        }
        let conn = sock::of_tw::<Copied>(start.base());
        if filter::conn_passes(&conn) {
            send::<Copied>(KIND_SYN_REFUSED, loss::SYN_REFUSED, start.base(), tw as u64, &conn);
        }
    }
}

/// Why it ends, told from who is on the stack.
#[inline(always)]
pub(crate) fn from_stack(callers: Callers, substate: u8) -> u8 {
    if callers.has(stack::EXPIRY) {
        REASON_EXPIRED
    } else if callers.has(stack::PURGE) {
        REASON_PURGED
    } else if callers.has(stack::ABORT) {
        REASON_KILLED
    } else if callers.has(stack::STATE_PROCESS) {
        // An RST came in.
        REASON_RESET
    } else if callers.has(stack::RECEIVE) {
        // tcp_timewait_state_process() (net/ipv4/tcp_minisocks.c, 5.10 to 7.3) returned TCP_TW_RST, which it does in
        // FIN_WAIT2 only, or TCP_TW_SYN, in TIME_WAIT only.
        if substate == SUBSTATE_FIN_WAIT2 { REASON_RESET } else { REASON_REUSED_INCOMING }
    } else {
        REASON_UNKNOWN
    }
}

/// Says that the TIME_WAIT socket at `tw` ended.
///
/// # Safety
/// `base` is that `inet_timewait_sock`, and `M` may read it.
#[inline(always)]
pub(crate) unsafe fn ended<M: Mem>(base: *const u8, tw: u64, conn: &mut Conn, reason: u8) {
    // Asked first: an entry must go even if its end is filtered out.
    if setting!(track_live) != 0 && maps::LIVE.remove(tw).is_err() {
        return;
    }
    if !filter::conn_passes(conn) {
        return;
    }
    conn.tuple.reason = reason;
    // SAFETY: by the caller.
    unsafe { send::<M>(KIND_ENDED, loss::ENDED, base, tw, conn) };
}

#[inline(always)]
unsafe fn send<M: Mem>(kind: u16, slot: u32, base: *const u8, tw: u64, conn: &Conn) {
    if let Some(mut entry) = emit::reserve::<Ended>(slot) {
        // SAFETY: the helper has no preconditions; the record's memory is ours until it is submitted; every field is
        // written; `tw` by the caller.
        unsafe {
            let record = &mut *entry.as_mut_ptr();
            record.header = Header { kind, flags: 0, netns: conn.netns, mono_ns: bpf_ktime_get_ns() };
            mem::copy(&mut record.tuple, &conn.tuple);
            record.tw = tw;
            record.cookie = M::load(base, setting!(offsets.skc_cookie));
        }
        emit::submit(entry);
    }
}

/// The whole body at the entry of inet_twsk_kill(), of the TIME_WAIT socket at `tw`. `above`: see [`stack::callers`].
///
/// # Safety
/// `base` is that `inet_timewait_sock`, and `M` may read it.
#[inline(always)]
pub(crate) unsafe fn killed<M: Mem>(
    ctx: &impl EbpfContext,
    above: (*const u8, usize),
    base: *const u8,
    tw: u64,
) {
    // SAFETY: by the caller.
    unsafe {
        if !sock::tw_is_tcp::<M>(base) {
            return;
        }
        let mut conn = sock::of_tw::<M>(base);
        let why = reason::<M>(ctx, above, base, tw, conn.tuple.substate);
        ended::<M>(base, tw, &mut conn, why);
    }
}
