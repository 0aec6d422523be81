//! Everything that is measured, in order, into one set of results.
//!
//! Owns: the order, which arms there are here, and what `--only` leaves. Must not know: how any of it is measured or shown.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::arms::floor::hooks;
use crate::arms::{self, Heard, Running, Tools};
use crate::generator::First;
use crate::model::{Absent, Arm, Results, Settings};
use crate::plan::Plan;
use crate::report::Report;
use crate::site::{self, Made, Owners, Place};
use crate::{growth, loads, machine, programs, unloaded};

/// What may be measured alone, in the order in which all is measured: what loads leave behind ends for a minute, and is no idle machine.
pub(crate) const NAMES: [&str; 12] = [
    "idle",
    "nginx",
    "keepalive",
    "client-first",
    "server-first",
    "programs",
    "rate",
    "live-sockets",
    "processes",
    "screen",
    "reports",
    "soak",
];

/// A run of the benchmarks.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) tools: Tools,
    /// Those that can run here.
    pub(crate) arms: Vec<Arm>,
    pub(crate) report: Report,
    pub(crate) results: Results,
    only: Vec<String>,
}

/// What to run.
pub(crate) struct Task<'a> {
    pub(crate) plan: Plan,
    pub(crate) quick: bool,
    /// As typed.
    pub(crate) command: String,
    pub(crate) twtrace: &'a Path,
    pub(crate) backend: &'a str,
    /// The example `frame` of twtrace, built.
    pub(crate) frame: &'a Path,
    /// The example `synthetic` of twtrace, built.
    pub(crate) synthetic: &'a Path,
    /// Names; none: all but the soak.
    pub(crate) only: Vec<String>,
    /// Seconds of it.
    pub(crate) soak_s: Option<u64>,
}

impl Bench {
    fn begin(task: &Task) -> Result<Self> {
        let twtrace: PathBuf = task.twtrace.to_owned();
        let settle = Duration::from_millis(task.plan.settle_ms);
        let tools = Tools { twtrace, backend: task.backend.to_owned(), hooks: Vec::new(), settle };
        let settings = Settings {
            command: task.command.clone(),
            rounds: task.plan.rounds,
            run_ms: task.plan.run_ms,
            quick: task.quick,
            partial: !task.only.is_empty(),
            took_s: 0.0,
            also: Vec::new(),
        };
        let mut bench = Self {
            plan: task.plan.clone(),
            tools,
            arms: Vec::new(),
            report: Report::new(task.quick),
            results: Results { settings, ..Results::default() },
            only: task.only.clone(),
        };
        bench.survey()?;
        bench.find_arms()?;
        Ok(bench)
    }

    /// Where twtrace attaches, and how.
    fn survey(&mut self) -> Result<()> {
        let process = arms::Process::start(Arm::Events, &self.tools)?;
        self.tools.hooks = hooks(process.pid())?;
        ensure!(!self.tools.hooks.is_empty(), "twtrace has nothing attached");
        let said = process.errors();
        let backend = said.lines().find_map(|line| {
            line.strip_prefix("twtrace: tracing with the ")?.strip_suffix(" backend").map(str::to_owned)
        });
        let backend = backend.with_context(|| format!("twtrace does not say how it attached: `{said}`"))?;
        self.results.machine = machine::describe(&self.tools.twtrace, backend)?;
        Ok(())
    }

    /// Tries each arm once: one that cannot attach is left out, with its reason. twtrace must.
    fn find_arms(&mut self) -> Result<()> {
        let netns = site::enter(site::ALL_PORTS.0, site::ALL_PORTS.1)?;
        for arm in Arm::ALL {
            match self.try_out(arm, netns) {
                Ok(()) => {
                    self.arms.push(arm);
                    if let Some(line) = arms::shown(arm, &self.tools) {
                        self.results.commands.push((arm.name().to_owned(), line));
                    }
                }
                Err(error) if arm.is_twtrace() => return Err(error),
                Err(error) => self.absent(arm.name(), &error),
            }
        }
        Ok(())
    }

    fn try_out(&self, arm: Arm, netns: u32) -> Result<()> {
        let running = Running::start(arm, &self.tools)?;
        let made = Made { count: 0, elapsed_s: 0.0, connect: None, owners: Owners::AnyOf(Vec::new()) };
        let place = Place { netns, port: 1, first: First::Client };
        running.stop(&Heard { place, made: &made, created: Some(0) }).map(drop)
    }

    /// Something cannot be measured here.
    pub(crate) fn absent(&mut self, what: &str, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        self.report.skip(&what.replace(' ', "-"), &reason);
        self.results.absent.push(Absent { what: what.to_owned(), reason });
    }

    /// Those of these arms that can run here.
    pub(crate) fn available(&self, arms: &[Arm]) -> Vec<Arm> {
        arms.iter().copied().filter(|arm| self.arms.contains(arm)).collect()
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn measure(&mut self, task: &Task) -> Result<()> {
        for name in NAMES.into_iter().filter(|name| self.wants(name)).collect::<Vec<_>>() {
            match name {
                "nginx" | "keepalive" => loads::web(self, name)?,
                "client-first" => loads::generated(self, First::Client)?,
                "server-first" => loads::generated(self, First::Server)?,
                "programs" => programs::measure(self)?,
                "rate" => growth::by_rate(self)?,
                "live-sockets" => growth::by_live_sockets(self)?,
                "processes" => growth::by_processes(self)?,
                "idle" => unloaded::idle(self)?,
                "screen" => unloaded::screen(self, task.frame)?,
                "reports" => unloaded::reports(self, task.synthetic)?,
                _ => match task.soak_s {
                    Some(length_s) => loads::soak(self, length_s)?,
                    None => continue,
                },
            }
        }
        Ok(())
    }
}

/// Measures. Gives the results, and whether nothing failed.
///
/// # Errors
/// Where twtrace cannot run here, or something that is no result failed.
pub(crate) fn run(task: &Task) -> Result<(Results, bool)> {
    if let Some(unknown) = task.only.iter().find(|name| !NAMES.contains(&name.as_str())) {
        bail!("nothing is called {unknown}; there are {}", NAMES.join(", "));
    }
    let began = Instant::now();
    let mut bench = Bench::begin(task)?;
    bench.measure(task)?;
    let Bench { mut results, report, .. } = bench;
    results.settings.took_s = began.elapsed().as_secs_f64();
    Ok((results, report.close()))
}
