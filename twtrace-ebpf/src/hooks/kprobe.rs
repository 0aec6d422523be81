//! Owns: the kprobe and kretprobe programs, on the functions that `fentry` hooks.
//! Must not know: what they mean.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use super::fentry::{accepted, danced, got_port};
use crate::{
    birth,
    config::setting,
    death, failure,
    maps::{self, BindCall},
    mem::{Copied, Mem, Probed, Start},
    owner, state, timing,
};

#[inline(always)]
fn pointer(ctx: &ProbeContext, n: usize) -> *const u8 {
    ctx.arg::<*const u8>(n).unwrap_or(core::ptr::null())
}

/// At the entry the stack's last word is the return address; only the function itself lies below.
#[cfg(not(feature = "aarch64"))]
#[inline(always)]
fn above(ctx: &ProbeContext) -> *const u8 {
    // SAFETY: the registers of a kprobe's context.
    unsafe { (*ctx.regs).rsp as *const u8 }
}

/// At the entry the link register, x30, is the return address: see `stack::callers`.
#[cfg(feature = "aarch64")]
#[inline(always)]
fn above(ctx: &ProbeContext) -> *const u8 {
    // SAFETY: the registers of a kprobe's context.
    unsafe { (*ctx.regs).regs[30] as *const u8 }
}

/// `void tcp_time_wait(struct sock *sk, int state, int timeo)` (net/ipv4/tcp_minisocks.c, 5.10 to 7.3)
#[kprobe]
fn kp_tcp_time_wait(ctx: ProbeContext) -> u32 {
    state::note_entered(pointer(&ctx, 0) as u64);
    0
}

/// `void inet_twsk_hashdance(struct inet_timewait_sock *tw, struct sock *sk, struct inet_hashinfo *hashinfo)`
/// (net/ipv4/inet_timewait_sock.c, 5.10 to 6.10). The timer is armed already.
#[kprobe]
fn kp_hashdance(ctx: ProbeContext) -> u32 {
    let (tw, sk) = (pointer(&ctx, 0), pointer(&ctx, 1));
    // SAFETY: the arguments, read with the helper.
    unsafe {
        let expires: u64 = Probed::load(tw, setting!(offsets.tw_timer) + setting!(offsets.timer_expires));
        let now = aya_ebpf::helpers::generated::bpf_jiffies64();
        let jiffies = birth::armed_for(expires.wrapping_sub(now));
        danced::<Copied>(Start::of(tw).base(), tw as u64, sk, jiffies, false);
    }
    0
}

/// `void inet_twsk_hashdance_schedule(struct inet_timewait_sock *tw, struct sock *sk, struct inet_hashinfo *hashinfo,
/// int timeo)` (net/ipv4/inet_timewait_sock.c, 6.11 to 7.3). `timeo` is in jiffies.
#[kprobe]
fn kp_hashdance_schedule(ctx: ProbeContext) -> u32 {
    let timeo = ctx.arg::<i32>(3).unwrap_or(0);
    // SAFETY: the arguments, read with the helper.
    unsafe {
        let (tw, sk) = (pointer(&ctx, 0), pointer(&ctx, 1));
        danced::<Copied>(Start::of(tw).base(), tw as u64, sk, timeo as u64, false);
    }
    0
}

/// `static void inet_twsk_kill(struct inet_timewait_sock *tw)` (net/ipv4/inet_timewait_sock.c, 5.10 to 7.3)
#[kprobe]
fn kp_kill(ctx: ProbeContext) -> u32 {
    // SAFETY: the first argument, read with the helper.
    unsafe {
        let tw = pointer(&ctx, 0);
        death::killed::<Copied>(&ctx, (above(&ctx), 1), Start::of(tw).base(), tw as u64);
    }
    0
}

/// `struct sock *inet_csk_accept(…)` (net/ipv4/inet_connection_sock.c, 5.10 to 7.3)
#[kretprobe]
fn krp_accept(ctx: RetProbeContext) -> u32 {
    let sk = ctx.ret::<*const u8>();
    if !sk.is_null() && owner::accept_is_wanted() {
        accepted(sk);
    }
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv4/inet_hashtables.c,
/// 5.10 to 7.3), and `int inet6_hash_connect(…)` (net/ipv6/inet6_hashtables.c, 5.10 to 7.3)
#[kprobe]
fn kp_connecting(ctx: ProbeContext) -> u32 {
    // SAFETY: the second argument, read with the helper.
    unsafe { timing::began::<Probed>(pointer(&ctx, 1)) };
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)` (net/ipv4/inet_hashtables.c,
/// 5.10 to 7.3), and `int inet6_hash_connect(…)` (net/ipv6/inet6_hashtables.c, 5.10 to 7.3). A return probe does not
/// have the arguments: the state transition that follows does.
#[kretprobe]
fn krp_connect(ctx: RetProbeContext) -> u32 {
    timing::ended();
    let errno = failure::errno_of(ctx.ret::<i64>());
    if errno == failure::EADDRNOTAVAIL {
        let _ = maps::CONNECT_ERRNO.insert(bpf_get_current_pid_tgid(), errno, 0);
    }
    0
}

/// `int inet_csk_get_port(struct sock *sk, unsigned short snum)` (net/ipv4/inet_connection_sock.c, 5.10 to 7.3)
#[kprobe]
fn kp_get_port(ctx: ProbeContext) -> u32 {
    let call = BindCall { pointer: pointer(&ctx, 0) as u64, number: ctx.arg::<u64>(1).unwrap_or(0) };
    let _ = maps::BIND_CALLS.insert(bpf_get_current_pid_tgid(), call, 0);
    0
}

/// `int inet_csk_get_port(struct sock *sk, unsigned short snum)` (net/ipv4/inet_connection_sock.c, 5.10 to 7.3)
#[kretprobe]
fn krp_get_port(ctx: RetProbeContext) -> u32 {
    let task = bpf_get_current_pid_tgid();
    if let Some(call) = maps::BIND_CALLS.get_ptr(task) {
        // SAFETY: a live map value; the socket is alive until bind() returns.
        unsafe {
            let call = *call;
            got_port::<Probed>(call.pointer as *const u8, call.number as u16, ctx.ret::<i64>());
        }
        let _ = maps::BIND_CALLS.remove(task);
    }
    0
}
