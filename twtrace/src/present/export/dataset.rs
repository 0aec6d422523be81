//! Owns: recordings as a Hive-partitioned dataset of Parquet: which rows go into which file, what folders and files are called.
//! Must not know: the command line, Parquet.
//!
//! A file is named by the recording that its rows are of, so a recording that is exported again takes the place of itself and of nothing else:
//! a dataset is appended to, and nothing that happened stands in it twice. (What
//! lives when a part of a recording begins is `listed` in each part: whether the part before is ever added nobody knows.)

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use super::parquet::Parquet;
use super::{Exported, Exporter as _, each_batch};
use crate::host::files::{Aside, Folder};
use crate::model::filter::Filter;
use crate::present::record::user::Caller;
use crate::recording::{Ended, Head, Recording};

/// Nanoseconds of a day: days are those of UTC.
const DAY_NS: i64 = 86_400_000_000_000;
/// What Hive calls a value that is not there.
const NOBODY: &str = "__HIVE_DEFAULT_PARTITION__";

/// What a dataset's folders are named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PartitionKey {
    /// The name of the machine.
    Host,
    /// The day of the event, in UTC.
    Date,
}

/// A folder that recordings are added to.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Where it is.
    pub root: PathBuf,
    /// What its folders are named by, the outermost first.
    pub keys: Vec<PartitionKey>,
    /// Whose its files are to be.
    pub owner: Option<Caller>,
}

/// What was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Events written, `lost` left out: that passes every filter.
    pub events: u64,
    /// Rows written of what was lost.
    pub lost: u64,
    /// Of the events, sockets from before.
    pub listed: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What became of the recording's end.
    pub ended: Ended,
}

impl Dataset {
    /// Adds the events of `recording` that pass `filter`. Its files are put in their places once all of them are whole.
    ///
    /// # Errors
    /// Of writing; what was there before is untouched then.
    pub fn add(&self, recording: Recording, filter: &Filter) -> io::Result<Added> {
        let head = recording.head().clone();
        let mut parts = Parts::default();
        let exported = each_batch(recording, filter, |batch| self.put(batch, &head, &mut parts))?;
        let Exported { events, listed, lost, ended } = exported;
        let mut added = Added { events, listed, lost, files: 0, bytes: 0, ended };
        for part in parts.of_day.values_mut() {
            part.parquet.end(&added.ended, &mut part.file)?;
        }
        for part in parts.of_day.into_values() {
            added.bytes += part.file.persist()?;
            added.files += 1;
        }
        Ok(added)
    }

    fn put(&self, batch: &RecordBatch, head: &Head, parts: &mut Parts) -> io::Result<()> {
        for (day, rows) in by_day(batch, self.keys.contains(&PartitionKey::Date))? {
            // Rows come by time: of the day before there will hardly be more.
            if let Some(last) = parts.last.filter(|last| *last != day)
                && let Some(part) = parts.of_day.get_mut(&last)
            {
                part.parquet.flush(&mut part.file)?;
            }
            parts.last = Some(day);
            let part = match parts.of_day.entry(day) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => free.insert(self.begin(day, head)?),
            };
            part.parquet.batch(&rows, &mut part.file)?;
        }
        Ok(())
    }

    fn begin(&self, day: i64, head: &Head) -> io::Result<PartFile> {
        let owner = self.owner.as_ref().map(|owner| (owner.uid, owner.gid));
        let mut folder = Folder::at(&self.root, owner)?;
        for key in &self.keys {
            let name = name(*key, day, head);
            let said = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
            folder = folder.enter(OsStr::new(&name), owner).map_err(said)?;
        }
        let file = Aside::within(folder, file(head).into(), owner)?;
        Ok(PartFile { parquet: Parquet::new(head)?, file })
    }
}

#[derive(Default)]
struct Parts {
    of_day: BTreeMap<i64, PartFile>,
    last: Option<i64>,
}

struct PartFile {
    parquet: Parquet,
    file: Aside,
}

/// A batch by days since 1970, each with its rows in order; all in one where days do not matter.
fn by_day(batch: &RecordBatch, matters: bool) -> io::Result<Vec<(i64, RecordBatch)>> {
    let times =
        batch.column_by_name("time").and_then(|time| time.as_primitive_opt::<TimestampNanosecondType>());
    let day = |row: usize| {
        times.filter(|times| times.is_valid(row)).map_or(0, |times| times.value(row).div_euclid(DAY_NS))
    };
    if !matters || batch.num_rows() == 0 {
        return Ok(if batch.num_rows() == 0 { Vec::new() } else { vec![(0, batch.clone())] });
    }
    let mut days: Vec<i64> = (0..batch.num_rows()).map(day).collect();
    let of_row = days.clone();
    days.sort_unstable();
    days.dedup();
    if let [day] = days[..] {
        return Ok(vec![(day, batch.clone())]);
    }
    let of_day = |day: i64| {
        let is_of_it = BooleanArray::from_iter(of_row.iter().map(|one| Some(*one == day)));
        filter_record_batch(batch, &is_of_it).map(|rows| (day, rows)).map_err(io::Error::other)
    };
    days.into_iter().map(of_day).collect()
}

/// The name of a folder.
fn name(key: PartitionKey, day: i64, head: &Head) -> String {
    match key {
        PartitionKey::Host => format!("host={}", escaped(&head.host)),
        PartitionKey::Date => {
            let date = jiff::Timestamp::from_second(day.saturating_mul(DAY_NS / 1_000_000_000));
            let date = date.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string());
            format!("date={}", date.unwrap_or_else(|_| NOBODY.to_owned()))
        }
    }
}

/// Names of machines are letters, digits, hyphens and dots; of anything else no name of a folder is made.
fn escaped(text: &str) -> String {
    if text.is_empty() {
        return NOBODY.to_owned();
    }
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().take(64).map(one).collect()
}

/// What a recording's files are called: by the run of the kernel, the moment at which it began, and which part it is.
fn file(head: &Head) -> PathBuf {
    let boot: String = head.boot_id.chars().filter(char::is_ascii_hexdigit).take(32).collect();
    let boot = if boot.is_empty() { "unknown".to_owned() } else { boot };
    Path::new(&format!("{boot}-{}-{}.parquet", head.mono_ns, head.part)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_by_machine_and_day() {
        let head = |host: &str| Head { host: host.to_owned(), ..Head::default() };
        for (host, want) in [
            ("web-17.example", "host=web-17.example"),
            ("", "host=__HIVE_DEFAULT_PARTITION__"),
            ("../../etc", "host=..%2F..%2Fetc"),
            ("a=b\u{1b}", "host=a%3Db%1B"),
        ] {
            assert_eq!(name(PartitionKey::Host, 0, &head(host)), want);
        }
        for (day, want) in [(0, "date=1970-01-01"), (20_784, "date=2026-11-27"), (-1, "date=1969-12-31")] {
            assert_eq!(name(PartitionKey::Date, day, &Head::default()), want);
        }
        let head = Head { boot_id: "0a1b2c3d-0000/../".to_owned(), mono_ns: 17, part: 3, ..Head::default() };
        assert_eq!(file(&head), Path::new("0a1b2c3d0000-17-3.parquet"));
    }
}
