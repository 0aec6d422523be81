//! Owns: comparing what was told with the kernel's own books, per network namespace.
//! Must not know: how either was come by.
//!
//! The books cannot be read in the very moment in which the hooks are attached, or in that up to which all is told. So they are read
//! before and after both; a kernel count is then known to lie in a range, which is one number where nothing happened meanwhile.

use std::collections::BTreeMap;
use std::fmt;

use crate::engine::{Counts, Tracker};
use crate::host::net::books::Books;
use crate::model::event::{Loss, Reason};

/// What the kernel's counters mean here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// TW and TWKilled count births (since 5.18: __inet_twsk_schedule(), net/ipv4/inet_timewait_sock.c, 6.1 to 7.3).
    Births,
    /// TW and TWKilled count expiries (`inet_timewait_sock.tw_kill` is there: tw_timer_handler(),
    /// net/ipv4/inet_timewait_sock.c, 5.10).
    Expiries,
}

/// Readings of the books of one namespace, by when they were taken.
#[derive(Clone, Copy, Debug, Default)]
struct Readings {
    before_attach: Option<Books>,
    after_attach: Option<Books>,
    before_end: Option<Books>,
    after_end: Option<Books>,
}

/// When a reading was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// No hook is attached yet.
    BeforeAttach,
    /// All are.
    AfterAttach,
    /// Before the moment up to which all is told; all hooks are attached.
    BeforeEnd,
    /// After it; they still are.
    AfterEnd,
}

/// Collects readings.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    readings: BTreeMap<u32, Readings>,
    is_short: bool,
}

/// One compared count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountRow {
    /// Inode of the network namespace.
    pub netns: u32,
    /// What was counted.
    pub what: &'static str,
    /// The least and the most that the kernel can have counted.
    pub kernel: (i64, i64),
    /// What twtrace told.
    pub told: i64,
    /// Events of this kind that are known to be lost, of all namespaces together, plus runs that may have been one.
    pub lost: i64,
}

impl CountRow {
    /// How far off twtrace is: positive where it told too much.
    pub fn difference(&self) -> i64 {
        let (least, most) = self.kernel;
        if self.told < least {
            self.told - least
        } else if self.told > most {
            self.told - most
        } else {
            0
        }
    }

    /// Whether loss explains the difference. Nothing explains events that never were.
    pub fn holds(&self) -> bool {
        let difference = self.difference();
        difference == 0 || (difference < 0 && -difference <= self.lost)
    }
}

const UNREAD: &str = "verify: FAILED: nothing was compared, as the kernel's books could not be read in time; remedy: \
                      --netns with the network namespaces of interest";

/// The comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Every count of every namespace in which anything happened.
    pub rows: Vec<CountRow>,
    /// Namespaces with events whose books are gone: with the namespace, or because another one has its inode now.
    pub gone: Vec<u32>,
    /// The books could not be read in time: nothing was compared.
    pub unread: bool,
}

impl Verdict {
    /// Whether all was compared, and every difference is explained by what was lost.
    pub fn holds(&self) -> bool {
        !self.unread && self.rows.iter().all(CountRow::holds)
    }
}

impl Verification {
    /// Enters the books as they were at `moment`.
    pub fn enter(&mut self, moment: Moment, books: impl IntoIterator<Item = (u32, Books)>) {
        for (netns, books) in books {
            let readings = self.readings.entry(netns).or_default();
            let slot = match moment {
                Moment::BeforeAttach => &mut readings.before_attach,
                Moment::AfterAttach => &mut readings.after_attach,
                Moment::BeforeEnd => &mut readings.before_end,
                Moment::AfterEnd => &mut readings.after_end,
            };
            *slot = Some(books);
        }
    }

    /// A reading is missing: there is nothing to compare.
    pub fn fall_short(&mut self) {
        self.is_short = true;
    }

    /// Whether a reading is missing.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Compares with what the tracker was told.
    pub fn close(&self, tracker: &Tracker, loss: &Loss, counting: Counting) -> Verdict {
        if self.is_short {
            return Verdict { unread: true, ..Verdict::default() };
        }
        let (mut verdict, all) = (Verdict::default(), tracker.by_netns());
        for (netns, readings) in &self.readings {
            let (told, live) = all.get(netns).copied().unwrap_or_default();
            let Some(span) = readings.span() else {
                if told.events() != 0 {
                    verdict.gone.push(*netns);
                }
                continue;
            };
            let rows = span.rows(*netns, &told, live, loss, counting);
            // Inodes are used again at once: what is too much in a namespace that is younger than the trace may have
            // been told of another one, which is gone.
            if readings.before_attach.is_none() && rows.iter().any(|row| row.difference() > 0) {
                verdict.gone.push(*netns);
                continue;
            }
            if rows.iter().any(|row| row.told != 0 || row.kernel != (0, 0)) {
                verdict.rows.extend(rows);
            }
        }
        let busy = all.iter().filter(|(_, (counts, _))| counts.events() != 0).map(|(netns, _)| *netns);
        verdict.gone.extend(busy.filter(|netns| !self.readings.contains_key(netns)));
        verdict
    }
}

impl Readings {
    /// A namespace that was not there at the start began with empty books. `None` where there is nothing to compare: the
    /// namespace is gone, or another one has its inode now, which shows in counters that went down.
    fn span(&self) -> Option<Span> {
        let start = self.before_attach.or(self.after_attach).unwrap_or_default();
        let end = (self.before_end.or(self.after_end)?, self.after_end?);
        let births = |books: &Books| books.tw + books.tw_killed;
        if births(&end.0) < births(&self.after_attach.unwrap_or(start)) {
            return None;
        }
        Some(Span { start: (start, self.after_attach.unwrap_or(start)), end })
    }
}

/// Between which readings all is told.
struct Span {
    start: (Books, Books),
    end: (Books, Books),
}

impl Span {
    /// The range of a counter that only goes up.
    fn grown(&self, read: impl Fn(&Books) -> u64) -> (i64, i64) {
        let read = |books: &Books| read(books) as i64;
        ((read(&self.end.0) - read(&self.start.1)).max(0), read(&self.end.1) - read(&self.start.0))
    }

    /// The range of what lived at a moment between two readings, in which so many were born or ended as the counter says: it may have been
    /// less, or more, than at both.
    fn live_between((first, second): &(Books, Books), counting: Counting) -> (i64, i64) {
        let timers = |books: &Books| (books.tw + books.tw_killed) as i64;
        let (came, (first, second)) =
            (timers(second) - timers(first), (first.sockstat_tw as i64, second.sockstat_tw as i64));
        match counting {
            Counting::Births => {
                (first.min(second).min(second - came).max(0), first.max(second).max(first + came))
            }
            Counting::Expiries => {
                (first.min(second).min(first - came).max(0), first.max(second).max(second + came))
            }
        }
    }

    /// The range of a number at both readings of the end.
    fn read_at_end(&self) -> (i64, i64) {
        let (first, second) = (self.end.0.sockstat_tw as i64, self.end.1.sockstat_tw as i64);
        (first.min(second), first.max(second))
    }

    fn rows(&self, netns: u32, told: &Counts, live: u64, loss: &Loss, counting: Counting) -> Vec<CountRow> {
        let row = |what, kernel, told: u64, lost: u64| CountRow {
            netns,
            what,
            kernel,
            told: told as i64,
            lost: (lost + loss.missed_runs) as i64,
        };
        let timers = self.grown(|books| books.tw + books.tw_killed);
        let (start, end) =
            (Self::live_between(&self.start, counting), Self::live_between(&self.end, counting));
        // created - ended = live at the end - live at the start
        let growth = (end.0 - start.1, end.1 - start.0);
        let mut rows = Vec::new();
        match counting {
            Counting::Births => {
                rows.push(row("created", timers, told.created, loss.created));
                let ended = ((timers.0 - growth.1).max(0), timers.1 - growth.0);
                rows.push(row("ended", ended, told.ended(), loss.ended));
            }
            Counting::Expiries => {
                let told_ended = told.ended() as i64;
                // What expired while the books were read may have been told, and not be in the growth.
                let meanwhile = timers.1 - timers.0;
                let created =
                    ((told_ended - meanwhile + growth.0).max(0), told_ended + loss.ended as i64 + growth.1);
                rows.push(row("created", created, told.created, loss.created));
                rows.push(row("ended expired", timers, told.ended_for(Reason::Expired), loss.ended));
            }
        }
        rows.push(row("overflow", self.grown(|books| books.tw_overflow), told.overflow, loss.overflow));
        let reused = self.grown(|books| books.tw_recycled);
        rows.push(row("ended reused_outgoing", reused, told.ended_for(Reason::ReusedOutgoing), loss.ended));
        // Sockets that came or went between the last readings may be in one number and not in the other.
        if self.end.0 == self.end.1 {
            rows.push(row("live", self.read_at_end(), live, loss.created));
        }
        rows
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unread {
            return f.write_str(UNREAD);
        }
        writeln!(f, "{:<12} {:<22} {:>12} {:>12}", "NETNS", "COUNT", "KERNEL", "TWTRACE")?;
        // What does not hold comes first: there may be hundreds of namespaces.
        let (good, bad): (Vec<&CountRow>, Vec<&CountRow>) = self.rows.iter().partition(|row| row.holds());
        for row in bad.into_iter().chain(good) {
            let (least, most) = row.kernel;
            let kernel = if least == most { least.to_string() } else { format!("{least}..{most}") };
            let note = match (row.difference(), row.holds()) {
                (0, _) => String::new(),
                (off, true) => format!("  {off:+}, lost"),
                (off, false) => format!("  {off:+}, NOT EXPLAINED"),
            };
            writeln!(f, "{:<12} {:<22} {kernel:>12} {:>12}{note}", row.netns, row.what, row.told)?;
        }
        for netns in &self.gone {
            writeln!(
                f,
                "{netns:<12} its namespace, or one that had its inode before, is gone: not compared"
            )?;
        }
        write!(f, "verify: {}", if self.holds() { "ok" } else { "FAILED: twtrace and the kernel disagree" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(tw: u64, sockstat_tw: u64) -> Books {
        Books { tw, sockstat_tw, ..Books::default() }
    }

    fn verification(all: [Books; 4]) -> Verification {
        let mut verification = Verification::default();
        let moments = [Moment::BeforeAttach, Moment::AfterAttach, Moment::BeforeEnd, Moment::AfterEnd];
        for (moment, books) in moments.into_iter().zip(all) {
            verification.enter(moment, [(7, books)]);
        }
        verification
    }

    #[test]
    fn a_silent_difference_fails_and_a_lost_one_does_not() {
        let verification = verification([books(0, 0), books(0, 0), books(97, 97), books(97, 97)]);
        let tracker = Tracker::new();
        let verdict = verification.close(&tracker, &Loss::default(), Counting::Births);
        assert!(!verdict.holds());
        assert_eq!(verdict.rows[0].difference(), -97);
        let loss = Loss { created: 97, ..Loss::default() };
        assert!(verification.close(&tracker, &loss, Counting::Births).holds());
        let less = Loss { created: 96, ..Loss::default() };
        assert!(!verification.close(&tracker, &less, Counting::Births).holds());
    }

    #[test]
    fn books_that_could_not_be_read_in_time_are_no_proof() {
        let mut verification = verification([books(0, 0), books(0, 0), books(0, 0), books(0, 0)]);
        assert!(verification.close(&Tracker::new(), &Loss::default(), Counting::Births).holds());
        verification.fall_short();
        let verdict = verification.close(&Tracker::new(), &Loss::default(), Counting::Births);
        let said = verdict.to_string();
        assert!(
            !verdict.holds() && said.contains("nothing was compared") && !said.contains("verify: ok"),
            "{said}"
        );
    }

    #[test]
    fn what_happens_while_hooks_come_and_go_widens_the_range() {
        let verification = verification([books(10, 10), books(12, 12), books(30, 30), books(33, 33)]);
        let verdict = verification.close(&Tracker::new(), &Loss::default(), Counting::Births);
        assert_eq!((verdict.rows[0].what, verdict.rows[0].kernel), ("created", (18, 23)));
        assert!(verdict.rows.iter().all(|row| row.what != "live"), "nobody knows which of 30 to 33 it was");
    }

    fn one_creation_in(netns: u32) -> Tracker {
        let mut tracker = Tracker::new();
        let here = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let conn =
            crate::model::event::Conn { netns, ifindex: 0, saddr: here, daddr: here, sport: 1, dport: 2 };
        tracker.apply(&mut crate::model::event::Event::new(
            crate::model::event::Kind::Created,
            1,
            Some(conn),
        ));
        tracker
    }

    /// 5.10 counts expiries. While its books were read before the trace, 40 expired and 30 were born: at the moment in between there may have
    /// been 40 fewer than at first.
    #[test]
    fn what_lived_in_between_may_have_been_less_than_before_and_after() {
        let verification = verification([books(0, 100), books(40, 90), books(60, 95), books(60, 95)]);
        let mut tracker = one_creation_in(7);
        let here = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        for sport in 2..=55 {
            let conn =
                crate::model::event::Conn { netns: 7, ifindex: 0, saddr: here, daddr: here, sport, dport: 2 };
            tracker.apply(&mut crate::model::event::Event::new(
                crate::model::event::Kind::Created,
                1,
                Some(conn),
            ));
            let mut ended = crate::model::event::Event::new(crate::model::event::Kind::Ended, 2, Some(conn));
            ended.reason = Some(Reason::Expired);
            if sport <= 21 {
                tracker.apply(&mut ended);
            }
        }
        let verdict = verification.close(&tracker, &Loss::default(), Counting::Expiries);
        let created = verdict.rows.iter().find(|row| row.what == "created").unwrap();
        assert_eq!((created.told, created.difference()), (55, 0), "{created:?}");
    }

    #[test]
    fn an_inode_that_was_used_before_is_not_compared() {
        let mut verification = Verification::default();
        verification.enter(Moment::BeforeEnd, [(9, Books::default())]);
        verification.enter(Moment::AfterEnd, [(9, Books::default())]);
        let tracker = one_creation_in(9);
        let verdict = verification.close(&tracker, &Loss::default(), Counting::Births);
        assert_eq!((verdict.gone.as_slice(), verdict.rows.len()), ([9].as_slice(), 0));
        // Too little is never explained by that.
        verification.enter(Moment::BeforeEnd, [(9, books(3, 3))]);
        verification.enter(Moment::AfterEnd, [(9, books(3, 3))]);
        assert!(!verification.close(&tracker, &Loss::default(), Counting::Births).holds());
    }

    #[test]
    fn events_of_a_namespace_that_is_gone_are_named() {
        let mut verification = Verification::default();
        verification.enter(Moment::BeforeAttach, [(9, Books::default())]);
        let tracker = one_creation_in(9);
        let verdict = verification.close(&tracker, &Loss::default(), Counting::Births);
        assert_eq!((verdict.gone.as_slice(), verdict.rows.len()), ([9].as_slice(), 0));
    }
}
