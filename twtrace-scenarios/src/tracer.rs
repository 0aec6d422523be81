//! Owns: running the real twtrace: starting it, waiting until its hooks are attached, stopping it, reading what it
//! told. The one place that knows what its summary looks like.
//! Must not know: what it should have told.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use twtrace_kit::Cannot;
use twtrace_kit::child::{Guarded, end_with_us};
use twtrace_kit::wait::until_true;

use crate::around::Around;
use crate::schema::{Event, parse};

/// How long twtrace may take to attach all its hooks. Emulated guests need most of it.
const ATTACH: Duration = Duration::from_secs(180);

/// How long it may take to end.
const END: Duration = Duration::from_secs(60);

/// Which twtrace to run, and how.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary.
    pub twtrace: PathBuf,
    /// Value of `--backend`.
    pub backend: String,
}

/// A running `twtrace events`, or another command that attaches hooks.
#[derive(Debug)]
pub struct Tracer {
    /// Only where a scenario failed is it still there at the end of this value.
    child: Guarded,
    dir: TempDir,
}

impl Tracer {
    /// Starts `twtrace events` with these arguments and waits until it is ready.
    pub fn start(setup: &Setup, args: &[&str]) -> Result<Self> {
        let mut tracer = Self::launch(setup, args)?;
        tracer.ready()?;
        Ok(tracer)
    }

    /// Starts `twtrace events` with these arguments; [`Self::ready`] waits.
    pub fn launch(setup: &Setup, args: &[&str]) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let stdout = File::create(dir.path().join("stdout"))?;
        Self::launch_into(setup, args, dir, Stdio::from(stdout))
    }

    /// Starts `twtrace record` with these arguments; [`Self::ready`] waits.
    pub fn record(setup: &Setup, args: &[&OsStr], variables: &[(&str, &str)]) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let stdout = File::create(dir.path().join("stdout"))?;
        let mut command = Self::command(setup, "record", args, &dir);
        command.envs(variables.iter().copied());
        Self::spawn(command, dir, Stdio::from(stdout))
    }

    /// As [`Self::record`], in a session of its own, whose terminal is `terminal`.
    pub fn record_on(setup: &Setup, args: &[&OsStr], terminal: OwnedFd) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let stdout = File::create(dir.path().join("stdout"))?;
        let mut command = Self::command(setup, "record", args, &dir);
        command.stdin(Stdio::from(terminal));
        // SAFETY: two system calls between fork and exec; nothing is allocated, no lock is taken.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            })
        };
        Self::spawn(command, dir, Stdio::from(stdout))
    }

    /// As [`Self::launch`], with another stdout.
    pub fn launch_into(setup: &Setup, args: &[&str], dir: TempDir, stdout: Stdio) -> Result<Self> {
        Self::spawn(Self::command(setup, "events", args, &dir), dir, stdout)
    }

    /// As [`Self::start`], another command of twtrace that attaches hooks.
    pub fn start_command(setup: &Setup, name: &str, args: &[&str]) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let stdout = Stdio::from(File::create(dir.path().join("stdout"))?);
        let mut tracer = Self::spawn(Self::command(setup, name, args, &dir), dir, stdout)?;
        tracer.ready()?;
        Ok(tracer)
    }

    /// As [`Self::start_command`]; `around` is done in the process that becomes twtrace.
    pub fn start_around(setup: &Setup, name: &str, args: &[&str], around: Around) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let stdout = Stdio::from(File::create(dir.path().join("stdout"))?);
        let mut command = Self::command(setup, name, args, &dir);
        // SAFETY: this process has one thread, so what the child does between fork and exec meets no lock that is held.
        unsafe { command.pre_exec(around) };
        let mut tracer = Self::spawn(command, dir, stdout)?;
        tracer.ready()?;
        Ok(tracer)
    }

    /// Starts a command of twtrace, the live view where `name` is empty, with other ends and whatever `change` does to it;
    /// [`Self::ready`] waits. Without a `stderr`, that is a file as ever.
    pub fn launch_changed(
        setup: &Setup,
        name: &str,
        args: &[&OsStr],
        (stdout, stderr): (Option<Stdio>, Option<Stdio>),
        change: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let mut command = Self::command(setup, name, args, &dir);
        change(&mut command);
        let file = |name| File::create(dir.path().join(name)).map(Stdio::from);
        let stdout = stdout.map_or_else(|| file("stdout"), Ok)?;
        let stderr = stderr.map_or_else(|| file("stderr"), Ok)?;
        Self::spawn_on(command, dir, stdout, stderr)
    }

    fn command(setup: &Setup, name: &str, args: &[impl AsRef<OsStr>], dir: &TempDir) -> Command {
        let mut command = Command::new(&setup.twtrace);
        command.args(Some(name).filter(|name| !name.is_empty()));
        command.args(["--backend", &setup.backend]).stdin(Stdio::null());
        command.arg("--ready-file").arg(dir.path().join("ready")).args(args);
        command
    }

    fn spawn(command: Command, dir: TempDir, stdout: Stdio) -> Result<Self> {
        let stderr = File::create(dir.path().join("stderr"))?.into();
        Self::spawn_on(command, dir, stdout, stderr)
    }

    fn spawn_on(mut command: Command, dir: TempDir, stdout: Stdio, stderr: Stdio) -> Result<Self> {
        command.stdout(stdout).stderr(stderr);
        end_with_us(&mut command, Signal::SIGKILL);
        Ok(Self { child: Guarded::spawn(&mut command)?, dir })
    }

    /// Waits until the hooks are attached. [`Cannot`], with its stderr, where twtrace says that they cannot be.
    pub fn ready(&mut self) -> Result<()> {
        let file = self.dir.path().join("ready");
        let stderr = self.dir.path().join("stderr");
        let child = &mut self.child;
        until_true("twtrace to be ready", ATTACH, || {
            if let Some(status) = child.try_wait()? {
                let stderr = fs::read_to_string(&stderr)?;
                if cannot(status) {
                    return Err(Cannot(stderr).into());
                }
                bail!("twtrace ended before it was ready, {status}: {stderr}");
            }
            Ok(file.exists())
        })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.child.signal(signal)
    }

    /// Sends it a signal, and gives what it told until its end.
    pub fn stop(self, signal: Signal) -> Result<Told> {
        self.signal(signal)?;
        self.finish()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<Told> {
        let status = self.child.await_end(END)?;
        if cannot(status) {
            return Err(Cannot(read(self.dir.path(), "stderr")?).into());
        }
        Ok(Told {
            status,
            stdout: read(self.dir.path(), "stdout")?,
            stderr: read(self.dir.path(), "stderr")?,
        })
    }

    /// What it has told so far, whole lines only.
    pub fn so_far(&self) -> Result<String> {
        let mut text = read(self.dir.path(), "stdout")?;
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        Ok(text)
    }
}

impl Tracer {
    /// What it has said on stderr so far.
    pub fn stderr(&self) -> Result<String> {
        read(self.dir.path(), "stderr")
    }
}

/// Whether twtrace says that it cannot run here.
fn cannot(status: ExitStatus) -> bool {
    status.code() == Some(Cannot::STATUS.into())
}

/// A file that was not asked for (stdout sent elsewhere) reads as empty. An error where it is not UTF-8.
fn read(dir: &Path, name: &str) -> Result<String> {
    match fs::read(dir.join(name)) {
        Ok(bytes) => String::from_utf8(bytes).with_context(|| format!("twtrace's {name}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// What a twtrace that has ended has told.
#[derive(Debug)]
pub struct Told {
    /// How it ended.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Told {
    /// Its events; an error where it did not end with 0 and a summary, lost events (a `lost` of 0 says that the kernel
    /// skipped runs of a hook, each of which may have been one: then every event is still asked for), or a line is not as it must be.
    /// What was there before is not among them: it did not happen.
    pub fn events(&self) -> Result<Vec<Event>> {
        let mut events = self.events_with_losses()?;
        let lost = |event: &Event| event.get("count").is_none_or(|count| *count != 0);
        if let Some(lost) = events.iter().find(|event| kind(event) == "lost" && lost(event)) {
            bail!("events were lost: {}", crate::schema::text(lost));
        }
        events.retain(|event| !matches!(kind(event), "lost" | "limitation" | "listed"));
        Ok(events)
    }

    /// As [`Self::events`], but events may have been lost.
    pub fn events_with_losses(&self) -> Result<Vec<Event>> {
        if !self.status.success() {
            bail!("twtrace ended with {}: {}", self.status, self.stderr);
        }
        if self.stderr.trim().is_empty() {
            bail!("no summary on stderr");
        }
        self.stdout.lines().map(parse).collect()
    }

    /// TIME_WAIT sockets that twtrace saw made: `created: N` of the summary.
    pub fn created(&self) -> Result<u64> {
        let line = self.stderr.lines().find_map(|line| line.trim().strip_prefix("created:"));
        let line = line.with_context(|| format!("no `created: N` in the summary {:?}", self.stderr))?;
        Ok(line.split(',').next().unwrap_or_default().trim().parse()?)
    }

    /// TIME_WAIT sockets that twtrace held for alive when it ended: the line `live: N` of the summary.
    pub fn live(&self) -> Result<u64> {
        let line = self.stderr.lines().find_map(|line| line.trim().strip_prefix("live:"));
        let line = line.with_context(|| format!("no `live: N` in the summary {:?}", self.stderr))?;
        Ok(line.trim().parse()?)
    }
}

/// The kind of an event.
pub fn kind(event: &Event) -> &str {
    event.get("event").and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// Is the event about one of these network namespaces?
pub fn within(event: &Event, netns: &[u32]) -> bool {
    let inode = event.get("netns").and_then(serde_json::Value::as_u64);
    inode.is_some_and(|inode| netns.iter().any(|ours| u64::from(*ours) == inode))
}
