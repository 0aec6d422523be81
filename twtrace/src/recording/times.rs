//! Owns: whether the times of rows can be true. Each row has its time twice, by the monotonic clock and by the calendar, and both
//! were made of one reading: where they do not belong together, bytes have changed since.
//! Must not know: what else is in a row, files.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampNanosecondType, UInt64Type};
use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use crate::model::clock::Clock;

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

/// Compares the times of rows with one another.
pub(super) struct Times {
    clock: Clock,
    damage: Damage,
}

impl Times {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, damage: Damage::default() }
    }

    pub(super) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Leaves out the rows whose times cannot be true. `at` is where the batch begins, in bytes. A batch without either column
    /// is as it is: nobody asked for its times.
    pub(super) fn vet(&mut self, batch: RecordBatch, at: u64) -> Result<RecordBatch, String> {
        let Some(offsets) = offsets(&batch) else { return Ok(batch) };
        let wanted = self.offset();
        let bad = offsets.iter().filter(|offset| **offset != wanted).count();
        if bad == 0 {
            return Ok(batch);
        }
        if bad * 2 > offsets.len() {
            self.adopt(&offsets);
        }
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

    /// Most rows agree on another clock than the head's: then it is the head that has changed.
    fn adopt(&mut self, offsets: &[i64]) {
        // Boyer and Moore's vote: if there is a majority, it is what is left.
        let (mut most, mut votes) = (0, 0_usize);
        for offset in offsets {
            match votes {
                0 => (most, votes) = (*offset, 1),
                _ if *offset == most => votes += 1,
                _ => votes -= 1,
            }
        }
        if self.damage.head.is_none()
            && offsets.iter().filter(|offset| **offset == most).count() * 2 > offsets.len()
        {
            let Clock { mono_ns, wall_ns } = self.clock;
            self.damage.head = Some(format!(
                "its head says mono_ns {mono_ns} at wall_ns {wall_ns}, which are not the clocks of its events"
            ));
            self.clock = Clock { mono_ns: 0, wall_ns: most };
        }
    }
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
