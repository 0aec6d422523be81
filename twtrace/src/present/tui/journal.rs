//! Owns: the last events and the last failures, one by one and by what repeats, for the views that list them.
//! Must not know: how they are shown.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::engine::intern::Hasher;
use crate::model::event::{Comm, Event, Kind, Role};

/// As many as one may want to scroll through.
const KEPT: usize = 1000;
/// What repeats is told apart as long as it is one of so many, failures and the rest by themselves; what was quiet longest goes.
const REPEATS: usize = 500;
/// A rate is over so many seconds.
const RATE_S: u64 = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// One event, with a number that is its own. It stands in several lists, and in each picture's copy of them.
pub(super) type JournalEvent = (u64, Arc<Event>);

/// What events that repeat have in common: what happened, to which program, with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Same {
    kind: Kind,
    comm: Option<Comm>,
    netns: u32,
    /// The remote end of a client, nothing of a server.
    remote: Option<IpAddr>,
    /// The remote port of a client, the local one of a server.
    port: u16,
    /// Reason of an end, errno, or why it was aborted.
    detail: Option<&'static str>,
}

impl Same {
    fn of(event: &Event) -> Self {
        let is_server =
            event.role == Role::Server || matches!(event.kind, Kind::BindFailed | Kind::SynRefused);
        let detail = (event.reason.map(|reason| reason.word()))
            .or(event.errno.map(|errno| errno.word()))
            .or(event.why.map(|why| why.word()));
        let conn = event.conn.as_ref();
        Self {
            kind: event.kind,
            comm: event.owner.map(|owner| owner.comm),
            netns: conn.map_or(0, |conn| conn.netns),
            remote: conn.filter(|_| !is_server).map(|conn| conn.daddr),
            port: conn.map_or(0, |conn| if is_server { conn.sport } else { conn.dport }),
            detail,
        }
    }
}

/// Events that are alike.
#[derive(Clone, Debug)]
pub(super) struct Repeat {
    /// Of the first of them.
    pub(super) number: u64,
    pub(super) count: u64,
    /// The last of them, with its number.
    pub(super) last: JournalEvent,
    /// How many in each of the last seconds in which there were any.
    seconds: VecDeque<(u64, u32)>,
}

impl Repeat {
    fn new(number: u64, event: &Arc<Event>) -> Self {
        Self { number, count: 0, last: (number, Arc::clone(event)), seconds: VecDeque::new() }
    }

    fn note(&mut self, number: u64, event: &Arc<Event>) {
        self.count += 1;
        self.last = (number, Arc::clone(event));
        let second = event.mono_ns / SECOND_NS;
        match self.seconds.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
        // Those of the rate, and the one that is not over.
        while self.seconds.len() > RATE_S as usize + 1 {
            self.seconds.pop_front();
        }
    }

    /// Events a second over the last ten full seconds before `now_ns`.
    pub(super) fn rate(&self, now_ns: u64) -> f64 {
        let now = now_ns / SECOND_NS;
        let lately = self.seconds.iter().filter(|(second, _)| *second < now && *second + RATE_S >= now);
        f64::from(lately.map(|(_, count)| count).sum::<u32>()) / RATE_S as f64
    }
}

/// What repeats, of one sort.
#[derive(Clone, Debug, Default)]
struct Repeats(HashMap<Same, Repeat, Hasher>);

impl Repeats {
    fn note(&mut self, number: u64, event: &Arc<Event>) {
        let same = Same::of(event);
        if self.0.len() >= REPEATS && !self.0.contains_key(&same) {
            let oldest = self.0.iter().min_by_key(|(_, repeat)| repeat.last.0).map(|(same, _)| *same);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        self.0.entry(same).or_insert_with(|| Repeat::new(number, event)).note(number, event);
    }
}

/// The last events, and apart from them the last failures, which must not be pushed out by what is usual.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    next: u64,
    pub(super) events: VecDeque<JournalEvent>,
    /// Overflows, failures of connect() and bind(), and what was lost.
    pub(super) failures: VecDeque<JournalEvent>,
    /// Of failures.
    failing: Repeats,
    /// Of the other events.
    usual: Repeats,
}

fn fails(event: &Event) -> bool {
    !matches!(event.kind, Kind::Created | Kind::Ended)
}

impl Journal {
    /// The event with this number, while it is kept.
    pub(super) fn find(&self, number: u64) -> Option<&Event> {
        let all = self.events.iter().chain(&self.failures);
        let mut all = all.chain(self.all_repeats().map(|repeat| &repeat.last));
        all.find(|(known, _)| *known == number).map(|(_, event)| &**event)
    }

    /// What happened, by what repeats: all of it, or failures only. In the order in which each began.
    pub(super) fn repeats(&self, only_failures: bool) -> Vec<&Repeat> {
        let mut all: Vec<&Repeat> =
            if only_failures { self.failing.0.values().collect() } else { self.all_repeats().collect() };
        all.sort_by_key(|repeat| repeat.number);
        all
    }

    fn all_repeats(&self) -> impl Iterator<Item = &Repeat> {
        self.failing.0.values().chain(self.usual.0.values())
    }

    /// Of the events that are kept, those that a row of what repeats stands for.
    pub(super) fn alike(&self, repeat: &Repeat) -> impl Iterator<Item = &JournalEvent> {
        let same = Same::of(&repeat.last.1);
        let kept = if fails(&repeat.last.1) { &self.failures } else { &self.events };
        kept.iter().filter(move |(_, event)| Same::of(event) == same)
    }

    pub(super) fn note(&mut self, event: &Event) {
        // What was there before did not happen now.
        if event.kind == Kind::Listed {
            return;
        }
        self.next += 1;
        let (number, event) = (self.next, &Arc::new(event.clone()));
        let lists = [Some(&mut self.events), fails(event).then_some(&mut self.failures)];
        for list in lists.into_iter().flatten() {
            if list.len() == KEPT {
                list.pop_front();
            }
            list.push_back((number, Arc::clone(event)));
        }
        let repeats = if fails(event) { &mut self.failing } else { &mut self.usual };
        repeats.note(number, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Conn;

    #[test]
    fn failures_stay_when_events_push_one_another_out() {
        let mut journal = Journal::default();
        journal.note(&Event::new(Kind::ConnectFailed, 1, None));
        for at in 2..=1009 {
            journal.note(&Event::new(Kind::Created, at, None));
        }
        assert_eq!((journal.events.len(), journal.failures.len()), (KEPT, 1));
        assert_eq!(journal.events[0].1.mono_ns, 10);
        assert_eq!(journal.failures[0].0, 1);
    }

    #[test]
    fn failures_stay_when_what_repeats_pushes_one_another_out() {
        let mut journal = Journal::default();
        journal.note(&Event::new(Kind::ConnectFailed, 1, None));
        for at in 0..REPEATS as u16 + 1 {
            journal.note(&Event::new(Kind::Created, 2, Some(towards(at))));
        }
        let kinds = |only_failures| -> Vec<Kind> {
            journal.repeats(only_failures).iter().map(|repeat| repeat.last.1.kind).collect()
        };
        assert_eq!(kinds(true), [Kind::ConnectFailed]);
        assert_eq!((kinds(false).len(), kinds(false)[0]), (REPEATS + 1, Kind::ConnectFailed));
    }

    fn towards(dport: u16) -> Conn {
        let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
        Conn { netns: 7, ifindex: 0, saddr, daddr, sport: 40_000, dport }
    }

    #[test]
    fn what_repeats_is_one_row_with_its_rate() {
        let mut journal = Journal::default();
        for n in 0..2700 {
            journal.note(&Event::new(Kind::ConnectFailed, SECOND_NS + n * SECOND_NS / 270, None));
        }
        journal.note(&Event::new(Kind::BindFailed, 11 * SECOND_NS, None));
        let rows = journal.repeats(true);
        assert_eq!(rows.iter().map(|row| row.count).collect::<Vec<_>>(), [2700, 1]);
        assert_eq!(rows[0].rate(11 * SECOND_NS), 270.0);
        assert_eq!(rows[0].rate(16 * SECOND_NS), 135.0);
        // The second that is not over takes no full one's place.
        let mut steady = Journal::default();
        (0..88)
            .for_each(|n| steady.note(&Event::new(Kind::ConnectFailed, SECOND_NS + n * SECOND_NS / 8, None)));
        assert_eq!(steady.repeats(true)[0].rate(11 * SECOND_NS), 8.0);
        assert_eq!(journal.alike(rows[0]).count(), KEPT - 1);
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let mut journal = Journal::default();
        for n in 0..2 * REPEATS as u64 {
            let mut event = Event::new(Kind::ConnectFailed, n, None);
            event.owner = Some(crate::model::event::Process {
                pid: 1,
                tid: 1,
                uid: 0,
                cgroup_id: 0,
                start_ns: 1,
                comm: Comm::new(&n.to_string()),
            });
            journal.note(&event);
        }
        let rows = journal.repeats(false);
        assert_eq!((rows.len(), rows[0].number), (REPEATS, REPEATS as u64 + 1));
    }
}
