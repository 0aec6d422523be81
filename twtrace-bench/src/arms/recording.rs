//! A recording as every program reads it that reads Arrow: its rows, each as the line of an event that it stands for.
//!
//! Owns: reading it by itself, with nothing of twtrace's, and refusing what is not whole. Must not know: what is made of the rows.

use anyhow::{Context as _, Result, ensure};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{PrimitiveArray, RecordBatch, StringArray};
use arrow_ipc::reader::StreamReader;
use serde::Deserialize;

/// The mark of the end (Arrow columnar format, "IPC Streaming Format"). Arrow's readers do without it, twtrace writes it when all is written.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What of the head counts here: one moment by two clocks, each in nanoseconds.
#[derive(Deserialize)]
struct Head {
    mono_ns: u64,
    wall_ns: i64,
}

/// The keys of an event that count here.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) event: &'a str,
    pub(super) netns: Option<u32>,
    pub(super) pid: Option<u32>,
    pub(super) count: Option<u64>,
    pub(super) owners: Option<u64>,
    pub(super) missed_runs: Option<u64>,
}

/// Hands each row to `take`, in order.
///
/// # Errors
/// Where bytes are no recording, its end is missing, or a row's two times do not belong together by the head's clock: then bytes have changed
/// since.
pub(super) fn read(bytes: &[u8], mut take: impl FnMut(&Line)) -> Result<()> {
    let mut stream = StreamReader::try_new(bytes, None)?;
    let schema = stream.schema();
    let head = schema.metadata().get("twtrace.head").context("there is no head")?;
    let head: Head = serde_json::from_str(head).context("its head")?;
    for batch in stream.by_ref() {
        rows(&batch?, &head, &mut take)?;
    }
    ensure!(stream.get_ref().is_empty(), "more bytes follow the mark of the end");
    ensure!(bytes.ends_with(&END), "its end is missing");
    Ok(())
}

fn rows(batch: &RecordBatch, head: &Head, take: &mut impl FnMut(&Line)) -> Result<()> {
    let kinds = batch.column_by_name("event").and_then(|column| column.as_dictionary_opt::<Int8Type>());
    let kinds = kinds.and_then(|kinds| kinds.downcast_dict::<StringArray>()).context("it has no kinds")?;
    let (times, monos) = (numbers::<TimestampNanosecondType>(batch, "time")?, numbers(batch, "mono_ns")?);
    let (namespaces, pids) = (numbers::<UInt32Type>(batch, "netns")?, numbers::<UInt32Type>(batch, "pid")?);
    let counts = numbers::<UInt64Type>(batch, "count")?;
    let owners = numbers::<UInt64Type>(batch, "lost_owners")?;
    let missed_runs = numbers::<UInt64Type>(batch, "lost_missed_runs")?;
    for (row, event) in kinds.into_iter().enumerate() {
        let (time, mono) = (value(times, row), value::<UInt64Type>(monos, row));
        let ahead = time.zip(mono).map(|(time, mono)| i128::from(time) - i128::from(mono));
        let clock = i128::from(head.wall_ns) - i128::from(head.mono_ns);
        ensure!(
            ahead == Some(clock),
            "an event's two times, {time:?} and {mono:?} ns, are not of one moment"
        );
        take(&Line {
            event: event.context("an event of no kind")?,
            netns: value(namespaces, row),
            pid: value(pids, row),
            count: value(counts, row),
            owners: value(owners, row),
            missed_runs: value(missed_runs, row),
        });
    }
    Ok(())
}

fn numbers<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt());
    column.with_context(|| format!("it has no column {name} of its type"))
}

fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    use arrow_array::Array as _;
    column.is_valid(row).then(|| column.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../../twtrace/tests/data/recording-v2.twt");

    fn count(bytes: &[u8]) -> Result<usize, String> {
        let mut count = 0;
        read(bytes, |_| count += 1).map(|()| count).map_err(|refused| format!("{refused:#}"))
    }

    /// The sample is kept, with the lines that twtrace must read it as.
    #[test]
    fn rows_are_the_lines_of_events() {
        let mut rows = Vec::new();
        read(SAMPLE, |line| rows.push(format!("{line:?}"))).unwrap();
        let lines = include_str!("../../../twtrace/tests/data/recording-v2.jsonl").lines();
        let lines = lines.map(|line| format!("{:?}", serde_json::from_str::<Line>(line).unwrap()));
        assert_eq!(rows, lines.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_cut_off_is_no_result() {
        assert_eq!(count(SAMPLE).unwrap(), 61);
        let whole = SAMPLE.len();
        assert_eq!(count(&SAMPLE[..whole - END.len()]).unwrap_err(), "its end is missing");
        assert!((0..whole).step_by(7).all(|length| count(&SAMPLE[..length]).is_err()));
        assert!(count(&[SAMPLE, b"more"].concat()).unwrap_err().contains("more bytes follow"));
    }

    /// A time that changed on disk leaves its event out of what twtrace reads, which would be one that it did not tell.
    #[test]
    fn what_changed_on_disk_is_no_result() {
        const HEAD: &[u8] = b"\"mono_ns\":7000000000003";
        let at = SAMPLE.windows(HEAD.len()).position(|part| part == HEAD).unwrap();
        let mut damaged = SAMPLE.to_vec();
        damaged[at + HEAD.len() - 1] ^= 1;
        assert!(count(&damaged).unwrap_err().contains("two times"));
    }
}
