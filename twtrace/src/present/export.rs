//! Owns: turning a recording into files for other tools, batch by batch.
//! Must not know: the command line, where the recording or the file lies.

mod csv;
mod dataset;
mod jsonl;
mod parquet;

use std::io::{self, Write};

pub use dataset::{Added, Dataset, PartitionKey};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int8Type;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use crate::model::event::Kind;
use crate::model::filter::Filter;
use crate::recording::{Caches, Ended, Head, Recording, Rows};

/// What a recording can be turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Apache Parquet, the interface's columns, packed with zstd.
    Parquet,
    /// Comma-separated values (RFC 4180) with a line of names; what does not apply is empty. Names are escaped as on a terminal, and
    /// so is what a spreadsheet would run: `\x3d` is an equals sign.
    Csv,
    /// One JSON object a line, the lines of `events --json`.
    Jsonl,
}

/// How much was exported, and whether it is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Events written, `lost` left out: that passes every filter.
    pub events: u64,
    /// Lines or rows written of what was lost.
    pub lost: u64,
    /// Of the events, sockets from before.
    pub listed: u64,
    /// What became of the recording's end.
    pub ended: Ended,
}

/// One format. Files are written as they come: no writer holds more than a bounded part of them.
trait Exporter {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()>;

    fn end(&mut self, _ended: &Ended, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the events of `recording` that pass `filter`.
///
/// # Errors
/// Of writing.
pub fn export(
    recording: Recording,
    filter: &Filter,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<Exported> {
    let mut exporter = exporter(format, recording.head(), out)?;
    let exported = each_batch(recording, filter, |batch| exporter.batch(batch, out))?;
    exporter.end(&exported.ended, out)?;
    out.flush()?;
    Ok(exported)
}

/// Sockets from before among the rows, which a recording does not count as events.
fn listed_of(batch: &RecordBatch) -> u64 {
    let kinds = batch.column_by_name("event").and_then(|kinds| kinds.as_dictionary_opt::<Int8Type>());
    let Some((kinds, words)) = kinds.and_then(|kinds| Some((kinds, kinds.values().as_string_opt::<i32>()?)))
    else {
        return 0;
    };
    let is_listed: Vec<bool> = words.iter().map(|word| word == Some(Kind::Listed.word())).collect();
    kinds.keys_iter().flatten().filter(|kind| is_listed.get(*kind) == Some(&true)).count() as u64
}

fn exporter(format: Format, head: &Head, out: &mut dyn Write) -> io::Result<Box<dyn Exporter>> {
    Ok(match format {
        Format::Parquet => Box::new(parquet::Parquet::new(head)?),
        Format::Csv => Box::new(csv::Csv::new(out)?),
        Format::Jsonl => Box::new(jsonl::Jsonl::new(head, out)?),
    })
}

/// Hands on what passes of each batch. Says how much that was, and what became of the recording's end: past a batch that holds what no
/// recording holds, there is none.
fn each_batch(
    mut recording: Recording,
    filter: &Filter,
    mut take: impl FnMut(&RecordBatch) -> io::Result<()>,
) -> io::Result<Exported> {
    let (mut caches, mut rows, mut listed, mut lost) = (Caches::default(), 0, 0, 0);
    let mut broken = None;
    while let Some(batch) = recording.next_batch() {
        match picked(batch, &mut caches, filter) {
            Ok((batch, of_loss)) => {
                (rows, lost) = (rows + batch.num_rows() as u64, lost + of_loss);
                listed += listed_of(&batch);
                take(&batch)?;
            }
            Err(why) => {
                broken = Some(Ended::Missing { why });
                break;
            }
        }
    }
    let ended = broken.unwrap_or_else(|| recording.end());
    Ok(Exported { events: rows - lost, listed, lost, ended })
}

/// The rows that pass, and how many of them say what was lost. The error is in words for a user.
fn picked(batch: RecordBatch, caches: &mut Caches, filter: &Filter) -> Result<(RecordBatch, u64), String> {
    let rows = Rows::with(caches, &batch).map_err(|error| error.to_string())?;
    let lost = rows.lost() as u64;
    if filter.is_empty() {
        return Ok((batch, lost));
    }
    let passes: Result<Vec<bool>, _> =
        (0..rows.len()).map(|row| rows.event(row).map(|event| filter.passes(&event))).collect();
    let passes = BooleanArray::from(passes.map_err(|error| error.to_string())?);
    let passing = filter_record_batch(&batch, &passes).map_err(|error| error.to_string())?;
    Ok((passing, lost))
}

#[cfg(test)]
mod tests;
