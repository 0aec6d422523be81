//! Owns: the programs of the backend that needs neither fentry nor kprobes: timers and syscall exits.
//! Must not know: what they mean.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

use super::fentry::accepted;
use crate::{
    failure,
    fd::{self, SockAddr},
    maps::{self, BindCall},
    owner, timers,
};

/// `TP_PROTO(struct timer_list *timer, …)` (include/trace/events/timer.h, 5.10 to 7.3; what follows the timer changed
/// in 6.8)
#[btf_tracepoint(function = "timer_start")]
fn tp_timer_start(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { timers::started(ctx.arg(0)) };
    0
}

/// `TP_PROTO(struct timer_list *timer)` (include/trace/events/timer.h, 5.10 to 7.3)
#[btf_tracepoint(function = "timer_cancel")]
fn tp_timer_cancel(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { timers::cancelled(&ctx, ctx.arg(0)) };
    0
}

/// `TP_PROTO(struct timer_list *timer, unsigned long baseclk)` (include/trace/events/timer.h, 5.10 to 7.3)
#[btf_tracepoint(function = "timer_expire_entry")]
fn tp_timer_expire_entry(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the typed first argument.
    unsafe { timers::expired(ctx.arg(0)) };
    0
}

/// Offset of the first argument in a `sys_enter_*` record: 8 bytes of common fields, then the call's number in 8 more
/// (perf_call_bpf_enter(), kernel/trace/trace_syscalls.c, 5.10 to 7.3).
const FIRST_ARGUMENT: usize = 16;
/// Offset of `long ret` in a `sys_exit_*` record (perf_call_bpf_exit(), there).
const RETURN_VALUE: usize = 16;

#[inline(always)]
fn word(ctx: &TracePointContext, offset: usize) -> i64 {
    // SAFETY: inside the record.
    unsafe { ctx.as_ptr().cast::<u8>().add(offset).cast::<i64>().read() }
}

#[inline(always)]
fn entered(ctx: &TracePointContext, with_address: bool) -> u32 {
    let number = word(ctx, FIRST_ARGUMENT) as u64;
    let pointer = if with_address { word(ctx, FIRST_ARGUMENT + 8) as u64 } else { 0 };
    let _ = maps::BIND_CALLS.insert(bpf_get_current_pid_tgid(), BindCall { pointer, number }, 0);
    0
}

#[inline(always)]
fn left(ctx: &TracePointContext) -> u32 {
    let task = bpf_get_current_pid_tgid();
    let errno = failure::errno_of(word(ctx, RETURN_VALUE));
    if failure::is_wanted(errno) {
        if let Some(call) = maps::BIND_CALLS.get_ptr(task) {
            // SAFETY: a live map value.
            let call = unsafe { *call };
            let address = if call.pointer == 0 { SockAddr::OfSocket } else { SockAddr::User(call.pointer) };
            if let Some((mut conn, reuseaddr, own_range)) = fd::refused_bind(call.number, address) {
                failure::bind_failed(&mut conn, errno, reuseaddr, own_range);
            }
        }
    }
    let _ = maps::BIND_CALLS.remove(task);
    0
}

/// `bind(int fd, struct sockaddr *umyaddr, int addrlen)`
#[tracepoint(category = "syscalls", name = "sys_enter_bind")]
fn tp_enter_bind(ctx: TracePointContext) -> u32 {
    entered(&ctx, true)
}

/// `bind(…)`
#[tracepoint(category = "syscalls", name = "sys_exit_bind")]
fn tp_exit_bind(ctx: TracePointContext) -> u32 {
    left(&ctx)
}

/// `connect(int fd, struct sockaddr *uservaddr, int addrlen)`
#[tracepoint(category = "syscalls", name = "sys_enter_connect")]
fn tp_enter_connect(ctx: TracePointContext) -> u32 {
    entered(&ctx, true)
}

/// `connect(…)`: what failed before a SYN was sent and is not for want of a port.
#[tracepoint(category = "syscalls", name = "sys_exit_connect")]
fn tp_exit_connect(ctx: TracePointContext) -> u32 {
    let errno = failure::errno_of(word(&ctx, RETURN_VALUE));
    let task = bpf_get_current_pid_tgid();
    if errno != 0 && !failure::is_under_way(errno) && !failure::was_told() {
        if let Some(call) = maps::BIND_CALLS.get_ptr(task) {
            // SAFETY: a live map value.
            let call = unsafe { *call };
            if let Some((mut conn, port_via)) = fd::refused_connect(call.number, call.pointer) {
                failure::connect_failed(&mut conn, errno, port_via);
            }
        }
    }
    let _ = maps::BIND_CALLS.remove(task);
    0
}

/// `listen(int fd, int backlog)`
#[tracepoint(category = "syscalls", name = "sys_enter_listen")]
fn tp_enter_listen(ctx: TracePointContext) -> u32 {
    entered(&ctx, false)
}

/// `listen(…)`
#[tracepoint(category = "syscalls", name = "sys_exit_listen")]
fn tp_exit_listen(ctx: TracePointContext) -> u32 {
    left(&ctx)
}

/// `accept(…)`, `accept4(…)`: the file descriptor of the accepted connection. Attached to both.
#[tracepoint(category = "syscalls", name = "sys_exit_accept4")]
fn tp_exit_accept(ctx: TracePointContext) -> u32 {
    let ret = word(&ctx, RETURN_VALUE);
    if ret >= 0 && owner::accept_is_wanted() {
        accepted(fd::socket(ret as u64) as *const u8);
    }
    0
}
