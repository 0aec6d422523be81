//! Owns: `twtrace export`: its flags, where files go, what is said of them.
//! Must not know: any format.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Outcome;
use super::filters::{FilterArgs, said_of_nothing};
use super::recordings;
use super::values::{STREAM, Usage};
use crate::model::escape;
use crate::model::filter::Filter;
use crate::model::limitation::{Limitation, Limitations};
use crate::present::export::{Dataset, Format, PartitionKey, export};
use crate::present::record::output::{Destination, Direct, Rotation};
use crate::present::record::user;
use crate::present::report::{Group, Part};
use crate::recording::{Ended, Recording};

/// `twtrace export`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Recording to read; - is stdin. With --partition there may be many, and folders stand for the recordings in them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Format to write
    #[arg(long, value_enum, value_name = "parquet|csv|jsonl")]
    to: Format,
    /// File to write; - is stdout. With --partition a folder, which may be there
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Add to a Hive-partitioned dataset of Parquet in the folder OUT: a recording that is in it already takes the place of itself
    #[arg(long, value_name = "host,date", value_delimiter = ',', conflicts_with = "force")]
    partition: Vec<PartitionKey>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

const BUFFER_BYTES: usize = 256 << 10;

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if !args.partition.is_empty() {
        return add(args);
    }
    let [file] = &args.files[..] else {
        return Err(
            Usage("several recordings want --partition host,date, and a folder for -o".to_owned()).into()
        );
    };
    let on_terminal = args.output.as_os_str() == STREAM && io::stdout().is_terminal();
    if on_terminal && args.to == Format::Parquet {
        return Err(Usage("Parquet is no text: send it to a file or a pipe".to_owned()).into());
    }
    recordings::refuse_what_is_read(&args.files, &args.output)?;
    let recording = Recording::open(file)?;
    let mut unseen = Limitations::default();
    note_unseen(&recording.head().limitations, &mut unseen);
    let filter = args.filters.recorded(file, recording.head())?;
    let destination = Destination {
        path: args.output.clone(),
        force: args.force,
        rotation: Rotation::default(),
        owner: user::caller(),
    };
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, Sink(Direct::open(&destination)?));
    let exported = export(recording, &filter, args.to, &mut out)?;
    let mut output = out.into_inner().map_err(io::IntoInnerError::into_error)?.0;
    // Only what is whole takes the place of what was there.
    output.begin().context("cannot finish the export")?;
    if let Some(nothing) = said_of_nothing(&filter, exported.events) {
        crate::note!("twtrace: {nothing}");
    }
    warn(file, &exported.ended);
    if args.to != Format::Jsonl {
        note_unseen(exported.ended.tail().map_or(&[], |tail| &tail.limitations), &mut unseen);
        say_unseen(&unseen);
    }
    let (events, bytes) = (told(exported.events, exported.listed), many(output.total(), "byte"));
    crate::note!("exported {events}{}, {bytes}, to {}", besides(exported.lost), output.shown());
    Ok(Outcome::Done)
}

/// Adds each recording to the dataset; one that cannot be read does not keep out the others.
fn add(args: &Args) -> anyhow::Result<Outcome> {
    if args.to != Format::Parquet {
        return Err(Usage("--partition goes with --to parquet only".to_owned()).into());
    }
    if args.output.as_os_str() == STREAM {
        let why = "--partition writes a folder of files, and - is stdout: give -o the name of a folder";
        return Err(Usage(why.to_owned()).into());
    }
    let mut keys = Vec::new();
    args.partition.iter().for_each(|key| keys.extend((!keys.contains(key)).then_some(*key)));
    let dataset = Dataset { root: args.output.clone(), keys, owner: user::caller() };
    let (parts, mut unread) = readable(&args.files)?;
    let mut sum = Sum { recordings: parts.len() as u64, ..Sum::default() };
    // What was asked for means something, or nothing is written at all.
    let groups = recordings::groups(parts, &args.filters)?;
    let asked = groups.first().map(|group| group.filter.clone());
    for Group { parts, filter } in groups {
        for part in parts {
            unread += u64::from(!sum.add(part, &dataset, &filter)?);
        }
    }
    if let Some(nothing) = asked.and_then(|filter| said_of_nothing(&filter, sum.events)) {
        crate::note!("twtrace: {nothing}");
    }
    say_unseen(&sum.unseen);
    crate::note!("exported {sum} in {}", escape::path(&args.output));
    Ok(if unread == 0 { Outcome::Done } else { Outcome::Failed })
}

/// Those of the recordings that can be read, and how many cannot.
fn readable(named: &[PathBuf]) -> anyhow::Result<(Vec<Part>, u64)> {
    let (mut parts, mut unread) = (Vec::new(), 0);
    for file in recordings::files(named)? {
        match recordings::part(&file) {
            Ok(part) => parts.push(part),
            Err(error) => {
                crate::note!("twtrace: {error}");
                unread += 1;
            }
        }
    }
    Ok((parts, unread))
}

/// What was added of all recordings.
#[derive(Default)]
struct Sum {
    recordings: u64,
    events: u64,
    listed: u64,
    lost: u64,
    files: u64,
    bytes: u64,
    unseen: Limitations,
}

impl Sum {
    /// Adds one to the dataset; `false` where it can be read no more.
    fn add(&mut self, part: Part, dataset: &Dataset, filter: &Filter) -> anyhow::Result<bool> {
        let file = part.name.clone();
        let recording = match part.open() {
            Ok(recording) => recording,
            Err(error) => {
                crate::note!("twtrace: {error}");
                self.recordings -= 1;
                return Ok(false);
            }
        };
        note_unseen(&recording.head().limitations, &mut self.unseen);
        let shown = || format!("cannot add {} to {}", escape::path(&file), escape::path(&dataset.root));
        let added = dataset.add(recording, filter).with_context(shown)?;
        warn(&file, &added.ended);
        note_unseen(added.ended.tail().map_or(&[], |tail| &tail.limitations), &mut self.unseen);
        self.events += added.events;
        self.listed += added.listed;
        self.lost += added.lost;
        self.files += added.files;
        self.bytes += added.bytes;
        Ok(true)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, of) = (told(self.events, self.listed), many(self.recordings, "recording"));
        let (bytes, files) = (many(self.bytes, "byte"), many(self.files, "file"));
        write!(out, "{events} of {of}{}, {bytes}, to {files}", besides(self.lost))
    }
}

/// A number and what it is of: one is no "events".
fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What goes with the events, whatever the filter.
fn besides(lost: u64) -> &'static str {
    if lost == 0 { "" } else { ", and what was lost" }
}

/// What was exported as `record` counts it: `listed` of the events are sockets that were there before.
fn told(events: u64, listed: u64) -> String {
    let before = match listed {
        0 => String::new(),
        listed => format!(" and {} from before", many(listed, "socket")),
    };
    many(events.saturating_sub(listed), "event") + &before
}

fn note_unseen(limitations: &[Limitation], unseen: &mut Limitations) {
    for limitation in limitations {
        unseen.add(limitation.clone());
    }
}

/// What could not be seen has no row in a table.
fn say_unseen(unseen: &Limitations) {
    let mut words: Vec<&str> = Vec::new();
    for limitation in unseen.all() {
        // Of several namespaces it is the same.
        words.extend(Some(limitation.what.words()).filter(|what| !words.contains(what)));
    }
    if !words.is_empty() {
        let words = words.join("; ");
        crate::note!("twtrace: not seen when it was recorded: {words} (`twtrace report` says why)");
    }
}

fn warn(file: &Path, ended: &Ended) {
    if let Some(trouble) = ended.trouble() {
        crate::note!("twtrace: {}: {trouble}", escape::path(file));
    }
}

struct Sink(Direct);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_bytes(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_exported_is_counted_as_it_was_recorded() {
        assert_eq!(told(560, 10), "550 events and 10 sockets from before");
        assert_eq!(
            (told(1, 0), told(2, 1)),
            ("1 event".to_owned(), "1 event and 1 socket from before".to_owned())
        );
    }
}
