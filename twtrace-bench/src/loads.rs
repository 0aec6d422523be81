//! The loads: a web server with and without keep-alive, and our own generator both ways, each with every arm; and the generator for a long
//! time with all modes of twtrace at once, whether their memory stays as it is.
//!
//! Owns: which load has which arms. Must not know: how runs are measured, what takes memory.

use std::time::Instant;

use anyhow::{Context as _, Result};
use twtrace_kit::command::{shown, which};

use crate::arms::{Heard, Process};
use crate::bench::Bench;
use crate::generator::{First, Order, Shape};
use crate::measure::rounds;
use crate::model::{Arm, Load, Soak, SoakMode};
use crate::process;
use crate::site::{self, ALL_PORTS, Counters, Generated, Owners, Traffic};
use crate::web::{Requests, Web, ab};

/// Destinations of the generator. Where the client closes first, a port must be a second old before it can be used again, and each
/// destination has its own.
pub(crate) const TARGETS: u8 = 3;

/// nginx and ab; `keepalive` is one of the names.
pub(crate) fn web(bench: &mut Bench, name: &str) -> Result<()> {
    let keep_alive = name == "keepalive";
    for (program, package) in [("nginx", "nginx-light"), ("ab", "apache2-utils")] {
        if which(program).is_none() {
            bench.absent(name, &anyhow::anyhow!("no {program} here (Debian package {package})"));
            return Ok(());
        }
    }
    let netns = site::enter(ALL_PORTS.0, ALL_PORTS.1)?;
    let requests = Requests { count: bench.plan.requests, keep_alive };
    let mut web = Web::start(netns, requests)?;
    // Fills the table, so that the first round finds what the others find; and says how many requests a run takes.
    let made = web.run()?;
    let speed = made.count as f64 / made.elapsed_s;
    web.requests.count = ((speed * bench.plan.run_ms as f64 / 1e3) as u64).max(100);
    bench.results.commands.push((name.to_owned(), shown(&ab(web.requests))));
    // What others make of connections that hardly come and go is not the question.
    let twtrace = [Arm::Untraced, Arm::Again, Arm::Floor, Arm::Events, Arm::Live, Arm::Record];
    let arms = if keep_alive { bench.available(&twtrace) } else { bench.arms.clone() };
    compare(bench, name, &arms, &mut web)
}

/// Our own generator.
pub(crate) fn generated(bench: &mut Bench, first: First) -> Result<()> {
    let name = match first {
        First::Client => "client-first",
        First::Server => "server-first",
    };
    let mut generated = flat_out(bench, first)?;
    let arms = bench.arms.clone();
    compare(bench, name, &arms, &mut generated)
}

/// The generator as fast as one core can, with its table filled.
pub(crate) fn flat_out(bench: &Bench, first: First) -> Result<Generated> {
    let netns = site::enter(ALL_PORTS.0, ALL_PORTS.1)?;
    let shape = Shape { first, processes: 1, targets: TARGETS };
    let order = Order { rate: None, for_ms: bench.plan.run_ms };
    let mut generated = Generated::start(netns, &shape, order)?;
    generated.fill(bench.plan.full)?;
    Ok(generated)
}

fn compare(bench: &mut Bench, name: &str, arms: &[Arm], traffic: &mut dyn Traffic) -> Result<()> {
    let Bench { plan, tools, report, .. } = bench;
    let rounds = rounds(name, plan.rounds, arms, tools, traffic, report)?;
    let unit = traffic.unit().to_owned();
    bench.results.loads.push(Load { name: name.to_owned(), unit, rounds });
    Ok(())
}

/// Runs of the generator between two looks at memory, in milliseconds.
const SAMPLE_MS: u64 = 1000;

/// All modes of twtrace, for so many seconds.
pub(crate) fn soak(bench: &mut Bench, length_s: u64) -> Result<()> {
    let done = soaked(bench, length_s);
    bench.results.soak = bench.report.case("soak", done)?;
    Ok(())
}

fn soaked(bench: &Bench, length_s: u64) -> Result<Soak> {
    let mut generated = flat_out(bench, First::Client)?;
    generated.order.for_ms = SAMPLE_MS;
    let mut running = Vec::new();
    for arm in Arm::TWTRACE {
        let mode = SoakMode { arm, rss: Vec::new(), told: Default::default(), created: None };
        running.push((Process::start_for_long(arm, &bench.tools)?, mode));
    }
    let before = Counters::read()?;
    let began = Instant::now();
    let (mut count, mut busy_s) = (0, 0.0);
    let mut last = None;
    while began.elapsed().as_secs() < length_s || last.is_none() {
        let made = generated.run()?;
        count += made.count;
        busy_s += made.elapsed_s;
        last = Some(made);
        for (process, mode) in &mut running {
            mode.rss.push((began.elapsed().as_secs_f64(), process::rss_kib(process.pid())?));
        }
        if (began.elapsed().as_secs() + 1).is_multiple_of(30) {
            bench.report.progress(&format!("soak: {} s of {length_s}", began.elapsed().as_secs() + 1));
        }
    }
    let created = Counters::read()?.since(&before).created;
    let mut made = last.context("nothing ran")?;
    // Over so long a time processes are not told apart.
    made.owners = Owners::AnyOf(Vec::new());
    let mut modes = Vec::new();
    for (process, mut mode) in running {
        let heard = Heard { site: generated.site(), made: &made, created };
        mode.told = process.stop_after_long(&heard)?;
        mode.created = created;
        modes.push(mode);
    }
    Ok(Soak { length_s: began.elapsed().as_secs_f64(), speed: count as f64 / busy_s, modes })
}
