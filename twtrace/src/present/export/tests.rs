//! Owns: what must hold of exports: the same events, under the same names, in every format.
//! Must not know: files on a disk.

use std::collections::BTreeMap;
use std::io::Cursor;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::RecordBatch;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

use super::*;
use crate::model::escape::printable;
use crate::model::event::{Comm, Event, Kind};
use crate::model::limitation::{Limitation, What};
use crate::output::Json;
use crate::recording::schema::{COLUMNS, INTERFACE_COLUMNS, Type};
use crate::recording::tests::samples::{events, head, limitation, recorded};
use crate::recording::{Encoder, Tail};

fn recording(bytes: &[u8]) -> Recording {
    Recording::read(Cursor::new(bytes.to_vec()), "sample").unwrap()
}

fn exported(filter: &Filter, format: Format) -> (Vec<u8>, Exported) {
    let (bytes, _) = recorded(&events(97), 13);
    let mut out = Vec::new();
    let exported = export(recording(&bytes), filter, format, &mut out).unwrap();
    (out, exported)
}

/// What `events --json` would have printed.
fn lines(events: &[Event]) -> Vec<String> {
    let (mut json, mut lines) = (Json::new(head().clock()), BytesMut::new());
    events.iter().for_each(|event| json.line(event, &mut lines));
    String::from_utf8(lines.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

/// What it would have printed of what could not be seen, before them.
fn limitations() -> Vec<String> {
    let (head, mut lines) = (head(), BytesMut::new());
    let mut json = Json::new(head.clock());
    head.limitations.iter().for_each(|one| json.limitation(one, head.mono_ns, &mut lines));
    assert!(!lines.is_empty());
    String::from_utf8(lines.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_was_found_out_later_is_told_at_the_end() {
    let (start, later) = (limitation(), Limitation::new(What::Sockets, "no list", "none"));
    let mut encoder = Encoder::new(&Head { limitations: vec![start.clone()], ..head() }).unwrap();
    encoder.finish(&Tail { mono_ns: 7, limitations: vec![start, later], ..Tail::default() }).unwrap();
    let mut out = Vec::new();
    export(recording(encoder.bytes()), &Filter::default(), Format::Jsonl, &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (&line["event"], &line["what"], &line["mono_ns"])).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[1].1, told[1].2), (&Value::from("sockets"), &Value::from(7)));
}

#[test]
fn json_lines_are_those_that_events_prints() {
    let (out, exported) = exported(&Filter::default(), Format::Jsonl);
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().collect::<Vec<_>>(), [limitations(), lines(&events(97))].concat());
    let listed = events(97).iter().filter(|event| event.kind == Kind::Listed).count() as u64;
    assert_eq!((exported.events, exported.lost, exported.listed), (91, 6, listed));
    assert_ne!(listed, 0);
    assert!(exported.ended.tail().is_some());
}

#[test]
fn filters_pick_the_events_that_they_pick_live() {
    let filter = Filter { family: Some(4), pids: vec![101], ..Filter::default() };
    let passing: Vec<Event> = events(97).into_iter().filter(|event| filter.passes(event)).collect();
    assert!(passing.iter().any(|event| event.kind == Kind::Created) && passing.len() < 60);
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let Exported { events, lost, .. } = exported(&filter, format).1;
        assert_eq!((events + lost, lost), (passing.len() as u64, 6), "{format:?}");
    }
    let out = String::from_utf8(exported(&filter, Format::Jsonl).0).unwrap();
    assert_eq!(out.lines().collect::<Vec<_>>(), [limitations(), lines(&passing)].concat());
}

/// What was lost is told whatever is asked for, and is none of what was asked for.
#[test]
fn what_was_lost_passes_and_is_not_counted_as_an_event_that_does() {
    assert!(events(97).iter().any(|event| event.kind == Kind::Lost), "the sample has lost nothing");
    let filter = Filter { comms: vec!["nobody-such".into()], ..Filter::default() };
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let (out, exported) = exported(&filter, format);
        assert_eq!(exported.events, 0, "{format:?}");
        let lost = String::from_utf8_lossy(&out).lines().filter(|line| line.contains("\"lost\"")).count();
        assert!(format != Format::Jsonl || lost != 0);
    }
}

/// The keys that the interface has in every format: of JSON those of `lost` that say what `count` is made of are left out.
fn objects() -> Vec<BTreeMap<String, String>> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let known = |key: &str| COLUMNS[..INTERFACE_COLUMNS].iter().any(|(name, _)| *name == key);
    lines(&events(97))
        .iter()
        .map(|line| serde_json::from_str::<Map<String, Value>>(line).unwrap())
        .map(|object| object.into_iter().filter(|(key, _)| known(key)).map(|(k, v)| (k, text(v))).collect())
        .collect()
}

#[test]
fn csv_says_what_json_says() {
    let (out, _) = exported(&Filter::default(), Format::Csv);
    let mut reader = ::csv::Reader::from_reader(out.as_slice());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let columns: Vec<&str> = COLUMNS[..INTERFACE_COLUMNS].iter().map(|(name, _)| *name).collect();
    assert_eq!(names, columns);
    let rows: Vec<BTreeMap<String, String>> = reader
        .records()
        .map(|record| names.iter().cloned().zip(record.unwrap().iter().map(str::to_owned)).collect())
        .map(|row: BTreeMap<String, String>| row.into_iter().filter(|(_, value)| !value.is_empty()).collect())
        .collect();
    for (row, object) in rows.iter().zip(objects()) {
        let object: BTreeMap<String, String> =
            object.into_iter().map(|(key, value)| (key, printable(&value).into_owned())).collect();
        assert_eq!(*row, object);
    }
    assert_eq!(rows.len(), 97);
}

#[test]
fn csv_has_no_control_characters_wherever_it_goes() {
    let raw = lines(&events(97)).join("\n");
    assert!(raw.contains("\\u001b"), "the sample has no escape to hide");
    let out = String::from_utf8(exported(&Filter::default(), Format::Csv).0).unwrap();
    assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
    assert!(out.contains("\\x1b[31m"));
}

/// The cells of one line, as a spreadsheet takes it apart that knows `separator` and no quotes within a cell.
fn cells(line: &str, separator: char) -> Vec<String> {
    line.split(separator).map(|cell| cell.trim_matches(['"', '\'', ' ']).to_owned()).collect()
}

#[test]
fn no_cell_of_csv_is_a_formula() {
    let names = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        " =1",
        "\t=1",
        "\r=1",
        "\u{202e}=1",
        "\u{ff1d}1",
        "a,=1",
        "a;=1",
        "a|=1",
        "a\"=1",
        "a,\"=1",
        "\"=1",
        "'=1",
        "a; '@x",
        "a\n=1",
    ];
    let mut events = events(97);
    for (event, name) in events.iter_mut().filter(|event| event.owner.is_some()).zip(names.iter().cycle()) {
        if let Some(owner) = &mut event.owner {
            owner.comm = Comm::new(name);
        }
    }
    let (bytes, _) = recorded(&events, 97);
    let mut out = Vec::new();
    export(recording(&bytes), &Filter::default(), Format::Csv, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    for line in out.lines() {
        for cell in [',', ';', '|'].into_iter().flat_map(|separator| cells(line, separator)) {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\u{ff1d}']), "{cell:?} in {line}");
        }
    }
    for escaped in ["\\x3d1+1", "\\x2b1", "\\x2d1", "\\x40SUM(A1)", "\\u{ff1d}1", "a\"\"=1", "a;\\x3d1"] {
        assert!(out.contains(escaped), "{escaped} is not in {out}");
    }
}

#[test]
fn parquet_holds_the_interfaces_columns_and_the_head() {
    let (out, _) = exported(&Filter::default(), Format::Parquet);
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(out)).unwrap();
    let notes = builder.metadata().file_metadata().key_value_metadata().unwrap();
    let note = |key: &str| notes.iter().find(|note| note.key == key).and_then(|note| note.value.clone());
    assert!(note("twtrace.head").unwrap().contains("\"host\":\"sample\""));
    assert!(note("twtrace.tail").unwrap().contains("\"events\":97"));
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    for (field, (name, kind)) in batches[0].schema().fields().iter().zip(COLUMNS) {
        assert_eq!((field.name().as_str(), field.data_type()), (*name, &kind.arrow()));
    }
    assert_eq!(batches[0].num_columns(), INTERFACE_COLUMNS);
    // What is written of Parquet again as CSV is what the recording gives as CSV.
    let mut again = Vec::new();
    let mut csv = super::csv::Csv::new(&mut again).unwrap();
    batches.iter().for_each(|batch| csv.batch(batch, &mut again).unwrap());
    assert!(again == exported(&Filter::default(), Format::Csv).0);
    assert_eq!(COLUMNS[1].1, Type::Time);
}

#[test]
fn a_recording_that_was_cut_off_exports_what_is_complete() {
    let (bytes, ends) = recorded(&events(97), 13);
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let mut out = Vec::new();
        let exported =
            export(recording(&bytes[..ends[2] + 100]), &Filter::default(), format, &mut out).unwrap();
        assert_eq!((exported.events + exported.lost, exported.ended.tail()), (39, None), "{format:?}");
        if format == Format::Parquet {
            let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(out)).unwrap();
            assert_eq!(builder.metadata().file_metadata().num_rows(), 39);
        }
    }
}
