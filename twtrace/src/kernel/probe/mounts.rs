//! Owns: the kernel's file systems that the loader reads, mounted for it alone where they are not to be seen.
//! Must not know: backends, programs.
//!
//! tracefs holds the ids of tracepoints, sysfs the kernel's types and the number of the kprobe PMU, proc the addresses of
//! functions. A machine need not have mounted any of them, and `ip netns exec` and `unshare -m` hide them. They are mounted in
//! a mount namespace that one thread has to itself: it goes with the thread, and nobody else ever sees it.

use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC, statfs};

use crate::host::mountinfo;

const TRACEFS: &str = "/sys/kernel/tracing";
/// Where a mounted debugfs shows tracefs.
const IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";
const SYSFS: &str = "/sys";
const PROC: &str = "/proc";

/// What the thread that loads can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VisibleMounts {
    /// Why there is no tracefs, where there is none.
    pub(super) tracefs: Result<(), String>,
}

/// Runs `work` where the kernel's file systems are to be seen: on this thread if they are, else on one that has them mounted for
/// itself. What cannot be mounted is told to `work`.
///
/// # Panics
/// Where `work` does.
pub(super) fn with<T: Send>(work: impl FnOnce(&VisibleMounts) -> T + Send) -> T {
    let missing = Missing::inspect();
    if missing.is_empty() {
        return work(&VisibleMounts { tracefs: Ok(()) });
    }
    std::thread::scope(|scope| {
        let on_thread = || {
            let mounted = missing.mount().map_err(|error| error.to_string());
            work(&VisibleMounts { tracefs: if missing.tracefs { mounted } else { Ok(()) } })
        };
        let thread = std::thread::Builder::new().name("loader".to_owned());
        // A process that may not even start a thread has no work to be done.
        let thread = thread.spawn_scoped(scope, on_thread).expect("a thread can be started");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What is not to be seen where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    proc: bool,
    sysfs: bool,
    tracefs: bool,
}

impl Missing {
    fn inspect() -> Self {
        Self {
            proc: !is(PROC, PROC_SUPER_MAGIC),
            sysfs: !is(SYSFS, SYSFS_MAGIC),
            tracefs: !is(TRACEFS, TRACEFS_MAGIC) && !is_mounted(IN_DEBUGFS),
        }
    }

    fn is_empty(self) -> bool {
        !(self.proc || self.sysfs || self.tracefs)
    }

    /// Mounts what is missing for the calling thread alone. Stops at the first that cannot be.
    fn mount(self) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS).map_err(named("unshare(CLONE_NEWNS)"))?;
        seclude()?;
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if self.proc {
            put("proc", PROC, safe, None)?;
        }
        if self.sysfs {
            put("sysfs", SYSFS, safe | MsFlags::MS_RDONLY, None)?;
        }
        if self.tracefs {
            // Mounting tracefs anew gives the one tracefs of the machine these options (tracefs_get_tree(),
            // fs/tracefs/inode.c, 6.12 and 7.3; trace_mount(), there, 5.10 and 6.1): they must stay as they are.
            put("tracefs", TRACEFS, safe, options_elsewhere().as_deref())?;
        }
        Ok(())
    }
}

fn put(kind: &str, point: &str, flags: MsFlags, options: Option<&str>) -> io::Result<()> {
    let done = mount(Some(kind), point, Some(kind), flags, options);
    done.map_err(named(&format!("mount {kind} at {point}")))
}

/// Nothing that is mounted here from now on is to be seen elsewhere. In a chroot `/` is no mount: then the places of ours must be.
fn seclude() -> io::Result<()> {
    let alone = |point: &str| {
        mount(None::<&str>, point, None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    };
    alone("/").or_else(|_| alone(SYSFS)).map_err(named("making mounts private"))
}

fn named(what: &str) -> impl FnOnce(nix::errno::Errno) -> io::Error {
    let what = what.to_owned();
    move |errno| io::Error::new(io::Error::from(errno).kind(), format!("{what}: {}", errno.desc()))
}

fn is(point: &str, magic: FsType) -> bool {
    statfs(point).is_ok_and(|found| found.filesystem_type() == magic)
}

/// Asked of the list of mounts: looking at the point itself would mount it there for everybody.
fn is_mounted(point: &str) -> bool {
    let mounts = std::fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
    mountinfo::parse(&mounts).iter().any(|mount| mount.point == Path::new(point))
}

/// The options of tracefs where the first process has it mounted: who may read it.
fn options_elsewhere() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/1/mountinfo").ok()?;
    mounts.lines().find_map(options_of_tracefs)
}

/// `mode=750,gid=4`, from a line of mountinfo (proc_pid_mountinfo(5)).
fn options_of_tracefs(line: &str) -> Option<String> {
    let (_, end) = line.split_once(" - ")?;
    let mut fields = end.split(' ');
    if fields.next() != Some("tracefs") {
        return None;
    }
    let options = fields.nth(1)?;
    let kept = |option: &&str| ["mode=", "gid=", "uid="].iter().any(|known| option.starts_with(known));
    let kept: Vec<&str> = options.split(',').filter(kept).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_tracefs_are_kept() {
        for (line, want) in [
            (
                "26 24 0:12 / /sys/kernel/tracing rw shared:9 - tracefs tracefs rw,gid=104,mode=750",
                Some("gid=104,mode=750"),
            ),
            ("26 24 0:12 / /sys/kernel/tracing rw - tracefs tracefs rw", None),
            ("26 24 0:12 / /sys rw - sysfs sysfs rw,mode=755", None),
            ("", None),
        ] {
            assert_eq!(options_of_tracefs(line).as_deref(), want, "{line}");
        }
    }

    #[test]
    fn a_machine_that_has_everything_needs_no_thread() {
        let none = Missing { proc: false, sysfs: false, tracefs: false };
        assert!(none.is_empty());
        assert!(!Missing { tracefs: true, ..none }.is_empty());
    }
}
