//! Owns: the birth of a TIME_WAIT socket, and the overflow when one was refused.
//! Must not know: which backend saw it.
//!
//! tcp_time_wait() (net/ipv4/tcp_minisocks.c, 5.10 to 7.3) allocates the TIME_WAIT socket, publishes it and ends with
//! tcp_done() (net/ipv4/tcp.c, 5.10 to 7.3), which sets the full socket to CLOSE. The entry in OWNERS lives from
//! FIN_WAIT1 to the birth.

use core::ptr::NonNull;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use twtrace_common::{
    config::MISSING,
    loss,
    wire::{
        Birth, HAS_AGE, HAS_BYTES, HAS_OPENER, HAS_OWNER, Header, KIND_CREATED, KIND_OVERFLOW, PORT_UNKNOWN,
        ROLE_UNKNOWN, SUBSTATE_TIME_WAIT, VIA_NONE,
    },
};

use crate::{
    config::setting,
    emit, filter,
    maps::{self, Owner},
    mem::{self, Mem, Probed},
    owner,
    sock::{self, Conn},
    table::{self, Slot},
};

/// What a birth is told from, beside the connection.
pub(crate) struct Facts {
    /// Address of the TIME_WAIT socket, 0 for an overflow.
    pub(crate) tw: u64,
    /// Address of the full socket, 0 where not known.
    pub(crate) sk: u64,
    /// `sk` is the typed argument of a tracing program.
    pub(crate) typed: bool,
    /// Key of its owner.
    pub(crate) key: u64,
    pub(crate) cookie: u64,
    pub(crate) timeout_ms: u32,
    /// The peer's FIN is in.
    pub(crate) fin_received: bool,
}

/// A TIME_WAIT socket exists: says so.
#[inline(always)]
pub(crate) fn born(conn: &mut Conn, facts: &Facts) {
    send(KIND_CREATED, loss::CREATED, conn, facts);
}

/// The full socket is CLOSEd with no TIME_WAIT socket, and one was wanted.
#[inline(always)]
pub(crate) fn refused(conn: &mut Conn, facts: &Facts) {
    send(KIND_OVERFLOW, loss::OVERFLOW, conn, facts);
}

#[inline(always)]
fn send(kind: u16, slot: u32, conn: &mut Conn, facts: &Facts) {
    let owner = table::find(&maps::OWNERS, maps::OWNER_SETS, facts.key);
    // SAFETY: a live map value.
    let known = owner.map_or(ROLE_UNKNOWN, |slot| unsafe { slot.as_ref().value.role } as u8);
    conn.tuple.role = owner::role_or_listener(known, conn);
    if passes(conn, owner) {
        if setting!(track_live) != 0 && kind == KIND_CREATED && maps::LIVE.insert(facts.tw, 1, 0).is_err() {
            maps::count_loss(loss::LIVE);
        }
        if let Some(mut entry) = emit::reserve::<Birth>(slot) {
            // SAFETY: the record's memory is ours until it is submitted; every field is written below.
            unsafe { fill(&mut *entry.as_mut_ptr(), kind, conn, facts, owner) };
            emit::submit(entry);
        }
    }
    if let Some(slot) = owner {
        table::remove(&maps::OWNERS, maps::OWNER_SETS, slot, facts.key);
    }
}

#[inline(always)]
fn passes(conn: &Conn, owner: Option<NonNull<Slot<Owner>>>) -> bool {
    if !filter::conn_passes(conn) || !filter::role_passes(conn.tuple.role) {
        return false;
    }
    if !filter::asks_for_task() {
        return true;
    }
    let Some(slot) = owner else { return false };
    // SAFETY: a live map value.
    let owner = unsafe { &slot.as_ref().value };
    // One whom no filter lets pass is not named, see `owner::first_fin`.
    owner.via != VIA_NONE
}

#[inline(always)]
fn fill(birth: &mut Birth, kind: u16, conn: &Conn, facts: &Facts, owner: Option<NonNull<Slot<Owner>>>) {
    // SAFETY: no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    mem::copy(&mut birth.tuple, &conn.tuple);
    birth.tw = facts.tw;
    birth.cookie = facts.cookie;
    birth.timeout_ms = facts.timeout_ms;
    let mut flags = fill_owner(birth, facts.key, now_ns, owner);
    // SAFETY: the full socket is alive: the kernel is turning it into this TIME_WAIT socket. A live map value.
    let payload = unsafe {
        if facts.sk != 0 {
            sock::payload(facts.sk as *const u8, facts.fin_received, facts.typed)
        } else if let Some(slot) = owner {
            sock::payload(slot.as_ref().value.sk as *const u8, facts.fin_received, false)
        } else {
            None
        }
    };
    if payload.is_some() {
        flags |= HAS_BYTES;
    }
    let (sent, received) = payload.unwrap_or((0, 0));
    mem::put(&mut birth.bytes_sent, sent);
    mem::put(&mut birth.bytes_received, received);
    birth.header = Header { kind, flags, netns: conn.netns, mono_ns: now_ns };
}

/// Says who opened and who closed, as header flags.
#[inline(always)]
fn fill_owner(birth: &mut Birth, key: u64, now_ns: u64, owner: Option<NonNull<Slot<Owner>>>) -> u16 {
    let mut flags = 0;
    if let Some(slot) = owner {
        // SAFETY: a live map value.
        let owner = unsafe { &slot.as_ref().value };
        birth.via = owner.via;
        birth.port_via = owner.port_via;
        mem::copy(&mut birth.owner, &owner.task);
        birth.opener_pid = owner.opener_pid;
        birth.opener_start_ns = owner.opener_start_ns;
        mem::copy(&mut birth.opener_comm, &owner.opener_comm);
        birth.age_ns = owner.since_ns;
        if table::holds(slot, key) {
            if birth.via != VIA_NONE {
                flags |= HAS_OWNER;
            }
            if birth.opener_pid != 0 {
                flags |= HAS_OPENER;
            }
            if birth.age_ns != 0 {
                flags |= HAS_AGE;
                birth.age_ns = now_ns.wrapping_sub(birth.age_ns);
            }
            return flags;
        }
        // Somebody else took the place meanwhile.
        maps::count_loss(loss::OWNER);
    }
    birth.via = VIA_NONE;
    birth.port_via = PORT_UNKNOWN;
    mem::clear(&mut birth.owner);
    birth.opener_pid = 0;
    birth.opener_start_ns = 0;
    mem::clear(&mut birth.opener_comm);
    birth.age_ns = 0;
    flags
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
/// seconds but for retransmission timeouts on very slow paths (tcp_time_wait(), tcp_fin_time(), include/net/tcp.h, 5.10
/// to 7.3), and some ticks may have passed since: an eighth of a second of them on a machine that was kept from
/// running.
#[inline(always)]
pub(crate) fn armed_for(left: u64) -> u64 {
    let hz = u64::from(setting!(hz));
    if hz == 0 {
        return left;
    }
    let short = hz - left % hz;
    if short <= hz / 8 { left + short } else { left }
}

/// Reads what a birth tells of the TIME_WAIT socket itself.
///
/// # Safety
/// `base` is an `inet_timewait_sock` that `M` may read, which lies at `tw`; `sk` as in [`Facts`].
#[inline(always)]
pub(crate) unsafe fn facts_of<M: Mem>(
    base: *const u8,
    tw: u64,
    sk: u64,
    typed: bool,
    jiffies: u64,
    conn: &Conn,
) -> Facts {
    // SAFETY: by the caller.
    let cookie = unsafe { M::load(base, setting!(offsets.skc_cookie)) };
    let fin_received = conn.tuple.substate == SUBSTATE_TIME_WAIT;
    let key = sock::key_of_tw(conn, cookie);
    Facts { tw, sk, typed, key, cookie, timeout_ms: ms(jiffies), fin_received }
}

/// Whether the namespace of `sk` has as many TIME_WAIT sockets as it may, from the same numbers that
/// inet_twsk_alloc() looks at (net/ipv4/inet_timewait_sock.c, 5.10 to 7.3). `None` where this kernel's BTF does not
/// tell.
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
