//! Owns: what is read of the current task.
//! Must not know: why it is asked.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_cgroup_id, bpf_get_current_task, bpf_get_current_task_btf},
};
use twtrace_common::{
    config::MISSING,
    wire::{Task, Words},
};

use crate::{
    config::setting,
    mem::{Mem, Probed, Typed},
};

/// `PF_EXITING`: being shut down (include/linux/sched.h; the same bit from 5.10 to 7.3).
pub(crate) const PF_EXITING: u32 = 0x0000_0004;
/// `PF_KTHREAD`: a kernel thread (include/linux/sched.h, 5.10 to 7.3).
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

/// `task_struct.flags` of the current task.
#[inline(always)]
pub(crate) fn flags() -> u32 {
    // SAFETY: the current task is alive; the offset is from BTF.
    unsafe {
        if setting!(task_btf) != 0 {
            Typed::load(bpf_get_current_task_btf().cast::<u8>(), setting!(offsets.task_flags))
        } else {
            Probed::load(bpf_get_current_task() as *const u8, setting!(offsets.task_flags))
        }
    }
}

/// Real uid of the current task in the initial user namespace. The helper translates it, and the gid as well, which takes a hundred
/// instructions and changes nothing.
#[inline(always)]
fn uid() -> u32 {
    if setting!(task_btf) == 0
        || setting!(offsets.task_cred) == MISSING
        || setting!(offsets.cred_uid) == MISSING
    {
        return bpf_get_current_uid_gid() as u32;
    }
    // SAFETY: the current task is alive; the offsets are from BTF.
    unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>();
        let cred: *const u8 = Typed::load(task, setting!(offsets.task_cred));
        Typed::load(cred, setting!(offsets.cred_uid))
    }
}

/// Name and start of the current process: those of the thread group leader, what `ps` shows for the pid.
///
/// Each pointer that a typed load follows costs the verifier up to four searches of all the kernel's types by name
/// (btf_nested_type_is_trusted(), kernel/bpf/btf.c, 6.12; before 7.0 one after the other: btf_find_by_name_kind(),
/// there), which is a good part of what starting takes. So what is rare reads with the helper.
#[inline(always)]
fn leader() -> (u64, Words) {
    // SAFETY: the current task and its leader are alive, the offsets are from BTF.
    unsafe {
        if setting!(task_btf) != 0 {
            let task = bpf_get_current_task_btf().cast::<u8>().cast_const();
            let leader: *const u8 = Typed::load(task, setting!(offsets.task_group_leader));
            let comm = setting!(offsets.task_comm);
            let start: u64 = Typed::load(leader, setting!(offsets.task_start_boottime));
            (start, [Typed::load(leader, comm), Typed::load(leader, comm + 8)])
        } else {
            rare_leader()
        }
    }
}

/// As [`leader`], where it is rare.
#[inline(always)]
fn rare_leader() -> (u64, Words) {
    // SAFETY: the current task and its leader are alive, the offsets are from BTF.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        let leader: u64 = Probed::load(task, setting!(offsets.task_group_leader));
        let leader = leader as *const u8;
        let start: u64 = Probed::load(leader, setting!(offsets.task_start_boottime));
        (start, Probed::load(leader, setting!(offsets.task_comm)))
    }
}

/// What names a process.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) start_ns: u64,
    pub(crate) comm: Words,
}

impl Name {
    /// Of the process that runs now.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        let pid_tgid = bpf_get_current_pid_tgid();
        let (start_ns, comm) = leader();
        Self { pid: (pid_tgid >> 32) as u32, tid: pid_tgid as u32, start_ns, comm }
    }

    /// A process's identity in one word, its name included (an exec makes it another).
    #[inline(always)]
    pub(crate) fn fingerprint(&self) -> u64 {
        crate::sock::mix(crate::sock::mix(u64::from(self.pid), self.start_ns), self.comm[0])
    }

    /// All there is to say about it, while it runs.
    #[inline(always)]
    pub(crate) fn complete(&self, into: &mut Task) {
        into.pid = self.pid;
        into.tid = self.tid;
        into.uid = uid();
        into.pad = 0;
        // SAFETY: a helper without preconditions.
        into.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
        into.start_ns = self.start_ns;
        into.comm = self.comm;
    }
}

/// The process that runs now, for what is rare.
#[inline(always)]
pub(crate) fn current(into: &mut Task) {
    let pid_tgid = bpf_get_current_pid_tgid();
    into.pid = (pid_tgid >> 32) as u32;
    into.tid = pid_tgid as u32;
    into.uid = bpf_get_current_uid_gid() as u32;
    into.pad = 0;
    // SAFETY: a helper without preconditions.
    into.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    (into.start_ns, into.comm) = rare_leader();
}
