//! Owns: a cgroup v2 of a scenario's own.
//! Must not know: who is put into it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A cgroup just below the root of the v2 hierarchy; it goes when this value goes, its processes back to the root.
pub(crate) struct Cgroup {
    root: PathBuf,
    name: String,
}

impl Cgroup {
    /// Makes one whose name starts with `name`.
    ///
    /// # Errors
    /// Where no cgroup2 file system is mounted, or it cannot be written to.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let mount = mounts.lines().map(|line| line.split(' ')).find_map(|mut fields| {
            let target = fields.nth(1)?;
            (fields.next()? == "cgroup2").then_some(target)
        });
        let root = PathBuf::from(mount.context("no cgroup2 file system is mounted")?);
        let group = Self { root, name: format!("{name}-{}", std::process::id()) };
        fs::create_dir(group.dir()).with_context(|| format!("cannot make {}", group.dir().display()))?;
        Ok(group)
    }

    fn dir(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// As /proc/PID/cgroup names it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// Puts a process in.
    ///
    /// # Errors
    /// Of the write.
    pub(crate) fn take_in(&self, pid: u32) -> Result<()> {
        let procs = self.dir().join("cgroup.procs");
        fs::write(&procs, pid.to_string())
            .with_context(|| format!("cannot put {pid} into {}", procs.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for pid in fs::read_to_string(self.dir().join("cgroup.procs")).unwrap_or_default().lines() {
            // One that ended meanwhile is in no cgroup.
            let _ = fs::write(self.root.join("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(self.dir());
    }
}
