//! Owns: what runs beside a load: twtrace in one of its modes, held still or not, or programs that only return where twtrace
//! has its own; and what its programs took.
//! Must not know: loads.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Mode;
use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Serialize;
use twtrace_kit::bpf::returning::{Returning, hooks};
use twtrace_kit::bpf::{Info, Statistics, info, programs_of};
use twtrace_kit::child::Guarded;
use twtrace_kit::wait::{PATIENCE, until_true};

/// Room for all that a held agent does not read.
const RING: &str = "32M";

/// What one program did beside one load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) runs: u64,
    /// By the kernel's statistics, which count a part of their own cost as the program's.
    pub(super) instructions: u64,
}

/// What runs beside the loads. It ends with this value.
pub(super) struct Agent {
    mode: Mode,
    process: Option<Process>,
    floor: Vec<Returning>,
    statistics: Option<Statistics>,
    before: BTreeMap<u32, Info>,
}

struct Process {
    /// Killed at once: one that is held would not hear another signal.
    child: Guarded,
    dir: tempfile::TempDir,
}

impl Agent {
    /// Starts it, and waits until it is attached.
    ///
    /// # Errors
    /// Where it cannot attach; what it said is in the message.
    pub(super) fn start(twtrace: &Path, backend: &str, mode: Mode) -> Result<Self> {
        let statistics = (mode == Mode::Programs).then(Statistics::enable).transpose()?;
        let process = Process::start(twtrace, backend, mode)?;
        let mut agent =
            Self { mode, process: Some(process), floor: Vec::new(), statistics, before: BTreeMap::new() };
        match mode {
            Mode::Floor => {
                let process = agent.process.take().context("it was started")?;
                let hooks = hooks(process.child.id())?;
                process.stop()?;
                agent.floor = Returning::beside(&hooks)?;
            }
            Mode::Held | Mode::Programs => agent.signal(Signal::SIGSTOP)?,
            Mode::Record | Mode::Events | Mode::Live => {}
        }
        Ok(agent)
    }

    /// A load begins now.
    ///
    /// # Errors
    /// Where the kernel does not say what its programs did so far.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.before = self.infos()?;
        Ok(())
    }

    /// What its programs did since the load began, those that did most first; nothing where that is not counted.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub(super) fn programs(&self) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        for (id, after) in self.infos()? {
            let before = self.before.get(&id).context("a program came from nowhere")?;
            let (runs, instructions) = (after.runs - before.runs, after.run_ns - before.run_ns);
            programs.push(Program { name: after.name, runs, instructions });
        }
        programs.sort_by_key(|program| std::cmp::Reverse(program.instructions));
        Ok(programs)
    }

    fn infos(&self) -> Result<BTreeMap<u32, Info>> {
        let (Some(process), Some(_)) = (&self.process, &self.statistics) else { return Ok(BTreeMap::new()) };
        programs_of(process.child.id())?.into_iter().map(|id| Ok((id, info(id)?))).collect()
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where it lost events: what it did not do was not counted either.
    pub(super) fn stop(mut self) -> Result<()> {
        if matches!(self.mode, Mode::Held | Mode::Programs) {
            self.signal(Signal::SIGCONT)?;
        }
        self.process.take().map_or(Ok(()), Process::stop)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("it has ended")?.child.signal(signal)
    }
}

impl Process {
    fn start(twtrace: &Path, backend: &str, mode: Mode) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (ready, errors) = (dir.path().join("ready"), dir.path().join("errors"));
        let mut command = Command::new(twtrace);
        match mode {
            Mode::Events => command.args(["events", "--json"]),
            Mode::Live => command.arg("--plain"),
            Mode::Held | Mode::Programs => {
                command.args(["record", "--ring-size", RING, "-o"]).arg(dir.path().join("out"))
            }
            Mode::Record | Mode::Floor => command.args(["record", "-o"]).arg(dir.path().join("out")),
        };
        command.args(["--backend", backend, "--ready-file"]).arg(&ready);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        let mut process = Self { child: Guarded::spawn(&mut command)?, dir };
        let mut status = None;
        until_true("twtrace to be attached", PATIENCE, || {
            status = process.child.try_wait()?;
            Ok(status.is_some() || ready.exists())
        })?;
        if let Some(status) = status {
            bail!("twtrace ended with {status}: {}", process.said());
        }
        Ok(process)
    }

    fn stop(mut self) -> Result<()> {
        let status = self.child.stop(Signal::SIGINT, PATIENCE)?;
        let said = self.said();
        ensure!(status.success(), "twtrace ended with {status}: {said}");
        ensure!(lost(&said).is_none_or(|lost| lost == 0), "it lost events: {said}");
        Ok(())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default().trim().replace('\n', "; ")
    }
}

/// The number of lost events in a summary, of `events` or of `record`.
fn lost(summary: &str) -> Option<u64> {
    let after = |word: &str| {
        let rest = &summary[summary.find(word)? + word.len()..];
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    };
    after("lost: ").or_else(|| after(" lost "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_found_in_both_summaries() {
        assert_eq!(lost("created: 204, ended: 2 (expired 2)\nlost: 3\ntraced 0.8 s\n"), Some(3));
        assert_eq!(
            lost("recorded 24 events in 7.0 s, lost 5, live at the end 7: 11 bytes in out\n"),
            Some(5)
        );
        assert_eq!(lost("twtrace: tracing\n"), None);
    }
}
