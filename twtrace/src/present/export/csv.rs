//! Owns: comma-separated values of a recording, harmless for a terminal and for a spreadsheet.
//! Must not know: events.

use std::io::{self, Write};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int32Type, TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};

use super::Exporter;
use crate::model::escape::printable;
use crate::output::Stamp;
use crate::recording::schema::{COLUMNS, INTERFACE_COLUMNS, Type};

pub(super) struct Csv {
    stamp: Stamp,
    cell: Vec<u8>,
}

impl Csv {
    pub(super) fn new(out: &mut dyn Write) -> io::Result<Self> {
        let names: Vec<&str> = COLUMNS[..INTERFACE_COLUMNS].iter().map(|(name, _)| *name).collect();
        writeln!(out, "{}", names.join(","))?;
        Ok(Self { stamp: Stamp::default(), cell: Vec::new() })
    }

    /// The text of a cell, empty for a null.
    fn cell(&mut self, column: &Column<'_>, row: usize) -> &[u8] {
        let mut digits = itoa::Buffer::new();
        self.cell.clear();
        match column {
            Column::Null => {}
            Column::Text { index, texts } => {
                let text = index(row).map_or("", |index| texts.value(index));
                write_harmless(&printable(text), &mut self.cell);
            }
            Column::Time(value) => {
                if let Some(wall_ns) = value(row) {
                    self.stamp.write(wall_ns, &mut self.cell);
                }
            }
            Column::Number(value) => {
                if let Some(number) = value(row) {
                    self.cell.extend_from_slice(digits.format(number).as_bytes());
                }
            }
        }
        &self.cell
    }
}

/// Spreadsheets run a cell that begins with one of these; some take the wide ones for the others.
const RUN: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Writes text that is printable already, so that no spreadsheet runs any of it: what could begin a formula becomes `\x3d`, as a control
/// character does. That is at the beginning, and after what some spreadsheets take for the end of a cell, whatever the quotes say.
fn write_harmless(text: &str, cell: &mut Vec<u8>) {
    let mut begins = true;
    for c in text.chars() {
        if begins && RUN.contains(&c) {
            let code = u32::from(c);
            let escape = if code <= 0xff { format!("\\x{code:02x}") } else { format!("\\u{{{code:x}}}") };
            cell.extend_from_slice(escape.as_bytes());
        } else {
            cell.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        begins = match c {
            ',' | ';' | '|' => true,
            '"' | '\'' => begins,
            _ => begins && c.is_whitespace(),
        };
    }
}

/// How the cells of a column are come by.
enum Column<'a> {
    Null,
    Time(Box<dyn Fn(usize) -> Option<i64> + 'a>),
    Number(Box<dyn Fn(usize) -> Option<u64> + 'a>),
    Text { index: Box<dyn Fn(usize) -> Option<usize> + 'a>, texts: &'a StringArray },
}

macro_rules! numbers {
    ($column:expr, $type:ty) => {{
        let numbers = $column.as_primitive_opt::<$type>()?;
        Column::Number(Box::new(|row| numbers.is_valid(row).then(|| u64::from(numbers.value(row)))))
    }};
}

macro_rules! texts {
    ($column:expr, $type:ty) => {{
        let column = $column.as_dictionary_opt::<$type>()?;
        let texts: &StringArray = column.values().as_string_opt()?;
        let keys = column.keys();
        let index = move |row| keys.is_valid(row).then(|| keys.value(row) as usize);
        let index = move |row| index(row).filter(|index| *index < texts.len());
        Column::Text { index: Box::new(index), texts }
    }};
}

/// `None` where the column is not of the type that it has in a recording.
fn column(column: Option<&ArrayRef>, kind: Type) -> Option<Column<'_>> {
    let Some(column) = column else { return Some(Column::Null) };
    Some(match kind {
        Type::Word => texts!(column, Int8Type),
        Type::Text => texts!(column, Int32Type),
        Type::Time => {
            let times = column.as_primitive_opt::<TimestampNanosecondType>()?;
            Column::Time(Box::new(|row| times.is_valid(row).then(|| times.value(row))))
        }
        Type::U16 => numbers!(column, UInt16Type),
        Type::U32 => numbers!(column, UInt32Type),
        Type::U64 => numbers!(column, UInt64Type),
    })
}

impl Exporter for Csv {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let columns: Option<Vec<Column<'_>>> = COLUMNS[..INTERFACE_COLUMNS]
            .iter()
            .map(|(name, kind)| column(batch.column_by_name(name), *kind))
            .collect();
        let columns =
            columns.ok_or_else(|| io::Error::other("a column of the recording has another type"))?;
        let mut lines = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        for row in 0..batch.num_rows() {
            for column in &columns {
                lines.write_field(self.cell(column, row)).map_err(of_output)?;
            }
            lines.write_record(None::<&[u8]>).map_err(of_output)?;
        }
        lines.flush()
    }
}

/// What the output itself said: a reader that went away must be known as one.
fn of_output(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
