//! Owns: whether the times of rows can be true. Each row has its time twice, by the monotonic clock and by the calendar, and both
//! were made of one reading: where they do not belong together, bytes have changed since.
//! Must not know: what else is in a row, files.
//!
//! Bytes of the head may have changed as well, and then no row agrees with it. So what comes first is held back until a row agrees with the
//! head, which is right then for good, or rows of two batches agree with one another, which are. One batch is not enough for that: where it is
//! packed, one byte that changed can change all of its rows alike.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampNanosecondType, UInt64Type};
use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use crate::model::clock::Clock;

/// Batches that are held back, at most. A recording of a quiet machine has one event in each.
const MOST_HELD: usize = 3;

/// Rows that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    rows: u64,
    /// In words for a user: the first of them.
    first: String,
    /// In words for a user: the head's clock is another one than that of the rows.
    head: Option<String>,
}

impl Damage {
    /// In words for a user; `None` where there is none.
    pub(super) fn said(&self) -> Option<String> {
        let rows = (self.rows != 0).then(|| {
            let (events, are) = if self.rows == 1 { ("event", "is") } else { ("events", "are") };
            format!("{} {events} cannot be read and {are} left out, the first {}", self.rows, self.first)
        });
        match (rows, &self.head) {
            (Some(rows), Some(head)) => Some(format!("{rows}; {head}")),
            (rows, head) => rows.or_else(|| head.clone()),
        }
    }
}

/// A batch, and what the calendar is ahead of the monotonic clock in each of its rows.
struct Vetted {
    batch: RecordBatch,
    /// Where it begins, in bytes.
    at: u64,
    offsets: Vec<i64>,
}

/// Compares the times of rows with one another.
pub(super) struct Times {
    clock: Clock,
    /// The clock is that of some rows: those with another one are wrong.
    is_certain: bool,
    held: Vec<Vetted>,
    damage: Damage,
}

impl Times {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, is_certain: false, held: Vec::new(), damage: Damage::default() }
    }

    pub(super) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Takes in a batch that begins `at` so many bytes, and gives what is certain by now, without the rows whose times cannot be true. A batch
    /// without either column is as it is: nobody asked for its times.
    pub(super) fn vet(&mut self, batch: RecordBatch, at: u64) -> Result<Vec<RecordBatch>, String> {
        let Some(offsets) = offsets(&batch) else {
            let mut all = self.rest()?;
            all.push(batch);
            return Ok(all);
        };
        let next = Vetted { batch, at, offsets };
        if !self.is_certain {
            self.is_certain = next.offsets.contains(&self.offset());
        }
        if !self.is_certain
            && let Some((most, _)) = majority(&next.offsets)
            && self.held.iter().any(|held| majority(&held.offsets).is_some_and(|(of_it, _)| of_it == most))
        {
            self.adopt(most);
        }
        self.held.push(next);
        if self.is_certain {
            self.release()
        } else if self.held.len() < MOST_HELD {
            Ok(Vec::new())
        } else {
            self.rest()
        }
    }

    /// What is held back, where nothing comes that says more. Of one row that does not agree with the head nobody knows which of the two is
    /// right.
    pub(super) fn rest(&mut self) -> Result<Vec<RecordBatch>, String> {
        let all: Vec<i64> = self.held.iter().flat_map(|held| &held.offsets).copied().collect();
        if !self.is_certain
            && let Some((most, rows)) = majority(&all)
            && rows > 1
        {
            self.adopt(most);
        }
        self.release()
    }

    fn release(&mut self) -> Result<Vec<RecordBatch>, String> {
        std::mem::take(&mut self.held).into_iter().map(|held| self.leave_out(held)).collect()
    }

    fn leave_out(&mut self, Vetted { batch, at, offsets }: Vetted) -> Result<RecordBatch, String> {
        let wanted = self.offset();
        let Some(row) = offsets.iter().position(|offset| *offset != wanted) else { return Ok(batch) };
        if self.damage.rows == 0 {
            self.damage.first =
                format!("in the batch that begins at byte {at}, row {row}: {}", said(&batch, row));
        }
        let is_true: Vec<bool> = offsets.iter().map(|offset| *offset == wanted).collect();
        self.damage.rows += is_true.iter().filter(|is_true| !**is_true).count() as u64;
        filter_record_batch(&batch, &BooleanArray::from(is_true)).map_err(|error| error.to_string())
    }

    /// What the calendar is ahead of the monotonic clock.
    fn offset(&self) -> i64 {
        self.clock.wall_ns.wrapping_sub(self.clock.mono_ns as i64)
    }

    /// It is the head that has changed.
    fn adopt(&mut self, offset: i64) {
        let Clock { mono_ns, wall_ns } = self.clock;
        self.damage.head = Some(format!(
            "its head says mono_ns {mono_ns} at wall_ns {wall_ns}, which are not the clocks of its events"
        ));
        (self.clock, self.is_certain) = (Clock { mono_ns: 0, wall_ns: offset }, true);
    }
}

/// What more than half of these are, and how many of them.
fn majority(offsets: &[i64]) -> Option<(i64, usize)> {
    // Boyer and Moore's vote: if there is a majority, it is what is left.
    let (mut most, mut votes) = (0, 0_usize);
    for offset in offsets {
        match votes {
            0 => (most, votes) = (*offset, 1),
            _ if *offset == most => votes += 1,
            _ => votes -= 1,
        }
    }
    let count = offsets.iter().filter(|offset| **offset == most).count();
    (count * 2 > offsets.len()).then_some((most, count))
}

/// What the calendar is ahead of the monotonic clock, row by row.
fn offsets(batch: &RecordBatch) -> Option<Vec<i64>> {
    let mono = batch.column_by_name("mono_ns")?.as_primitive_opt::<UInt64Type>()?;
    let time = batch.column_by_name("time")?.as_primitive_opt::<TimestampNanosecondType>()?;
    // Nulls are somebody else's business.
    if mono.null_count() != 0 || time.null_count() != 0 {
        return None;
    }
    let both = time.values().iter().zip(mono.values());
    Some(both.map(|(wall_ns, mono_ns)| wall_ns.wrapping_sub(*mono_ns as i64)).collect())
}

fn said(batch: &RecordBatch, row: usize) -> String {
    let number = |name: &str| {
        let column = batch.column_by_name(name)?;
        let mono = column.as_primitive_opt::<UInt64Type>().map(|column| i128::from(column.value(row)));
        mono.or_else(|| {
            column.as_primitive_opt::<TimestampNanosecondType>().map(|column| i128::from(column.value(row)))
        })
    };
    let [mono_ns, wall_ns] = ["mono_ns", "time"].map(|name| number(name).unwrap_or(0));
    format!("mono_ns {mono_ns} and time {wall_ns} do not belong together")
}
