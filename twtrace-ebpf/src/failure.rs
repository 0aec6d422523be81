//! Owns: connect() and bind() that fail for want of a port.
//! Must not know: which backend saw it.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use twtrace_common::{
    loss,
    wire::{Failed, Header, KIND_BIND_FAILED, KIND_CONNECT_FAILED, PORT_BIND, PORT_BIND_ANY, ROLE_CLIENT},
};

use crate::{emit, filter, maps, sock::Conn, task};

/// `EADDRINUSE` (include/uapi/asm-generic/errno.h).
pub(crate) const EADDRINUSE: u32 = 98;
/// `EADDRNOTAVAIL` (include/uapi/asm-generic/errno.h).
pub(crate) const EADDRNOTAVAIL: u32 = 99;

/// The current task's connect() found no port.
#[inline(always)]
pub(crate) fn connect_failed(conn: &mut Conn, errno: u32, port_via: u32) {
    conn.tuple.role = ROLE_CLIENT;
    send(KIND_CONNECT_FAILED, loss::CONNECT_FAILED, conn, errno, port_via);
}

/// The current task's bind() or listen() was refused its port.
#[inline(always)]
pub(crate) fn bind_failed(conn: &mut Conn, errno: u32) {
    let port_via = if conn.tuple.sport == 0 { PORT_BIND_ANY } else { PORT_BIND };
    send(KIND_BIND_FAILED, loss::BIND_FAILED, conn, errno, port_via);
}

#[inline(always)]
fn send(kind: u16, slot: u32, conn: &Conn, errno: u32, port_via: u32) {
    let Some(caller) = maps::CALLER.get_ptr_mut(0) else { return };
    // SAFETY: a live map value of this CPU. Failures happen in process context only.
    let caller = unsafe { &mut *caller };
    task::current(caller);
    if !filter::conn_passes(conn) || !filter::task_passes(caller) || !filter::role_passes(conn.tuple.role) {
        return;
    }
    if let Some(mut entry) = emit::reserve::<Failed>(slot) {
        // SAFETY: the record's memory is ours until it is submitted; every field is written.
        unsafe {
            let record = &mut *entry.as_mut_ptr();
            record.header = Header { kind, flags: 0, netns: conn.netns, mono_ns: bpf_ktime_get_ns() };
            record.tuple = conn.tuple;
            record.errno = errno;
            record.port_via = port_via;
            record.task = *caller;
        }
        emit::submit(entry);
    }
}

/// The errno that a kernel function's return value stands for, 0 for success. inet_csk_get_port() returned 1 for
/// EADDRINUSE before kernel commit 7a7160edf1bf (6.1).
#[inline(always)]
pub(crate) fn errno_of(ret: i64) -> u32 {
    let ret = ret as i32;
    if ret == 1 { EADDRINUSE } else { ret.unsigned_abs() }
}
