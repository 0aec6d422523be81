//! Owns: a cgroup of its own for a command, so that whatever its processes fork is known by one number: the kernel puts every
//! child where its parent is, however short it lives, and every event carries the number.
//! Must not know: how the number is used.
//!
//! What leaves the cgroup is not followed: a process that root moves (`systemd-run`, a container that its daemon starts), and
//! cgroups that the command makes below its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::host::caps::Cap;
use crate::host::detached::Detached;
use crate::host::identity::v2_hierarchy;
use crate::host::sandbox::Needs;

const PREFIX: &str = "twtrace-";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("--only-command needs a cgroup (v2) for the command, and {what}: {error}")]
pub struct NoCgroup {
    what: String,
    error: io::Error,
}

impl NoCgroup {
    /// What a user can do about it.
    pub fn remedy(&self) -> &'static str {
        "it takes root and a cgroup v2 mount that can be written to (in a container: --privileged); or filter by --pid, --comm or --uid"
    }
}

/// A cgroup that is removed when this is dropped; processes that are still in it go back to ours.
#[derive(Debug)]
pub struct Cgroup {
    dir: PathBuf,
    /// The `cgroup.procs` of ours. Opened while files may still be opened for writing.
    above: Option<File>,
    id: u64,
    path: String,
    /// A hierarchy that was mounted for this, nowhere: its paths lead through here.
    _mount: Option<Detached>,
}

impl Cgroup {
    /// Makes one below that of the calling process.
    ///
    /// # Errors
    /// Where there is no hierarchy, or it cannot be written to.
    pub fn new() -> Result<Self, NoCgroup> {
        let own = own_path()?;
        let mounted = v2_hierarchy().map(|root| Self::below(&root, &own, None));
        match mounted {
            Some(Ok(cgroup)) => Ok(cgroup),
            // Not mounted, or not for writing: the hierarchy is there all the same.
            first => {
                let mount = Detached::mount(c"cgroup2").map_err(|error| NoCgroup {
                    what: "the cgroup hierarchy cannot be mounted".to_owned(),
                    error,
                });
                let mount = match (mount, first) {
                    (Ok(mount), _) => mount,
                    (Err(_), Some(Err(refused))) => return Err(refused),
                    (Err(refused), _) => return Err(refused),
                };
                let root = mount.root();
                Self::below(&root, &own, Some(mount))
            }
        }
    }

    fn below(root: &Path, own: &str, mount: Option<Detached>) -> Result<Self, NoCgroup> {
        let above = root.join(own.trim_start_matches('/'));
        sweep(&above);
        let name = format!("{PREFIX}{}", std::process::id());
        let dir = above.join(&name);
        let refused =
            |error| NoCgroup { what: format!("{} cannot be made", crate::model::escape::path(&dir)), error };
        fs::create_dir(&dir).map_err(refused)?;
        let id = fs::metadata(&dir).map_err(refused)?.ino();
        let path = format!("{}/{name}", own.trim_end_matches('/'));
        let above = OpenOptions::new().write(true).open(above.join("cgroup.procs")).ok();
        Ok(Self { dir, above, id, path, _mount: mount })
    }

    /// What events call it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its path in the hierarchy.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As `others`, and what it takes to remove it: nobody may write to the folder at the top of the hierarchy.
    pub fn needs(&self, others: Needs) -> Needs {
        let caps = others.caps.into_iter().chain([Cap::DacOverride]).collect();
        Needs { caps, ..others }
    }

    /// The file into which a process writes `0` to move here.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn procs(&self) -> Result<OwnedFd, NoCgroup> {
        let file = OpenOptions::new().write(true).open(self.dir.join("cgroup.procs"));
        file.map(OwnedFd::from)
            .map_err(|error| NoCgroup { what: "no process can be moved there".to_owned(), error })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that forks while it is moved leaves a child behind: look again.
        for _ in 0..8 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            let left = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
            for pid in left.lines() {
                // One pid for each write; it may be gone.
                let _ = self.above.as_ref().map(|mut above| above.write_all(pid.as_bytes()));
            }
        }
    }
}

/// Removes what a twtrace left that was killed: an empty cgroup of a process that is no more.
fn sweep(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Fails where processes are left in it.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The cgroup of this process in the v2 hierarchy.
fn own_path() -> Result<String, NoCgroup> {
    let unknown = |error| NoCgroup { what: "this process's own cgroup is not known".to_owned(), error };
    let text = fs::read_to_string("/proc/self/cgroup").map_err(unknown)?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    own.map(str::to_owned).ok_or_else(|| unknown(io::Error::other("the kernel has no cgroup v2")))
}
