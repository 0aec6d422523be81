//! Owns: the fentry and fexit programs.
//! Must not know: what they mean.
//!
//! Where the number of arguments changed between kernels there are two programs; the loader picks by BTF. A return
//! value is the argument after the last.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use twtrace_common::config::{BY_STATE_CLIENT, BY_STATE_FAILURE, BY_STATE_SERVER};

use crate::{
    abort, birth,
    config::setting,
    death, failure,
    fd::Asked,
    mem::{Mem, Probed, Typed},
    owner, sock, state,
    tcp_states::{FIN_WAIT1, SYN_SENT},
    timing,
};

/// `void tcp_send_fin(struct sock *sk)` (net/ipv4/tcp_output.c, 5.10 to 7.3): called right after the state was set, by
/// who closes or shuts down. In FIN_WAIT1 this end is the first; in LAST_ACK the peer was, and no TIME_WAIT socket will
/// be made here.
#[fentry(function = "tcp_send_fin")]
fn fe_send_fin(ctx: FEntryContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: the typed first argument.
    unsafe {
        if Typed::load::<u8>(sk, setting!(offsets.skc_state)) == FIN_WAIT1 as u8 {
            owner::first_fin(sk);
        } else {
            owner::forget_opener(owner::opener_key(sk, sock::known_key_of_sk(sk)));
        }
    }
    0
}

/// `struct inet_timewait_sock *inet_twsk_alloc(const struct sock *sk, struct inet_timewait_death_row *dr, const int state)`
/// (net/ipv4/inet_timewait_sock.c, 5.10 to 7.3): NULL where the table is full, or memory short.
#[fexit(function = "inet_twsk_alloc")]
fn fe_twsk_alloc(ctx: FExitContext) -> i32 {
    if ctx.arg::<u64>(3) == 0 {
        let sk: *const u8 = ctx.arg(0);
        // SAFETY: the typed first argument.
        unsafe {
            if Typed::load::<u16>(sk, setting!(offsets.sk_protocol)) == sock::IPPROTO_TCP {
                state::overflowed(sk, sock::known_key_of_sk(sk));
            }
        }
    }
    0
}

/// `void tcp_time_wait(struct sock *sk, int state, int timeo)` (net/ipv4/tcp_minisocks.c, 5.10 to 7.3): where
/// inet_twsk_alloc() cannot be hooked.
#[fentry(function = "tcp_time_wait")]
fn fe_tcp_time_wait(ctx: FEntryContext) -> i32 {
    state::note_entered(ctx.arg(0));
    0
}

/// `void tcp_send_active_reset(struct sock *sk, …)` (net/ipv4/tcp_output.c, 5.10 to 7.3)
#[fentry(function = "tcp_send_active_reset")]
fn fe_active_reset(ctx: FEntryContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { abort::resets(ctx.arg(0)) };
    0
}

/// `void tcp_reset(struct sock *sk, …)` (net/ipv4/tcp_input.c, 5.10 to 7.3): an RST came in, nothing is to be
/// remembered any more.
#[fentry(function = "tcp_reset")]
fn fe_reset(ctx: FEntryContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: the typed first argument.
    unsafe {
        let key = sock::known_key_of_sk(sk);
        owner::forget(key);
        // Who connects is still to be told to have been refused, where that is asked for.
        let connects = Typed::load::<u8>(sk, setting!(offsets.skc_state)) == SYN_SENT as u8;
        if !(connects && setting!(by_state) & BY_STATE_FAILURE != 0) {
            owner::forget_opener(owner::opener_key(sk, key));
        }
    }
    0
}

/// `int inet_csk_listen_start(struct sock *sk, …)` (net/ipv4/inet_connection_sock.c, 5.10 to 7.3)
#[fexit(function = "inet_csk_listen_start")]
fn fe_listen(ctx: FExitContext) -> i32 {
    // SAFETY: the typed first argument.
    owner::listening(&unsafe { sock::of_sk::<Probed>(ctx.arg(0)) });
    0
}

/// `enum tcp_tw_status tcp_timewait_state_process(struct inet_timewait_sock *tw, struct sk_buff *skb, const struct tcphdr
/// *th, …)` (net/ipv4/tcp_minisocks.c, 5.10 to 7.3)
#[fentry(function = "tcp_timewait_state_process")]
fn fe_state_enter(_ctx: FEntryContext) -> i32 {
    death::judge_anew();
    0
}

/// `enum tcp_tw_status tcp_timewait_state_process(struct inet_timewait_sock *tw, struct sk_buff *skb, const struct tcphdr
/// *th)` (net/ipv4/tcp_minisocks.c, 5.10 to 6.9)
#[fexit(function = "tcp_timewait_state_process")]
fn fe_state_process_3(ctx: FExitContext) -> i32 {
    // SAFETY: the first and the third argument.
    unsafe { death::judge(ctx.arg(0), ctx.arg(2), ctx.arg::<u64>(3) as u32) };
    0
}

/// The same with `u32 *tw_isn` (6.10 to 6.15)
#[fexit(function = "tcp_timewait_state_process")]
fn fe_state_process_4(ctx: FExitContext) -> i32 {
    // SAFETY: the first and the third argument.
    unsafe { death::judge(ctx.arg(0), ctx.arg(2), ctx.arg::<u64>(4) as u32) };
    0
}

/// The same with `enum skb_drop_reason *drop_reason` (6.16 to 7.3)
#[fexit(function = "tcp_timewait_state_process")]
fn fe_state_process_5(ctx: FExitContext) -> i32 {
    // SAFETY: the first and the third argument.
    unsafe { death::judge(ctx.arg(0), ctx.arg(2), ctx.arg::<u64>(5) as u32) };
    0
}

/// `void inet_twsk_hashdance(struct inet_timewait_sock *tw, struct sock *sk, struct inet_hashinfo *hashinfo)`
/// (net/ipv4/inet_timewait_sock.c, 5.10 to 6.10). The timer is armed already.
#[fentry(function = "inet_twsk_hashdance")]
fn fe_hashdance(ctx: FEntryContext) -> i32 {
    let (tw, sk): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: the typed arguments.
    unsafe {
        let expires: u64 = Probed::load(tw, setting!(offsets.tw_timer) + setting!(offsets.timer_expires));
        let now = aya_ebpf::helpers::generated::bpf_jiffies64();
        danced::<Typed>(tw, tw as u64, sk, birth::armed_for(expires.wrapping_sub(now)), true);
    }
    0
}

/// `void inet_twsk_hashdance_schedule(struct inet_timewait_sock *tw, struct sock *sk, struct inet_hashinfo *hashinfo,
/// int timeo)` (net/ipv4/inet_timewait_sock.c, 6.11 to 7.3). `timeo` is in jiffies.
#[fentry(function = "inet_twsk_hashdance_schedule")]
fn fe_hashdance_schedule(ctx: FEntryContext) -> i32 {
    let (tw, sk): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    let timeo: i32 = ctx.arg(3);
    // SAFETY: the typed arguments.
    unsafe { danced::<Typed>(tw, tw as u64, sk, timeo as u64, true) };
    0
}

/// The TIME_WAIT socket at `tw` is about to be hashed in the place of `sk`.
///
/// # Safety
/// `base` is that socket, and `M` may read it; with `typed`, `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(super) unsafe fn danced<M: Mem>(base: *const u8, tw: u64, sk: *const u8, jiffies: u64, typed: bool) {
    // SAFETY: by the caller.
    unsafe {
        if !sock::tw_is_tcp::<M>(base) {
            return;
        }
        let mut conn = sock::of_tw::<M>(base);
        let facts = birth::facts_of::<M>(base, tw, sk as u64, typed, jiffies, &conn);
        birth::born(&mut conn, &facts);
        state::note_born(sk as u64);
    }
}

/// `static void inet_twsk_kill(struct inet_timewait_sock *tw)` (net/ipv4/inet_timewait_sock.c, 5.10 to 7.3)
#[fentry(function = "inet_twsk_kill")]
fn fe_kill(ctx: FEntryContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { death::killed::<Typed>(&ctx, (core::ptr::null(), 0), ctx.arg(0), ctx.arg(0)) };
    0
}

/// `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)` (net/ipv4/inet_connection_sock.c,
/// 5.10 to 6.9)
#[fexit(function = "inet_csk_accept")]
fn fe_accept_4(ctx: FExitContext) -> i32 {
    taken(ctx.arg(4))
}

/// `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)` (net/ipv4/inet_connection_sock.c, 6.10
/// to 7.3)
#[fexit(function = "inet_csk_accept")]
fn fe_accept_2(ctx: FExitContext) -> i32 {
    taken(ctx.arg(2))
}

/// accept() returned `sk`, or NULL: a pointer of the type that it has by BTF. Where the handshake is not watched the connection
/// begins here.
#[inline(always)]
fn taken(sk: *const u8) -> i32 {
    if sk.is_null() || !owner::accept_is_wanted() {
        return 0;
    }
    // SAFETY: a typed pointer.
    unsafe {
        if Typed::load::<u16>(sk, setting!(offsets.sk_protocol)) == sock::IPPROTO_TCP {
            let new = setting!(by_state) & BY_STATE_SERVER == 0;
            owner::accepted::<Typed>(sk, true, new);
        }
    }
    0
}

/// accept() returned `sk`, or NULL, to a hook that has no types.
#[inline(always)]
pub(super) fn accepted(sk: *const u8) -> i32 {
    if sk.is_null() {
        return 0;
    }
    // SAFETY: read with the helper.
    unsafe {
        if Probed::load::<u16>(sk, setting!(offsets.sk_protocol)) == sock::IPPROTO_TCP {
            owner::accepted::<Probed>(sk, false, false);
        }
    }
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv4/inet_hashtables.c,
/// 5.10 to 7.3)
#[fentry(function = "inet_hash_connect")]
fn fe_connecting4(ctx: FEntryContext) -> i32 {
    // SAFETY: the typed second argument.
    unsafe { timing::began::<Typed>(ctx.arg(1)) };
    0
}

/// `int inet6_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv6/inet6_hashtables.c,
/// 5.10 to 7.3)
#[fentry(function = "inet6_hash_connect")]
fn fe_connecting6(ctx: FEntryContext) -> i32 {
    // SAFETY: the typed second argument.
    unsafe { timing::began::<Typed>(ctx.arg(1)) };
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv4/inet_hashtables.c,
/// 5.10 to 7.3)
#[fexit(function = "inet_hash_connect")]
fn fe_connect4(ctx: FExitContext) -> i32 {
    connected(ctx.arg(1), ctx.arg(2))
}

/// `int inet6_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv6/inet6_hashtables.c,
/// 5.10 to 7.3)
#[fexit(function = "inet6_hash_connect")]
fn fe_connect6(ctx: FExitContext) -> i32 {
    connected(ctx.arg(1), ctx.arg(2))
}

#[inline(always)]
fn connected(sk: *const u8, ret: i64) -> i32 {
    timing::ended();
    let errno = failure::errno_of(ret);
    // SAFETY: the typed second argument.
    unsafe {
        if errno == 0 {
            if setting!(by_state) & BY_STATE_CLIENT == 0 {
                owner::connecting(sk);
            }
        } else if errno == failure::EADDRNOTAVAIL {
            let mut conn = sock::of_sk::<Probed>(sk);
            let port_via = sock::port_before::<Typed>(sk, conn.tuple.sport);
            failure::note_told(errno);
            failure::connect_without_port(&mut conn, port_via, sock::own_range(sk));
        }
    }
    0
}

/// `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)` (net/ipv4/tcp_ipv4.c,
/// 5.10 to 7.3; a `sockaddr_unsized` in 7.3)
#[fexit(function = "tcp_v4_connect")]
fn fe_tcp_connect4(ctx: FExitContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { not_connected(ctx.arg(0), ctx.arg(1), ctx.arg(3)) };
    0
}

/// `int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)` (net/ipv6/tcp_ipv6.c,
/// 5.10 to 7.3; as above)
#[fexit(function = "tcp_v6_connect")]
fn fe_tcp_connect6(ctx: FExitContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { not_connected(ctx.arg(0), ctx.arg(1), ctx.arg(3)) };
    0
}

/// connect() was refused before a SYN was sent, for want of a port or not. tcp_v6_connect() calls tcp_v4_connect() for a mapped
/// address: told once.
#[inline(always)]
unsafe fn not_connected(sk: *const u8, asked: *const u8, ret: i64) {
    let errno = failure::errno_of(ret);
    if errno == 0 || failure::was_told() {
        return;
    }
    // SAFETY: by the caller; an argument of a kernel function.
    unsafe {
        let mut conn = sock::of_sk::<Probed>(sk);
        let port_via = sock::port_before::<Typed>(sk, conn.tuple.sport);
        if Typed::load::<u16>(sk, setting!(offsets.skc_family)) == sock::AF_INET6 && conn.tuple.family == 4 {
            failure::note_told(errno);
        }
        Asked::of_kernel(asked).towards(&mut conn);
        failure::connect_failed(&mut conn, errno, port_via);
    }
}

/// `int inet_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)` (net/ipv4/af_inet.c, 5.10 to 7.3; as
/// above)
#[fexit(function = "inet_bind")]
fn fe_bind4(ctx: FExitContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { not_bound(ctx.arg(0), ctx.arg(1), ctx.arg(3)) };
    0
}

/// `int inet6_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)` (net/ipv6/af_inet6.c, 5.10 to 7.3; as
/// above)
#[fexit(function = "inet6_bind")]
fn fe_bind6(ctx: FExitContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { not_bound(ctx.arg(0), ctx.arg(1), ctx.arg(3)) };
    0
}

/// bind() failed; that a port is in use is told by inet_csk_get_port().
#[inline(always)]
unsafe fn not_bound(socket: *const u8, asked: *const u8, ret: i64) {
    let errno = failure::errno_of(ret);
    if !failure::is_wanted(errno) || errno == failure::EADDRINUSE {
        return;
    }
    // SAFETY: by the caller; the verifier knows the type of the pointer that is followed.
    unsafe {
        let sk: *const u8 = Typed::load(socket, setting!(offsets.socket_sk));
        if Typed::load::<u16>(sk, setting!(offsets.sk_protocol)) != sock::IPPROTO_TCP {
            return;
        }
        let mut conn = sock::of_sk::<Probed>(sk);
        let asked = Asked::of_kernel(asked);
        (conn.tuple.sport, conn.tuple.saddr) = (asked.port, asked.address);
        failure::bind_failed(&mut conn, errno, sock::reuses_address::<Probed>(sk), sock::own_range(sk));
    }
}

/// `int inet_csk_get_port(struct sock *sk, unsigned short snum)` (net/ipv4/inet_connection_sock.c, 5.10 to 7.3); called
/// by bind() and listen().
#[fexit(function = "inet_csk_get_port")]
fn fe_get_port(ctx: FExitContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    let snum: u16 = ctx.arg(1);
    // SAFETY: the typed first argument.
    unsafe { got_port::<Typed>(sk, snum, ctx.arg(2)) };
    0
}

/// inet_csk_get_port() returned.
///
/// # Safety
/// `M` may read `sk`.
#[inline(always)]
pub(super) unsafe fn got_port<M: Mem>(sk: *const u8, snum: u16, ret: i64) {
    if failure::errno_of(ret) != failure::EADDRINUSE {
        return;
    }
    // SAFETY: by the caller.
    unsafe {
        if M::load::<u16>(sk, setting!(offsets.sk_protocol)) != sock::IPPROTO_TCP {
            return;
        }
        let mut conn = sock::of_sk::<M>(sk);
        conn.tuple.sport = snum;
        let (reuseaddr, own_range) = (sock::reuses_address::<M>(sk), sock::own_range(sk));
        failure::bind_failed(&mut conn, failure::EADDRINUSE, reuseaddr, own_range);
    }
}
