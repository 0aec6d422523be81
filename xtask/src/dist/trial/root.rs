//! A fresh Debian in a folder, made by debootstrap of what this machine's apt is set up with.
//!
//! Owns: making it, running something in it, what it holds. Must not know: any package of ours.

use super::{Artefacts, Skipped};
use crate::vm::mirror::Mirror;
use crate::{project, sh};
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What package managers write for themselves, whatever is installed.
const BOOKS: &str = "( -path /proc -o -path /sys -o -path /tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o \
                     -path /var/lib/apt -o -path /var/lib/rpm ) -prune -o -print";

/// A folder with a Debian in it, which goes with this value.
pub(super) struct Root {
    dir: PathBuf,
    /// Everything in it, before anything of ours came.
    before: BTreeSet<String>,
}

impl Root {
    /// Makes one, of the release that this machine is of, or of the newest.
    ///
    /// # Errors
    /// [`Skipped`] where we are not root; where debootstrap fails.
    pub(super) fn fresh() -> Result<Root> {
        sh::as_root("true").map_err(|error| Skipped(format!("{error:#}")))?;
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let named = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let suite = named.filter(|_| release.contains("\nID=debian\n")).unwrap_or("stable").to_owned();
        let dir = project::target_dir().join("dist-root");
        remove(&dir)?;
        let mut root = Root { dir, before: BTreeSet::new() };
        let mut problems = Vec::new();
        for (uri, keys) in Mirror::of_this_machine()?.sources() {
            match root.bootstrap(&suite, &uri, keys.as_deref()) {
                Ok(()) => {
                    root.before = root.files()?;
                    return Ok(root);
                }
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        Err(anyhow!("{}", problems.join("; ")))
    }

    fn bootstrap(&self, suite: &str, uri: &str, keys: Option<&Path>) -> Result<()> {
        let cache = project::target_dir().join("dist-debootstrap");
        std::fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
        let mut command = sh::as_root("debootstrap")?;
        command.args(["--variant=minbase", &format!("--cache-dir={}", cache.display())]);
        command.args(keys.map(|keys| format!("--keyring={}", keys.display())));
        sh::read(command.arg(suite).arg(&self.dir).arg(uri)).map(drop)
    }

    /// Where in it a file is, as this machine sees it.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.dir.join(inside.trim_start_matches('/'))
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A shell's script in it, as root, with /proc and /sys, which nobody else sees.
    pub(super) fn command(&self, script: &str) -> Result<Command> {
        let mut command = sh::as_root("unshare")?;
        let enter = "mount -t proc proc \"$0/proc\" && mount --rbind /sys \"$0/sys\" && exec chroot \"$0\" sh -euc \"$1\"";
        command.args(["--mount", "--fork", "sh", "-euc", enter]).arg(&self.dir).arg(script);
        Ok(command)
    }

    /// What such a script prints.
    ///
    /// # Errors
    /// Where it fails.
    pub(super) fn read(&self, script: &str) -> Result<String> {
        sh::read(&mut self.command(script)?)
    }

    /// Puts a file of this machine into its /tmp, and says where it is there.
    ///
    /// # Errors
    /// Where it cannot be copied.
    pub(super) fn take_in(&self, file: &Path) -> Result<String> {
        sh::read(sh::as_root("cp")?.arg(file).arg(self.path("/tmp")))?;
        Ok(format!("/tmp/{}", super::super::name(file)))
    }

    /// Holds it against what it was at first.
    ///
    /// # Errors
    /// Where something is there that was not, but for `others`, or is not there any more.
    pub(super) fn is_as_before(&self, others: &[&str]) -> Result<()> {
        let mut now = self.files()?;
        now.retain(|file| !others.contains(&&**file));
        let list = |files: Vec<&String>| files.into_iter().cloned().collect::<Vec<_>>().join(" ");
        let (left, gone) =
            (list(now.difference(&self.before).collect()), list(self.before.difference(&now).collect()));
        ensure!(left.is_empty() && gone.is_empty(), "left behind: {left}; taken away: {gone}");
        Ok(())
    }

    fn files(&self) -> Result<BTreeSet<String>> {
        let mut find = sh::as_root("chroot")?;
        find.arg(&self.dir).args(["find", "/", "-xdev"]).args(BOOKS.split_whitespace());
        Ok(sh::read(&mut find)?.lines().map(str::to_owned).collect())
    }

    /// `twtrace --version` and `twtrace check` say in it what they say outside.
    ///
    /// # Errors
    /// Where they do not.
    pub(super) fn checks(&self, made: &Artefacts) -> Result<()> {
        let said = self.read("twtrace --version")?;
        ensure!(said == format!("twtrace {}\n", super::super::VERSION), "it says: {said}");
        let here = sh::output(sh::as_root("env")?.arg(made.binary()).arg("check"))?;
        let there = sh::output(&mut self.command("twtrace check")?)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            here.status == there.status && here.stdout == there.stdout && text(&there.stdout).contains("BTF"),
            "here ({}):\n{}there ({}):\n{}{}",
            here.status,
            text(&here.stdout),
            there.status,
            text(&there.stdout),
            text(&there.stderr)
        );
        Ok(())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            eprintln!("dist: {error:#}");
        }
    }
}

/// Takes a root away. Nothing is mounted in it: that is in namespaces that went with their programs.
fn remove(dir: &Path) -> Result<()> {
    sh::read(sh::as_root("rm")?.args(["--recursive", "--force", "--one-file-system", "--"]).arg(dir))
        .map(drop)
}
