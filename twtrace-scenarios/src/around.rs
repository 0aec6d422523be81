//! Owns: making the surroundings of one process other than the machine's: mounts, PID and time namespaces, capabilities, limits; and how the
//! machine's mounts look to one run of the scenarios.
//! Must not know: scenarios, what twtrace makes of it.
//!
//! All of it is done to a process that is about to become twtrace, or to what it will be a child of: nothing is changed for
//! others, and nothing is left behind.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Done in the process that becomes twtrace, before it does. Nothing there runs beside it.
pub type Around = fn() -> io::Result<()>;

/// Where tracefs belongs.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Where traces listen. Those of others, such as a service on this machine, would answer `twtrace list` as well: they saw what scenarios made.
pub const TRACES: &str = "/run/twtrace";

/// The calling process's mounts, in the order in which they were made.
const MOUNTS: &str = "/proc/thread-self/mounts";

/// Mounts of this process's own, which nobody else ever sees.
pub fn own_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// Where file systems of these types are mounted, each before what it was mounted on.
fn targets<'a>(mounts: &'a str, kinds: &[&str]) -> Vec<&'a str> {
    let target = |line: &'a str| {
        let mut fields = line.split(' ').skip(1);
        let (target, kind) = (fields.next()?, fields.next()?);
        kinds.contains(&kind).then_some(target)
    };
    mounts.lines().rev().filter_map(target).collect()
}

/// tracefs is mounted nowhere.
pub fn without_tracefs() -> io::Result<()> {
    own_mounts()?;
    for target in targets(&fs::read_to_string(MOUNTS)?, &["tracefs", "debugfs"]) {
        umount2(target, MntFlags::MNT_DETACH)?;
    }
    Ok(())
}

/// tracefs is mounted where it belongs.
pub fn with_tracefs() -> io::Result<()> {
    without_tracefs()?;
    mount_tracefs()
}

fn mount_tracefs() -> io::Result<()> {
    Ok(mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), None::<&str>)?)
}

/// As `ip netns exec` leaves it: a sysfs of its own, with nothing mounted in it.
pub fn fresh_sysfs() -> io::Result<()> {
    without_sysfs()?;
    Ok(mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)?)
}

/// There is no sysfs.
pub fn without_sysfs() -> io::Result<()> {
    own_mounts()?;
    Ok(umount2("/sys", MntFlags::MNT_DETACH)?)
}

/// A /proc of the PID namespace that this process is in.
pub fn fresh_proc() -> io::Result<()> {
    own_mounts()?;
    Ok(mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)?)
}

/// Covered in every container: nothing can be read there (OCI runtime specification, `maskedPaths`).
const MASKED: [&str; 5] = ["proc/kcore", "proc/keys", "proc/timer_list", "proc/scsi", "sys/firmware"];

/// Not to be written in a container (the same, `readonlyPaths`).
const READ_ONLY: [&str; 5] = ["proc/sys", "proc/sysrq-trigger", "proc/bus", "proc/fs", "proc/irq"];

/// What a container of `--pid=host` that may trace is like: a root, namespaces and mounts of its own, as an OCI runtime makes them.
/// /proc shows the machine's processes.
pub fn container() -> io::Result<()> {
    let others = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(others)?;
    own_mounts()?;
    // Over something that is there on every machine: a folder of our own would stay behind.
    let root = Path::new("/run");
    mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    // An image's files, the program under test, and what it is to write.
    let mut shared = vec!["bin".to_owned(), "lib".into(), "lib64".into(), "usr".into(), "tmp".into()];
    let program = std::env::current_exe()?;
    shared.extend(program.parent().map(|dir| dir.to_string_lossy().trim_start_matches('/').to_owned()));
    for name in shared {
        let from = Path::new("/").join(&name);
        if from.is_dir() {
            bind(&from, &root.join(&name))?;
        }
    }
    for (kind, target, flags) in [
        ("proc", "proc", MsFlags::empty()),
        ("sysfs", "sys", MsFlags::MS_RDONLY),
        ("cgroup2", "sys/fs/cgroup", MsFlags::MS_RDONLY),
        ("tmpfs", "dev", MsFlags::empty()),
    ] {
        let target = root.join(target);
        // What sysfs does not have cannot be made in it.
        if target.is_dir() || fs::create_dir_all(&target).is_ok() {
            mount(Some(kind), &target, Some(kind), flags, None::<&str>)?;
        }
    }
    fs::write(root.join("dev/null"), "")?;
    bind(Path::new("/dev/null"), &root.join("dev/null"))?;
    mask(root)?;
    nix::unistd::chroot(root)?;
    Ok(nix::unistd::chdir("/")?)
}

fn mask(root: &Path) -> io::Result<()> {
    for path in MASKED.map(|path| root.join(path)) {
        if path.is_dir() {
            mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::MS_RDONLY, Some("size=0"))?;
        } else if path.exists() {
            bind(&root.join("dev/null"), &path)?;
        }
    }
    for path in READ_ONLY.map(|path| root.join(path)).iter().filter(|path| path.exists()) {
        bind(path, path)?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
    }
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// As `nsenter --target 1 --mount --net` leaves it out of a container: the machine's mounts and network, the container's cgroup and host name.
pub fn nsenter() -> io::Result<()> {
    let (mounts, net) = (File::open("/proc/self/ns/mnt")?, File::open("/proc/self/ns/net")?);
    container()?;
    setns(&mounts, CloneFlags::CLONE_NEWNS)?;
    setns(&net, CloneFlags::CLONE_NEWNET)?;
    Ok(())
}

/// So many descriptors, and no more can be had.
pub fn few_files() -> io::Result<()> {
    limit_files(32, 32)
}

/// So many descriptors, but more can be had.
pub fn few_files_at_first() -> io::Result<()> {
    limit_files(32, 1009)
}

fn limit_files(soft: u64, hard: u64) -> io::Result<()> {
    Ok(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft, hard)?)
}

/// Number of a capability in include/uapi/linux/capability.h, 6.12.
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYSLOG: u32 = 34;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Another user than root with what tracing needs, and nothing else.
pub fn just_enough() -> io::Result<()> {
    only(&[CAP_DAC_READ_SEARCH, CAP_SYSLOG, CAP_PERFMON, CAP_BPF])
}

/// As [`just_enough`], less the one that shows where kernel functions are.
pub fn without_syslog() -> io::Result<()> {
    only(&[CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_BPF])
}

/// As [`just_enough`], less the one that lets programs trace.
pub fn without_perfmon() -> io::Result<()> {
    only(&[CAP_DAC_READ_SEARCH, CAP_SYSLOG, CAP_BPF])
}

/// Another user than root, with nothing.
pub fn nobody() -> io::Result<()> {
    only(&[])
}

/// Becomes nobody, who keeps these capabilities over exec().
fn only(caps: &[u32]) -> io::Result<()> {
    const NOBODY: libc::uid_t = 65534;
    const VERSION_3: u32 = 0x2008_0522;
    // Before 5.11 maps count as locked memory, and only CAP_SYS_RESOURCE could raise the limit.
    let all = libc::RLIM_INFINITY;
    // Where that is refused, it is not needed either.
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK, all, all);
    let mask = caps.iter().fold(0_u64, |mask, cap| mask | 1 << cap);
    let header = [VERSION_3, 0];
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    // effective, permitted, inheritable; the lower half first.
    let data = [low, low, low, high, high, high];
    let check = |done: i64| if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: system calls with numbers, and with arrays of the size that capset(2) reads.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0).into())?;
        check(libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY))?;
        check(libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY))?;
        check(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()))?;
        for cap in caps {
            check(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, *cap, 0, 0).into())?;
        }
        // Owned by root after the change of user; twtrace reads its own /proc entries.
        check(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into())
    }
}

/// Runs `start`, whose one child is the first process of a PID namespace of its own. The caller stays where it is.
pub fn in_pid_namespace<T>(start: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = File::open("/proc/self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID).context("unshare(CLONE_NEWPID)")?;
    let started = start();
    setns(&home, CloneFlags::CLONE_NEWPID).context("going home to the PID namespace")?;
    started
}

/// Runs `start`, whose children live `seconds` later by the monotonic clocks. `None` where the kernel has no time namespaces.
pub fn in_time_namespace<T>(seconds: u64, start: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    /// CLONE_NEWTIME (include/uapi/linux/sched.h, 6.12).
    const NEWTIME: libc::c_int = 0x80;
    let Ok(home) = File::open("/proc/self/ns/time") else { return Ok(None) };
    // SAFETY: numbers only.
    if unsafe { libc::unshare(NEWTIME) } != 0 {
        return Ok(None);
    }
    let offsets = format!("monotonic {seconds} 0\nboottime {seconds} 0\n");
    fs::write("/proc/self/timens_offsets", offsets).context("setting the clocks of a time namespace")?;
    let started = start();
    // SAFETY: a descriptor of ours.
    let back = unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&home), NEWTIME) };
    anyhow::ensure!(back == 0, "going home to the time namespace: {}", io::Error::last_os_error());
    started.map(Some)
}

/// File systems that a machine has only where somebody has mounted them.
pub const PREPARED: [&str; 3] = ["tracefs", "debugfs", "bpf"];

/// Whether tracefs is mounted for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tracefs {
    /// As this machine has it.
    AsIs,
    /// It is.
    Mounted,
    /// It is not, and neither are debugfs and bpffs: as on a machine that nobody has prepared.
    Unmounted,
}

/// Makes it so for this process and what it starts, none of which sees traces of others. The calling process must have one thread.
///
/// # Errors
/// Where it is refused: root is needed.
pub fn arrange(tracefs: Tracefs) -> Result<()> {
    own_mounts().context("mounts of our own, which need CAP_SYS_ADMIN")?;
    if Path::new(TRACES).is_dir() {
        mount(Some("tmpfs"), TRACES, Some("tmpfs"), MsFlags::empty(), Some("mode=0700"))
            .with_context(|| format!("an empty {TRACES}"))?;
    }
    if tracefs == Tracefs::AsIs {
        return Ok(());
    }
    let mounts = fs::read_to_string(MOUNTS)?;
    if tracefs == Tracefs::Unmounted {
        for target in targets(&mounts, &PREPARED) {
            umount2(target, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {target}"))?;
        }
    } else if !targets(&mounts, &["tracefs"]).contains(&TRACEFS) {
        mount_tracefs().with_context(|| format!("mounting tracefs on {TRACEFS}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{PREPARED, targets};

    #[test]
    fn what_was_mounted_last_goes_first() {
        let mounts = "sysfs /sys sysfs rw 0 0\ndebugfs /sys/kernel/debug debugfs rw 0 0\n\
            tracefs /sys/kernel/debug/tracing tracefs rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(
            targets(mounts, &PREPARED),
            ["/sys/fs/bpf", "/sys/kernel/debug/tracing", "/sys/kernel/debug"]
        );
    }
}
