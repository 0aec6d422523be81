//! Owns: a table as text: columns as wide as what is in them, numbers to the right, what is too wide cut with `…`.
//! Must not know: what is in a cell; every text that comes here is printable.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

use crate::model::escape::fit;
use crate::output::paint::{Meaning, Paint};

/// Columns of words at least, where they are cut for want of room: of an address and a port most is there.
const WORDS: usize = 15;

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

    /// In lines of `columns` columns: where there is no room for all, with one blank between columns, then without those of `spare`, the
    /// first of them first, then with words cut. Those of `spare` are whole or not there. Says which went.
    #[must_use]
    pub fn within(mut self, columns: usize, spare: &[&'static str]) -> (Self, Vec<&'static str>) {
        let mut gone = Vec::new();
        if self.columns(usize::MAX, spare) <= columns {
            return (self, gone);
        }
        self.gap = 1;
        for title in spare {
            let at = self.columns.iter().position(|column| column.title == *title);
            let Some(at) = at.filter(|_| self.columns(WORDS, spare) > columns) else { continue };
            self.columns.remove(at);
            self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
            gone.push(*title);
        }
        // The widest gives first.
        let widest = self.columns(usize::MAX, spare).min(columns);
        let most = (WORDS..=widest).rev().find(|most| self.columns(*most, spare) <= columns).unwrap_or(WORDS);
        for at in 0..self.columns.len() {
            if self.gives(at, spare) {
                let most = most.max(self.columns[at].title.width());
                let cells = self.rows.iter_mut().filter_map(|row| row.get_mut(at));
                cells.for_each(|cell| cell.text = fit(&cell.text, most).into_owned());
            }
        }
        (self, gone)
    }

    /// Columns of a line in which no words are wider than `most`.
    fn columns(&self, most: usize, spare: &[&'static str]) -> usize {
        let one = |at: usize| match (self.width(at), self.columns[at].title.width()) {
            (width, title) if self.gives(at, spare) => width.min(most.max(title)),
            (width, _) => width,
        };
        let gaps = self.gap * self.columns.len().saturating_sub(1);
        (0..self.columns.len()).map(one).sum::<usize>() + gaps
    }

    /// Whether a column's cells may be cut.
    fn gives(&self, at: usize, spare: &[&'static str]) -> bool {
        let column = &self.columns[at];
        !column.is_number && !spare.contains(&column.title.as_ref())
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

    fn within(columns: usize) -> (String, Vec<&'static str>) {
        let titles =
            [Column::numbers("N"), Column::words("BARS"), Column::words("NAME"), Column::words("TO")];
        let mut table = Table::new(titles);
        table.push(["7", "||||", "a-name-of-19-columns", "127.0.0.1:54321"].map(Cell::from));
        table.push(["123456", "|", "b", "[2001:db8::1]:443"].map(Cell::from));
        let (table, gone) = table.within(columns, &["BARS"]);
        let mut out = String::new();
        table.put(Paint::NONE, &mut out);
        assert!(out.lines().all(|line| line.width() <= columns), "{columns}: {out}");
        (out, gone)
    }

    #[test]
    fn what_there_is_no_room_for_is_denser_goes_or_is_cut() {
        let last = |columns| within(columns).0.lines().next_back().unwrap_or_default().to_owned();
        assert_eq!(last(53), "123456  |     b                     [2001:db8::1]:443");
        assert_eq!(last(50), "123456 |    b                    [2001:db8::1]:443");
        // The widest is cut first, and what is spare is whole until it goes.
        assert_eq!(last(47), "123456 |    b                 [2001:db8::1]:443");
        assert_eq!(
            (last(43), within(43).1),
            ("123456 |    b               [2001:db8::1]:…".to_owned(), vec![])
        );
        assert_eq!(
            (last(42), within(42).1),
            ("123456 b                 [2001:db8::1]:443".to_owned(), vec!["BARS"])
        );
        assert_eq!(last(38), "123456 b               [2001:db8::1]:…");
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
