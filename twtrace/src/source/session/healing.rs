//! Owns: keeping the tracker true to the kernel: when to list, what to ask after, what the kernel's books are compared for, and how
//! answers, which are late, go together with the events.
//! Must not know: how the kernel is asked, clocks, views.
//!
//! An answer is taken in only when every event from before its end has come, so a socket that it shows and nobody knows was not born
//! in between; one that ended since the listing began is left out. A socket is let go of only when it was asked after by itself and is
//! gone, when its namespace is gone, or when it is past its end and cannot be asked after.

mod accounts;
mod asking;
mod schedule;
mod todo;

use std::collections::{HashMap, HashSet, VecDeque};

use accounts::Accounts;
use asking::Asking;
use schedule::Schedule;
use todo::{Ended, Todo};

use super::lister::{ABSENT_TIMES, Became, Changed, Read, Reply, Request, Span};
use crate::engine::Tracker;
use crate::model::event::{Conn, Event, Kind, Loss};
use crate::model::filter::Filter;
use crate::model::limitation::Limitation;

const SECOND_NS: u64 = 1_000_000_000;
/// Sockets that a step takes in at most, though most of them are known and there is nothing to tell of them.
const DONE_AT_ONCE: usize = 4096;
/// So long a reader may keep what was found waiting. After that it is taken in whether it can be told or not: what lives is needed to
/// understand what comes.
const STALLED_NS: u64 = 3 * SECOND_NS;

/// What comes of a step.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Was applied to the tracker, and is to be told in this order.
    pub(super) events: Vec<Event>,
    /// To be asked.
    pub(super) requests: Vec<Request>,
    /// Cannot be seen.
    pub(super) limitations: Vec<Limitation>,
    /// Network namespaces that were asked for and are gone: what comes from their inodes is left out.
    pub(super) left: Vec<u32>,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Healing {
    scope: Filter,
    /// The kernel's counters count births.
    counts_births: bool,
    schedule: Schedule,
    /// Of a listing on its way: namespaces that it showed all of.
    listing: Option<HashSet<u32>>,
    /// Something is amiss, or may be, that no listing has put right: since the last one was asked for, and before it, while that is being made.
    owed: (bool, bool),
    /// Sockets that ended while an answer is on its way, and when.
    ended: Ended,
    /// Connections of which something was heard after the end of the trace: what an answer shows of them may be of then.
    beyond: HashSet<Conn>,
    /// Answers that wait for events from before them.
    held: VecDeque<Reply>,
    /// Of the answer before those: what is still to be done.
    todo: VecDeque<Todo>,
    /// When there was last room to tell what is to be done, or nothing to do.
    moved_ns: u64,
    asking: Asking,
    accounts: Accounts,
    /// Of the kernel side's loss: what was known, and when.
    lost_births: u64,
    doubts: u64,
    loss_known_ns: u64,
    missed: u64,
    /// All events up to here have come.
    caught_up_ns: u64,
    /// Namespaces that were found once, and how often in a row they were not found since.
    absent: HashMap<u32, u32>,
    limitations: Vec<Limitation>,
    left: Vec<u32>,
    /// A listing is complete.
    has_listed: bool,
}

impl Healing {
    /// Nothing is asked yet. `scope` is what is tracked.
    pub(super) fn new(scope: Filter, counts_births: bool) -> Self {
        Self { scope, counts_births, ..Self::default() }
    }

    /// Whether these namespaces are still there is looked at, though nothing happens.
    pub(super) fn watch(&mut self, netns: impl IntoIterator<Item = u32>) {
        self.accounts.watch(netns);
    }

    /// What the kernel side had lost at `now_ns`; `news` of it were not known before. `doubts` are skipped runs so far
    /// that may have told a birth or an end.
    pub(super) fn lost(&mut self, loss: &Loss, news: &Loss, doubts: u64, now_ns: u64) {
        (self.lost_births, self.loss_known_ns) = (loss.created, now_ns);
        if news.created + news.ended != 0 || doubts > self.doubts {
            self.amiss();
        }
        self.doubts = doubts;
        if news.missed_runs != 0 {
            self.schedule.seldom();
        }
    }

    fn amiss(&mut self) {
        self.schedule.soon();
        self.owed.0 = true;
    }

    /// Whether something is known to be amiss that no listing has put right yet.
    pub(super) fn owes(&self) -> bool {
        self.owed.0 || self.owed.1 || self.has_more()
    }

    /// Births that nobody told, of which only the kernel's counters know.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Asks for what lives, at the beginning.
    pub(super) fn begin(&mut self) {
        self.schedule.soon();
    }

    /// Whether a listing is being made, or is to be made now.
    pub(super) fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Nothing that is due waits any longer.
    pub(super) fn hurry(&mut self) {
        self.schedule.hurry();
    }

    /// Whether all that has come must be known to have come.
    pub(super) fn wants_mark(&self) -> bool {
        self.held.front().is_some_and(|reply| reply.ended_ns() > self.caught_up_ns)
    }

    /// An event has come.
    pub(super) fn note(&mut self, event: &Event) {
        if let (true, Kind::Ended, Some(conn)) = (self.listing.is_some(), event.kind, event.conn) {
            self.ended.add(conn, event.cookie, event.mono_ns);
        }
        self.accounts.note(event);
    }

    /// An event has come that was after the end of the trace.
    pub(super) fn note_beyond(&mut self, event: &Event) {
        self.beyond.extend(event.conn);
    }

    /// An answer has come.
    pub(super) fn take(&mut self, reply: Reply) {
        if !(self.accounts.is_over() && matches!(reply, Reply::Checked { .. })) {
            self.held.push_back(reply);
        }
    }

    /// Whether there is more to be done at once than one step may.
    pub(super) fn has_more(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Does what is due at `now_ns`; all events up to `caught_up_ns` have come. No more than `room` sockets are told, unless nobody had
    /// any for a while.
    pub(super) fn step(
        &mut self,
        now_ns: u64,
        caught_up_ns: u64,
        room: usize,
        tracker: &mut Tracker,
    ) -> Step {
        let mut step = Step::default();
        self.caught_up_ns = caught_up_ns;
        self.take_in(now_ns, room, tracker, &mut step.events);
        step.limitations = std::mem::take(&mut self.limitations);
        step.left = std::mem::take(&mut self.left);
        step.requests.extend(self.asking.ask(now_ns, tracker));
        if self.listing.is_none() && self.schedule.take(now_ns) {
            self.owed = (false, self.owed.0);
            self.listing = Some(HashSet::new());
            tracker.begin_listing();
            step.requests.push(Request::List { only: self.scope.netns.clone() });
        }
        self.check(now_ns, tracker, &mut step.requests);
        step
    }

    /// Takes in answers, one after the other and not all of a long one at once.
    fn take_in(&mut self, now_ns: u64, mut room: usize, tracker: &mut Tracker, told: &mut Vec<Event>) {
        if room != 0 || self.todo.is_empty() {
            self.moved_ns = now_ns;
        } else if now_ns >= self.moved_ns + STALLED_NS {
            room = usize::MAX;
        }
        let mut left = if room == usize::MAX { room } else { DONE_AT_ONCE };
        loop {
            while told.len() < room && left != 0 {
                let Some(todo) = self.todo.pop_front() else { break };
                left -= 1;
                if self.beyond.contains(todo.conn()) {
                    continue;
                }
                told.extend(todo.act(&self.scope, &self.ended, now_ns, tracker));
            }
            let is_next = |reply: &Reply| is_ripe(reply, self.caught_up_ns, self.loss_known_ns);
            if !self.todo.is_empty() || !self.held.front().is_some_and(is_next) {
                return;
            }
            let Some(reply) = self.held.pop_front() else { return };
            self.heal(reply, now_ns, tracker);
        }
    }

    /// Does what comes of an answer, or puts it down to be done.
    fn heal(&mut self, reply: Reply, now_ns: u64, tracker: &mut Tracker) {
        match reply {
            Reply::Changed { changed, .. } => changed.into_iter().for_each(|changed| self.changed(changed)),
            Reply::Opened { books, .. } => self.accounts.open(&books, now_ns),
            Reply::Namespaces { netns, span, seeds } => {
                let Some(listing) = &mut self.listing else { return };
                listing.extend(netns);
                self.todo.extend(seeds.into_iter().map(|seed| Todo::Enter(seed, span)));
            }
            Reply::Listed { span, cost_ns, reached, is_incomplete, limitations } => {
                self.limitations.extend(limitations);
                self.schedule.pause(cost_ns, now_ns);
                let was_owed = self.owed.1;
                self.listed(span, &reached, tracker);
                if is_incomplete {
                    // Where nobody could be asked, nothing was put right.
                    self.owed.0 |= was_owed;
                    self.schedule.soon();
                }
            }
            Reply::LookedUp { span, found } => {
                self.asking.answered(span, found, now_ns, tracker, &mut self.todo);
                self.owed.1 &= self.listing.is_some() || !self.asking.is_done();
            }
            Reply::Checked { books, .. } => self.checked(&books, tracker),
            Reply::Books { .. } => {}
        }
    }

    /// A namespace is not what it was: all that it did has been heard of by now.
    fn changed(&mut self, Changed { netns, became, limitation }: Changed) {
        self.limitations.extend(limitation);
        match became {
            Became::Left => {
                self.scope.not.netns.push(netns);
                self.left.push(netns);
                self.accounts.leave(netns);
            }
            Became::Another => self.accounts.renew(netns),
            Became::Unreached => {}
        }
    }

    /// A listing is complete: what it should have shown and did not is asked after.
    fn listed(&mut self, span: Span, reached: &HashSet<u32>, tracker: &Tracker) {
        let shown = self.listing.take().unwrap_or_default();
        self.has_listed = true;
        if self.ended.clear() {
            self.amiss();
        }
        self.asking.shown(&shown);
        let mut hidden: HashSet<u32> = HashSet::new();
        for (conn, cookie) in tracker.not_listed(span.began_ns) {
            if !reached.contains(&conn.netns) {
                hidden.insert(conn.netns);
            } else if shown.contains(&conn.netns) {
                self.asking.add((conn, cookie));
            }
        }
        // What it did not show is to be asked after first.
        self.owed.1 &= !self.asking.is_done();
        self.accounts.keep(reached);
        let gone = self.gone(reached, hidden);
        if !gone.is_empty() {
            let lost = tracker.sockets().filter(|(conn, _)| gone.contains(&conn.netns));
            self.todo.extend(lost.map(|(conn, live)| Todo::Miss((conn, live.cookie), span)));
        }
    }

    /// Of the namespaces that no way leads to, those that are gone: a way led there once.
    fn gone(&mut self, reached: &HashSet<u32>, hidden: HashSet<u32>) -> HashSet<u32> {
        self.absent.retain(|netns, _| reached.contains(netns) || hidden.contains(netns));
        for netns in reached {
            self.absent.insert(*netns, 0);
        }
        let mut gone = HashSet::new();
        for netns in hidden {
            let Some(times) = self.absent.get_mut(&netns) else { continue };
            *times += 1;
            if *times >= ABSENT_TIMES {
                gone.insert(netns);
            } else {
                self.schedule.soon();
            }
        }
        gone
    }

    /// The kernel's books are to be compared now, though it is not time yet.
    pub(super) fn compare_soon(&mut self) {
        if self.scope.only_netns() {
            self.accounts.compare_soon();
        }
    }

    /// They are not compared any more: from now on not all that happens is told.
    pub(super) fn stop_comparing(&mut self) {
        self.accounts.close();
        // Nobody may say any more what was lost by then, for which such an answer would wait, and all others behind it.
        self.held.retain(|reply| !matches!(reply, Reply::Checked { .. }));
    }

    /// Whether they are being compared, or are to be compared now.
    pub(super) fn is_comparing(&self) -> bool {
        self.accounts.is_comparing()
    }

    /// Asks for the books of namespaces in which something lives or happened, and of those that are asked for. Where a filter leaves a part of
    /// them out, the books have nothing to compare, but whether those that are asked for are still the same matters all the same. Not beside the
    /// first listing, which the start waits for: the answer would stand before it until all is known that was lost by then.
    fn check(&mut self, now_ns: u64, tracker: &Tracker, requests: &mut Vec<Request>) {
        if self.listing.is_some() && !self.has_listed {
            return;
        }
        let compared = self.scope.only_netns().then_some(tracker);
        if let Some(netns) = self.accounts.ask(now_ns, compared) {
            requests.push(Request::Check { netns });
        }
    }

    /// Compares the books with what was told.
    fn checked(&mut self, books: &[Read], tracker: &Tracker) {
        if !self.scope.only_netns() {
            return self.accounts.pass();
        }
        let agree = self.accounts.compare(books, self.counts_births, tracker);
        let missed = self.accounts.missed().saturating_sub(self.lost_births);
        // What is being listed need not agree yet.
        if !agree && self.listing.is_none() || missed > self.missed {
            self.amiss();
        }
        self.missed = self.missed.max(missed);
    }
}

/// Whether every event from before an answer has come, and every loss.
fn is_ripe(reply: &Reply, caught_up_ns: u64, loss_known_ns: u64) -> bool {
    let known_ns = if matches!(reply, Reply::Checked { .. }) { loss_known_ns } else { u64::MAX };
    reply.ended_ns() <= caught_up_ns.min(known_ns)
}

#[cfg(test)]
mod tests;
