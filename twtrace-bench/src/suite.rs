//! Everything that is measured, in order, into one set of results.
//!
//! Owns: the order, and what `--only` leaves. Must not know: how any of it is measured or shown.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::generator::First;
use crate::model::{Results, Settings};
use crate::plan::Plan;
use crate::{growth, loads, programs, unloaded};

/// What may be measured alone, in the order in which all is measured: what loads leave behind ends for a minute, and is no idle machine.
const NAMES: [&str; 12] = [
    "idle",
    "screen",
    "nginx",
    "keepalive",
    "client-first",
    "server-first",
    "programs",
    "rate",
    "live-sockets",
    "processes",
    "reports",
    "soak",
];

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

impl Task<'_> {
    fn begin(&self) -> Result<Bench> {
        let settings = Settings {
            command: self.command.clone(),
            rounds: self.plan.rounds,
            run_ms: self.plan.run_ms,
            quick: self.quick,
            partial: !self.only.is_empty(),
            took_s: 0.0,
            also: Vec::new(),
        };
        Bench::begin(self.plan.clone(), settings, self.twtrace, self.backend)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn measure(&self, bench: &mut Bench) -> Result<()> {
        for name in NAMES.into_iter().filter(|name| self.wants(name)) {
            match name {
                "nginx" | "keepalive" => loads::web(bench, name)?,
                "client-first" => loads::generated(bench, First::Client)?,
                "server-first" => loads::generated(bench, First::Server)?,
                "programs" => programs::measure(bench)?,
                "rate" => growth::by_rate(bench)?,
                "live-sockets" => growth::by_live_sockets(bench)?,
                "processes" => growth::by_processes(bench)?,
                "idle" => unloaded::idle(bench)?,
                "screen" => unloaded::screen(bench, self.frame)?,
                "reports" => unloaded::reports(bench, self.synthetic)?,
                _ => match self.soak_s {
                    Some(length_s) => loads::soak(bench, length_s)?,
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
    let mut bench = task.begin()?;
    task.measure(&mut bench)?;
    let Bench { mut results, report, .. } = bench;
    results.settings.took_s = began.elapsed().as_secs_f64();
    Ok((results, report.close()))
}
