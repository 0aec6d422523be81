//! Owns: a table as text: columns as wide as what is in them, numbers to the right, what is too wide cut with `…`.
//! Must not know: what is in a cell; every text that comes here is printable.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

use crate::model::escape::fit;
use crate::output::paint::{Meaning, Paint};

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    title: Cow<'a, str>,
    is_number: bool,
    least: usize,
    most: usize,
}

impl<'a> Column<'a> {
    /// A column of words: they stand to the left.
    pub fn words(title: impl Into<Cow<'a, str>>) -> Self {
        Self { title: title.into(), is_number: false, least: 0, most: usize::MAX }
    }

    /// A column of numbers: they stand to the right.
    pub fn numbers(title: impl Into<Cow<'a, str>>) -> Self {
        Self { is_number: true, ..Self::words(title) }
    }

    /// Never narrower than this, so that one table after the other has the same columns.
    #[must_use]
    pub fn at_least(self, columns: usize) -> Self {
        Self { least: columns, ..self }
    }

    /// Wider cells are cut.
    #[must_use]
    pub fn at_most(self, columns: usize) -> Self {
        Self { most: columns, ..self }
    }
}

/// A cell: what is read, and what its colour means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    meaning: Meaning,
}

impl Cell {
    /// A cell in a colour.
    pub fn new(text: impl Into<String>, meaning: Meaning) -> Self {
        Self { text: text.into(), meaning }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Meaning::Plain)
    }
}

/// A table; rows have a cell for each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    columns: Vec<Column<'a>>,
    rows: Vec<Vec<Cell>>,
    gap: usize,
}

impl<'a> Table<'a> {
    /// No rows yet; two blanks between columns.
    pub fn new(columns: impl IntoIterator<Item = Column<'a>>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), gap: 2 }
    }

    /// One blank between columns, where there is little room.
    #[must_use]
    pub fn dense(self) -> Self {
        Self { gap: 1, ..self }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        let row = row.into_iter().zip(&self.columns).map(|(cell, column)| match column.most {
            usize::MAX => cell,
            most => Cell { text: fit(&cell.text, most).into_owned(), ..cell },
        });
        self.rows.push(row.collect());
    }

    /// Appends the titles and the rows.
    pub fn put(&self, paint: Paint, out: &mut String) {
        let widths: Vec<usize> = (0..self.columns.len()).map(|at| self.width(at)).collect();
        let titles = self.columns.iter().map(|column| (column.title.as_ref(), Meaning::Label));
        self.put_row(titles, &widths, paint, out);
        for row in &self.rows {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.meaning));
            self.put_row(cells, &widths, paint, out);
        }
    }

    fn width(&self, at: usize) -> usize {
        let column = &self.columns[at];
        let cells = self.rows.iter().filter_map(|row| Some(row.get(at)?.text.width()));
        cells.max().unwrap_or(0).max(column.title.width()).max(column.least)
    }

    fn put_row<'t>(
        &self,
        cells: impl Iterator<Item = (&'t str, Meaning)>,
        widths: &[usize],
        paint: Paint,
        out: &mut String,
    ) {
        // Blanks are owed until something stands behind them: no line ends with any.
        let mut owed = 0;
        for (((text, meaning), width), column) in cells.zip(widths).zip(&self.columns) {
            let room = width.saturating_sub(text.width());
            let (before, after) = if column.is_number { (room, 0) } else { (0, room) };
            owed += before;
            let shown = text.trim_end_matches(' ');
            if !shown.is_empty() {
                out.extend(std::iter::repeat_n(' ', owed));
                paint.put(meaning, shown, out);
                owed = 0;
            }
            owed += text.len() - shown.len() + after + self.gap;
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<'static> {
        let columns = [Column::numbers("N").at_least(3), Column::words("NAME").at_most(6), Column::words("")];
        let mut table = Table::new(columns);
        table.push(["7".into(), "日本語!".into(), Cell::from("x")]);
        table.push(["12345 ".into(), Cell::new("a", Meaning::Critical), Cell::from("")]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_no_line_ends_with_blanks() {
        let mut out = String::new();
        table().put(Paint::NONE, &mut out);
        assert_eq!(out, "     N  NAME\n     7  日本…  x\n12345   a\n");
        let mut out = String::new();
        Table::new([Column::words("A").at_least(4), Column::numbers("B")]).dense().put(Paint::NONE, &mut out);
        assert_eq!(out, "A    B\n");
    }

    #[test]
    fn colours_take_no_room() {
        let (mut plain, mut coloured) = (String::new(), String::new());
        table().put(Paint::NONE, &mut plain);
        table().put(Paint::COLOURS, &mut coloured);
        assert!(coloured.contains("\x1b[") && !plain.contains('\x1b'));
        assert_eq!(crate::output::paint::without_colours(&coloured), plain);
    }
}
