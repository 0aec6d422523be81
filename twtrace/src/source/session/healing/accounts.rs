//! Owns: how what the kernel has counted in each network namespace compares with what was told: births in all, and what lives.
//! Must not know: how the books are read, what is done where they do not agree.

use std::collections::{HashMap, HashSet};

use super::super::lister::Read;
use super::SECOND_NS;
use crate::engine::{Counts, Hasher, Tracker};
use crate::host::net::books::Books;
use crate::model::event::{Event, Kind};
use crate::model::ordering::Ordered as _;

/// How often the books are compared.
const EVERY_NS: u64 = 5 * SECOND_NS;
/// How often those of namespaces from which nothing had come before are read besides: what is missed until then nobody can tell. Finding a way
/// into a namespace costs a look at every process.
const NEW_EVERY_NS: u64 = 2 * SECOND_NS;
/// Namespaces whose books are compared at a time; with more, they take turns.
const AT_ONCE: usize = 256;
/// Births that are kept while books are on their way.
const NOTED: usize = 1 << 16;

/// Created, listed, ended, live.
type NetnsCounts = (u64, u64, u64, u64);
const NOTHING: NetnsCounts = (0, 0, 0, 0);

/// How a namespace's books compare with what was told.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// What the kernel had counted before we did: at most so much. Below 0 where another namespace had the inode before, in which births were
    /// told that the kernel does not count any more.
    base: i64,
    /// Births that nobody told: at least so many.
    missed: u64,
    /// The kernel's count when last read.
    births: u64,
}

/// Books that are being read.
#[derive(Debug, Default)]
struct PendingBooks {
    /// What was told of each namespace when they were asked for.
    told: HashMap<u32, NetnsCounts>,
    /// Births since then: the namespace, and CLOCK_MONOTONIC in nanoseconds.
    births: Vec<(u32, u64)>,
}

impl PendingBooks {
    /// As [`Self::born`] wants them.
    fn sorted(mut self) -> Self {
        self.births.sort_unstable();
        self
    }

    /// Births in a namespace up to `read_ns`, of those that were sorted.
    fn born(&self, netns: u32, read_ns: u64) -> u64 {
        let first = self.births.partition_point(|(at, _)| *at < netns);
        let end = self.births.partition_point(|birth| *birth <= (netns, read_ns));
        end.saturating_sub(first) as u64
    }
}

/// See the head of the file. Until the first books come, births are kept.
#[derive(Debug)]
pub(super) struct Accounts {
    /// When all are due, and when those without an account may be asked for: CLOCK_MONOTONIC in nanoseconds.
    next_ns: u64,
    new_ns: u64,
    /// All of them, whatever the time.
    soon: bool,
    is_over: bool,
    asked: Option<PendingBooks>,
    /// Namespaces from which a birth has come, the latest of them, and whether it was the first of one since books were asked for.
    seen: HashSet<u32, Hasher>,
    latest: u32,
    is_new: bool,
    /// Whose turn it is.
    turn: usize,
    open: HashMap<u32, Account>,
    /// Namespaces that were asked for, and those of them that are gone.
    watched: HashSet<u32>,
    left: HashSet<u32>,
    /// What was missed in namespaces that are gone.
    closed_missed: u64,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            next_ns: 0,
            new_ns: 0,
            soon: false,
            is_over: false,
            asked: Some(PendingBooks::default()),
            seen: HashSet::default(),
            latest: 0,
            is_new: false,
            turn: 0,
            open: HashMap::new(),
            watched: HashSet::new(),
            left: HashSet::new(),
            closed_missed: 0,
        }
    }
}

impl Accounts {
    /// Takes in the first books, which are read before anything is listed: there is nothing to compare the next ones with until that is done.
    pub(super) fn open(&mut self, books: &[Read], now_ns: u64) {
        self.next_ns = now_ns + EVERY_NS;
        let asked = self.asked.take().unwrap_or_default().sorted();
        for (netns, read_ns, books) in books {
            let (births, told) = (births(books), asked.born(*netns, *read_ns));
            // Nothing can be missed yet, though more was told than some kernels count, which are ends.
            self.enter(*netns, births, told, births.max(told));
        }
    }

    /// They are to be compared now.
    pub(super) fn compare_soon(&mut self) {
        self.soon = true;
    }

    /// No more books are asked for, and what is on its way says nothing any more: from now on not all that happens is told.
    pub(super) fn close(&mut self) {
        (self.is_over, self.soon, self.asked) = (true, false, None);
    }

    /// Whether they are closed.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether books are on their way, or to be asked for now.
    pub(super) fn is_comparing(&self) -> bool {
        self.soon || self.asked.is_some()
    }

    /// Namespaces whose books are to be read now: those in which something lives or happened, where there is a tracker that knows of all that
    /// does, and those that are watched.
    pub(super) fn ask(&mut self, now_ns: u64, tracker: Option<&Tracker>) -> Option<Vec<u32>> {
        let all = self.soon || now_ns >= self.next_ns;
        let is_due = all || self.is_new && now_ns >= self.new_ns;
        if self.is_over || self.asked.is_some() || !is_due {
            return None;
        }
        if all {
            self.next_ns = now_ns + EVERY_NS;
        }
        (self.soon, self.is_new) = (false, false);
        let mut told = tracker.map(told_of_all).unwrap_or_default();
        told.retain(|_, told| *told != NOTHING);
        // Whether they are still there matters, though nothing happens.
        for netns in self.watched.iter().filter(|_| all) {
            told.entry(*netns).or_default();
        }
        let mut busy: Vec<(u32, NetnsCounts)> = told.into_iter().collect();
        busy.retain(|(netns, _)| !self.left.contains(netns) && (all || !self.open.contains_key(netns)));
        busy.order_by(Ord::cmp);
        if busy.is_empty() {
            return None;
        }
        self.new_ns = now_ns + NEW_EVERY_NS;
        let first = if all && self.turn < busy.len() { self.turn } else { 0 };
        if all {
            self.turn = first + AT_ONCE;
        }
        let told: HashMap<u32, NetnsCounts> = busy.into_iter().skip(first).take(AT_ONCE).collect();
        let netns = told.keys().copied().collect();
        self.asked = Some(PendingBooks { told, births: Vec::new() });
        Some(netns)
    }

    /// An event has come.
    pub(super) fn note(&mut self, event: &Event) {
        let (Kind::Created, Some(conn)) = (event.kind, event.conn) else { return };
        if conn.netns != self.latest {
            self.latest = conn.netns;
            self.is_new |= self.seen.insert(conn.netns);
        }
        if let Some(asked) = &mut self.asked
            && asked.births.len() < NOTED
        {
            asked.births.push((conn.netns, event.mono_ns));
        }
    }

    /// Compares books that were asked for, each with when it was read, with what was told by now, which is all that happened until then, and
    /// perhaps more; births only where the kernel counts those. Whether what lives agrees, as far as can be said.
    pub(super) fn compare(&mut self, books: &[Read], counts_births: bool, tracker: &Tracker) -> bool {
        let (asked, told) = (self.asked.take().unwrap_or_default().sorted(), told_of_all(tracker));
        let mut agree = true;
        for (netns, read_ns, books) in books {
            let Some(before) = asked.told.get(netns) else { continue };
            let now = told.get(netns).copied().unwrap_or_default();
            if counts_births {
                let read = before.0 + asked.born(*netns, *read_ns);
                self.enter(*netns, births(books), read, now.0);
            }
            // Nothing happened meanwhile: what lives must be the same, where anything is known of it.
            agree &= *before != now || now == NOTHING || books.sockstat_tw == now.3;
        }
        agree
    }

    /// Books have come that say nothing: not all that happens is told.
    pub(super) fn pass(&mut self) {
        self.asked = None;
    }

    /// Of these, the books are read though nothing happens: whether they are still there matters.
    pub(super) fn watch(&mut self, netns: impl IntoIterator<Item = u32>) {
        self.watched.extend(netns);
    }

    /// Closes the account of a namespace: another one has its inode.
    pub(super) fn renew(&mut self, netns: u32) {
        self.closed_missed += self.open.remove(&netns).map_or(0, |account| account.missed);
        self.latest = 0;
        self.seen.remove(&netns);
    }

    /// The same, where the other one does not matter.
    pub(super) fn leave(&mut self, netns: u32) {
        self.renew(netns);
        self.watched.remove(&netns);
        self.left.insert(netns);
    }

    /// Takes in a namespace's count of births. Of them at least `before` were told, and at most `now`: what was told since then makes what is
    /// missed look less, never more; in a quiet moment it is exact.
    fn enter(&mut self, netns: u32, births: u64, before: u64, now: u64) {
        let less = |births: u64, told: u64| (births as i64).saturating_sub(told as i64);
        let base = less(births, before);
        let account = self.open.entry(netns).or_insert(Account { base, missed: 0, births });
        // Another namespace has its inode now.
        if births < account.births {
            *account = Account { base, missed: account.missed, births };
        }
        account.births = births;
        account.base = account.base.min(base.saturating_sub(account.missed as i64));
        let missed = less(births, now).saturating_sub(account.base);
        account.missed = account.missed.max(u64::try_from(missed).unwrap_or(0));
    }

    /// Closes the accounts of all other namespaces: there may be no end of new ones.
    pub(super) fn keep(&mut self, netns: &HashSet<u32>) {
        self.seen.retain(|inode| netns.contains(inode));
        self.latest = 0;
        let closed = &mut self.closed_missed;
        self.open.retain(|inode, account| {
            let stays = netns.contains(inode);
            *closed += if stays { 0 } else { account.missed };
            stays
        });
    }

    /// Births that nobody told, of which only the kernel's counters know: at least so many.
    pub(super) fn missed(&self) -> u64 {
        self.closed_missed + self.open.values().map(|account| account.missed).sum::<u64>()
    }
}

/// What the kernel has counted as born in a namespace.
fn births(books: &Books) -> u64 {
    books.tw + books.tw_killed
}

/// What was told of each namespace.
fn told_of_all(tracker: &Tracker) -> HashMap<u32, NetnsCounts> {
    let told = |counts: Counts, live| (counts.created, counts.listed, counts.ended(), live);
    tracker.by_netns().into_iter().map(|(netns, (counts, live))| (netns, told(counts, live))).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::model::event::Conn;

    #[test]
    fn what_was_missed_in_a_namespace_that_is_gone_stays_missed() {
        let mut accounts = Accounts::default();
        accounts.enter(7, 100, 0, 0);
        accounts.enter(7, 113, 0, 0);
        accounts.enter(8, 5, 0, 0);
        accounts.enter(8, 7, 0, 0);
        assert_eq!(accounts.missed(), 15);
        accounts.keep(&[8].into());
        assert_eq!((accounts.missed(), accounts.open.len()), (15, 1));
        // Another one has the inode of the first now.
        accounts.enter(7, 3, 0, 0);
        assert_eq!(accounts.missed(), 15);
    }

    #[test]
    fn what_was_told_of_a_namespace_hides_nothing_of_the_next_with_its_inode() {
        let mut accounts = Accounts::default();
        accounts.enter(7, 5000, 5000, 5000);
        // The next one has had 97, all of them told; then 3 of 20 are not.
        accounts.enter(7, 97, 5097, 5097);
        assert_eq!(accounts.missed(), 0);
        accounts.enter(7, 117, 5114, 5114);
        assert_eq!(accounts.missed(), 3);
    }

    #[test]
    fn nothing_is_missed_before_anything_was_compared() {
        let (mut accounts, mut tracker) = (Accounts::default(), Tracker::new());
        (1..=3).for_each(|mono_ns| born(mono_ns, &mut accounts, &mut tracker));
        // A kernel that counts ends has had none.
        accounts.open(&read(4, 0), 4);
        assert_eq!(accounts.missed(), 0);
    }

    fn born(mono_ns: u64, accounts: &mut Accounts, tracker: &mut Tracker) {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let conn = Conn { netns: 7, ifindex: 0, saddr: here, daddr: here, sport: mono_ns as u16, dport: 80 };
        let mut event = Event::new(Kind::Created, mono_ns, Some(conn));
        accounts.note(&event);
        let _ = tracker.apply(&mut event);
    }

    fn read(read_ns: u64, tw: u64) -> [Read; 1] {
        [(7, read_ns, Books { tw, sockstat_tw: 6, ..Books::default() })]
    }

    #[test]
    fn what_is_only_watched_is_asked_for_once_all_was_listed_and_says_nothing_of_what_could_not_be() {
        let (mut accounts, tracker) = (Accounts::default(), Tracker::new());
        accounts.watch([7]);
        accounts.open(&read(4, 100), 4);
        assert_eq!(accounts.ask(EVERY_NS, Some(&tracker)), None);
        assert_eq!(accounts.ask(4 + EVERY_NS, Some(&tracker)), Some(vec![7]));
        // It has 6, of which nobody was told: no list that is made again shows more.
        assert!(accounts.compare(&read(5 + EVERY_NS, 100), true, &tracker));
        assert_eq!(accounts.missed(), 0);
    }

    /// Births that are told while books are being read belong before or behind the reading by their time, whether they are the first books
    /// or those of a namespace that came later.
    #[test]
    fn births_beside_the_reading_hide_none_that_is_missed() {
        for is_first in [true, false] {
            let (mut accounts, mut tracker) = (Accounts::default(), Tracker::new());
            if !is_first {
                accounts.open(&[], 0);
                // Its turn is not come, but nothing had come from there before.
                assert_eq!(accounts.ask(0, Some(&tracker)), None);
            }
            born(1, &mut accounts, &mut tracker);
            assert_eq!(accounts.ask(1, Some(&tracker)), (!is_first).then(|| vec![7]));
            (2..=6).for_each(|mono_ns| born(mono_ns, &mut accounts, &mut tracker));
            // 100 from before, and what was born by 4.
            if is_first {
                accounts.open(&read(4, 104), 6);
            } else {
                assert!(accounts.compare(&read(4, 104), true, &tracker));
                assert_eq!(accounts.ask(7, Some(&tracker)), None);
            }
            assert_eq!(accounts.missed(), 0);
            accounts.compare_soon();
            assert!(accounts.is_comparing() && accounts.ask(7, Some(&tracker)).is_some());
            assert!(accounts.compare(&read(8, 107), true, &tracker));
            assert_eq!((accounts.missed(), accounts.is_comparing()), (1, false));
            // What comes too late says nothing, and nothing is asked for any more.
            accounts.compare_soon();
            assert!(accounts.ask(9, Some(&tracker)).is_some());
            accounts.close();
            assert!(accounts.compare(&read(9, 113), true, &tracker));
            assert_eq!((accounts.missed(), accounts.ask(u64::MAX, Some(&tracker))), (1, None));
        }
    }
}
