//! Owns: the columns of each view, and which of them a width has room for.
//! Must not know: rows.

use super::Tab;

/// What a column tells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::present::tui) enum What {
    Pid,
    Process,
    Live,
    Created,
    Failed,
    Ended,
    Peak,
    InAll,
    Age,
    Age99,
    Sent,
    Received,
    Used,
    Left,
    Lasts,
    Container,
    Command,
    Uid,
    Towards,
    Netns,
    Tuple,
    Peer,
    Port,
    /// Share of `tcp_max_tw_buckets`.
    Full,
    Buckets,
    Ports,
    Time,
    Count,
    Rate,
    Event,
    Detail,
    Ends,
}

impl What {
    /// What connections were like.
    pub(in crate::present::tui) fn is_percentile(self) -> bool {
        matches!(self, Self::Age | Self::Age99 | Self::Sent | Self::Received)
    }

    /// Events a second.
    pub(in crate::present::tui) fn is_rate(self) -> bool {
        matches!(self, Self::Created | Self::Ended)
    }

    /// Of what a process mainly deals with.
    pub(in crate::present::tui) fn is_of_link(self) -> bool {
        matches!(self, Self::Towards | Self::Used | Self::Left | Self::Lasts)
    }

    /// What a process is.
    pub(in crate::present::tui) fn is_identity(self) -> bool {
        matches!(self, Self::Command | Self::Container)
    }

    /// Worked out for rows that are seen, sorted by or searched.
    pub(in crate::present::tui) fn is_measured(self) -> bool {
        self.is_percentile() || self.is_rate() || self.is_of_link() || self.is_identity()
    }
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::present::tui) struct Column {
    pub(in crate::present::tui) what: What,
    pub(in crate::present::tui) title: &'static str,
    /// In terminal columns; of the one that takes what is left, the least.
    pub(in crate::present::tui) width: u16,
    pub(in crate::present::tui) is_right: bool,
    /// Takes what is left.
    pub(in crate::present::tui) grows: bool,
    /// When sorted by, the largest comes first.
    pub(in crate::present::tui) is_largest_first: bool,
    /// How much or how many: no filter looks into it, since no row is found by that.
    pub(in crate::present::tui) is_figure: bool,
    /// Those with 0 are always shown, the others in this order while there is room.
    rank: u8,
}

const fn figure(what: What, title: &'static str, width: u16, rank: u8) -> Column {
    Column { what, title, width, is_right: true, grows: false, is_largest_first: true, is_figure: true, rank }
}

/// A number that is a name.
const fn number(what: What, title: &'static str, width: u16, rank: u8) -> Column {
    Column { is_largest_first: false, is_figure: false, ..figure(what, title, width, rank) }
}

const fn text(what: What, title: &'static str, width: u16, rank: u8) -> Column {
    Column { is_right: false, ..number(what, title, width, rank) }
}

const fn rest(what: What, title: &'static str, width: u16) -> Column {
    Column { grows: true, ..text(what, title, width, 0) }
}

/// What is soon comes first.
const LASTS: Column = Column { is_largest_first: false, ..figure(What::Lasts, "LASTS", 6, 0) };
const USED: Column = figure(What::Used, "USED", 4, 0);
const PID: Column = number(What::Pid, "PID", 7, 0);
const NETNS: Column = number(What::Netns, "NETNS", 10, 8);

/// What every row has.
const FIGURES: [Column; 10] = [
    figure(What::Live, "LIVE", 6, 0),
    figure(What::Created, "NEW 10s", 7, 0),
    figure(What::Failed, "FAILED", 6, 0),
    figure(What::Ended, "END 10s", 7, 2),
    figure(What::Peak, "PEAK", 6, 4),
    figure(What::InAll, "TOTAL", 8, 3),
    figure(What::Age, "AGE p50", 7, 1),
    figure(What::Age99, "AGE p99", 7, 6),
    figure(What::Sent, "SENT", 8, 7),
    figure(What::Received, "RECEIVED", 8, 8),
];

/// The columns of a view.
pub(in crate::present::tui) fn columns(tab: Tab) -> Vec<Column> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    match tab {
        Tab::Processes => {
            before.extend([PID, text(What::Process, "PROCESS", 15, 0)]);
            after.extend([USED, LASTS, text(What::Container, "CONTAINER", 19, 5)]);
            after.push(text(What::Command, "COMMAND", 24, 1));
            after.extend([number(What::Uid, "UID", 5, 9), rest(What::Towards, "DESTINATION", 19)]);
        }
        Tab::Tuples => {
            before.extend([USED, figure(What::Left, "LEFT", 5, 0), LASTS]);
            after.extend([PID, text(What::Process, "PROCESS", 13, 0), NETNS]);
            after.push(rest(What::Tuple, "TUPLE", 15));
        }
        Tab::Peers => before.push(rest(What::Peer, "PEER", 39)),
        Tab::Ports => {
            before.push(number(What::Port, "PORT", 5, 0));
            after.extend([PID, NETNS, rest(What::Process, "PROCESS", 15)]);
        }
        Tab::Containers => before.push(rest(What::Container, "CONTAINER", 39)),
        Tab::Netns => {
            before.push(Column { rank: 0, ..NETNS });
            after.extend([
                figure(What::Full, "FULL", 4, 0),
                figure(What::Buckets, "BUCKETS", 7, 0),
                figure(What::Ports, "PORTS", 5, 0),
                PID,
                rest(What::Process, "PROCESS", 15),
            ]);
        }
        Tab::Failures | Tab::Events => {
            return vec![
                Column { is_largest_first: true, ..text(What::Time, "TIME", 8, 0) },
                figure(What::Count, "COUNT", 6, 0),
                figure(What::Rate, "RATE", 6, 0),
                text(What::Event, "EVENT", 14, 0),
                Column { rank: 1, ..PID },
                text(What::Process, "PROCESS", 8, 0),
                text(What::Detail, "DETAIL", 13, 0),
                rest(What::Ends, "LOCAL > REMOTE", 9),
            ];
        }
    }
    before.into_iter().chain(FIGURES).chain(after).collect()
}

/// In front of each row: whether it is selected, an alarm, whether its process is gone.
pub(in crate::present::tui) const MARKS: u16 = 3;
/// Columns between two columns.
const GAP: u16 = 1;

/// Which columns a width has room for, and how wide each is: index, place from the left, width. They begin behind the marks.
pub(in crate::present::tui) fn fitting(columns: &[Column], width: u16) -> Vec<(usize, u16, u16)> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|at| (columns[*at].rank, *at));
    let mut left = width.saturating_sub(MARKS);
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
    let mut x = MARKS;
    let span = |at: usize| {
        let width = columns[at].width + if columns[at].grows { left } else { 0 };
        let span = (at, x, width);
        x += width + GAP;
        span
    };
    taken.into_iter().map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_never_pass_the_edge_and_fill_it() {
        for tab in Tab::ALL {
            let columns = columns(tab);
            for width in 0..=250 {
                let spans = fitting(&columns, width);
                let end = spans.last().map_or(0, |(_, x, wide)| x + wide);
                assert!(end <= width, "{tab:?} at {width}: {spans:?}");
                if width >= 80 {
                    assert!(end >= width - 1, "{tab:?} at {width} leaves room: {spans:?}");
                    let titles = || spans.iter().map(|(at, ..)| columns[*at].title);
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
