//! A run of the benchmarks: what every measurement works with, and leaves its results in.
//!
//! Owns: which arms there are here. Must not know: what is measured, and how.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use twtrace_kit::bpf::returning::hooks;

use crate::arms::{self, Heard, Running, Tools};
use crate::generator::First;
use crate::machine;
use crate::model::{Absent, Arm, Results, Settings};
use crate::plan::Plan;
use crate::report::Report;
use crate::site::{self, Made, Owners, Site};

/// A run of the benchmarks.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) tools: Tools,
    /// Those that can run here.
    pub(crate) arms: Vec<Arm>,
    pub(crate) report: Report,
    pub(crate) results: Results,
}

impl Bench {
    /// Finds out what can run here.
    ///
    /// # Errors
    /// Where twtrace cannot.
    pub(crate) fn begin(plan: Plan, settings: Settings, twtrace: &Path, backend: &str) -> Result<Self> {
        let settle = Duration::from_millis(plan.settle_ms);
        let tools =
            Tools { twtrace: twtrace.to_owned(), backend: backend.to_owned(), hooks: Vec::new(), settle };
        let mut bench = Self {
            plan,
            tools,
            arms: Vec::new(),
            report: Report::new(settings.quick),
            results: Results { settings, ..Results::default() },
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
        let site = Site { netns, port: 1, first: First::Client };
        running.stop(&Heard { site, made: &made, created: Some(0) }).map(drop)
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
}
