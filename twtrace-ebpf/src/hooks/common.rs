//! Owns: the program that every backend needs: TCP state transitions.
//! Must not know: what they mean.

use aya_ebpf::{EbpfContext as _, macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;

/// `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)` (include/trace/events/sock.h, 5.10 to 7.3)
#[btf_tracepoint(function = "inet_sock_set_state")]
#[inline(always)]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    debug!(&ctx, "inet_sock_set_state {} -> {} in {}", old, new, ctx.tgid());
    // SAFETY: the typed first argument.
    unsafe { crate::state::changed(sk, old, new) };
    0
}

/// `TP_PROTO(const struct sock *sk, const struct sk_buff *skb, …)` (include/trace/events/tcp.h, 5.10 to 7.3): an RST is
/// sent; `skb` is what it answers, NULL where this host resets by itself. For backends without fentry.
#[btf_tracepoint(function = "tcp_send_reset")]
#[inline(always)]
fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    let (sk, answered): (*const u8, u64) = (ctx.arg(0), ctx.arg(1));
    if answered == 0 && !sk.is_null() {
        // SAFETY: the typed first argument.
        unsafe { crate::abort::resets(sk) };
    }
    0
}
