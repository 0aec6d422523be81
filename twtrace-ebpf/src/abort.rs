//! Owns: connections that this host ends with an RST of its own, so that no TIME_WAIT socket follows.
//! Must not know: which backend saw it.
//!
//! tcp_send_active_reset() (net/ipv4/tcp_output.c, 5.10 to 7.3) sends every such RST. close() with data that nobody had
//! read calls it from __tcp_close(), close() with SO_LINGER 0 from tcp_disconnect(); both (net/ipv4/tcp.c, 5.10 to 7.3)
//! have set the state to CLOSE before, and the socket is not orphaned yet. Everything else (tcp_abort, timeouts,
//! connect() to AF_UNSPEC, listeners that drop what waits) differs in one of these.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use twtrace_common::{
    loss,
    wire::{
        Aborted, HAS_BYTES, HAS_OWNER, Header, KIND_ABORTED, VIA_NONE, WHY_LINGER, WHY_OTHER, WHY_UNREAD_DATA,
    },
};

use crate::{
    config::setting,
    emit, filter,
    mem::{self, Mem, Probed, Typed},
    owner,
    sock::{self, Conn, SOCK_DEAD, SOCK_DONE, SOCK_LINGER},
    task,
    tcp_states::CLOSE,
};

/// An RST is about to be sent for `sk`.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn resets(sk: *const u8) {
    // SAFETY: by the caller.
    unsafe {
        let key = sock::known_key_of_sk(sk);
        let opener_key = owner::opener_key(sk, key);
        let mut conn = sock::of_sk::<Probed>(sk);
        conn.tuple.role = owner::role_or_listener(owner::role_of(opener_key), &conn);
        if filter::conn_passes(&conn) && filter::role_passes(conn.tuple.role) {
            tell(sk, &conn);
        }
        owner::forget_opener(opener_key);
        owner::forget(key);
    }
}

#[inline(always)]
unsafe fn tell(sk: *const u8, conn: &Conn) {
    // SAFETY: by the caller; the record's memory is ours until it is submitted, and every field is written.
    unsafe {
        let task_flags = task::flags();
        let by_task = Typed::load::<u32>(sk, setting!(offsets.sk_lock_owned)) != 0
            && task_flags & task::PF_KTHREAD == 0;
        if filter::asks_for_task() && !(by_task && filter::current_passes()) {
            return;
        }
        let Some(mut entry) = emit::reserve::<Aborted>(loss::ABORTED) else { return };
        let record = &mut *entry.as_mut_ptr();
        if by_task {
            task::current(&mut record.owner);
        } else {
            mem::clear(&mut record.owner);
        }
        let flags: u64 = Probed::load(sk, setting!(offsets.skc_flags));
        mem::copy(&mut record.tuple, &conn.tuple);
        record.cookie = Typed::load(sk, setting!(offsets.skc_cookie));
        record.why = why(sk, flags);
        record.port_via = sock::port_via(sk, conn.tuple.role);
        record.via = VIA_NONE;
        record.pad = 0;
        let mut has = 0;
        if by_task {
            has |= HAS_OWNER;
            record.via = owner::how(sk, task_flags);
        }
        let payload = sock::payload(sk, flags & SOCK_DONE != 0, true);
        if payload.is_some() {
            has |= HAS_BYTES;
        }
        let (sent, received) = payload.unwrap_or((0, 0));
        mem::put(&mut record.bytes_sent, sent);
        mem::put(&mut record.bytes_received, received);
        record.header =
            Header { kind: KIND_ABORTED, flags: has, netns: conn.netns, mono_ns: bpf_ktime_get_ns() };
        emit::submit(entry);
    }
}

#[inline(always)]
unsafe fn why(sk: *const u8, flags: u64) -> u32 {
    // SAFETY: by the caller.
    unsafe {
        let closing = Typed::load::<u8>(sk, setting!(offsets.skc_state)) == CLOSE as u8
            && Typed::load::<u8>(sk, setting!(offsets.sk_shutdown)) & owner::SHUTDOWN_MASK
                == owner::SHUTDOWN_MASK
            && flags & SOCK_DEAD == 0;
        if !closing {
            WHY_OTHER
        } else if flags & SOCK_LINGER != 0 && Typed::load::<u64>(sk, setting!(offsets.sk_lingertime)) == 0 {
            WHY_LINGER
        } else {
            WHY_UNREAD_DATA
        }
    }
}
