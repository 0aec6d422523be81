//! Owns: `twtrace report`: what a recording holds.
//! Must not know: how it is counted and laid out.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
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
    /// Tables: process, peer, tuple, port, container, netns, reason [default: process; all with --json and --html]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    by: Vec<By>,
    /// A line for each so long a time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// Rows of a table
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// More columns, and nothing is cut
    #[arg(long, conflicts_with_all = ["json", "html"])]
    wide: bool,
    /// One JSON object, with every row and the timeline
    #[arg(long)]
    json: bool,
    /// A page for a browser instead, complete in itself: timelines, tables to sort and to search; - is stdout
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
    let filter = args.filters.of_recording()?;
    let options = Options {
        file: args.file.to_string_lossy().into_owned(),
        filters: filter.words(),
        filter,
        by: tables(args),
        every_ns,
    };
    let recording = Recording::open(&args.file)?;
    // Before the work: whoever cannot have the page should not wait for it.
    let page = args.html.as_deref().map(|path| Page::open(path, args.force)).transpose()?;
    match (report(recording, &options, args), page) {
        (Ok(out), None) => io::stdout().lock().write_all(&out)?,
        (Ok(out), Some(page)) => page.write(&out)?,
        (Err(error), None) => return Err(error),
        (Err(error), Some(page)) => {
            page.discard();
            return Err(error);
        }
    }
    Ok(Outcome::Done)
}

/// The tables that are wanted, each once.
fn tables(args: &Args) -> Vec<By> {
    let mut by = match (args.by.is_empty(), args.json || args.html.is_some()) {
        (true, true) => By::ALL.to_vec(),
        (true, false) => vec![By::Process],
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

fn report(recording: Recording, options: &Options, args: &Args) -> anyhow::Result<Vec<u8>> {
    let report = report::read(recording, options)?;
    if let Some(why) = &report.missing {
        eprintln!("twtrace: the end of the recording is missing: {}", crate::escape::printable(why));
    }
    let zone = jiff::tz::TimeZone::system();
    let mut out = Vec::new();
    if args.html.is_some() {
        return Ok(report::html::page(&report, &zone, &report::html::nonce()?)?.into_bytes());
    }
    if args.json {
        report::json::line(&report, &mut out);
    } else {
        let layout = Layout { wide: args.wide, most: args.top, timeline: args.every.is_some() };
        out = report::text::text(&report, layout, &zone).into_bytes();
    }
    Ok(out)
}

/// Where a page goes.
enum Page {
    Stdout,
    File { file: File, path: PathBuf, is_new: bool },
}

impl Page {
    fn open(path: &Path, force: bool) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let shown = crate::escape::printable(&path.to_string_lossy()).into_owned();
        // Not emptied yet: what is there is worth more than nothing, should the work fail.
        let (file, is_new) = match File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && force => {
                (File::options().write(true).open(path), false)
            }
            made => (made, true),
        };
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{shown} exists: choose another name, or replace it with --force")
            }
            _ => anyhow::anyhow!("cannot create {shown}: {error}"),
        })?;
        Ok(Self::File { file, path: path.to_owned(), is_new })
    }

    fn write(self, out: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(out),
            Self::File { mut file, .. } => {
                if file.metadata()?.is_file() {
                    file.set_len(0)?;
                }
                file.write_all(out)
            }
        }
    }

    /// Leaves things as they were.
    fn discard(self) {
        if let Self::File { path, is_new: true, .. } = self {
            // Nothing is lost if an empty file stays.
            let _ = std::fs::remove_file(path);
        }
    }
}
