//! Owns: `twtrace report`: what a recording holds.
//! Must not know: how it is counted and laid out.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;
use super::filters::{FilterArgs, said_of_nothing};
use super::recordings;
use super::values::{Usage, duration, number, one_of};
use crate::output::paint::Paint;
use crate::output::room::terminal_columns;
use crate::present::record::output::{Destination, Direct, OutputError, Rotation};
use crate::present::record::user;
use crate::present::report::text::Layout;
use crate::present::report::{self, By, Group, Options, Report};
use crate::present::signs::in_locale;

/// `twtrace report`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Recordings to read, of one host or of many; a folder stands for the recordings in it; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Tables to show [default: process, and host where there are several; all with --json and --html]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = one_of(By::EVERY, By::word))]
    by: Vec<By>,
    /// Add a timeline with one row per interval, such as 1s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// Show at most N rows per table
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = number::<usize>)]
    top: usize,
    /// Show more columns and cut nothing
    #[arg(long, conflicts_with_all = ["json", "html"])]
    wide: bool,
    /// Print one JSON object, with all rows (at most 16384 per table) and the timeline
    #[arg(long)]
    json: bool,
    /// Write an HTML page instead, with charts and tables to sort and search; it loads nothing from the network; - is stdout
    #[arg(long, value_name = "OUT", conflicts_with = "json")]
    html: Option<PathBuf>,
    /// Replace OUT if it exists
    #[arg(long, requires = "html")]
    force: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let every_ns = args.every.map(|every| u64::try_from(every.as_nanos()).unwrap_or(u64::MAX));
    if every_ns == Some(0) {
        return Err(Usage("--every 0 is no time: give one such as 1s".to_owned()).into());
    }
    if let Some(page) = &args.html {
        recordings::refuse_what_is_read(&args.files, page)?;
    }
    let hosts = recordings::hosts(&args.files, &args.filters)?;
    let filter = hosts.first().map(|host| host.filter.clone()).unwrap_or_default();
    let options = Options {
        file: named(&args.files),
        filters: filter.words(),
        filter,
        by: tables(args, hosts.len() > 1),
        every_ns,
    };
    // Before the work: whoever cannot have the page should not wait for it.
    let mut page = args.html.as_deref().map(|path| page(path, args.force)).transpose()?;
    let report = report(hosts, &options)?;
    let zone = jiff::tz::TimeZone::system();
    if let Some(page) = &mut page {
        page.write_bytes(report::html::page(&report, &zone, &report::html::nonce()?)?.as_bytes())?;
        // Only what is whole takes the place of what was there.
        page.begin()?;
    } else if args.json {
        // As `print` does.
        crate::output::notes::settle();
        let mut out = BufWriter::new(io::stdout().lock());
        report::json::line(&report, &mut out)?;
        out.flush()?;
    } else {
        let layout = Layout {
            wide: args.wide,
            most: args.top,
            timeline: args.every.is_some(),
            columns: terminal_columns(),
            paint: Paint::stdout(),
        };
        let text = in_locale(report::text::text(&report, layout, &zone));
        crate::output::print(text.as_bytes())?;
    }
    Ok(Outcome::Done)
}

/// Where the page goes.
fn page(path: &Path, force: bool) -> Result<Direct, OutputError> {
    let destination =
        Destination { path: path.to_owned(), force, rotation: Rotation::default(), owner: user::caller() };
    Direct::open(&destination)
}

/// The tables that are wanted, each once.
fn tables(args: &Args, has_hosts: bool) -> Vec<By> {
    let hosts = [By::Host].into_iter().filter(|_| has_hosts);
    let mut by: Vec<By> = match (args.by.is_empty(), args.json || args.html.is_some()) {
        (true, true) => By::ALL.iter().copied().chain(hosts).collect(),
        (true, false) => hosts.chain([By::Process]).collect(),
        (false, _) => args.by.clone(),
    };
    let mut seen = Vec::new();
    by.retain(|by| {
        let is_new = !seen.contains(by);
        seen.push(*by);
        is_new
    });
    by
}

/// As they were named, which is what a report is called.
pub(super) fn named(files: &[PathBuf]) -> String {
    let Some((first, others)) = files.split_first() else { return String::new() };
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    first.to_string_lossy().into_owned() + &more
}

fn report(hosts: Vec<Group>, options: &Options) -> anyhow::Result<Report> {
    let report = report::read_hosts(hosts, options)?;
    if let Some(why) = &report.damaged {
        crate::note!("twtrace: {}", crate::model::escape::printable(why));
    }
    if let Some(why) = &report.missing {
        crate::note!(
            "twtrace: the end of the recording is missing: {}",
            crate::model::escape::printable(why)
        );
    }
    if let Some(nothing) = said_of_nothing(&options.filter, report.passed) {
        crate::note!("twtrace: {nothing}");
    }
    Ok(report)
}
