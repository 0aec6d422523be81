//! Owns: connect() and bind() that fail for want of a port.
//! Must not know: which backend saw it.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};
use twtrace_common::{
    loss,
    wire::{
        Failed, HAS_OWN_RANGE, HAS_REUSEADDR, Header, KIND_BIND_FAILED, KIND_CONNECT_FAILED, PORT_BIND,
        PORT_BIND_ANY, REUSEADDR, ROLE_CLIENT, Task,
    },
};

use crate::{config::setting, emit, filter, maps, mem, sock::Conn, task};

/// `EADDRINUSE` (include/uapi/asm-generic/errno.h, 6.12).
pub(crate) const EADDRINUSE: u32 = 98;
/// `EADDRNOTAVAIL` (include/uapi/asm-generic/errno.h, 6.12).
pub(crate) const EADDRNOTAVAIL: u32 = 99;

/// Notes that this task's call was told to fail, for the hook at its exit.
#[inline(always)]
pub(crate) fn note_told(errno: u32) {
    if setting!(filter.failures_all) != 0 {
        let _ = maps::CONNECT_ERRNO.insert(bpf_get_current_pid_tgid(), errno, 0);
    }
}

/// Whether connect() says that the connection is being made, is there, or that a signal came: no failure. `EINTR`
/// (include/uapi/asm-generic/errno-base.h, 6.12), `EISCONN`, `EALREADY`, `EINPROGRESS`
/// (include/uapi/asm-generic/errno.h, 6.12), and `ERESTARTSYS` (include/linux/errno.h, 6.12).
#[inline(always)]
pub(crate) fn is_under_way(errno: u32) -> bool {
    errno == 4 || errno == 106 || errno == 114 || errno == 115 || errno == 512
}

/// Whether that was so.
#[inline(always)]
pub(crate) fn was_told() -> bool {
    maps::CONNECT_ERRNO.remove(bpf_get_current_pid_tgid()).is_ok()
}

/// Whether a failure with this errno is worth telling.
#[inline(always)]
pub(crate) fn is_wanted(errno: u32) -> bool {
    errno == EADDRINUSE || errno == EADDRNOTAVAIL || errno != 0 && setting!(filter.failures_all) != 0
}

/// A call that failed, beside the connection.
struct Call {
    kind: u16,
    flags: u16,
    /// One of `loss::*`.
    slot: u32,
    errno: u32,
    port_via: u32,
    /// See `Failed::own_range`; 0 without `HAS_OWN_RANGE`.
    own_range: u32,
}

impl Call {
    const fn connect(errno: u32, port_via: u32) -> Self {
        Self {
            kind: KIND_CONNECT_FAILED,
            flags: 0,
            slot: loss::CONNECT_FAILED,
            errno,
            port_via,
            own_range: 0,
        }
    }

    /// Of a socket with this range of its own, which was looked at.
    const fn ranged(self, own_range: u32) -> Self {
        Self { flags: self.flags | HAS_OWN_RANGE, own_range, ..self }
    }
}

/// The current task's connect() found no port. `own_range`: see `Failed::own_range`.
#[inline(always)]
pub(crate) fn connect_without_port(conn: &mut Conn, port_via: u32, own_range: u32) {
    conn.tuple.role = ROLE_CLIENT;
    send(&Call::connect(EADDRNOTAVAIL, port_via).ranged(own_range), conn, None);
}

/// The current task's connect() failed before a SYN was sent.
#[inline(always)]
pub(crate) fn connect_failed(conn: &mut Conn, errno: u32, port_via: u32) {
    conn.tuple.role = ROLE_CLIENT;
    send(&Call::connect(errno, port_via), conn, None);
}

/// A connect() of `who` came to nothing after its SYN was sent; whoever runs now is a stranger.
#[inline(always)]
pub(crate) fn connect_failed_later(conn: &mut Conn, errno: u32, port_via: u32, who: &Task) {
    conn.tuple.role = ROLE_CLIENT;
    send(&Call::connect(errno, port_via), conn, Some(who));
}

/// The current task's bind() or listen() was refused its port. `reuseaddr`: whether the socket has SO_REUSEADDR; `own_range`: see
/// `Failed::own_range`.
#[inline(always)]
pub(crate) fn bind_failed(conn: &mut Conn, errno: u32, reuseaddr: Option<bool>, own_range: u32) {
    let port_via = if conn.tuple.sport == 0 { PORT_BIND_ANY } else { PORT_BIND };
    let flags = match reuseaddr {
        None => 0,
        Some(false) => HAS_REUSEADDR,
        Some(true) => HAS_REUSEADDR | REUSEADDR,
    };
    let call = Call { kind: KIND_BIND_FAILED, flags, slot: loss::BIND_FAILED, errno, port_via, own_range };
    send(&call.ranged(own_range), conn, None);
}

/// `who`: `None` for the current task.
#[inline(always)]
fn send(call: &Call, conn: &Conn, who: Option<&Task>) {
    if !filter::conn_passes(conn)
        || !filter::role_passes(conn.tuple.role)
        || !who.map_or_else(filter::current_passes, filter::task_passes)
    {
        return;
    }
    let Some(mut entry) = emit::reserve::<Failed>(call.slot) else { return };
    // SAFETY: the record's memory is ours until it is submitted; every field is written.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        match who {
            Some(who) => mem::copy(&mut record.task, who),
            None => task::current(&mut record.task),
        }
        let mono_ns = bpf_ktime_get_ns();
        record.header = Header { kind: call.kind, flags: call.flags, netns: conn.netns, mono_ns };
        mem::copy(&mut record.tuple, &conn.tuple);
        record.errno = call.errno;
        record.port_via = call.port_via;
        (record.own_range, record.pad) = (call.own_range, 0);
    }
    emit::submit(entry);
}

/// The errno that a kernel function's return value stands for, 0 for success. inet_csk_get_port()
/// (net/ipv4/inet_connection_sock.c) returned 1 for EADDRINUSE before kernel commit 7a7160edf1bf (6.2; late releases of
/// 6.1 have it as well, 6.1.192 does).
#[inline(always)]
pub(crate) fn errno_of(ret: i64) -> u32 {
    let ret = ret as i32;
    if ret == 1 { EADDRINUSE } else { ret.unsigned_abs() }
}
