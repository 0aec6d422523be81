//! What runs beside the load: started, waited for, stopped, and what it told.
//!
//! Owns: what all of them have in common, and the floor, which is no tracer. `twtrace` and `others` know one kind each; `recording` reads
//! what the first of them writes.
//! Must not know: how the load is made, what is made of the numbers.

mod others;
mod recording;
mod twtrace;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::signal::Signal;
use twtrace_kit::Cannot;
use twtrace_kit::bpf::returning::{AttachPoint, Hook, Returning};
use twtrace_kit::child::Guarded;
use twtrace_kit::command;
use twtrace_kit::wait::{PATIENCE, until_every};

use crate::model::{Arm, Told};
use crate::process;
use crate::site::{Made, Site};
use others::Polling;

/// What there is to run.
pub(crate) struct Tools {
    /// The program.
    pub(crate) twtrace: PathBuf,
    /// `--backend`.
    pub(crate) backend: String,
    /// Where twtrace attaches here.
    pub(crate) hooks: Vec<Hook>,
    /// How long a tracer is left alone once it is attached.
    pub(crate) settle: Duration,
}

/// An arm that runs.
pub(crate) enum Running {
    Nothing,
    /// Programs that only return.
    Floor(Vec<Returning>),
    Process(Process),
    Polling(Polling),
}

/// How exactly it is known when a tracer was attached, which is measured.
const ATTACH_STEP: Duration = Duration::from_millis(1);

/// A tracer that is attached.
pub(crate) struct Process {
    arm: Arm,
    child: Guarded,
    dir: tempfile::TempDir,
    attach_ms: f64,
}

impl Running {
    /// Starts it, and waits until it is attached.
    ///
    /// # Errors
    /// Where it cannot attach; what it said is in the message.
    pub(crate) fn start(arm: Arm, tools: &Tools) -> Result<Self> {
        match arm {
            Arm::Untraced | Arm::Again => Ok(Self::Nothing),
            Arm::Floor => Returning::beside(&tools.hooks).map(Self::Floor),
            Arm::Ss => Polling::start().map(Self::Polling),
            _ => Process::start(arm, tools).map(Self::Process),
        }
    }

    /// The process to be billed.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(process) => Some(process.pid()),
            _ => None,
        }
    }

    /// How long it took to attach, in milliseconds.
    pub(crate) fn attach_ms(&self) -> Option<f64> {
        match self {
            Self::Process(process) => Some(process.attach_ms),
            _ => None,
        }
    }

    /// Stops it. Gives what it told of `made`, and the CPU time that only its end reveals.
    ///
    /// # Errors
    /// Where it failed, or told what nobody understands.
    pub(crate) fn stop(self, heard: &Heard) -> Result<(Told, Option<f64>)> {
        match self {
            Self::Nothing | Self::Floor(_) => Ok((Told::default(), None)),
            Self::Process(process) => Ok((process.stop(heard)?, None)),
            Self::Polling(polling) => polling.stop().map(|(told, cpu_s)| (told, Some(cpu_s))),
        }
    }
}

/// What there was to be heard.
pub(crate) struct Heard<'a> {
    pub(crate) site: Site,
    pub(crate) made: &'a Made,
    /// TIME_WAIT sockets created by the kernel's counters.
    pub(crate) created: Option<u64>,
}

impl Process {
    /// See [`Running::start`].
    pub(crate) fn start(arm: Arm, tools: &Tools) -> Result<Self> {
        let dir = directory()?;
        let mut command = command(arm, tools, dir.path())?;
        if arm != Arm::Record {
            command.stdout(File::create(dir.path().join(OUT))?);
        }
        Self::spawn(arm, &mut command, dir)
    }

    /// A mode of twtrace whose output would fill a disk in time: it is thrown away.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub(crate) fn start_for_long(arm: Arm, tools: &Tools) -> Result<Self> {
        let dir = directory()?;
        let mut command = twtrace::command(arm, tools, dir.path());
        match arm {
            Arm::Events => command.stdout(Stdio::null()),
            Arm::Record => command.args(["--rotate-size", "64M", "--keep", "2"]),
            _ => command.stdout(File::create(dir.path().join(OUT))?),
        };
        Self::spawn(arm, &mut command, dir)
    }

    fn spawn(arm: Arm, command: &mut Command, dir: tempfile::TempDir) -> Result<Self> {
        command.stdin(Stdio::null()).stderr(File::create(dir.path().join(ERRORS))?);
        let began = Instant::now();
        let child = process::start(command)?;
        let mut process = Self { arm, child, dir, attach_ms: 0.0 };
        let what = format!("`{}` to be attached", command::shown(command));
        until_every(ATTACH_STEP, &what, PATIENCE, || {
            Ok((process.child.has_ended() || process.is_attached()).then_some(()))
        })?;
        if process.child.has_ended() {
            let why = format!("{} ended before it was attached: {}", arm.name(), process.last_words());
            return match process.child.wait()?.code() == Some(Cannot::STATUS.into()) {
                true => Err(Cannot(why).into()),
                false => Err(anyhow!(why)),
            };
        }
        process.attach_ms = began.elapsed().as_secs_f64() * 1e3;
        Ok(process)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn is_attached(&self) -> bool {
        match self.arm.is_twtrace() {
            true => self.dir.path().join(READY).exists(),
            // It may end while it is looked at.
            false => process::traces(self.pid()).unwrap_or(false),
        }
    }

    fn last_words(&self) -> String {
        let said = [ERRORS, OUT].map(|name| std::fs::read(self.dir.path().join(name)).unwrap_or_default());
        let said = String::from_utf8_lossy(&said.concat()).into_owned();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    }

    /// See [`Running::stop`].
    pub(crate) fn stop(self, heard: &Heard) -> Result<Told> {
        if self.arm == Arm::Live {
            twtrace::await_picture(&self.dir.path().join(OUT), heard.created)?;
        }
        let Self { arm, child, dir, .. } = self;
        let stopped = process::stop(child, Signal::SIGINT);
        stopped.with_context(|| format!("{}: {}", arm.name(), text(&dir.path().join(ERRORS))))?;
        read(arm, dir.path(), heard).with_context(|| format!("what {} told", arm.name()))
    }

    /// Stops one that was started for long; what it told is what it sums up itself.
    ///
    /// # Errors
    /// Where it failed, or sums up nothing.
    pub(crate) fn stop_after_long(self, heard: &Heard) -> Result<Told> {
        let Self { arm, child, dir, .. } = self;
        if arm == Arm::Live {
            twtrace::await_picture(&dir.path().join(OUT), heard.created)?;
        }
        process::stop(child, Signal::SIGINT).with_context(|| arm.name())?;
        twtrace::summed_up(arm, &text(&dir.path().join(OUT)), &text(&dir.path().join(ERRORS)))
    }

    /// What it has said on stderr.
    pub(crate) fn errors(&self) -> String {
        text(&self.dir.path().join(ERRORS))
    }
}

fn directory() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("twtrace-bench-").tempdir()?)
}

const OUT: &str = "out";
const ERRORS: &str = "errors";
const READY: &str = "ready";

fn command(arm: Arm, tools: &Tools, dir: &Path) -> Result<Command> {
    match arm {
        Arm::Events | Arm::Live | Arm::Record => Ok(twtrace::command(arm, tools, dir)),
        Arm::Tcpstates | Arm::Tcplife | Arm::Bpftrace => others::command(arm),
        _ => Err(anyhow!("{} is no process", arm.name())),
    }
}

fn read(arm: Arm, dir: &Path, heard: &Heard) -> Result<Told> {
    match arm {
        Arm::Events | Arm::Live | Arm::Record => twtrace::read(arm, dir, heard),
        _ => others::read(arm, &text(&dir.join(OUT)), &text(&dir.join(ERRORS)), heard),
    }
}

/// What a user would type, with files by these names.
pub(crate) fn shown(arm: Arm, tools: &Tools) -> Option<String> {
    match arm {
        Arm::Untraced | Arm::Again => None,
        Arm::Floor => Some(shown_floor(&tools.hooks)),
        Arm::Ss => {
            Some(format!("{} > /dev/null   # at once, then every second", command::shown(&others::polled())))
        }
        _ => {
            let command = command(arm, tools, Path::new("")).ok()?;
            let out = if arm == Arm::Record { "" } else { " > out" };
            let line = command::shown(&command).replace(&*tools.twtrace.to_string_lossy(), "twtrace");
            Some(format!("{line}{out}"))
        }
    }
}

/// Where the programs are that only return, in words.
fn shown_floor(hooks: &[Hook]) -> String {
    let tracepoints = hooks.iter().filter_map(|hook| match &hook.attach_point {
        AttachPoint::Tracepoint(name) => Some(name.as_str()),
        _ => None,
    });
    let tracepoints: Vec<&str> = tracepoints.collect();
    let functions =
        hooks.iter().filter(|hook| matches!(hook.attach_point, AttachPoint::Function(..))).count();
    format!("`return 0` at the tracepoints {} and {functions} functions, by bpf(2)", tracepoints.join(", "))
}

/// A file that is not there reads as empty.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_without_the_places_of_this_machine() {
        let tools = Tools {
            twtrace: "/some/where/twtrace".into(),
            backend: "auto".to_owned(),
            hooks: Vec::new(),
            settle: Duration::ZERO,
        };
        let line = shown(Arm::Events, &tools).unwrap();
        assert_eq!(line, "twtrace events --json --verbose --backend auto --ready-file ready > out");
        assert!(shown(Arm::Record, &tools).unwrap().starts_with("twtrace record "));
        assert_eq!(shown(Arm::Untraced, &tools), None);
    }

    #[test]
    fn a_tracer_that_ends_early_is_an_error_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("twtrace");
        std::fs::write(&program, "#!/bin/sh\necho no BTF here >&2\nexit 77\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let tools =
            Tools { twtrace: program, backend: "auto".to_owned(), hooks: Vec::new(), settle: Duration::ZERO };
        let error = Process::start(Arm::Events, &tools).err().unwrap();
        assert!(error.downcast_ref::<Cannot>().is_some());
        let error = error.to_string();
        assert!(error.contains("ended before") && error.ends_with("no BTF here"), "{error}");
    }
}
