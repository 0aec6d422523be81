//! Owns: `twtrace diff`: two recordings side by side, and whether that is a failure.
//! Must not know: how they are compared.

use std::path::{Path, PathBuf};

use super::Outcome;
use super::filters::{FilterArgs, said_of_nothing};
use super::recordings;
use super::values::number;
use crate::model::escape::printable;
use crate::output::paint::Paint;
use crate::output::room::terminal_columns;
use crate::present::diff::{self, Condition, ConditionResult};
use crate::present::report::{self, By, Group, Options, Report};
use crate::present::signs::in_locale;

const ABOUT: &str = "\
A condition is METRIC OPERATOR LIMIT. Quote it, because the shell takes > and < for redirection. Operators: < <= > >=.
  100    the new value itself       'connect_failed > 0'   'pressure >= 80%'
  +100   how much it grew           'peak_live > +1000'    'created/s < -50'
  +10%   how much it grew, in %     'created/s > +10%'     'age_p99 > +25%'

Metrics: duration, created, created/s, peak_created/s, ended/s, expired/s, reused_outgoing/s, reused_incoming/s, reset/s, \
live, peak_live, pressure, failed, failed/s, overflow, connect_failed, bind_failed, aborted, aborted/s, syn_refused, \
lost, age_p50, age_p90, age_p99, lifetime_p50, lifetime_p99 (milliseconds), sent_p50, received_p50 (bytes). Rates are averages \
over the whole recording. Where one of the values is not known, the condition counts as if it held, and stderr says so.

Exit status: 0 done, 1 a condition holds (stderr says which) or the work failed, 2 wrong usage.";

/// `twtrace diff`
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct Args {
    /// Recording from before the change, or a folder of them
    old: PathBuf,
    /// Recording from after the change, or a folder of them
    new: PathBuf,
    /// Exit with status 1 if this is true, such as 'created/s > +10%'; may be given several times
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Condition>,
    /// Show at most N rows per table
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = number::<usize>)]
    top: usize,
    /// Print one JSON object, with all rows
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    recordings::refuse_stdin_twice(&[args.old.clone(), args.new.clone()])?;
    // Names may stand for other namespaces in the other recording.
    let hosts = |path: &PathBuf| recordings::hosts(std::slice::from_ref(path), &args.filters);
    let (old, new) = (hosts(&args.old)?, hosts(&args.new)?);
    let (old, new) = (report(old, &args.old)?, report(new, &args.new)?);
    let comparison = diff::compare(&old, &new);
    let verdicts: Vec<ConditionResult> =
        args.fail_if.iter().map(|condition| condition.judge(&comparison)).collect();
    let mut out = Vec::new();
    if args.json {
        diff::json::line(&comparison, &verdicts, &mut out);
    } else {
        let zone = jiff::tz::TimeZone::system();
        let layout =
            diff::text::Layout { most: args.top, columns: terminal_columns(), paint: Paint::stdout() };
        out = in_locale(diff::text::text(&comparison, layout, &zone)).into_bytes();
    }
    // A text has them among its lines.
    for caution in comparison.cautions().iter().filter(|_| args.json || !args.fail_if.is_empty()) {
        crate::note!("twtrace: {caution}");
    }
    let written = crate::output::print(&out);
    // The verdict stands, whether or not anybody reads the rest.
    let mut outcome = Outcome::Done;
    for verdict in verdicts.iter().filter(|verdict| verdict.fails) {
        crate::note!("twtrace: --fail-if {verdict}");
        outcome = Outcome::Failed;
    }
    if outcome == Outcome::Done {
        written?;
    }
    Ok(outcome)
}

fn report(hosts: Vec<Group>, file: &Path) -> anyhow::Result<Report> {
    let filter = hosts.first().map(|host| host.filter.clone()).unwrap_or_default();
    let options = Options {
        file: file.to_string_lossy().into_owned(),
        filters: filter.words(),
        filter,
        by: vec![By::Tuple, By::Netns],
        every_ns: None,
    };
    let report = report::read_hosts(hosts, &options)?;
    if let Some(nothing) = said_of_nothing(&options.filter, report.passed) {
        crate::note!("twtrace: {}: {nothing}", printable(&report.file));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_metric() {
        let words: Vec<&str> = ABOUT.split([' ', ',', '\n', '.']).collect();
        for metric in diff::METRICS {
            assert!(words.contains(&metric.name), "{}", metric.name);
        }
    }
}
