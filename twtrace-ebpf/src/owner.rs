//! Owns: who opened a connection and who sent its first FIN, from the moment it happens to the birth.
//! Must not know: TIME_WAIT sockets, the ring's records (but for "a new process was met").
//!
//! Every TIME_WAIT socket's connection passed FIN_WAIT1, which only tcp_close_state() sets, called by __tcp_close() and
//! tcp_shutdown() in the context of the caller (net/ipv4/tcp.c, 5.10 to 7.3). So the task at that transition is the
//! owner. At the birth itself, in softirq, the current task is whichever was interrupted.

use twtrace_common::wire::{
    HAS_OPENER, Header, KIND_PROCESS, Process, ROLE_CLIENT, ROLE_SERVER, ROLE_UNKNOWN, Task, VIA_CLOSE,
    VIA_EXIT, VIA_NONE, VIA_OPENER, VIA_SHUTDOWN,
};

use crate::{
    config::setting,
    emit, filter,
    maps::{self, Listening, Opener, Owner},
    mem::{Mem, Probed, Typed},
    sock::Conn,
    table, task,
};

/// `RCV_SHUTDOWN | SEND_SHUTDOWN` (include/net/sock.h).
const SHUTDOWN_MASK: u8 = 3;

const NOBODY: Task = Task { pid: 0, tid: 0, uid: 0, pad: 0, cgroup_id: 0, start_ns: 0, comm: [0; 2] };

// What a new entry starts as, before it is filled in where it lies: the program's stack has no room for one.
static NEW_OPENER: Opener = Opener { task: NOBODY, since_ns: 0, check: 0, role: 0 };
static NEW_OWNER: Owner = Owner {
    task: NOBODY,
    opener_comm: [0; 2],
    opener_start_ns: 0,
    opener_pid: 0,
    via: VIA_NONE as u8,
    role: ROLE_UNKNOWN,
    marks: 0,
    pad: 0,
    since_ns: 0,
    sk: 0,
};

/// A fresh entry for `sk`, or `None` where the map has no room: then the opener will be shown as unknown.
#[inline(always)]
fn new_opener<'a>(sk: u64, check: u64, role: u8, since_ns: u64) -> Option<&'a mut Opener> {
    let _ = maps::OPENERS.insert(sk, &NEW_OPENER, 0);
    // SAFETY: a live map value; only the hooks of this one socket write it.
    let entry = unsafe { &mut *maps::OPENERS.get_ptr_mut(sk)? };
    entry.check = check;
    entry.role = u64::from(role);
    entry.since_ns = since_ns;
    Some(entry)
}

/// The entry of `sk`, if it is still about the connection whose peer `check` stands for.
#[inline(always)]
fn opener_of<'a>(sk: u64, check: u64) -> Option<&'a mut Opener> {
    // SAFETY: a live map value; only the hooks of this one socket write it.
    let entry = unsafe { &mut *maps::OPENERS.get_ptr_mut(sk)? };
    (entry.check == check).then_some(entry)
}

/// connect(): the current task opens `sk`. Its local port is not chosen yet.
#[inline(always)]
pub(crate) fn connecting(sk: u64, conn: &Conn, now_ns: u64) {
    if let Some(opener) = new_opener(sk, conn.peer_check(), ROLE_CLIENT, now_ns) {
        task::current(&mut opener.task);
        meet(&opener.task, now_ns);
    }
}

/// The handshake of an incoming connection is done. In softirq: nobody to name yet. With TCP fast open accept() came
/// first, and in a simultaneous open this end has connected: then the entry is there.
#[inline(always)]
pub(crate) fn established(sk: u64, conn: &Conn, now_ns: u64) {
    let check = conn.peer_check();
    if opener_of(sk, check).is_none() {
        new_opener(sk, check, ROLE_SERVER, now_ns);
    }
}

/// accept(): the current task takes over `sk`. Where its handshake was not seen, its age stays unknown.
#[inline(always)]
pub(crate) fn accepted(sk: u64, conn: &Conn, now_ns: u64) {
    let check = conn.peer_check();
    let entry = match opener_of(sk, check) {
        Some(entry) => Some(entry),
        None => new_opener(sk, check, ROLE_SERVER, 0),
    };
    if let Some(opener) = entry {
        task::current(&mut opener.task);
        meet(&opener.task, now_ns);
    }
}

/// The first local FIN: remembers the owner until the socket is closed.
///
/// # Safety
/// `sk` is the typed argument of a tp_btf program.
#[inline(always)]
pub(crate) unsafe fn first_fin(sk: *const u8, conn: &Conn, now_ns: u64) {
    let key = conn.key();
    let Some(place) = maps::claim_owner(key) else {
        let _ = maps::OPENERS.remove(sk as u64);
        return;
    };
    // SAFETY: a live map value, ours until it is published.
    let owner = unsafe { &mut (*place.slot).value };
    *owner = NEW_OWNER;
    owner.sk = sk as u64;
    let flags = task::flags();
    // SAFETY: by the caller. Whoever closes or shuts down holds the socket's lock; softirq only takes its spinlock, and
    // then the current task has nothing to do with it.
    let by_task = unsafe { Typed::load::<u32>(sk, setting!(offsets.sk_lock_owned)) } != 0
        && flags & task::PF_KTHREAD == 0;
    if by_task {
        task::current(&mut owner.task);
        // SAFETY: by the caller.
        owner.via = unsafe { how(sk, flags) } as u8;
    }
    if let Some(opener) = opener_of(sk as u64, conn.peer_check()) {
        take_opener(opener, by_task, owner);
    }
    // Mostly the same process closes as opened, and then user space knows it.
    if by_task && owner.opener_pid != owner.task.pid {
        meet(&owner.task, now_ns);
    }
    let _ = maps::OPENERS.remove(sk as u64);
    if owner.role == ROLE_UNKNOWN && listens(conn) {
        owner.role = ROLE_SERVER;
    }
    // SAFETY: filled.
    unsafe { table::publish(place, key, now_ns) };
}

#[inline(always)]
fn take_opener(opener: &Opener, by_task: bool, owner: &mut Owner) {
    owner.role = opener.role as u8;
    owner.since_ns = opener.since_ns;
    owner.opener_pid = opener.task.pid;
    owner.opener_start_ns = opener.task.start_ns;
    owner.opener_comm = opener.task.comm;
    if !by_task && opener.task.pid != 0 {
        owner.task = opener.task;
        owner.via = VIA_OPENER as u8;
    }
}

/// Which call sent the FIN. shutdown(SHUT_WR) leaves the receiving side open; shutdown(SHUT_RDWR) looks like close(),
/// but for the file, which is still open.
#[inline(always)]
unsafe fn how(sk: *const u8, flags: u32) -> u32 {
    if flags & task::PF_EXITING != 0 {
        return VIA_EXIT;
    }
    // SAFETY: by the caller; pointers read are followed with the helper only.
    unsafe {
        if Typed::load::<u8>(sk, setting!(offsets.sk_shutdown)) & SHUTDOWN_MASK != SHUTDOWN_MASK {
            return VIA_SHUTDOWN;
        }
        let socket: u64 = Probed::load(sk, setting!(offsets.sk_socket));
        let file: u64 = Probed::load(socket as *const u8, setting!(offsets.socket_file));
        if file == 0 {
            return VIA_CLOSE;
        }
        let count: i64 = Probed::load(file as *const u8, setting!(offsets.file_count));
        // atomic_long_t counts to 0; file_ref_t (6.13 and later) is 0 with one reference and negative once dead.
        let open = if setting!(file_ref_signed) != 0 { count >= 0 } else { count > 0 };
        if open { VIA_SHUTDOWN } else { VIA_CLOSE }
    }
}

/// Whether the local port is one that somebody listens on: says `server` of connections older than twtrace.
#[inline(always)]
pub(crate) fn listens(conn: &Conn) -> bool {
    let port = Listening { netns: conn.netns, port: u32::from(conn.tuple.sport) };
    maps::LISTENERS.get_ptr(port).is_some()
}

/// Whether the opener is known, as a header flag.
#[inline(always)]
pub(crate) fn opener_flag(owner: &Owner) -> u16 {
    if owner.opener_pid != 0 { HAS_OPENER } else { 0 }
}

/// Tells user space of a process that it has not seen, while it still lives and /proc can be read.
#[inline(always)]
fn meet(task: &Task, now_ns: u64) {
    let print = task::fingerprint(task);
    if maps::SEEN.get_ptr(print).is_some() || !filter::task_passes(task) {
        return;
    }
    if let Some(mut entry) = emit::reserve_hint::<Process>() {
        // SAFETY: the record's memory is ours until it is submitted; every field is written.
        unsafe {
            let record = &mut *entry.as_mut_ptr();
            record.header = Header { kind: KIND_PROCESS, flags: 0, netns: 0, mono_ns: now_ns };
            record.task = *task;
        }
        emit::submit_now(entry);
        let _ = maps::SEEN.insert(print, 1, 0);
    }
}
