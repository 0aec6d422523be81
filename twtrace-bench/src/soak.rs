//! A long time at full rate with all modes of twtrace at once: whether their memory stays as it is.
//!
//! Owns: this measurement. Must not know: what takes memory.

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::arms::{Heard, Process};
use crate::bench::Bench;
use crate::generator::First;
use crate::loads::flat_out;
use crate::model::{Arm, Soak, SoakMode};
use crate::proc;
use crate::site::{Counters, Owners, Traffic as _};

/// Runs of the generator between two looks at memory, in milliseconds.
const LOOK_MS: u64 = 1000;

/// For so many seconds.
pub(crate) fn measure(bench: &mut Bench, length_s: u64) -> Result<()> {
    let done = soak(bench, length_s);
    bench.results.soak = bench.report.case("soak", done)?;
    Ok(())
}

fn soak(bench: &Bench, length_s: u64) -> Result<Soak> {
    let mut generated = flat_out(bench, First::Client)?;
    generated.order.for_ms = LOOK_MS;
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
            mode.rss.push((began.elapsed().as_secs_f64(), proc::rss_kib(process.pid())?));
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
        let heard = Heard { place: generated.place(), made: &made, created };
        mode.told = process.stop_after_long(&heard)?;
        mode.created = created;
        modes.push(mode);
    }
    Ok(Soak { length_s: began.elapsed().as_secs_f64(), speed: count as f64 / busy_s, modes })
}
