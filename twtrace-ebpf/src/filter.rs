//! Owns: which events are worth carrying. Decided here, so that what is filtered out costs no ring space.
//! Must not know: how a filter was spelled. Lists longer than the kernel holds are decided in user space.

use twtrace_common::{
    name,
    wire::{Task, Words},
};

use crate::{
    config::{self, CONFIG, setting},
    maps,
    sock::Conn,
    task,
};

/// Reads a field of an entry of a list.
macro_rules! entry {
    ($list:ident[$at:expr] $($field:tt)*) => {{
        // SAFETY: the loader uses no more entries than a list has, and `listed!` looks at no others.
        let entry = unsafe { CONFIG.filter.$list.get_unchecked($at) };
        config::read(&(*entry) $($field)*)
    }};
}

/// Whether a list lets pass what `$matches` says of each entry `$at`; a list of which nothing is used lets all pass.
///
/// How often it goes round is read, and so no compiler unrolls it: eight times the addresses of masks did not fit on the stack.
macro_rules! listed {
    ($count:ident, |$at:ident| $matches:expr) => {{
        let used = setting!(filter.$count);
        let mut passes = true;
        if used.0 != 0 {
            passes = used.wanted() == 0;
            let mut $at = 0;
            while $at < used.all() {
                // The wanted ones come first, so the last word is with one that is not.
                if $matches {
                    passes = $at < used.wanted();
                }
                $at += 1;
            }
        }
        passes
    }};
}

/// Filters on the connection: namespace, family, ports, peer.
#[inline(always)]
pub(crate) fn conn_passes(conn: &Conn) -> bool {
    let t = &conn.tuple;
    let is_port = |port: u16| port == t.sport || port == t.dport;
    listed!(n_sports, |i| entry!(sports[i]) == t.sport)
        && listed!(n_ports, |i| is_port(entry!(ports[i])))
        && remote_passes(conn)
}

/// Whether [`remote_passes`] can say no: else the connection need not be read for it.
#[inline(always)]
pub(crate) fn asks_for_remote() -> bool {
    setting!(filter.n_netns.0) != 0
        || setting!(filter.n_dports.0) != 0
        || setting!(filter.family) != 0
        || setting!(filter.n_peers.0) != 0
}

/// The part of them that can be asked of a connection before it has a local port.
#[inline(always)]
pub(crate) fn remote_passes(conn: &Conn) -> bool {
    let t = &conn.tuple;
    if !listed!(n_netns, |i| entry!(netns[i]) == conn.netns)
        || !listed!(n_dports, |i| entry!(dports[i]) == t.dport)
    {
        return false;
    }
    let family = setting!(filter.family);
    if family != 0 && family != t.family {
        return false;
    }
    listed!(n_peers, |i| is_within(t.daddr, i))
}

#[inline(always)]
fn is_within(address: Words, at: usize) -> bool {
    name::agrees(address, entry!(peers[at].address), entry!(peers[at].mask))
}

/// Filters on a role.
#[inline(always)]
pub(crate) fn role_passes(role: u8) -> bool {
    let wanted = setting!(filter.roles);
    wanted == 0 || wanted & 1 << role != 0
}

/// Filters on who did it.
#[inline(always)]
pub(crate) fn task_passes(task: &Task) -> bool {
    listed!(n_pids, |i| entry!(pids[i]) == task.pid)
        && listed!(n_uids, |i| entry!(uids[i]) == task.uid)
        && comm_passes(task)
        && cgroup_passes(task.cgroup_id)
}

/// The same of the process that runs now. Before there is a record: one that is given back has had its place in the ring, and may take the
/// wake-up of the next along. On the stack: memory of this CPU is not its own where another task may take over in between.
#[inline(always)]
pub(crate) fn current_passes() -> bool {
    if !asks_for_task() {
        return true;
    }
    // SAFETY: integers only.
    let mut task = unsafe { core::mem::zeroed::<Task>() };
    task::current(&mut task);
    task_passes(&task)
}

/// What user space has not judged yet travels: a cgroup that was made a moment ago may be wanted by its path.
#[inline(always)]
fn cgroup_passes(id: u64) -> bool {
    // SAFETY: nothing is kept of what the entry holds.
    setting!(filter.by_cgroup) == 0 || unsafe { maps::STRANGERS.get(id) }.is_none()
}

#[inline(always)]
fn comm_passes(task: &Task) -> bool {
    if setting!(filter.n_comms.0) == 0 {
        return true;
    }
    let comm = name::cut(task.comm);
    let (end, length) = if setting!(filter.tails) != 0 { name::at_end(comm) } else { ([0; 2], 0) };
    listed!(n_comms, |i| is_named(comm, end, length, i))
}

/// Only where an entry says how a name ends, `end` and `length` are those of `comm`.
#[inline(always)]
fn is_named(comm: Words, end: Words, length: u64, at: usize) -> bool {
    name::agrees(comm, entry!(comms[at].head), entry!(comms[at].head_mask))
        && (setting!(filter.tails) == 0
            || length >= entry!(comms[at].least)
                && name::agrees(end, entry!(comms[at].tail), entry!(comms[at].tail_mask)))
}

/// Whether any filter asks who did it: then an event whose owner is not known does not pass.
#[inline(always)]
pub(crate) fn asks_for_task() -> bool {
    setting!(filter.n_pids.0) != 0
        || setting!(filter.n_uids.0) != 0
        || setting!(filter.by_cgroup) != 0
        || setting!(filter.n_comms.0) != 0
}
