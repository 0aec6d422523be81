//! Owns: what is read of the current task.
//! Must not know: why it is asked.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_cgroup_id, bpf_get_current_task},
};
use twtrace_common::wire::Task;

use crate::{
    config::setting,
    mem::{Mem, Probed},
};

/// `PF_EXITING`: being shut down (include/linux/sched.h; the same bit from 5.8 to 7.3).
pub(crate) const PF_EXITING: u32 = 0x0000_0004;
/// `PF_KTHREAD`: a kernel thread (include/linux/sched.h).
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

/// `task_struct.flags` of the current task.
#[inline(always)]
pub(crate) fn flags() -> u32 {
    // SAFETY: the current task is alive; the offset is from BTF.
    unsafe { Probed::load(bpf_get_current_task() as *const u8, setting!(offsets.task_flags)) }
}

/// The process that runs now. Its name and start are those of the thread group leader: what `ps` shows for the pid.
#[inline(always)]
pub(crate) fn current(into: &mut Task) {
    let pid_tgid = bpf_get_current_pid_tgid();
    into.pid = (pid_tgid >> 32) as u32;
    into.tid = pid_tgid as u32;
    into.uid = bpf_get_current_uid_gid() as u32;
    into.pad = 0;
    // SAFETY: helpers without preconditions; the current task and its leader are alive, the offsets are from BTF.
    unsafe {
        into.cgroup_id = bpf_get_current_cgroup_id();
        let task = bpf_get_current_task() as *const u8;
        let leader: u64 = Probed::load(task, setting!(offsets.task_group_leader));
        let leader = leader as *const u8;
        into.start_ns = Probed::load(leader, setting!(offsets.task_start_boottime));
        Probed::load_into(leader, setting!(offsets.task_comm), &raw mut into.comm);
    }
}

/// A process's identity in one word, its name included (an exec makes it another).
#[inline(always)]
pub(crate) fn fingerprint(task: &Task) -> u64 {
    crate::sock::mix(crate::sock::mix(u64::from(task.pid), task.start_ns), task.comm[0])
}
