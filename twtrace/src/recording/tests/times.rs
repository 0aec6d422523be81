//! Owns: what must hold of recordings in which a time has changed on disk: of a row, of the head, of both.
//! Must not know: how else a recording may be damaged.

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch};
use arrow_ipc::writer::StreamWriter;

use super::samples::{events, head, recorded};
use super::*;

const ALL: usize = 23;
/// Bit 4 of byte 6: 52 days.
const BIT: i64 = 1 << 52;

/// A recording in batches of so many rows, with other times: what `change` makes of each row's; and with another head.
fn changed(batch: usize, change: impl Fn(usize, i64) -> i64, head: &Head) -> Vec<u8> {
    let mut recording = read(&recorded(&events(ALL as u16), batch).0).unwrap();
    let mut metadata = recording.schema().metadata().clone();
    metadata.insert("twtrace.head".to_owned(), serde_json::to_string(head).unwrap());
    let schema = Arc::new(recording.schema().as_ref().clone().with_metadata(metadata));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    let mut first = 0;
    for batch in recording.batches() {
        let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| -> ArrayRef {
            if field.name() != "time" {
                return column.clone();
            }
            let old = column.as_primitive::<TimestampNanosecondType>();
            let values = old.values().iter().zip(first..).map(|(value, row)| change(row, *value));
            let new = PrimitiveArray::<TimestampNanosecondType>::from_iter_values(values);
            Arc::new(new.with_data_type(field.data_type().clone()))
        });
        writer.write(&RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()).unwrap();
        first += batch.num_rows();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

/// Rows that are told, by their number, and what is said of the others.
fn told(bytes: &[u8]) -> (Vec<usize>, String) {
    let mut recording = read(bytes).unwrap();
    let all: Vec<u64> = events(ALL as u16).iter().map(|event| event.mono_ns).collect();
    let mut rows: Vec<usize> = Vec::new();
    for event in recording.events() {
        let from = rows.last().map_or(0, |row| row + 1);
        rows.push(from + all[from..].iter().position(|mono_ns| *mono_ns == event.mono_ns).unwrap());
    }
    (rows, recording.end().trouble().unwrap())
}

fn all_but(out: &[usize]) -> Vec<usize> {
    (0..ALL).filter(|row| !out.contains(row)).collect()
}

#[test]
fn a_time_that_changed_costs_its_event_however_few_are_in_a_batch() {
    for batch in [1, 2, 5, ALL] {
        for row in [0, 1, 11, ALL - 1] {
            let (rows, why) =
                told(&changed(batch, |at, time| if at == row { time ^ BIT } else { time }, &head()));
            assert_eq!(rows, all_but(&[row]), "batches of {batch}, row {row}: {why}");
            let named = format!("row {}: mono_ns {} and", row % batch, events(ALL as u16)[row].mono_ns);
            assert!(why.contains("1 event cannot be read") && why.contains(&named), "{why}");
            assert!(!why.contains("its head"), "{why}");
        }
    }
}

#[test]
fn a_head_that_changed_costs_nothing_and_a_row_beside_it_only_itself() {
    let head = Head { mono_ns: head().mono_ns ^ (1 << 41), ..head() };
    for batch in [1, 2, 5, ALL] {
        let (rows, why) = told(&changed(batch, |_, time| time, &head));
        assert_eq!(rows, all_but(&[]), "batches of {batch}: {why}");
        let clock = format!("its head says mono_ns {}", head.mono_ns);
        assert!(why.contains(&clock) && !why.contains("cannot be read"), "{why}");
        for row in [0, 1, 11, ALL - 1] {
            let (rows, why) =
                told(&changed(batch, |at, time| if at == row { time ^ BIT } else { time }, &head));
            assert_eq!(rows, all_but(&[row]), "batches of {batch}, row {row}: {why}");
            assert!(why.contains(&clock) && why.contains("1 event cannot be read"), "{why}");
        }
    }
}

/// In a batch of 997 that is packed, one byte that changes may change 996 times.
#[test]
fn a_batch_whose_times_all_changed_does_not_outvote_the_head_and_those_after_it() {
    for batch in [2, 5] {
        let (rows, why) =
            told(&changed(batch, |at, time| if at < batch { time ^ BIT } else { time }, &head()));
        assert_eq!(rows, (batch..ALL).collect::<Vec<_>>(), "{why}");
        assert!(
            why.contains(&format!("{batch} events cannot be read")) && !why.contains("its head"),
            "{why}"
        );
    }
}

/// It may be the one or the other: nobody knows.
#[test]
fn one_event_that_does_not_agree_with_the_head_is_left_out() {
    let mut encoder = Encoder::new(&head()).unwrap();
    encoder.append(&events(1)[0]);
    encoder.finish(&tail()).unwrap();
    let bytes = std::mem::take(encoder.bytes());
    let text = format!("\"mono_ns\":{}", head().mono_ns);
    let at = bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
    let mut other = bytes.clone();
    other[at + text.len() - 1] ^= 1;
    let mut recording = read(&other).unwrap();
    assert_eq!(recording.events().count(), 0);
    let Ended::Damaged { why, tail: Some(_) } = recording.end() else { panic!("nothing was said") };
    assert!(why.contains("1 event cannot be read"), "{why}");
    assert_eq!(read(&bytes).unwrap().events().count(), 1);
}
