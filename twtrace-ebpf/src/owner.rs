//! Owns: who opened a connection and who sent its first FIN, from the moment it happens to the birth.
//! Must not know: TIME_WAIT sockets, the ring's records.
//!
//! Every TIME_WAIT socket's connection passed FIN_WAIT1, which only tcp_close_state() sets, called by __tcp_close() and
//! tcp_shutdown() (net/ipv4/tcp.c, 5.10 to 7.3) in the context of the caller, which then send the FIN with
//! tcp_send_fin(). So the task at that moment is the owner. At the birth itself, in softirq, the current task is
//! whichever was interrupted.

use core::ptr::NonNull;

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use twtrace_common::{
    loss,
    wire::{ROLE_CLIENT, ROLE_SERVER, ROLE_UNKNOWN, VIA_CLOSE, VIA_EXIT, VIA_NONE, VIA_OPENER, VIA_SHUTDOWN},
};

use crate::{
    config::setting,
    filter, hint,
    maps::{self, Listening, Opener, Owner},
    mem::{self, Mem, Probed, Typed},
    sock::{self, Conn},
    table::{self, Slot},
    task::{self, Name},
    tcp_states::CLOSE,
};

/// `RCV_SHUTDOWN | SEND_SHUTDOWN` (include/net/sock.h, 6.12).
pub(crate) const SHUTDOWN_MASK: u8 = 3;

/// Seconds after which a connection that is still said to be closing mostly ended otherwise, by a timeout that no hook sees: longer
/// than the kernel retries a FIN of an orphan (tcp_orphan_retries(), net/ipv4/tcp_timer.c, 5.10 to 7.3). That its entry
/// leaves is no loss.
const LEFT_BEHIND_S: u64 = 300;

/// On each CPU the first so many connections to this machine in a second are all remembered from their beginning, and after
/// them one in [`SAMPLE`].
const COMPLETE: u64 = 1_024;
/// A power of two.
const SAMPLE: u64 = 16;

/// Places in [`maps::RATES`].
const HANDSHAKES: u32 = 0;
const ACCEPTS: u32 = 1;

const NOBODY: Name = Name { pid: 0, tid: 0, start_ns: 0, comm: [0; 2] };

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn jiffies() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_jiffies64() }
}

/// Whether the connection of an opener is over, though no hook saw its end: connect() was given up, or ran out of time.
/// Memory of sockets is used for sockets again (SLAB_TYPESAFE_BY_RCU of `tcp_prot`, net/ipv4/tcp_ipv4.c, 5.10 to 7.3);
/// where it is used for something else, that is as good an answer.
#[inline(always)]
fn is_over(opener: &Opener, key: u64) -> bool {
    let sk = opener.sk as *const u8;
    // SAFETY: read with the helper, which knows what can be read.
    unsafe {
        Probed::load::<u8>(sk, setting!(offsets.skc_state)) == CLOSE as u8
            || setting!(socket_cookie) != 0 && Probed::load::<u64>(sk, setting!(offsets.skc_cookie)) != key
    }
}

/// Remembers who opens the connection of `sk`. Where there is no room the opener will be shown as unknown.
#[inline(always)]
fn remember(sk: *const u8, (key, check): (u64, u64), role: u8, since_ns: u64, name: &Name) {
    if key == 0 {
        return;
    }
    let Some(claim) = table::claim(&maps::OPENERS, maps::OPENER_SETS, key, is_over) else { return };
    // SAFETY: ours until it is published.
    unsafe {
        let opener = &mut (*claim.slot).value;
        // Nobody is asked about who is not known: softirq interrupts a stranger.
        if name.pid == 0 {
            opener.task.pid = 0;
        } else {
            name.complete(&mut opener.task);
        }
        opener.since_ns = since_ns;
        opener.check = check;
        opener.role = u64::from(role);
        opener.sk = sk as u64;
        table::publish(claim, key, jiffies());
    }
}

/// Key of the opener of a socket whose own key is `key`: the cookie is both.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn opener_key(sk: *const u8, key: u64) -> (u64, u64) {
    // SAFETY: by the caller.
    if setting!(socket_cookie) != 0 { (key, 0) } else { unsafe { sock::opener_key::<Typed>(sk, true) } }
}

/// The entry of `key`, if it is still about the connection that `check` stands for.
#[inline(always)]
pub(crate) fn opener_of((key, check): (u64, u64)) -> Option<NonNull<Slot<Opener>>> {
    let slot = table::find(&maps::OPENERS, maps::OPENER_SETS, key)?;
    // SAFETY: a live map value.
    (unsafe { slot.as_ref().value.check } == check).then_some(slot)
}

/// connect(): the current task opens the connection of `sk`.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn connecting(sk: *const u8) {
    let name = Name::current();
    // SAFETY: by the caller.
    unsafe {
        remember(sk, sock::opener_key::<Typed>(sk, true), ROLE_CLIENT, now_ns(), &name);
        hint::meet(&name, sk);
    }
}

/// Whether one more connection to this machine is to be remembered from its beginning. One that is not has no opener and no age to
/// tell; that it is a server's its local port tells. A client's are all remembered: nothing else tells its role.
#[inline(always)]
fn is_wanted(index: u32) -> bool {
    let Some(rate) = maps::RATES.get_ptr_mut(index) else { return false };
    let now = jiffies();
    // SAFETY: a live map value of this CPU. Who interrupts and counts as well makes this one more or less.
    unsafe {
        if now.wrapping_sub((*rate).since) >= u64::from(setting!(hz)) {
            (*rate).since = now;
            (*rate).count = 0;
        }
        if (*rate).count < COMPLETE {
            return true;
        }
        (*rate).count += 1;
        (*rate).count & (SAMPLE - 1) == 0
    }
}

/// One was remembered.
#[inline(always)]
fn count(index: u32) {
    let Some(rate) = maps::RATES.get_ptr_mut(index) else { return };
    // SAFETY: as in `is_wanted`.
    unsafe { (*rate).count += 1 };
}

/// Whether the next call of accept() is to be looked at. Sockets of other kinds do not count, but are not looked at either while
/// there are many of ours.
#[inline(always)]
pub(crate) fn accept_is_wanted() -> bool {
    is_wanted(ACCEPTS)
}

/// The handshake of an incoming connection is done. In softirq: nobody to name yet. With TCP fast open accept() came
/// first, and in a simultaneous open this end has connected: then the entry is there.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn established(sk: *const u8) {
    if !is_wanted(HANDSHAKES) {
        return;
    }
    count(HANDSHAKES);
    // SAFETY: by the caller.
    let key = unsafe { sock::opener_key::<Typed>(sk, true) };
    if opener_of(key).is_none() {
        remember(sk, key, ROLE_SERVER, now_ns(), &NOBODY);
    }
}

/// accept(): the current task takes over the connection of `sk`; [`accept_is_wanted`] was asked. `new`: its handshake is not
/// watched, so it is here that it begins. Where a handshake that is watched was not seen, the age stays unknown.
///
/// # Safety
/// `M` may read `sk`; with `typed` it is a typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn accepted<M: Mem>(sk: *const u8, typed: bool, new: bool) {
    count(ACCEPTS);
    // SAFETY: by the caller.
    let key = unsafe { sock::opener_key::<M>(sk, typed) };
    let name = Name::current();
    if new {
        remember(sk, key, ROLE_SERVER, now_ns(), &name);
    } else if let Some(slot) = opener_of(key) {
        // SAFETY: a live map value; only the hooks of this one socket write it.
        unsafe { name.complete(&mut (*slot.as_ptr()).value.task) };
    } else {
        remember(sk, key, ROLE_SERVER, 0, &name);
    }
    // SAFETY: by the caller.
    unsafe { hint::meet(&name, sk) };
}

/// Which end of the connection of `key` this is, one of `ROLE_*`.
#[inline(always)]
pub(crate) fn role_of(key: (u64, u64)) -> u8 {
    // SAFETY: a live map value.
    opener_of(key).map_or(ROLE_UNKNOWN, |slot| unsafe { slot.as_ref().value.role } as u8)
}

/// Forgets who opened the connection of `key`.
#[inline(always)]
pub(crate) fn forget_opener(key: (u64, u64)) {
    if let Some(slot) = opener_of(key) {
        table::remove(&maps::OPENERS, maps::OPENER_SETS, slot, key.0);
    }
}

/// Whether the connection of `key` is closing and its TIME_WAIT socket was not told yet.
#[inline(always)]
pub(crate) fn closing(key: u64) -> bool {
    table::find(&maps::OWNERS, maps::OWNER_SETS, key).is_some()
}

/// Forgets who closed the connection of `key`.
#[inline(always)]
pub(crate) fn forget(key: u64) {
    if let Some(slot) = table::find(&maps::OWNERS, maps::OWNER_SETS, key) {
        table::remove(&maps::OWNERS, maps::OWNER_SETS, slot, key);
    }
}

/// The first local FIN: remembers the owner until the birth.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn first_fin(sk: *const u8) {
    // SAFETY: by the caller.
    unsafe {
        // Also makes the kernel copy a cookie into the TIME_WAIT socket (inet_twsk_alloc(),
        // net/ipv4/inet_timewait_sock.c, 5.10 to 7.3), so that `ss -e` names it as we do.
        let key = sock::key_of_sk(sk);
        let opener_key = opener_key(sk, key);
        let opener = opener_of(opener_key);
        if let Some(claim) = table::claim(&maps::OWNERS, maps::OWNER_SETS, key, |_, _| false) {
            let now = jiffies();
            if claim.evicted != 0 && now.wrapping_sub(claim.evicted) < LEFT_BEHIND_S * u64::from(setting!(hz))
            {
                maps::count_loss(loss::OWNER);
            }
            let owner = &mut (*claim.slot).value;
            owner.sk = sk as u64;
            take_opener(opener, opener_key.0, owner);
            if owner.role == u32::from(ROLE_UNKNOWN) {
                let role = if is_listened_on(sock::netns::<Typed>(sk), sock::port_of(sk)) {
                    ROLE_SERVER
                } else {
                    ROLE_UNKNOWN
                };
                owner.role = u32::from(role);
            }
            owner.port_via = sock::port_via(sk, owner.role as u8);
            take_closer(sk, opener, owner);
            // Decided here, where there is room on the stack: the birth is told only where somebody is named.
            if filter::asks_for_task() && !filter::task_passes(&owner.task) {
                owner.via = VIA_NONE;
            }
            table::publish(claim, key, now);
        } else {
            maps::count_loss(loss::OWNER);
        }
        if let Some(slot) = opener {
            table::remove(&maps::OPENERS, maps::OPENER_SETS, slot, opener_key.0);
        }
    }
}

#[inline(always)]
fn take_opener(opener: Option<NonNull<Slot<Opener>>>, key: u64, owner: &mut Owner) {
    owner.via = VIA_NONE;
    owner.opener_pid = 0;
    owner.since_ns = 0;
    owner.role = u32::from(ROLE_UNKNOWN);
    let Some(slot) = opener else { return };
    // SAFETY: a live map value.
    let opener = unsafe { &slot.as_ref().value };
    owner.role = opener.role as u32;
    owner.since_ns = opener.since_ns;
    owner.opener_start_ns = opener.task.start_ns;
    mem::copy(&mut owner.opener_comm, &opener.task.comm);
    owner.opener_pid = opener.task.pid;
    if !table::holds(slot, key) {
        // Somebody else's by now.
        owner.opener_pid = 0;
        owner.since_ns = 0;
        owner.role = u32::from(ROLE_UNKNOWN);
    }
}

/// Names who closes. Whoever closes or shuts down holds the socket's lock (lock_sock_nested(), net/core/sock.c, 5.10 to
/// 7.3); softirq only takes its spinlock, and then the current task has nothing to do with it. If the kernel closes by
/// itself, the opener stands in.
#[inline(always)]
unsafe fn take_closer(sk: *const u8, opener: Option<NonNull<Slot<Opener>>>, owner: &mut Owner) {
    let flags = task::flags();
    // SAFETY: by the caller.
    let locked = unsafe { Typed::load::<u32>(sk, setting!(offsets.sk_lock_owned)) } != 0;
    if locked && flags & task::PF_KTHREAD == 0 {
        let name = Name::current();
        name.complete(&mut owner.task);
        // SAFETY: by the caller.
        owner.via = unsafe { how(sk, flags) };
        // Mostly the same process closes as opened, and then user space knows it.
        if owner.opener_pid != name.pid {
            // SAFETY: by the caller.
            unsafe { hint::meet(&name, sk) };
        }
    } else if owner.opener_pid != 0
        && let Some(slot) = opener
    {
        // SAFETY: a live map value; that it is still this connection's was seen when `opener_pid` was taken from it.
        mem::copy(&mut owner.task, unsafe { &slot.as_ref().value.task });
        owner.via = VIA_OPENER;
        if owner.task.pid != owner.opener_pid || owner.task.start_ns != owner.opener_start_ns {
            owner.via = VIA_NONE;
        }
    }
}

/// Which call sent the FIN. shutdown(SHUT_WR) leaves the receiving side open; shutdown(SHUT_RDWR) looks like close(),
/// but for the file, which is still open.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn how(sk: *const u8, flags: u32) -> u32 {
    if flags & task::PF_EXITING != 0 {
        return VIA_EXIT;
    }
    // SAFETY: by the caller; the verifier knows the types of the pointers that are followed.
    unsafe {
        if Typed::load::<u8>(sk, setting!(offsets.sk_shutdown)) & SHUTDOWN_MASK != SHUTDOWN_MASK {
            return VIA_SHUTDOWN;
        }
        let socket: *const u8 = Typed::load(sk, setting!(offsets.sk_socket));
        let file: *const u8 = Typed::load(socket, setting!(offsets.socket_file));
        if file.is_null() {
            return VIA_CLOSE;
        }
        let count: i64 = Typed::load(file, setting!(offsets.file_count));
        // atomic_long_t counts to 0; file_ref_t (6.13 and later; include/linux/file_ref.h, 7.3) is 0 with one reference
        // and negative once dead.
        let open = if setting!(file_ref_signed) != 0 { count >= 0 } else { count > 0 };
        if open { VIA_SHUTDOWN } else { VIA_CLOSE }
    }
}

/// Which end of a connection this is of which `known` is remembered: if nothing is, a local port that somebody listens on says
/// `server`, of connections older than twtrace and of those whose accept() was left out.
#[inline(always)]
pub(crate) fn role_or_listener(known: u8, conn: &Conn) -> u8 {
    if known != ROLE_UNKNOWN {
        return known;
    }
    if is_listened_on(conn.netns, conn.tuple.sport) { ROLE_SERVER } else { ROLE_UNKNOWN }
}

#[inline(always)]
fn is_listened_on(netns: u32, port: u16) -> bool {
    maps::LISTENERS.get_ptr(Listening { netns, port: u32::from(port) }).is_some()
}

/// A socket listens. Its port is not forgotten when it closes: several may share it (SO_REUSEPORT), and a listen() that fails
/// passes LISTEN as well.
#[inline(always)]
pub(crate) fn listening(conn: &Conn) {
    let port = Listening { netns: conn.netns, port: u32::from(conn.tuple.sport) };
    let _ = maps::LISTENERS.insert(port, 1, 0);
}
