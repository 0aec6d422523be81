//! Owns: `twtrace report`: what a recording holds.
//! Must not know: how it is counted and laid out.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::Outcome;
use super::filters::FilterArgs;
use super::values::{Usage, duration};
use crate::recording::Recording;
use crate::report::text::Layout;
use crate::report::{self, By, Options};

/// `twtrace report`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recording; - is stdin
    file: PathBuf,
    /// Tables: process, peer, tuple, port, container, netns, reason
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "process")]
    by: Vec<By>,
    /// A line for each so long a time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// Rows of a table
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// More columns, and nothing is cut
    #[arg(long, conflicts_with = "json")]
    wide: bool,
    /// One JSON object, with every row and the timeline
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let every_ns = args.every.map(|every| u64::try_from(every.as_nanos()).unwrap_or(u64::MAX));
    if every_ns == Some(0) {
        return Err(Usage("--every 0 is no time: give one such as 1s".to_owned()).into());
    }
    let mut by = args.by.clone();
    by.dedup();
    let options = Options {
        file: args.file.to_string_lossy().into_owned(),
        filter: args.filters.of_recording()?,
        filters: args.filters.words(),
        by,
        every_ns,
    };
    let report = report::read(Recording::open(&args.file)?, &options)?;
    if let Some(why) = &report.missing {
        eprintln!("twtrace: the end of the recording is missing: {}", crate::escape::printable(why));
    }
    let mut out = Vec::new();
    if args.json {
        report::json::line(&report, &mut out);
    } else {
        let layout = Layout { wide: args.wide, most: args.top, timeline: args.every.is_some() };
        out = report::text::text(&report, layout, &jiff::tz::TimeZone::system()).into_bytes();
    }
    std::io::stdout().lock().write_all(&out)?;
    Ok(Outcome::Done)
}
