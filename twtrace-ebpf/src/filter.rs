//! Owns: which events are worth carrying. Decided here, so that what is filtered out costs no ring space.
//! Must not know: how a filter was spelled. Lists longer than the kernel holds are decided in user space.

use twtrace_common::{
    config::FILTER_VALUES,
    wire::{Task, Tuple},
};

use crate::{config::setting, sock::Conn};

/// Whether a list filter lets `value` pass; a list with no entries lets all pass.
macro_rules! listed {
    ($values:ident, $count:ident, $value:expr) => {{
        let count = setting!(filter.$count);
        let mut found = count == 0;
        if count != 0 {
            let value = $value;
            let mut i = 0;
            while i < FILTER_VALUES {
                if i < count as usize && setting!(filter.$values[i]) == value {
                    found = true;
                }
                i += 1;
            }
        }
        found
    }};
}

/// Filters on the connection: namespace, family, ports, peer.
#[inline(always)]
pub(crate) fn conn_passes(conn: &Conn) -> bool {
    let t = &conn.tuple;
    listed!(sports, n_sports, t.sport)
        && (listed!(ports, n_ports, t.sport) || listed!(ports, n_ports, t.dport))
        && remote_passes(conn)
}

/// Whether [`remote_passes`] can say no: else the connection need not be read for it.
#[inline(always)]
pub(crate) fn asks_for_remote() -> bool {
    setting!(filter.n_netns) != 0
        || setting!(filter.n_dports) != 0
        || setting!(filter.family) != 0
        || setting!(filter.has_peer) != 0
}

/// The part of them that can be asked of a connection before it has a local port.
#[inline(always)]
pub(crate) fn remote_passes(conn: &Conn) -> bool {
    let t = &conn.tuple;
    if !listed!(netns, n_netns, conn.netns) || !listed!(dports, n_dports, t.dport) {
        return false;
    }
    let family = setting!(filter.family);
    if family != 0 && family != t.family {
        return false;
    }
    setting!(filter.has_peer) == 0 || peer_passes(t)
}

#[inline(always)]
fn peer_passes(t: &Tuple) -> bool {
    let ([d0, d1], [p0, p1], [m0, m1]) = (t.daddr, setting!(filter.peer), setting!(filter.peer_mask));
    d0 & m0 == p0 && d1 & m1 == p1
}

/// Filters on a role.
#[inline(always)]
pub(crate) fn role_passes(role: u8) -> bool {
    let wanted = setting!(filter.role);
    wanted == 0 || wanted == role + 1
}

/// Filters on who did it.
#[inline(always)]
pub(crate) fn task_passes(task: &Task) -> bool {
    if !listed!(pids, n_pids, task.pid)
        || !listed!(uids, n_uids, task.uid)
        || !listed!(cgroups, n_cgroups, task.cgroup_id)
    {
        return false;
    }
    if setting!(filter.has_comm) != 0 {
        let mut i = 0;
        while i < 16 {
            let byte = (task.comm[i / 8] >> (i % 8 * 8)) as u8;
            if byte != setting!(filter.comm[i]) {
                return false;
            }
            // Older kernels leave what a longer name was behind the NUL.
            if byte == 0 {
                break;
            }
            i += 1;
        }
    }
    true
}

/// Whether any filter asks who did it: then an event whose owner is not known does not pass.
#[inline(always)]
pub(crate) fn asks_for_task() -> bool {
    setting!(filter.n_pids) != 0
        || setting!(filter.n_uids) != 0
        || setting!(filter.n_cgroups) != 0
        || setting!(filter.has_comm) != 0
}
