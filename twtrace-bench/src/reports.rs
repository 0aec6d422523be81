//! What it costs to report a large recording.
//!
//! Owns: this measurement. Must not know: how a report is made.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use twtrace_kit::command;

use crate::bench::Bench;
use crate::screen::parse;

/// Runs twtrace's example `synthetic`, which writes a recording of a busy machine that never was and reports it.
pub(crate) fn measure(bench: &mut Bench, synthetic: &Path) -> Result<()> {
    let events = bench.plan.report_events.to_string();
    let told =
        command::read(Command::new(synthetic).args(["measure", &events])).and_then(|text| parse(&text));
    if let Some(rows) = bench.report.case("reports", told)? {
        bench.results.reports.extend(rows);
    }
    bench.report.progress("reports");
    Ok(())
}
