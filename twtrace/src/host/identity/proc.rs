//! Owns: what `/proc/PID` says of a process, taken only if it is the very process that is asked for.
//! Must not know: which process is wanted or why, caching.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, sysconf};
use twtrace_common::COMM_LEN;

use crate::model::event::Comm;
use crate::model::identity::service_of;

/// Longest command line that is kept, in bytes; the kernel allows megabytes.
pub(super) const CMDLINE_MAX: u64 = 4096;
/// More than any other file here can be.
const FILE_MAX: u64 = 64 * 1024;
/// As much as these files mostly have.
const USUAL_LEN: usize = 1024;
/// What the kernel appends to the path of a file, or of a cgroup, that was removed.
const DELETED: &str = " (deleted)";

/// A process that was found alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LiveProcess {
    /// The name it had then.
    pub(super) comm: Comm,
    /// See [`crate::model::identity::Identity::exe`].
    pub(super) exe: Option<String>,
    /// Its place in every hierarchy of cgroups.
    pub(super) cgroups: Cgroups,
}

/// Paths of cgroups, as in `/proc/PID/cgroup`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cgroups {
    /// In the v2 hierarchy.
    pub(super) v2: Option<String>,
    /// In the v1 hierarchies other than their roots, systemd's own first.
    pub(super) v1: Vec<String>,
}

/// Looks processes up under one `/proc`.
#[derive(Clone, Debug)]
pub(super) struct Proc {
    root: PathBuf,
    /// Nanoseconds in a clock tick (USER_HZ), the unit that /proc shows start times in.
    tick_ns: u64,
}

impl Proc {
    pub(super) fn new(root: &Path) -> Self {
        let hz = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|hz| u64::try_from(hz).ok());
        Self { root: root.into(), tick_ns: 1_000_000_000 / hz.filter(|hz| *hz > 0).unwrap_or(100) }
    }

    /// Nanoseconds in a clock tick.
    #[cfg(test)]
    pub(super) fn tick_ns(&self) -> u64 {
        self.tick_ns
    }

    /// The directory of a process, its name and its `stat`; `None` if it is gone, or if its pid has passed to another process.
    fn open(&self, pid: u32, start_ns: u64) -> Option<(OwnedFd, Comm, Vec<u8>)> {
        // The directory stays that process's even when the pid is used again: reads then fail with ESRCH.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(&self.root.join(pid.to_string()), flags, Mode::empty()).ok()?;
        let stat = read_at(&dir, "stat", FILE_MAX).ok()?;
        let (comm, start_ticks) = name_and_start(&stat)?;
        // The kernel divides the same way, rounding down (nsec_to_clock_t(), kernel/time/time.c, 5.10 to 7.3).
        let shown_ns = start_ns.wrapping_add_signed(crate::model::clock::start_offset_ns());
        (start_ticks == shown_ns / self.tick_ns).then_some((dir, comm, stat))
    }

    /// The command line of a process that is called `comm`, if `is_harmless` says that reading it waits for nobody.
    pub(super) fn cmdline(
        &self,
        pid: u32,
        start_ns: u64,
        comm: Option<Comm>,
        is_harmless: fn(&OwnedFd, &[u8]) -> bool,
    ) -> Option<String> {
        let (dir, name, stat) = self.open(pid, start_ns)?;
        if comm.is_some_and(|comm| comm != name) || !is_harmless(&dir, &stat) {
            return None;
        }
        joined(&read_at(&dir, "cmdline", CMDLINE_MAX + 1).ok()?)
    }

    /// What there is to know of the process `pid` that started at `start_ns` (`task.start_boottime`, nanoseconds of
    /// CLOCK_BOOTTIME). `None` if it is gone, or if its pid has passed to another process. Its cgroups only where they are wanted: to open and
    /// read them takes a third of it all.
    ///
    /// None of this waits for the process: `stat` takes a spin lock of it and looks at none of its memory
    /// (do_task_stat(), fs/proc/array.c, 5.10 to 7.3), `exe` is a link whose path is put together from names that the
    /// kernel has (do_proc_readlink(), fs/proc/base.c, 5.10 to 7.3: no file system is asked), `cgroup` is under a lock
    /// of the cgroups (proc_cgroup_show(), kernel/cgroup/cgroup.c, 5.10 to 7.3). Its command line is another matter:
    /// see [`super::cmdline`].
    pub(super) fn find(&self, pid: u32, start_ns: u64, with_cgroups: bool) -> Option<LiveProcess> {
        let (dir, comm, _) = self.open(pid, start_ns)?;
        let read = if with_cgroups { read_at(&dir, "cgroup", FILE_MAX).ok() } else { None };
        Some(LiveProcess {
            comm,
            exe: readlinkat(dir.as_fd(), "exe").ok().map(|path| program(&path)),
            cgroups: read.map(|bytes| cgroups(&bytes)).unwrap_or_default(),
        })
    }
}

/// The name of the process of a directory of `/proc`.
pub fn name_of(dir: &Path) -> Option<Comm> {
    let stat = std::fs::read(dir.join("stat")).ok()?;
    name_and_start(&stat).map(|(comm, _)| comm)
}

/// What `/proc/PID/status` says behind a key such as `Uid:` (proc_pid_status(5)), without white space around it.
pub fn status_field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// When the process of a directory of `/proc` started, in nanoseconds of CLOCK_BOOTTIME, rounded down to a clock tick.
pub fn start_ns(dir: &Path) -> Option<u64> {
    let stat = std::fs::read(dir.join("stat")).ok()?;
    let (_, ticks) = name_and_start(&stat)?;
    let shown_ns = ticks * Proc::new(Path::new("/proc")).tick_ns;
    // A time namespace shifts what /proc shows.
    Some(shown_ns.wrapping_add_signed(crate::model::clock::start_offset_ns().wrapping_neg()))
}

fn read_at(dir: &OwnedFd, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let file = File::from(openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
    // Without room it is first read with 32 bytes, and again for the rest.
    let mut bytes = Vec::with_capacity(USUAL_LEN);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The name (field 2) and start time in ticks (field 22) from `/proc/PID/stat` (proc_pid_stat(5)). A name can hold
/// parentheses, spaces and line ends; nothing after it can.
fn name_and_start(stat: &[u8]) -> Option<(Comm, u64)> {
    let open = stat.iter().position(|&byte| byte == b'(')?;
    let close = stat.iter().rposition(|&byte| byte == b')').filter(|close| *close > open)?;
    let name = &stat[open + 1..close];
    let mut comm = [0; COMM_LEN];
    // Kernel threads may show more than a name holds.
    let length = name.len().min(COMM_LEN - 1);
    comm[..length].copy_from_slice(&name[..length]);
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    // Field 3 is the first after the name.
    let start = rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    Some((Comm::from_kernel(comm), start))
}

fn program(path: &OsStr) -> String {
    let path = path.to_string_lossy();
    path.strip_suffix(DELETED).unwrap_or(&path).to_owned()
}

/// Arguments end with NUL each; a process that writes over them (`setproctitle`) leaves a run of NULs. `None` where
/// there are none: a kernel thread, a zombie.
fn joined(bytes: &[u8]) -> Option<String> {
    let cut = bytes.len() as u64 > CMDLINE_MAX;
    let kept = &bytes[..bytes.len().min(CMDLINE_MAX as usize)];
    let end = kept.iter().rposition(|&byte| byte != 0)? + 1;
    let arguments: Vec<_> = kept[..end].split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    Some(arguments.join(" ") + if cut { "…" } else { "" })
}

/// The path that is told of a process which is in these cgroups: in the root of v2 are all processes of a machine that is managed with v1.
pub(super) fn told<'a>(v2: Option<&'a str>, v1: &'a [String]) -> Option<&'a str> {
    v2.filter(|path| *path != "/").or(v1.first().map(String::as_str)).or(v2)
}

/// The first number of a line of `/proc/PID/status` of the process of a directory of `/proc`; see [`status_field`].
pub fn status_number(dir: &Path, key: &str) -> Option<u32> {
    let status = std::fs::read(dir.join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    status_field(&status, key)?.split_ascii_whitespace().next()?.parse().ok()
}

/// Of the process of a directory of `/proc`, the path of its cgroup as events tell it, and its systemd service, by whichever of its cgroups
/// tells one.
pub fn cgroup_and_service(dir: &Path) -> (Option<String>, Option<String>) {
    let Ok(bytes) = std::fs::read(dir.join("cgroup")) else { return (None, None) };
    let Cgroups { v2, v1 } = cgroups(&bytes);
    let service = v2.iter().chain(&v1).find_map(|path| service_of(path));
    (told(v2.as_deref(), &v1).map(str::to_owned), service)
}

/// `ID:CONTROLLERS:PATH` a line; id 0 is v2 (cgroups(7)).
fn cgroups(bytes: &[u8]) -> Cgroups {
    let mut out = Cgroups::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let path = path.strip_suffix(DELETED).unwrap_or(path);
        match (id, controllers) {
            ("0", "") => out.v2 = Some(path.to_owned()),
            _ if path == "/" => {}
            (_, "name=systemd") => out.v1.insert(0, path.to_owned()),
            _ => out.v1.push(path.to_owned()),
        }
    }
    out
}
