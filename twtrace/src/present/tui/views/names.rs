//! Owns: what a filter looks through: the names in each row of a view, in lower case.
//! Must not know: which rows are shown, their order.

use super::{Column, ViewRow};

/// The names in the rows of a view, made once a picture: it is drawn twice, and once more with each letter that is typed.
#[derive(Clone, Debug, Default)]
pub(in crate::present::tui) struct Names {
    /// Row behind row, and a line for each name: what is printable has no end of a line in it, nor has what can be typed.
    text: String,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn of(rows: &[ViewRow<'_>], columns: &[Column]) -> Self {
        let mut names = Self::default();
        for row in rows {
            let said = columns.iter().filter(|column| !column.is_figure).map(|column| row.value(column.what));
            said.for_each(|value| names.put(&value.text(usize::MAX)));
            names.end_row();
        }
        names
    }

    fn end_row(&mut self) {
        self.ends.push(self.text.len());
    }

    fn put(&mut self, name: &str) {
        let begin = self.text.len();
        if name.is_ascii() {
            self.text.push_str(name);
            self.text[begin..].make_ascii_lowercase();
        } else {
            self.text.push_str(&name.to_lowercase());
        }
        self.text.push('\n');
    }

    /// The rows that have a name which holds `filter`, by their places.
    pub(super) fn holding(&self, filter: &str) -> Vec<usize> {
        let filter = filter.to_lowercase();
        let mut rows = Vec::new();
        for (at, _) in self.text.match_indices(&filter) {
            // The end of the row before is where this one begins.
            let row = self.ends.partition_point(|end| *end <= at);
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_any_of_its_names_and_no_other_row_is() {
        let mut names = Names::default();
        for row in [["7", "NGINX"], ["17", "über-Straße"], ["71", "nginx nginx"], ["", ""]] {
            row.into_iter().for_each(|name| names.put(name));
            names.end_row();
        }
        for (filter, want) in [
            ("nginx", &[0, 2][..]),
            ("Nginx", &[0, 2]),
            ("7", &[0, 1, 2]),
            ("17", &[1]),
            ("ÜBER", &[1]),
            ("e-s", &[]),
            ("r-straß", &[1]),
            ("71nginx", &[]),
            ("nginx17", &[]),
        ] {
            assert_eq!(names.holding(filter), want, "{filter}");
        }
    }
}
