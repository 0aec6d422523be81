//! Owns: what must hold of recordings that were cut off or damaged, and of bytes that are no recording.
//! Must not know: how whole recordings are read.

use std::collections::HashMap;
use std::path::Path;

use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};

use super::samples::{created, events, head, recorded};
use super::*;
use crate::recording::exercise::exercise;

/// Events of complete batches, and whether the end was there; `None` where not even the head was.
fn read_cut(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut recording = read(bytes).ok()?;
    let events = recording.events().count();
    Some((events, matches!(recording.end(), Ended::Complete(_))))
}

#[test]
fn cut_anywhere_it_gives_its_complete_batches_and_says_so() {
    const SHARES: usize = 4;
    let (bytes, ends) = recorded(&events(7), 5);
    let head_ends = Encoder::new(&head()).unwrap().bytes().len();
    assert_eq!(read_cut(&bytes), Some((7, true)));
    let check = |cut: usize| {
        let rows = (ends.iter().filter(|end| **end <= cut).count() * 5).min(7);
        match read_cut(&bytes[..cut]) {
            Some(read) => assert_eq!(read, (rows, false), "cut at {cut}"),
            None => assert!(cut < head_ends, "cut at {cut}: no recording"),
        }
    };
    std::thread::scope(|scope| {
        for share in 0..SHARES {
            let (check, bytes) = (&check, &bytes);
            scope.spawn(move || (share..bytes.len()).step_by(SHARES).for_each(check));
        }
    });
}

fn why(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(error) => error.to_string(),
        Ok(recording) => match recording.end() {
            Ended::Missing { why } => why,
            Ended::Complete(_) => "complete".to_owned(),
            Ended::Damaged { why, .. } => why,
        },
    }
}

#[test]
fn each_way_of_being_no_recording_is_said() {
    let (bytes, _) = recorded(&events(7), 7);
    let plain = |metadata: &[(&str, &str)]| {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let schema = schema::schema().as_ref().clone().with_metadata(metadata);
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    let many = |count: usize| {
        let fields = (0..count).map(|at| Field::new(format!("x{at}"), DataType::UInt8, true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    let more = [bytes.as_slice(), b"x"].concat();
    for (bytes, word) in [
        (Vec::new(), "nothing"),
        (b"event,time\ncreated,1\n".to_vec(), "no message"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "no message"),
        (vec![0; 4096], "no message"),
        (vec![0xff; 4096], "at most are read"),
        (plain(&[]), "another program's"),
        (plain(&[("twtrace.format", "x")]), "format version"),
        (plain(&[("twtrace.format", "3")]), "newer"),
        (plain(&[("twtrace.format", "1")]), "no head"),
        (plain(&[("twtrace.format", "1"), ("twtrace.head", "[")]), "its head"),
        (plain(&[("twtrace.format", "1"), ("twtrace.head", "{}")]), "without a tail"),
        (many(1024), "another program's"),
        (many(1025), "1025 columns, of which 1024 at most are read"),
        (more, "more bytes"),
        (bytes, "complete"),
    ] {
        assert!(why(&bytes).contains(word), "{word}: {}", why(&bytes));
    }
}

#[test]
fn a_file_that_is_not_there_is_named_without_harm() {
    let error = Recording::open(Path::new("/no/such/\u{1b}file")).err().unwrap().to_string();
    assert!(error.contains("/no/such/\\x1bfile"), "{error}");
}

/// Written twice over a disk that was full in between, say.
#[test]
fn a_hole_in_the_middle_ends_it_there() {
    let (bytes, ends) = recorded(&events(15), 5);
    for hole in [ends[1] + 3, ends[1], ends[0] + 700] {
        let mut holed = bytes.clone();
        holed[hole..hole + 64].fill(0);
        let read = exercise(&holed).unwrap();
        let complete = ends.iter().filter(|end| **end <= hole).count();
        assert_eq!((read.rows >= complete * 5, read.complete), (true, [false; 2]), "{hole}: {read:?}");
    }
}

/// As [`recorded`], not packed: what is changed in it reaches further into the reader.
fn unpacked() -> Vec<u8> {
    let (bytes, _) = recorded(&events(23), 7);
    let mut recording = self::read(&bytes).unwrap();
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &recording.schema(), options).unwrap();
    recording.batches().for_each(|batch| writer.write(&batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

/// xorshift64: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

/// Changes a few bytes, or moves, doubles or drops a few.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const ODD: [u64; 7] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        let until = (at + 1 + dice.roll(16)).min(bytes.len());
        match dice.roll(5) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.roll(256) as u8,
            2 => {
                let odd = ODD[dice.roll(ODD.len())].to_le_bytes();
                let length = (until - at).min(odd.len());
                bytes[at..at + length].copy_from_slice(&odd[..length]);
            }
            3 => drop(bytes.drain(at..until)),
            _ => {
                let piece = bytes[at..until].to_vec();
                let to = dice.roll(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// This is what runs on every change: the kept corpus and recordings of ours, each changed a number of times in a way that is
/// the same in every run, through the very function that the fuzzer calls. It looks for panics, endless loops and memory out
/// of proportion, and it is no search: it finds what lies near. `cargo xtask fuzz` searches.
#[test]
fn changed_bytes_do_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recording-corpus");
    let kept = std::fs::read_dir(&corpus).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let mut starts: Vec<Vec<u8>> = kept.collect();
    assert!(!starts.is_empty(), "no corpus in {}", corpus.display());
    starts.extend([recorded(&events(23), 7).0, unpacked()]);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut opened = 0;
    for start in &starts {
        exercise(start);
        for _ in 0..701 {
            let mut bytes = start.clone();
            mutate(&mut bytes, &mut dice);
            opened += usize::from(exercise(&bytes).is_some());
        }
    }
    assert!(opened > 701, "only {opened} of them got past the head: nothing behind it was tried");
}

/// A batch that arrow itself finds right, and that is no event.
#[test]
fn rows_that_are_no_events_end_the_events_and_not_the_batches() {
    let mut event = created(1);
    event.owner = None;
    let (bytes, _) = recorded(&[event], 1);
    let batch = self::read(&bytes).unwrap().next_batch().unwrap();
    let keep: Vec<usize> =
        (0..batch.num_columns()).filter(|at| batch.schema().field(*at).name() != "netns").collect();
    let without = batch.project(&keep).unwrap();
    let schema = without
        .schema()
        .as_ref()
        .clone()
        .with_metadata(self::read(&bytes).unwrap().schema().metadata().clone());
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&without).unwrap();
    writer.finish().unwrap();
    let bytes = writer.into_inner().unwrap();
    assert_eq!(exercise(&bytes).map(|read| (read.rows, read.events)), Some((1, 0)));
    let mut recording = self::read(&bytes).unwrap();
    assert_eq!(recording.events().count(), 0);
    assert!(matches!(recording.end(), Ended::Missing { why } if why.contains("netns")));
}

/// One time that was changed on disk: that event is left out, with its place and its value, and all others are there.
#[test]
fn a_time_that_cannot_be_costs_one_event_and_is_said() {
    use arrow_array::types::UInt64Type;
    use arrow_array::{Array as _, ArrayRef, PrimitiveArray, RecordBatch};
    use std::sync::Arc;
    let (bytes, _) = recorded(&events(23), 23);
    let mut recording = self::read(&bytes).unwrap();
    let batch = recording.next_batch().unwrap();
    let rewritten = |change: &dyn Fn(usize, u64) -> u64| {
        let fields = batch.schema().fields().clone();
        let columns = batch.columns().iter().zip(fields.iter()).map(|(column, field)| -> ArrayRef {
            use arrow_array::cast::AsArray as _;
            if field.name() != "mono_ns" {
                return column.clone();
            }
            let old = column.as_primitive::<UInt64Type>();
            let values = old.values().iter().enumerate().map(|(row, value)| change(row, *value));
            assert_eq!(old.null_count(), 0);
            Arc::new(PrimitiveArray::<UInt64Type>::from_iter_values(values))
        });
        let schema = self::read(&bytes).unwrap().schema();
        let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    let flipped = rewritten(&|row, value| if row == 7 { value ^ (1 << 62) } else { value });
    let mut recording = self::read(&flipped).unwrap();
    let told: Vec<_> = recording.events().map(|event| event.mono_ns).collect();
    let want: Vec<_> =
        events(23).iter().enumerate().filter(|(row, _)| *row != 7).map(|(_, event)| event.mono_ns).collect();
    assert_eq!(told, want);
    let Ended::Damaged { why, tail: None } = recording.end() else { panic!("nothing was said") };
    let value = (events(23)[7].mono_ns ^ (1 << 62)).to_string();
    for part in ["1 event cannot be read and is left out", "row 7: mono_ns", &value, "begins at byte"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    // Where most rows say so, it is the head that is wrong: nothing is lost.
    let shifted = rewritten(&|_, value| value + 1_000_000_007);
    let mut recording = self::read(&shifted).unwrap();
    assert_eq!(recording.events().count(), 23);
    assert!(recording.end().trouble().is_some_and(|why| why.contains("its head says mono_ns")));
}
