//! Owns: what each TCP state transition means for us.
//! Must not know: how the transition was hooked.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_socket_cookie, bpf_ktime_get_ns},
};
use twtrace_common::{
    config::{BACKEND_KPROBE, BACKEND_TRACEPOINT},
    loss,
};

use crate::{
    birth::{self, Facts},
    config::setting,
    failure,
    maps::{self, BORN, ENTERED, Listening, Owner},
    mem::{Mem, Probed, Typed},
    owner,
    sock::{self, Conn, SOCK_DEAD, SOCK_DONE},
};

// include/net/tcp_states.h
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const FIN_WAIT1: i32 = 4;
const FIN_WAIT2: i32 = 5;
const CLOSE: i32 = 7;
const LISTEN: i32 = 10;
const CLOSING: i32 = 11;

/// A TCP socket goes from one state to another.
///
/// # Safety
/// `sk` is the typed argument of a tp_btf program.
#[inline(always)]
pub(crate) unsafe fn changed(sk: *const u8, old: i32, new: i32) {
    // Most transitions are none of our business: nothing is read for them.
    let opens = new == SYN_SENT || (new == ESTABLISHED && old == SYN_RECV) || new == LISTEN;
    if !opens && new != FIN_WAIT1 && new != CLOSE {
        return;
    }
    // SAFETY: by the caller.
    unsafe {
        if Typed::load::<u16>(sk, setting!(offsets.sk_protocol)) != sock::IPPROTO_TCP {
            return;
        }
        if new == CLOSE && !(old == SYN_SENT || old == FIN_WAIT1 || old == FIN_WAIT2 || old == CLOSING) {
            let _ = maps::OPENERS.remove(sk as u64);
            return;
        }
        let mut conn = sock::of_sk::<Typed>(sk);
        if new == CLOSE {
            closed(sk, old, &mut conn);
        } else {
            let now_ns = bpf_ktime_get_ns();
            match new {
                SYN_SENT => owner::connecting(sk as u64, &conn, now_ns),
                ESTABLISHED => owner::established(sk as u64, &conn, now_ns),
                LISTEN => listening(&conn),
                _ => {
                    // Makes the kernel copy a cookie into the TIME_WAIT socket, so that `ss -e` names it as we do.
                    if setting!(socket_cookie) != 0 {
                        bpf_get_socket_cookie(sk.cast_mut().cast());
                    }
                    owner::first_fin(sk, &conn, now_ns);
                }
            }
        }
    }
}

/// Remembers the port. It is not forgotten when the listener closes: several may share it (SO_REUSEPORT), and a listen()
/// that fails passes LISTEN as well.
#[inline(always)]
fn listening(conn: &Conn) {
    let port = Listening { netns: conn.netns, port: u32::from(conn.tuple.sport) };
    let _ = maps::LISTENERS.insert(port, 1, 0);
}

#[inline(always)]
unsafe fn closed(sk: *const u8, old: i32, conn: &mut Conn) {
    match old {
        SYN_SENT => {
            let _ = maps::OPENERS.remove(sk as u64);
            // SAFETY: by the caller.
            unsafe { connect_ended(sk, conn) };
        }
        // SAFETY: by the caller.
        _ => unsafe { closing_ended(sk, old, conn) },
    }
}

/// A connect() came to nothing. fentry knows from inet_hash_connect() itself; a kretprobe has left its return value; with
/// tracepoints only, the socket tells: tcp_v4_connect() and tcp_v6_connect() choose the initial sequence number right
/// after inet_hash_connect(), so a socket that goes back to CLOSE without an error, and without a local port or a
/// sequence number, was refused its port.
#[inline(always)]
unsafe fn connect_ended(sk: *const u8, conn: &mut Conn) {
    let backend = setting!(backend);
    if backend == BACKEND_KPROBE {
        let call = bpf_get_current_pid_tgid();
        if let Some(errno) = maps::CONNECT_ERRNO.get_ptr(call) {
            // SAFETY: a live map value.
            let errno = unsafe { *errno };
            let _ = maps::CONNECT_ERRNO.remove(call);
            failure::connect_failed(conn, errno);
        }
    } else if backend == BACKEND_TRACEPOINT {
        // SAFETY: by the caller.
        let (error, sequence) = unsafe {
            (
                Typed::load::<i32>(sk, setting!(offsets.sk_err)),
                Probed::load::<u32>(sk, setting!(offsets.write_seq)),
            )
        };
        if error == 0 && (conn.tuple.sport == 0 || sequence == 0) {
            failure::connect_failed(conn, failure::EADDRNOTAVAIL);
        }
    }
}

/// A socket whose owner we remember is gone; if it should have become a TIME_WAIT socket and did not, that is an overflow.
#[inline(always)]
unsafe fn closing_ended(sk: *const u8, old: i32, conn: &mut Conn) {
    let key = conn.key();
    let slot = maps::owner_of(key);
    // SAFETY: a live map value.
    let known = slot.map(|slot| unsafe { (&raw const (*slot).value) });
    let marks = match known {
        // SAFETY: a live map value.
        Some(owner) => unsafe { (*owner).marks },
        None => 0,
    };
    if marks & BORN == 0 && old != FIN_WAIT1 {
        // SAFETY: by the caller; a live map value.
        unsafe {
            let backend = setting!(backend);
            if backend != BACKEND_TRACEPOINT && marks & ENTERED != 0 {
                overflowed(sk, conn, known);
            } else if backend == BACKEND_TRACEPOINT && timewait_wanted(sk, old) {
                overflowed(sk, conn, known);
            } else if backend == BACKEND_KPROBE && timewait_wanted(sk, old) {
                // The kernel skips a kprobe's program while another one runs on the CPU (trace_call_bpf,
                // kernel/trace/bpf_trace.c) and before 6.7 does not even count that.
                maps::count_loss(loss::CREATED);
            }
        }
    }
    if let Some(slot) = slot {
        maps::forget_owner(slot, key);
    }
}

#[inline(always)]
unsafe fn overflowed(sk: *const u8, conn: &mut Conn, known: Option<*const Owner>) {
    // SAFETY: by the caller.
    let (cookie, flags) = unsafe {
        (
            Probed::load::<u64>(sk, setting!(offsets.skc_cookie)),
            Probed::load::<u64>(sk, setting!(offsets.skc_flags)),
        )
    };
    let facts = Facts { tw: 0, sk: sk as u64, cookie, timeout_ms: 0, fin_received: flags & SOCK_DONE != 0 };
    // SAFETY: a live map value.
    birth::refused(conn, &facts, known.map(|owner| unsafe { &*owner }));
}

/// Whether the kernel wanted a TIME_WAIT socket for `sk`, told from how the socket ended (net/ipv4/tcp_input.c, tcp.c): every
/// other way to CLOSE sets `sk_err` (RST, abort, timeout), or closes with unread data while the process still
/// holds the socket, or has `linger2` below 0; with the peer's FIN in, or in CLOSING, only tcp_time_wait() is left. An
/// orphan that got data after its close looks the same as one that was refused a FIN_WAIT2 mini-socket: where that is
/// told as an overflow the table must be full as well; where it is told as a loss, rather too many than too few.
#[inline(always)]
unsafe fn timewait_wanted(sk: *const u8, old: i32) -> bool {
    // SAFETY: by the caller.
    unsafe {
        if Typed::load::<i32>(sk, setting!(offsets.sk_err)) != 0 {
            return false;
        }
        let flags: u64 = Probed::load(sk, setting!(offsets.skc_flags));
        if old == CLOSING || flags & SOCK_DONE != 0 {
            return true;
        }
        if flags & SOCK_DEAD == 0 || Probed::load::<i32>(sk, setting!(offsets.linger2)) < 0 {
            return false;
        }
        setting!(backend) == BACKEND_KPROBE || birth::table_full(sk).unwrap_or(false)
    }
}
