//! Owns: what each TCP state transition means for us.
//! Must not know: how the transition was hooked.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use twtrace_common::{
    config::{
        BACKEND_KPROBE, BACKEND_TRACEPOINT, BY_STATE_CLIENT, BY_STATE_END, BY_STATE_LISTEN, BY_STATE_OWNER,
        BY_STATE_SERVER,
    },
    loss,
    wire::{PORT_BIND, PORT_UNKNOWN},
};

use crate::{
    birth::{self, Facts},
    config::setting,
    failure,
    maps::{self, Passing},
    mem::{self, Mem, Probed, Typed},
    owner,
    sock::{self, Conn, SOCK_DEAD, SOCK_DONE},
    tcp_states::{CLOSE, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, LISTEN, SYN_RECV, SYN_SENT},
};

/// A TCP socket goes from one state to another.
///
/// # Safety
/// `sk` is the typed argument of a tp_btf program.
#[inline(always)]
pub(crate) unsafe fn changed(sk: *const u8, old: i32, new: i32) {
    // Half of all transitions are nobody's business: nothing is read for them.
    const EVER: u32 = 1 << SYN_SENT | 1 << ESTABLISHED | 1 << FIN_WAIT1 | 1 << CLOSE | 1 << LISTEN;
    if EVER >> (new & 31) & 1 == 0 || old == SYN_SENT && new == ESTABLISHED {
        return;
    }
    // What hooks of its own tell is not told here.
    let does = |duty: u8| setting!(by_state) & duty != 0;
    let opens = new == SYN_SENT && does(BY_STATE_CLIENT)
        || new == ESTABLISHED && old == SYN_RECV && does(BY_STATE_SERVER);
    let listens = new == LISTEN && does(BY_STATE_LISTEN);
    let closes = new == FIN_WAIT1 && does(BY_STATE_OWNER);
    if !opens && !listens && !closes && new != CLOSE {
        return;
    }
    // SAFETY: by the caller.
    unsafe {
        if Typed::load::<u16>(sk, setting!(offsets.sk_protocol)) != sock::IPPROTO_TCP {
            return;
        }
        if closes {
            owner::first_fin(sk);
        } else if listens {
            owner::listening(&sock::of_sk::<Probed>(sk));
        } else if new == SYN_SENT {
            owner::connecting(sk);
        } else if new == ESTABLISHED {
            owner::established(sk);
        } else {
            closed(sk, old);
        }
    }
}

#[inline(always)]
unsafe fn closed(sk: *const u8, old: i32) {
    // SAFETY: by the caller.
    unsafe {
        if old == FIN_WAIT1 || old == FIN_WAIT2 || old == CLOSING {
            closing_ended(sk, old);
        } else if old == SYN_SENT {
            let key = owner::opener_key(sk, sock::known_key_of_sk(sk));
            connect_ended(sk, key, &mut sock::of_sk::<Probed>(sk));
            owner::forget_opener(key);
        } else if old == LAST_ACK || Typed::load::<i32>(sk, setting!(offsets.sk_err)) != 0 {
            owner::forget_opener(owner::opener_key(sk, sock::known_key_of_sk(sk)));
        }
        // Else this host resets the connection: `abort` comes next and wants to know who opened it.
    }
}

/// A connect() came to nothing. fentry knows from inet_hash_connect() itself; a kretprobe has left its return value; with
/// tracepoints only, the socket tells: tcp_v4_connect() (net/ipv4/tcp_ipv4.c, 5.10 to 7.3) and tcp_v6_connect()
/// (net/ipv6/tcp_ipv6.c, 5.10 to 7.3) choose the initial sequence number right after inet_hash_connect(), so a socket
/// that goes back to CLOSE without an error and without a local port was refused its port; so was one whose port was
/// asked for by bind() and that has neither a sequence number nor a hash for its packets, which comes next with IPv4, and
/// then a route is looked for, which may fail. With IPv6 nothing fails between the port and the sequence number, and the
/// hash says nothing: tcp_v6_connect() chooses it before the port in 7.2 and 7.3, after it up to 6.12. On the second
/// connect() of such a socket over IPv4 the hash is there: that failure is not told, rather than guessed.
#[inline(always)]
unsafe fn connect_ended(sk: *const u8, key: (u64, u64), conn: &mut Conn) {
    // SAFETY: by the caller.
    let port_via = unsafe { sock::port_before::<Typed>(sk, conn.tuple.sport) };
    let error = unsafe { Typed::load::<i32>(sk, setting!(offsets.sk_err)) };
    if error != 0 {
        if setting!(filter.failures_all) != 0
            && let Some(slot) = owner::opener_of(key)
        {
            // SAFETY: a live map value.
            let who = unsafe { &slot.as_ref().value.task };
            // What connect() chose has been given back; a port from bind() is still the socket's.
            let port_via = if port_via == PORT_BIND { PORT_BIND } else { PORT_UNKNOWN };
            failure::connect_failed_later(conn, error as u32, port_via, who);
        }
        return;
    }
    let backend = setting!(backend);
    if backend == BACKEND_KPROBE {
        // The return probe notes this errno and no other.
        if maps::CONNECT_ERRNO.remove(bpf_get_current_pid_tgid()).is_ok() {
            // SAFETY: by the caller.
            failure::connect_without_port(conn, port_via, unsafe { sock::own_range(sk) });
        }
    } else if backend == BACKEND_TRACEPOINT {
        // SAFETY: by the caller.
        let (sequence, hash) = unsafe {
            (
                Probed::load::<u32>(sk, setting!(offsets.write_seq)),
                Typed::load::<u32>(sk, setting!(offsets.sk_txhash)),
            )
        };
        if conn.tuple.sport == 0 || sequence == 0 && (hash == 0 || conn.tuple.family == 6) {
            failure::note_told(failure::EADDRNOTAVAIL);
            // SAFETY: by the caller.
            failure::connect_without_port(conn, port_via, unsafe { sock::own_range(sk) });
        }
    }
}

/// Notes that the TIME_WAIT socket of `whose` was made on this CPU just now.
#[inline(always)]
pub(crate) fn note_born(whose: u64) {
    if setting!(by_state) & BY_STATE_END != 0
        && let Some(passing) = passing()
    {
        passing.born = whose;
    }
}

/// tcp_time_wait() was called for `sk` on this CPU: if no TIME_WAIT socket follows before CLOSE, it was refused.
#[inline(always)]
pub(crate) fn note_entered(sk: u64) {
    if let Some(passing) = passing() {
        passing.entered = sk;
    }
}

/// This CPU's.
#[inline(always)]
pub(crate) fn passing<'a>() -> Option<&'a mut Passing> {
    // SAFETY: a live map value of this CPU.
    maps::PASSING.get_ptr_mut(0).map(|passing| unsafe { &mut *passing })
}

/// A socket that was closing is gone; if it should have become a TIME_WAIT socket and did not, that is an overflow.
#[inline(always)]
unsafe fn closing_ended(sk: *const u8, old: i32) {
    let backend = setting!(backend);
    let Some(passing) = passing() else { return };
    // SAFETY: by the caller.
    let key = unsafe { sock::known_key_of_sk(sk) };
    let whose = if backend != BACKEND_TRACEPOINT {
        sk as u64
    } else if key != 0 {
        key
    } else {
        // SAFETY: by the caller.
        unsafe { sock::of_sk::<Probed>(sk) }.pairing(0)
    };
    let (born, entered) = (passing.born == whose, passing.entered == whose);
    mem::put(&mut passing.born, 0);
    mem::put(&mut passing.entered, 0);
    if born {
        return;
    }
    if setting!(by_state) & BY_STATE_END != 0 && old != FIN_WAIT1 {
        // SAFETY: by the caller.
        unsafe {
            if entered || backend == BACKEND_TRACEPOINT && timewait_wanted(sk, old) {
                overflowed(sk, key);
            } else if backend == BACKEND_KPROBE && timewait_wanted(sk, old) {
                // The kernel skips a kprobe's program while another one runs on the CPU (trace_call_bpf(),
                // kernel/trace/bpf_trace.c, 5.10 to 7.3) and before 6.7 does not even count that.
                maps::count_loss(loss::CREATED);
            }
        }
    }
    owner::forget(key);
}

/// Tells an overflow of `sk`, whose owner is remembered under `key`.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn overflowed(sk: *const u8, key: u64) {
    // SAFETY: by the caller.
    unsafe {
        let cookie = Probed::load::<u64>(sk, setting!(offsets.skc_cookie));
        let flags = Probed::load::<u64>(sk, setting!(offsets.skc_flags));
        let fin_received = flags & SOCK_DONE != 0;
        let facts = Facts { tw: 0, sk: sk as u64, typed: true, key, cookie, timeout_ms: 0, fin_received };
        birth::refused(&mut sock::of_sk::<Probed>(sk), &facts);
    }
}

/// Whether the kernel wanted a TIME_WAIT socket for `sk`, told from how the socket ended (tcp_rcv_state_process(),
/// tcp_fin(), net/ipv4/tcp_input.c, __tcp_close(), net/ipv4/tcp.c, 5.10 to 7.3): every other way to CLOSE sets `sk_err`
/// (RST, abort, timeout), or closes with unread data while the process still holds the socket, or has `linger2` below
/// 0; with the peer's FIN in, or in CLOSING, only tcp_time_wait() is left. An orphan that got data after its close
/// looks the same as one that was refused a FIN_WAIT2 mini-socket; and where the last segment came from the backlog of
/// a socket that a task has locked (__release_sock(), net/core/sock.c, 5.10 to 7.3), interrupts run between
/// tcp_time_wait() and CLOSE, and a birth in one of them makes this CPU forget this one's. Where either is told as an
/// overflow the table must be full as well; where it is told as a loss, rather too many than too few.
#[inline(always)]
unsafe fn timewait_wanted(sk: *const u8, old: i32) -> bool {
    // SAFETY: by the caller.
    unsafe {
        if Typed::load::<i32>(sk, setting!(offsets.sk_err)) != 0 {
            return false;
        }
        let flags: u64 = Probed::load(sk, setting!(offsets.skc_flags));
        if old == CLOSING || flags & SOCK_DONE != 0 {
            if Typed::load::<u32>(sk, setting!(offsets.sk_lock_owned)) == 0 {
                return true;
            }
        } else if flags & SOCK_DEAD == 0 || Probed::load::<i32>(sk, setting!(offsets.linger2)) < 0 {
            return false;
        }
        setting!(backend) == BACKEND_KPROBE || birth::table_full(sk).unwrap_or(false)
    }
}
