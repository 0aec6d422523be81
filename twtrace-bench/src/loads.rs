//! The loads with every arm: a web server with and without keep-alive, and our own generator both ways.
//!
//! Owns: which load has which arms. Must not know: how runs are measured.

use anyhow::Result;
use twtrace_kit::command::{shown, which};

use crate::bench::Bench;
use crate::generator::{First, Order, Shape};
use crate::measure::rounds;
use crate::model::{Arm, Load};
use crate::site::{self, ALL_PORTS, Generated, Traffic};
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
