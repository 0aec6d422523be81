//! Owns: a whole run: twtrace beside the scenarios, the judgement, the lines that are printed.
//! Must not know: any particular scenario.

use std::io::Write;

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use twtrace_kit::Cannot;
use twtrace_kit::wait::{PATIENCE, until_true};

use crate::expect::Outcome;
use crate::judge::judge;
use crate::limits;
use crate::scenarios::{Kind, Scenario};
use crate::schema::{Event, parse};
use crate::ss;
use crate::stage::{Report, Stage};
use crate::tracer::{Setup, Tracer, within};

/// Most lines that a failure gets.
const REASONS: usize = 23;
/// Most characters of why one is played again.
const LONGEST: usize = 2000;

/// What became of one scenario.
enum Verdict {
    Passed,
    Failed(Vec<String>),
    Skipped(limits::Skip),
}

/// The lines of a run, and their count.
struct Printer {
    prefix: String,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Printer {
    fn print(&mut self, name: &str, verdict: &Verdict) -> Result<()> {
        let mut out = std::io::stdout().lock();
        write!(out, "test {}::{name} ... ", self.prefix)?;
        match verdict {
            Verdict::Passed => {
                self.passed += 1;
                writeln!(out, "ok")?;
            }
            Verdict::Failed(reasons) => {
                self.failed += 1;
                writeln!(out, "FAILED")?;
                let lines: Vec<&str> = reasons.iter().flat_map(|reason| reason.lines()).collect();
                for line in lines.iter().take(REASONS) {
                    writeln!(out, "    {}", printable(line))?;
                }
                if lines.len() > REASONS {
                    writeln!(out, "    and {} more", lines.len() - REASONS)?;
                }
            }
            Verdict::Skipped(reason) => {
                self.skipped += 1;
                writeln!(out, "skipped: {reason}")?;
            }
        }
        Ok(out.flush()?)
    }

    /// Why a scenario is played again stands in the table of results as well.
    fn again(&self, scenario: &Scenario, failures: &[String]) -> Result<()> {
        let why: String = printable(&failures.join("; ")).chars().take(LONGEST).collect();
        let mut out = std::io::stdout().lock();
        writeln!(out, "again {}::{} ... {why}", self.prefix, scenario.name)?;
        Ok(out.flush()?)
    }
}

/// Runs the scenarios under one backend; `Ok(true)` where none failed. [`Cannot`] where twtrace cannot. `label`
/// goes before the backend's name; `jobs` scenarios run at a time where they share a twtrace; with `again` what failed is played
/// once more.
pub fn run(
    scenarios: &[Scenario],
    setup: &Setup,
    label: Option<&str>,
    (jobs, again): (usize, bool),
) -> Result<bool> {
    let prefix = label.map_or_else(|| setup.backend.clone(), |label| format!("{label}::{}", setup.backend));
    let mut printer = Printer { prefix, passed: 0, failed: 0, skipped: 0 };
    let again = if again { Again::WhatFailed } else { Again::Unstaged };
    keep_orphans()?;
    // Here, so that not each scenario's process has to find out.
    ss::has_tcp_diag();
    let mut able = Vec::new();
    for scenario in scenarios {
        match limits::skip(scenario.name, &setup.backend) {
            Some(reason) => printer.print(scenario.name, &Verdict::Skipped(reason))?,
            None => able.push(*scenario),
        }
    }
    let is_shared = |s: &Scenario| matches!(s.kind, Kind::Shared | Kind::SharedLast);
    let (shared, own): (Vec<_>, Vec<_>) = able.into_iter().partition(is_shared);
    if !shared.is_empty() {
        let left = run_shared(&shared, setup, jobs, &mut printer, again)?;
        if !left.is_empty() {
            run_shared(&left, setup, 1, &mut printer, Again::Never)?;
        }
    }
    for scenario in own {
        let mut failures = run_alone(scenario, setup)?;
        if again.is_due(&failures) {
            printer.again(&scenario, &failures)?;
            failures = run_alone(scenario, setup)?;
        }
        printer.print(scenario.name, &verdict(failures))?;
    }
    println!("{} passed, {} failed, {} skipped", printer.passed, printer.failed, printer.skipped);
    Ok(printer.failed == 0)
}

/// Makes orphans of this process's children its own. Some kernels keep BPF programs from running while a thread of init is
/// current: a TIME_WAIT socket that is made in a softirq which interrupts it is seen by nobody. So init should have no reason to run.
fn keep_orphans() -> Result<()> {
    prctl::set_child_subreaper(true).context("becoming the reaper of orphans")
}

/// Plays a scenario that starts twtrace itself.
fn run_alone(scenario: Scenario, setup: &Setup) -> Result<Vec<String>> {
    let stage = Stage::run(&[scenario], setup, 1)?;
    let failures = stage.reports().map(|(_, report)| own_failures(report)).collect::<Result<Vec<_>>>()?;
    Ok(failures.concat())
}

/// Names of processes may hold anything.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn verdict(failures: Vec<String>) -> Verdict {
    if failures.is_empty() { Verdict::Passed } else { Verdict::Failed(failures) }
}

fn own_failures(report: &Report) -> Result<Vec<String>> {
    match report {
        Report::Done(outcome) => Ok(outcome.failures.clone()),
        Report::Broken(why) => Ok(vec![why.clone()]),
        Report::Cannot(stderr) => Err(Cannot(stderr.clone()).into()),
    }
}

/// What is played a second time, by itself. It is told, whatever comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Never,
    /// A situation that the kernel did not bring about in time, so that nothing was asked of twtrace: an ACK that meets close() between
    /// its last look at the state and the release of the socket's lock leaves an orphan in FIN_WAIT2 without a mini-socket
    /// (tcp_rcv_state_process, `sock_owned_by_user`).
    Unstaged,
    /// In an emulated guest, also what went wrong: it stands still for seconds at times, while the kernel's timers do not.
    WhatFailed,
}

impl Again {
    fn is_due(self, failures: &[String]) -> bool {
        match self {
            Self::Never => false,
            Self::Unstaged => failures.iter().any(|failure| failure.starts_with("waited ")),
            Self::WhatFailed => !failures.is_empty(),
        }
    }
}

/// Runs scenarios beside one twtrace; returns those that are to be played again.
fn run_shared(
    scenarios: &[Scenario],
    setup: &Setup,
    jobs: usize,
    printer: &mut Printer,
    again: Again,
) -> Result<Vec<Scenario>> {
    let tracer = Tracer::start(setup, &["--json", "--verify"])?;
    let stage = Stage::run(scenarios, setup, jobs)?;
    for (_, report) in stage.reports() {
        if let Report::Done(outcome) = report
            && outcome.await_told
        {
            await_told(&tracer, outcome);
        }
    }
    let told = tracer.stop(Signal::SIGINT)?;
    // What a scenario did is judged even where the run as a whole was not clean.
    let (events, run) = match told.events() {
        Ok(events) => (events, Vec::new()),
        Err(error) => {
            (told.stdout.lines().filter_map(|line| parse(line).ok()).collect(), vec![format!("{error:#}")])
        }
    };
    let mut left = Vec::new();
    for (scenario, report) in stage.reports() {
        let mut failures = own_failures(report)?;
        if let Report::Done(outcome) = report {
            let ours: Vec<Event> =
                events.iter().filter(|event| within(event, &outcome.netns)).cloned().collect();
            failures.extend(judge(&ours, &outcome.expected, &outcome.cookies));
        }
        if again.is_due(&failures) {
            printer.again(scenario, &failures)?;
            left.push(*scenario);
        } else {
            printer.print(scenario.name, &verdict(failures))?;
        }
    }
    if again != Again::Never || !run.is_empty() {
        printer.print("the_run_as_a_whole", &verdict(run))?;
    }
    Ok(left)
}

/// Waits until as many events have been told as are expected; that it was in vain shows in the judgement.
fn await_told(tracer: &Tracer, outcome: &Outcome) {
    let expected: usize = outcome.expected.iter().map(|pattern| pattern.count).sum();
    let _ = until_true("the last events", PATIENCE, || {
        let told = tracer.so_far()?;
        let ours =
            told.lines().filter_map(|line| parse(line).ok()).filter(|event| within(event, &outcome.netns));
        Ok(ours.count() >= expected)
    });
}
