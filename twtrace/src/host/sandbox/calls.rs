//! Owns: which system calls a trace makes after its hooks are attached, and which nobody makes but an intruder.
//! Must not know: how they are filtered.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition, SeccompRule,
};

use super::Needs;

/// These are made whatever their arguments are: all of them are about what is open already, about this process, or only look.
const ALWAYS: &[c_long] = &[
    libc::SYS_accept4,
    // Of a netlink socket, where there are no others: getifaddrs(3).
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_socketpair,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_uname,
    // The socket in /run/twtrace goes with the trace.
    libc::SYS_unlinkat,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same by the names that only this architecture still has.
#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_lstat,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rmdir,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_HERE: &[c_long] = &[];

/// Nobody but an intruder runs programs, looks into the memory of other processes, or changes the machine.
const HOSTILE: &[c_long] = &[
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_setgid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setuid,
    libc::SYS_swapon,
    libc::SYS_umount2,
];

/// `prctl(PR_SET_NAME)`: the name of a thread.
const PR_SET_NAME: u64 = libc::PR_SET_NAME as u64;
/// `BPF_MAP_LOOKUP_ELEM`: what the kernel side lost.
const BPF_MAP_LOOKUP_ELEM: u64 = 1;
/// `BPF_MAP_UPDATE_ELEM`: cgroups of which nothing is to travel.
const BPF_MAP_UPDATE_ELEM: u64 = 2;
/// `BPF_MAP_GET_NEXT_KEY`: how long connect() took, which has no fixed places.
const BPF_MAP_GET_NEXT_KEY: u64 = 4;
/// `BPF_OBJ_GET_INFO_BY_FD`: runs that the kernel skipped.
const BPF_OBJ_GET_INFO_BY_FD: u64 = 15;

/// Rules of a filter: for each call the conditions under which it matches, always where there are none.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

type Built<T> = Result<T, BackendError>;

/// What kills.
pub(super) fn hostile() -> Built<Rules> {
    let mut rules: Rules = HOSTILE.iter().map(|call| (*call, Vec::new())).collect();
    // Typing for whoever has the terminal after us.
    rules.insert(libc::SYS_ioctl, vec![all([is(1, libc::TIOCSTI)?])?]);
    Ok(rules)
}

/// What is said not to be there.
pub(super) fn hidden() -> Rules {
    Rules::from([(libc::SYS_clone3, Vec::new())])
}

/// What is allowed.
pub(super) fn needed(needs: &Needs) -> Built<Rules> {
    let mut rules: Rules = ALWAYS.iter().chain(ALWAYS_HERE).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_openat, opening(2, needs.files)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opening(1, needs.files)?);
    // Terminals and namespaces are asked.
    rules.insert(libc::SYS_ioctl, Vec::new());
    // Nothing that was written is ever run.
    let is_data = |arg| all([flags(arg, libc::PROT_EXEC as u64, 0)?]);
    rules.insert(libc::SYS_mmap, vec![is_data(2)?]);
    rules.insert(libc::SYS_mprotect, vec![is_data(2)?]);
    // Threads, and no processes or namespaces.
    let thread = (libc::CLONE_THREAD | libc::CLONE_NEWNS | libc::CLONE_NEWUSER | libc::CLONE_NEWPID) as u64;
    rules.insert(libc::SYS_clone, vec![all([flags(0, thread, libc::CLONE_THREAD as u64)?])?]);
    // Of two filters that refuse, the younger one's errno counts: that it is not there is said by the other.
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_prctl, vec![all([is(0, PR_SET_NAME)?])?]);
    rules.insert(
        libc::SYS_bpf,
        vec![
            all([is(0, BPF_MAP_LOOKUP_ELEM)?])?,
            all([is(0, BPF_MAP_UPDATE_ELEM)?])?,
            all([is(0, BPF_MAP_GET_NEXT_KEY)?])?,
            all([is(0, BPF_OBJ_GET_INFO_BY_FD)?])?,
        ],
    );
    // Limits are read, and not set.
    rules.insert(libc::SYS_prlimit64, vec![all([Condition::new(2, Len::Qword, Op::Eq, 0)?])?]);
    signals(&mut rules, needs.command)?;
    if needs.namespaces {
        rules.insert(libc::SYS_setns, vec![all([is(1, libc::CLONE_NEWNET as u64)?])?]);
    }
    let mut families = vec![all([is(0, libc::AF_NETLINK as u64)?])?];
    if needs.network {
        for family in [libc::AF_INET, libc::AF_INET6] {
            families.push(all([is(0, family as u64)?])?);
        }
        // With the last, names are looked up.
        for call in [libc::SYS_listen, libc::SYS_connect, libc::SYS_sendmmsg] {
            rules.insert(call, Vec::new());
        }
    }
    if needs.unix {
        families.push(all([is(0, libc::AF_UNIX as u64)?])?);
        rules.insert(libc::SYS_connect, Vec::new());
    }
    rules.insert(libc::SYS_socket, families);
    if needs.files {
        let more =
            [libc::SYS_fchown, libc::SYS_fchmod, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_renameat];
        rules.extend(more.map(|call| (call, Vec::new())));
    }
    Ok(rules)
}

/// Signals for itself, for the command, and the empty one, which asks whether a process is there.
fn signals(rules: &mut Rules, command: Option<u32>) -> Built<()> {
    let own = u64::from(std::process::id());
    let mut kill = vec![all([is(1, 0_u64)?])?, all([is(0, own)?])?];
    if let Some(command) = command {
        kill.push(all([is(0, command)?])?);
    }
    rules.insert(libc::SYS_kill, kill);
    rules.insert(libc::SYS_tgkill, vec![all([is(0, own)?])?]);
    Ok(())
}

/// For reading only; where files are made, one that was not there for writing as well. `arg` has the flags.
fn opening(arg: u8, makes_files: bool) -> Built<Vec<SeccompRule>> {
    let matters =
        (libc::O_ACCMODE | libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | TMPFILE | libc::O_APPEND) as u64;
    let mut rules = vec![all([flags(arg, matters, 0)?])?];
    if makes_files {
        rules.push(all([flags(arg, matters, (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL) as u64)?])?);
    }
    Ok(rules)
}

/// `__O_TMPFILE`, which O_TMPFILE has beside O_DIRECTORY (include/uapi/asm-generic/fcntl.h, 5.10 to 7.3).
const TMPFILE: i32 = 0o20_000_000;

fn all(conditions: impl IntoIterator<Item = Condition>) -> Built<SeccompRule> {
    SeccompRule::new(conditions.into_iter().collect())
}

/// An argument that the kernel takes for 32 bits is this.
fn is(arg: u8, value: impl Into<u64>) -> Built<Condition> {
    Condition::new(arg, Len::Dword, Op::Eq, value.into())
}

/// Of an argument's bits, those in `mask` are these.
fn flags(arg: u8, mask: u64, value: u64) -> Built<Condition> {
    Condition::new(arg, Len::Dword, Op::MaskedEq(mask), value)
}
