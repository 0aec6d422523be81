//! Owns: the birth of a TIME_WAIT socket, and the overflow when one was refused.
//! Must not know: which backend saw it.
//!
//! tcp_time_wait() (net/ipv4/tcp_minisocks.c) allocates the TIME_WAIT socket, publishes it and ends with tcp_done(),
//! which sets the full socket to CLOSE. The entry in OWNERS lives from FIN_WAIT1 to that CLOSE; at CLOSE it shows
//! whether tcp_time_wait() was ENTERED and whether a TIME_WAIT socket was BORN.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use twtrace_common::{
    config::MISSING,
    loss,
    wire::{
        Birth, HAS_AGE, HAS_BYTES, HAS_OWNER, Header, KIND_CREATED, KIND_OVERFLOW, PORT_UNKNOWN, ROLE_SERVER,
        SUBSTATE_TIME_WAIT, Task, VIA_NONE,
    },
};

use crate::{
    config::setting,
    emit, filter,
    maps::{self, BORN, ENTERED, Owner},
    mem::{Mem, Probed},
    owner,
    sock::{self, Conn},
    table,
};

/// What a birth is told from, beside the connection.
pub(crate) struct Facts {
    /// Address of the TIME_WAIT socket, 0 for an overflow.
    pub(crate) tw: u64,
    /// Address of the full socket, 0 where not known.
    pub(crate) sk: u64,
    pub(crate) cookie: u64,
    pub(crate) timeout_ms: u32,
    /// The peer's FIN is in.
    pub(crate) fin_received: bool,
}

const fn unowned(marks: u8) -> Owner {
    Owner {
        task: Task { pid: 0, tid: 0, uid: 0, pad: 0, cgroup_id: 0, start_ns: 0, comm: [0; 2] },
        opener_comm: [0; 2],
        opener_start_ns: 0,
        opener_pid: 0,
        via: VIA_NONE as u8,
        role: 0,
        marks,
        pad: 0,
        since_ns: 0,
        sk: 0,
    }
}

// Entries for connections that were closed before twtrace began. Statics: the program's stack has no room for them.
static UNOWNED: Owner = unowned(0);
static UNOWNED_ENTERED: Owner = unowned(ENTERED);
static UNOWNED_BORN: Owner = unowned(BORN);

/// tcp_time_wait() was called for `conn`: if no TIME_WAIT socket follows before CLOSE, it was refused.
#[inline(always)]
pub(crate) fn entered(conn: &Conn) {
    let key = conn.key();
    if let Some(slot) = maps::owner_of(key) {
        // SAFETY: a live map value; the kernel works on one connection on one CPU at a time.
        unsafe { (*slot).value.marks |= ENTERED };
    } else {
        put(key, &UNOWNED_ENTERED);
    }
}

/// An entry for a connection that was closed before twtrace began.
#[inline(always)]
fn put(key: u64, owner: &Owner) {
    if let Some(place) = maps::claim_owner(key) {
        // SAFETY: ours until it is published; no preconditions.
        unsafe {
            (*place.slot).value = *owner;
            table::publish(place, key, bpf_ktime_get_ns());
        }
    }
}

/// Whether `conn` is closing and its TIME_WAIT socket was not told yet.
#[inline(always)]
pub(crate) fn awaited(conn: &Conn) -> bool {
    // SAFETY: a live map value.
    maps::owner_of(conn.key()).is_some_and(|slot| unsafe { (*slot).value.marks } & BORN == 0)
}

/// A TIME_WAIT socket exists: says so, and marks its connection.
#[inline(always)]
pub(crate) fn born(conn: &mut Conn, facts: &mut Facts) {
    let key = conn.key();
    let Some(slot) = maps::owner_of(key) else {
        put(key, &UNOWNED_BORN);
        return send(KIND_CREATED, conn, facts, &UNOWNED_BORN);
    };
    // SAFETY: a live map value; the kernel works on one connection on one CPU at a time.
    let entry = unsafe { &mut (*slot).value };
    entry.marks |= BORN;
    // What is told is what was the connection's own: the place may be another's by the time it is read.
    let mut owner = *entry;
    if !table::holds(slot, key) {
        maps::count_loss(loss::OWNER);
        owner.via = VIA_NONE as u8;
        owner.role = 0;
        owner.opener_pid = 0;
        owner.since_ns = 0;
        owner.sk = 0;
    }
    if facts.sk == 0 {
        facts.sk = owner.sk;
    }
    send(KIND_CREATED, conn, facts, &owner);
}

/// The full socket is CLOSEd with no TIME_WAIT socket, and one was wanted.
#[inline(always)]
pub(crate) fn refused(conn: &mut Conn, facts: &Facts, owner: Option<&Owner>) {
    send(KIND_OVERFLOW, conn, facts, owner.unwrap_or(&UNOWNED));
}

#[inline(always)]
fn send(kind: u16, conn: &mut Conn, facts: &Facts, owner: &Owner) {
    conn.tuple.role = owner.role;
    if owner.role == 0 && owner::listens(conn) {
        conn.tuple.role = ROLE_SERVER;
    }
    let known = u32::from(owner.via) != VIA_NONE;
    if !filter::conn_passes(conn)
        || !filter::role_passes(conn.tuple.role)
        || (filter::asks_for_task() && !(known && filter::task_passes(&owner.task)))
    {
        return;
    }
    if setting!(track_live) != 0 && kind == KIND_CREATED && maps::LIVE.insert(facts.tw, 1, 0).is_err() {
        maps::count_loss(loss::LIVE);
    }
    let slot = if kind == KIND_CREATED { loss::CREATED } else { loss::OVERFLOW };
    if let Some(mut entry) = emit::reserve::<Birth>(slot) {
        // SAFETY: the record's memory is ours until it is submitted; every field is written below.
        unsafe { fill(&mut *entry.as_mut_ptr(), kind, conn, facts, owner) };
        emit::submit(entry);
    }
}

#[inline(always)]
fn fill(birth: &mut Birth, kind: u16, conn: &Conn, facts: &Facts, owner: &Owner) {
    // SAFETY: no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let mut flags = owner::opener_flag(owner);
    if u32::from(owner.via) != VIA_NONE {
        flags |= HAS_OWNER;
    }
    birth.age_ns = 0;
    if owner.since_ns != 0 {
        flags |= HAS_AGE;
        birth.age_ns = now_ns.saturating_sub(owner.since_ns);
    }
    birth.bytes_sent = 0;
    birth.bytes_received = 0;
    if facts.sk != 0 {
        // SAFETY: the full socket is alive: the kernel is turning it into this TIME_WAIT socket.
        if let Some((sent, received)) = unsafe { sock::payload(facts.sk as *const u8, facts.fin_received) } {
            flags |= HAS_BYTES;
            birth.bytes_sent = sent;
            birth.bytes_received = received;
        }
    }
    birth.header = Header { kind, flags, netns: conn.netns, mono_ns: now_ns };
    birth.tuple = conn.tuple;
    birth.tw = facts.tw;
    birth.cookie = facts.cookie;
    birth.timeout_ms = facts.timeout_ms;
    birth.via = u32::from(owner.via);
    birth.owner = owner.task;
    birth.opener_pid = owner.opener_pid;
    birth.port_via = PORT_UNKNOWN;
    birth.opener_start_ns = owner.opener_start_ns;
    birth.opener_comm = owner.opener_comm;
}

/// Milliseconds of a span of jiffies.
#[inline(always)]
pub(crate) fn ms(jiffies: u64) -> u32 {
    let hz = u64::from(setting!(hz));
    if hz == 0 {
        return 0;
    }
    (jiffies.wrapping_mul(1000) / hz) as u32
}

/// The span that a timer was armed for, from what is left of it a moment later. The kernel arms these timers for whole
/// seconds but for retransmission timeouts on very slow paths, and a tick or a few may have passed since.
#[inline(always)]
pub(crate) fn armed_for(left: u64) -> u64 {
    const LATE: u64 = 8;
    let hz = u64::from(setting!(hz));
    if hz == 0 {
        return left;
    }
    let short = hz - left % hz;
    if short <= LATE { left + short } else { left }
}

/// Reads what a birth tells of the TIME_WAIT socket itself.
///
/// # Safety
/// `tw` is an `inet_timewait_sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn facts_of<M: Mem>(tw: *const u8, sk: u64, jiffies: u64, conn: &Conn) -> Facts {
    // SAFETY: by the caller. The cookie is an atomic64_t in a union: read with the helper.
    let cookie = unsafe { Probed::load(tw, setting!(offsets.skc_cookie)) };
    let fin_received = conn.tuple.substate == SUBSTATE_TIME_WAIT;
    Facts { tw: tw as u64, sk, cookie, timeout_ms: ms(jiffies), fin_received }
}

/// Whether the namespace of `sk` has as many TIME_WAIT sockets as it may, from the same numbers that
/// inet_twsk_alloc() looks at (net/ipv4/inet_timewait_sock.c). `None` where this kernel's BTF does not tell.
///
/// # Safety
/// `sk` is a `struct sock`.
#[inline(always)]
pub(crate) unsafe fn table_full(sk: *const u8) -> Option<bool> {
    if setting!(offsets.net_death_row) == MISSING
        || setting!(offsets.dr_count) == MISSING
        || setting!(offsets.dr_max) == MISSING
    {
        return None;
    }
    // SAFETY: by the caller; every pointer is followed with the helper.
    unsafe {
        let net: u64 = Probed::load(sk, setting!(offsets.skc_net));
        let mut row = net.wrapping_add(u64::from(setting!(offsets.net_death_row)));
        if setting!(death_row_is_pointer) != 0 {
            row = Probed::load(row as *const u8, 0);
        }
        let count: u32 = Probed::load(row as *const u8, setting!(offsets.dr_count));
        let max: u32 = Probed::load(row as *const u8, setting!(offsets.dr_max));
        Some(count.wrapping_sub(setting!(tw_count_bias)) >= max)
    }
}
