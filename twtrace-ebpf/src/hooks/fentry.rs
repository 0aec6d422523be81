//! Owns: the fentry and fexit programs.
//! Must not know: what they mean.
//!
//! Where the number of arguments changed between kernels there are two programs; the loader picks by BTF. A return
//! value is the argument after the last.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_ns,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use crate::{
    birth,
    config::setting,
    death, failure,
    mem::{Mem, Probed, Typed},
    owner, sock,
};

/// `void tcp_time_wait(struct sock *sk, int state, int timeo)` (net/ipv4/tcp_minisocks.c)
#[fentry(function = "tcp_time_wait")]
fn fe_tcp_time_wait(ctx: FEntryContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: the typed first argument.
    let conn = unsafe { sock::of_sk::<Typed>(sk) };
    birth::entered(&conn);
    0
}

/// `void inet_twsk_hashdance(struct inet_timewait_sock *tw, struct sock *sk, struct inet_hashinfo *hashinfo)`
/// (net/ipv4/inet_timewait_sock.c, before 6.12). The timer is armed already.
#[fentry(function = "inet_twsk_hashdance")]
fn fe_hashdance(ctx: FEntryContext) -> i32 {
    let (tw, sk): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: the typed arguments.
    unsafe {
        let expires: u64 = Probed::load(tw, setting!(offsets.tw_timer) + setting!(offsets.timer_expires));
        let now = aya_ebpf::helpers::generated::bpf_jiffies64();
        danced::<Typed>(tw, sk, birth::armed_for(expires.wrapping_sub(now)));
    }
    0
}

/// `void inet_twsk_hashdance_schedule(struct inet_timewait_sock *tw, struct sock *sk, struct inet_hashinfo *hashinfo,
/// int timeo)` (net/ipv4/inet_timewait_sock.c, 6.12 and later). `timeo` is in jiffies.
#[fentry(function = "inet_twsk_hashdance_schedule")]
fn fe_hashdance_schedule(ctx: FEntryContext) -> i32 {
    let (tw, sk): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    let timeo: i32 = ctx.arg(3);
    // SAFETY: the typed arguments.
    unsafe { danced::<Typed>(tw, sk, timeo as u64) };
    0
}

/// A TIME_WAIT socket is about to be hashed in the place of `sk`.
///
/// # Safety
/// `M` may read `tw` and `sk`.
#[inline(always)]
pub(super) unsafe fn danced<M: Mem>(tw: *const u8, sk: *const u8, jiffies: u64) {
    // SAFETY: by the caller.
    unsafe {
        if M::load::<u16>(sk, setting!(offsets.sk_protocol)) != sock::IPPROTO_TCP {
            return;
        }
        let mut conn = sock::of_tw::<M>(tw);
        let mut facts = birth::facts_of::<M>(tw, sk as u64, jiffies, &conn);
        birth::born(&mut conn, &mut facts);
    }
}

/// `static void inet_twsk_kill(struct inet_timewait_sock *tw)` (net/ipv4/inet_timewait_sock.c)
#[fentry(function = "inet_twsk_kill")]
fn fe_kill(ctx: FEntryContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { death::killed::<Typed>(&ctx, ctx.arg(0)) };
    0
}

/// `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)` (net/ipv4/inet_connection_sock.c,
/// up to 6.9)
#[fexit(function = "inet_csk_accept")]
fn fe_accept_4(ctx: FExitContext) -> i32 {
    accepted(ctx.arg(4))
}

/// `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)` (net/ipv4/inet_connection_sock.c, 6.10
/// and later)
#[fexit(function = "inet_csk_accept")]
fn fe_accept_2(ctx: FExitContext) -> i32 {
    accepted(ctx.arg(2))
}

/// accept() returned `sk`, or NULL.
#[inline(always)]
pub(super) fn accepted(sk: *const u8) -> i32 {
    if sk.is_null() {
        return 0;
    }
    // SAFETY: read with the helper: a return value is not typed everywhere.
    unsafe {
        if Probed::load::<u16>(sk, setting!(offsets.sk_protocol)) == sock::IPPROTO_TCP {
            let conn = sock::of_sk::<Probed>(sk);
            owner::accepted(sk as u64, &conn, bpf_ktime_get_ns());
        }
    }
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv4/inet_hashtables.c)
#[fexit(function = "inet_hash_connect")]
fn fe_connect4(ctx: FExitContext) -> i32 {
    connected(ctx.arg(1), ctx.arg(2))
}

/// `int inet6_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv6/inet6_hashtables.c)
#[fexit(function = "inet6_hash_connect")]
fn fe_connect6(ctx: FExitContext) -> i32 {
    connected(ctx.arg(1), ctx.arg(2))
}

#[inline(always)]
fn connected(sk: *const u8, ret: i64) -> i32 {
    if failure::errno_of(ret) == failure::EADDRNOTAVAIL {
        // SAFETY: the typed second argument.
        let mut conn = unsafe { sock::of_sk::<Typed>(sk) };
        failure::connect_failed(&mut conn, failure::EADDRNOTAVAIL);
    }
    0
}

/// `int inet_csk_get_port(struct sock *sk, unsigned short snum)` (net/ipv4/inet_connection_sock.c); called by bind() and
/// listen().
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
        failure::bind_failed(&mut conn, failure::EADDRINUSE);
    }
}
