//! A machine on which nothing happens, with each tracer.
//!
//! Owns: this measurement. Must not know: what tracers do then.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use twtrace_kit::wait::pass;

use crate::arms::{Heard, Running};
use crate::bench::Bench;
use crate::generator::First;
use crate::model::{Arm, Idle};
use crate::proc;
use crate::site::{self, ALL_PORTS, Made, Owners, Place};

/// Measures those that are processes.
pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let netns = site::enter(ALL_PORTS.0, ALL_PORTS.1)?;
    let arms = [Arm::Events, Arm::Live, Arm::Record, Arm::Tcpstates, Arm::Tcplife, Arm::Bpftrace];
    for arm in bench.available(&arms) {
        let done = one(bench, arm, netns);
        if let Some(idle) = bench.report.case(&format!("idle::{}", arm.name().replace(' ', "-")), done)? {
            bench.report.progress(&format!("idle: {}: {:.2} % of a core", arm.name(), idle.cpu_percent));
            bench.results.idle.push(idle);
        }
    }
    Ok(())
}

fn one(bench: &Bench, arm: Arm, netns: u32) -> Result<Idle> {
    let running = Running::start(arm, &bench.tools)?;
    let pid = running.pid().context("no process")?;
    pass(bench.tools.settle);
    let (began, cpu_s, sleeps) = (Instant::now(), proc::cpu_s(pid)?, proc::sleeps(pid)?);
    pass(Duration::from_millis(bench.plan.idle_ms));
    let took_s = began.elapsed().as_secs_f64();
    let (cpu_s, sleeps) = (proc::cpu_s(pid)? - cpu_s, proc::sleeps(pid)?.saturating_sub(sleeps));
    let made = Made { count: 0, elapsed_s: took_s, connect: None, owners: Owners::AnyOf(Vec::new()) };
    let place = Place { netns, port: 1, first: First::Client };
    running.stop(&Heard { place, made: &made, created: Some(0) })?;
    Ok(Idle { arm, cpu_percent: cpu_s / took_s * 100.0, wakeups: sleeps as f64 / took_s })
}
