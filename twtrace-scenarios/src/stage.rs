//! Owns: running scenarios in processes of their own, several at a time, each with a deadline, and holding their
//! namespaces until the caller is done with them.
//! Must not know: what is expected of twtrace, nor what is printed.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, setpgid};
use serde::{Deserialize, Serialize};
use twtrace_kit::Cannot;

use crate::expect::Outcome;
use crate::sandbox::Sandbox;
use crate::scenarios::{Kind, Scenario};
use crate::tracer::Setup;

/// What a scenario's process has to say at its end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It came to its end.
    Done(Outcome),
    /// twtrace cannot run here; its stderr.
    Cannot(String),
    /// It broke off.
    Broken(String),
}

fn deadline(kind: Kind) -> Duration {
    Duration::from_secs(match kind {
        Kind::Shared | Kind::SharedLast => 60,
        Kind::Own | Kind::Once | Kind::Boot => 240,
        Kind::Heavy => 600,
    })
}

/// A process that runs, or has run, a scenario. It and all of its actors end when this is dropped.
struct Run {
    pid: Pid,
    stream: UnixStream,
    heard: Vec<u8>,
    deadline: Instant,
    report: Option<Report>,
    /// Keeps the namespace, and with it its inode, of a process that had to be killed.
    _netns: Option<File>,
}

impl Run {
    fn start(scenario: &Scenario, setup: &Setup) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: the harness has one thread.
        match unsafe { fork() }? {
            ForkResult::Child => {
                drop(ours);
                perform(scenario, setup, theirs);
            }
            ForkResult::Parent { child } => {
                // Both sides do it, so that it is done whichever runs first.
                let _ = setpgid(child, child);
                ours.set_nonblocking(true)?;
                let deadline = Instant::now() + deadline(scenario.kind);
                let heard = Vec::new();
                Ok(Self { pid: child, stream: ours, heard, deadline, report: None, _netns: None })
            }
        }
    }

    /// Hears what there is to hear; afterwards there may be a report.
    fn listen(&mut self) -> Result<()> {
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.break_off("its process died"),
                Ok(length) => self.heard.extend(chunk.iter().take(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.heard.last() == Some(&b'\n') {
            self.report = Some(serde_json::from_slice(&self.heard)?);
        } else if Instant::now() >= self.deadline {
            self.break_off("it did not end in time")?;
        }
        Ok(())
    }

    fn break_off(&mut self, why: &str) -> Result<()> {
        self._netns = File::open(format!("/proc/{}/ns/net", self.pid)).ok();
        self.report = Some(Report::Broken(why.to_owned()));
        // The group is the scenario's process, its actors, and a twtrace of its own.
        kill(Pid::from_raw(-self.pid.as_raw()), Signal::SIGKILL).context("killing a scenario")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(-self.pid.as_raw()), Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// The scenario's process: acts, reports, and then holds its namespaces until it is killed or the harness is gone.
fn perform(scenario: &Scenario, setup: &Setup, mut stream: UnixStream) -> ! {
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    // A forked actor's parent may end first; its child is then ours to wait for.
    let _ = prctl::set_child_subreaper(true);
    let report = match act(scenario, setup) {
        Ok(outcome) => Report::Done(outcome),
        Err(error) => match error.downcast_ref::<Cannot>() {
            Some(Cannot(stderr)) => Report::Cannot(stderr.clone()),
            None => Report::Broken(format!("{error:#}")),
        },
    };
    let said = serde_json::to_vec(&report).map(|mut line| {
        line.push(b'\n');
        line
    });
    if let Ok(line) = said
        && stream.write_all(&line).is_ok()
    {
        let _ = stream.read(&mut [0]);
    }
    std::process::exit(0);
}

fn act(scenario: &Scenario, setup: &Setup) -> Result<Outcome> {
    let mut sandbox = Sandbox::new(setup.clone())?;
    (scenario.act)(&mut sandbox)?;
    sandbox.finish()
}

/// Scenarios whose actions are over.
pub(crate) struct Stage {
    runs: Vec<(Scenario, Run)>,
}

impl Stage {
    /// Runs all of these to the end of their actions, `abreast` at a time, those that must come last one by one.
    pub(crate) fn run(scenarios: &[Scenario], setup: &Setup, abreast: usize) -> Result<Self> {
        let mut stage = Self { runs: Vec::new() };
        let (last, first): (Vec<_>, Vec<_>) = scenarios.iter().partition(|s| s.kind != Kind::Shared);
        stage.run_some(&first, setup, abreast)?;
        stage.run_some(&last, setup, 1)?;
        Ok(stage)
    }

    fn run_some(&mut self, scenarios: &[&Scenario], setup: &Setup, abreast: usize) -> Result<()> {
        let mut waiting = scenarios.iter();
        loop {
            let mut busy = 0;
            for (_, run) in &mut self.runs {
                if run.report.is_none() {
                    run.listen()?;
                    busy += usize::from(run.report.is_none());
                }
            }
            if busy < abreast
                && let Some(scenario) = waiting.next()
            {
                self.runs.push((**scenario, Run::start(scenario, setup)?));
            } else if busy == 0 {
                return Ok(());
            } else {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// What each had to say.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (&Scenario, &Report)> {
        self.runs.iter().filter_map(|(scenario, run)| Some((scenario, run.report.as_ref()?)))
    }
}
