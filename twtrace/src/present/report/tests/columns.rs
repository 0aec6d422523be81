//! Batches that are read column by column, a few rows at a time: what each row is, and where a batch breaks off.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, UInt16Array, UInt32Array, UInt64Array};

use crate::engine::Limits;
use crate::model::filter::{Filter, Unwanted};
use crate::present::report::columns::Reader;
use crate::present::report::count::{CountOptions, Counting};

/// More than are made at a time, and than a piece has; no multiple of either.
const ROWS: u64 = 2_111;

/// Births of `ROWS` processes; where there is no time is `broken`.
fn batch(broken: Option<u64>) -> RecordBatch {
    let event: DictionaryArray<Int8Type> = (0..ROWS).map(|_| Some("created")).collect();
    let times = (0..ROWS).map(|row| (Some(row) != broken).then_some(1_000 + row));
    let columns: [(&str, ArrayRef); 7] = [
        ("event", Arc::new(event)),
        ("mono_ns", Arc::new(times.collect::<UInt64Array>())),
        ("netns", Arc::new((0..ROWS).map(|_| Some(7)).collect::<UInt32Array>())),
        ("sport", Arc::new((0..ROWS).map(|row| Some(row as u16)).collect::<UInt16Array>())),
        // Of every third nobody knows the owner.
        ("pid", Arc::new((0..ROWS).map(|row| (row % 3 != 0).then_some(row as u32)).collect::<UInt32Array>())),
        ("age_ms", Arc::new((0..ROWS).map(|row| (row % 5 != 0).then_some(row)).collect::<UInt64Array>())),
        ("age_rest_ns", Arc::new((0..ROWS).map(|_| Some(3_000)).collect::<UInt32Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn counted(batch: &RecordBatch) -> (Counting, Result<(), String>) {
    counted_as(batch, &CountOptions::default(), Limits::RECORDING)
}

fn counted_as(batch: &RecordBatch, asked: &CountOptions, limits: Limits) -> (Counting, Result<(), String>) {
    let mut counting = Counting::new(0, asked, limits);
    let mut reader = Reader::new(0, None);
    let columns = reader.columns(batch, &mut counting).unwrap();
    let mut pieces = columns.pieces().map(|from| columns.piece(from, Vec::new()));
    let done = pieces.try_for_each(|piece| reader.count(&columns, &piece, &mut counting));
    drop(pieces);
    (counting, done)
}

#[test]
fn each_row_has_what_stands_in_its_own_place() {
    let (counting, done) = counted(&batch(None));
    assert_eq!((done, counting.events, counting.last_ns), (Ok(()), ROWS, 1_000 + ROWS - 1));
    let pids = counting.engine.all().map(|(_, group)| group.key.owner.map(|owner| owner.pid));
    let mut pids: Vec<_> = pids.collect();
    pids.sort_unstable();
    let mut want: Vec<_> = (0..ROWS as u32).filter(|row| row % 3 != 0).map(Some).collect();
    want.insert(0, None);
    assert_eq!(pids, want);
    for (_, group) in counting.engine.all() {
        let Some(owner) = group.key.owner else { continue };
        let age = group.age_us.percentiles().map(|age| age.p50);
        let want_us = u64::from(owner.pid) * 1000 + 3;
        match owner.pid % 5 {
            0 => assert_eq!(age, None),
            _ => assert!(age.is_some_and(|age| age.abs_diff(want_us) * 8 <= want_us), "{owner:?}: {age:?}"),
        }
    }
}

#[test]
fn rows_before_one_that_cannot_be_read_count() {
    for broken in [0, 1, 63, 64, 65, 101, 1023, 1024, 1025, ROWS - 1] {
        let (counting, done) = counted(&batch(Some(broken)));
        assert_eq!((done.unwrap_err().as_str(), counting.events), ("column mono_ns: null", broken));
    }
}

#[test]
fn peers_that_are_asked_for_have_room_however_many_others_there_are() {
    let daddr: DictionaryArray<Int32Type> = (0..ROWS)
        .map(|row| Some(format!("10.0.{}.{}", row / 256, row % 256)))
        .collect::<Vec<_>>()
        .iter()
        .map(|text| text.as_deref())
        .collect();
    let here: DictionaryArray<Int32Type> = (0..ROWS).map(|_| Some("10.0.7.1")).collect();
    let known = batch(None);
    let mut columns: Vec<(&str, ArrayRef)> = vec![("saddr", Arc::new(here)), ("daddr", Arc::new(daddr))];
    let schema = known.schema();
    columns.extend(
        schema
            .fields()
            .iter()
            .zip(known.columns())
            .map(|(field, column)| (field.name().as_str(), column.clone())),
    );
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let net = |text: &str| vec![text.parse().unwrap()];
    let few = Limits { addresses: 100, ..Limits::RECORDING };
    let created = |filter: &Filter, limits: Limits| {
        let (counting, done) =
            counted_as(&batch, &CountOptions { filter: filter.clone(), ..CountOptions::default() }, limits);
        assert_eq!(done, Ok(()));
        counting.events
    };
    let (of_7, not_7) = (
        Filter { peers: net("10.0.7.0/24"), ..Filter::default() },
        Unwanted { peers: net("10.0.7.0/24"), ..Unwanted::default() },
    );
    let not_7 = Filter { not: not_7, ..Filter::default() };
    let (here, all) = (
        Filter { peers: net("10.0.7.1/32"), ..Filter::default() },
        Filter { peers: net("10.0.0.0/8"), ..Filter::default() },
    );
    for (filter, want) in [(of_7, 256), (not_7, ROWS - 256), (here, 1), (all, ROWS)] {
        assert_eq!((created(&filter, Limits::RECORDING), created(&filter, few)), (want, want), "{filter:?}");
    }
}
