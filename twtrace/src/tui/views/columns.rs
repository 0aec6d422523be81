//! Owns: the columns of each view, and which of them a width has room for.
//! Must not know: rows.

use super::Tab;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Column {
    pub(in crate::tui) title: &'static str,
    /// In terminal columns; of the one that takes what is left, the least.
    pub(in crate::tui) width: u16,
    pub(in crate::tui) is_right: bool,
    /// Takes what is left.
    pub(in crate::tui) grows: bool,
    /// When sorted by, the largest comes first.
    pub(in crate::tui) is_largest_first: bool,
    /// Those with 0 are always shown, the others in this order while there is room.
    rank: u8,
}

const fn number(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, is_right: true, grows: false, is_largest_first: true, rank }
}

const fn text(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, is_right: false, grows: false, is_largest_first: false, rank }
}

const fn rest(title: &'static str, width: u16) -> Column {
    Column { grows: true, ..text(title, width, 0) }
}

/// What is soon comes first.
const LASTS: Column = Column { is_largest_first: false, ..number("LASTS", 6, 0) };
const PID: Column = Column { is_largest_first: false, ..number("PID", 9, 0) };
const PROCESS: Column = text("PROCESS", 15, 0);

/// The figures that every row has, in the order of `rows::figures`.
const FIGURES: [Column; 10] = [
    number("LIVE", 6, 0),
    number("CREATED", 7, 0),
    number("FAILED", 6, 0),
    number("ENDED", 7, 2),
    number("PEAK", 6, 4),
    number("IN ALL", 8, 3),
    number("AGE", 7, 1),
    number("AGE99", 7, 6),
    number("SENT", 8, 7),
    number("RECEIVED", 8, 8),
];

/// The columns of a view.
pub(in crate::tui) fn columns(tab: Tab) -> Vec<Column> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    match tab {
        Tab::Processes => {
            before.extend([PID, PROCESS]);
            after.extend([number("USED", 4, 0), LASTS, text("CONTAINER", 19, 5), number("UID", 5, 9)]);
            after.push(rest("TOWARDS", 19));
        }
        Tab::Tuples => {
            before.extend([number("USED", 4, 0), number("LEFT", 5, 0), LASTS]);
            after.extend([PID, text("PROCESS", 13, 0), number("NETNS", 10, 8), rest("TUPLE", 15)]);
        }
        Tab::Peers => before.push(rest("PEER", 39)),
        Tab::Ports => {
            before.push(Column { is_largest_first: false, ..number("PORT", 5, 0) });
            after.extend([PID, number("NETNS", 10, 8), rest("PROCESS", 15)]);
        }
        Tab::Containers => before.push(rest("CONTAINER", 39)),
        Tab::Failures | Tab::Events => {
            return vec![
                Column { is_largest_first: true, ..text("TIME", 8, 0) },
                text("EVENT", 14, 0),
                Column { width: 7, ..PID },
                Column { width: 12, ..PROCESS },
                text("DETAIL", 16, 0),
                rest("LOCAL > REMOTE", 9),
            ];
        }
    }
    before.into_iter().chain(FIGURES).chain(after).collect()
}

/// Columns between two columns.
const GAP: u16 = 1;

/// Which columns a width has room for, and how wide each is: index, place from the left, width. The first place is 1, behind
/// the mark of the selected row.
pub(in crate::tui) fn fitting(columns: &[Column], width: u16) -> Vec<(usize, u16, u16)> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|at| (columns[*at].rank, *at));
    let mut left = width.saturating_sub(GAP);
    let mut taken = Vec::new();
    for at in order {
        let needed = columns[at].width + GAP;
        if needed > left + GAP {
            break;
        }
        left = left.saturating_sub(needed);
        taken.push(at);
    }
    taken.sort_unstable();
    let mut x = GAP;
    let place = |at: usize| {
        let width = columns[at].width + if columns[at].grows { left } else { 0 };
        let place = (at, x, width);
        x += width + GAP;
        place
    };
    taken.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_never_pass_the_edge_and_fill_it() {
        for tab in Tab::ALL {
            let columns = columns(tab);
            for width in 0..=250 {
                let places = fitting(&columns, width);
                let end = places.last().map_or(0, |(_, x, wide)| x + wide);
                assert!(end <= width, "{tab:?} at {width}: {places:?}");
                if width >= 80 {
                    assert!(end >= width - 1, "{tab:?} at {width} leaves room: {places:?}");
                    let titles = || places.iter().map(|(at, ..)| columns[*at].title);
                    let always = columns.iter().filter(|column| column.rank == 0);
                    for column in always {
                        assert!(titles().any(|title| title == column.title), "{tab:?}: {}", column.title);
                    }
                }
            }
            assert_eq!(fitting(&columns, 250).len(), columns.len(), "{tab:?}: all of them on a wide screen");
        }
    }
}
