//! Owns: the program that every backend needs: TCP state transitions.
//! Must not know: what they mean.

use aya_ebpf::{EbpfContext as _, macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;

/// `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)` (include/trace/events/sock.h)
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
