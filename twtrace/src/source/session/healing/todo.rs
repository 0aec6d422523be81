//! Owns: what an answer comes to for one socket: to take it in, or to let go of it, if it is still so by then.
//! Must not know: when that is done, who is told.
//!
//! A listing shows tens of thousands of sockets, and who reads what is told of them takes time. So they are taken in one by one, and events
//! come in between.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::super::lister::{SocketQuery, Span};
use crate::engine::{Hasher, Live, Seed, Tracker};
use crate::model::event::{Conn, Event};
use crate::model::filter::Filter;

/// So many of the sockets that a connection had in turn while one answer came are told apart, the last ones.
const TURNS: usize = 8;

/// The cookies of sockets that ended, each with when.
type Turns = SmallVec<[(Option<u64>, u64); 1]>;

/// Connections whose sockets ended while one answer came that are told apart.
const MOST: usize = 1 << 18;

/// Sockets that ended, by their connections.
#[derive(Debug, Default)]
pub(super) struct Ended {
    of: HashMap<Conn, Turns, Hasher>,
    /// There were more: any may have ended.
    is_short: bool,
}

impl Ended {
    pub(super) fn add(&mut self, conn: Conn, cookie: Option<u64>, ended_ns: u64) {
        if self.of.len() >= MOST && !self.of.contains_key(&conn) {
            self.is_short = true;
            return;
        }
        let turns = self.of.entry(conn).or_default();
        if turns.len() == TURNS {
            turns.remove(0);
        }
        turns.push((cookie, ended_ns));
    }

    /// Forgets them; whether there were too many, so that what was listed was left out.
    pub(super) fn clear(&mut self) -> bool {
        self.of.clear();
        std::mem::take(&mut self.is_short)
    }

    /// Whether a socket that was listed ended after the listing began, or may have.
    fn has(&self, seed: &Seed, span: Span) -> bool {
        let is_it = |(cookie, ended_ns): &(Option<u64>, u64)| {
            let same = cookie.zip(seed.cookie).is_none_or(|(one, other)| one == other);
            same && *ended_ns >= span.began_ns
        };
        self.is_short || self.of.get(&seed.conn).is_some_and(|turns| turns.iter().any(is_it))
    }
}

/// See the head of the file. The span is that of the answer.
#[derive(Debug)]
pub(super) enum Todo {
    /// It was there.
    Enter(Seed, Span),
    /// It was not.
    Miss(SocketQuery, Span),
}

impl Todo {
    /// The connection that it is about.
    pub(super) fn conn(&self) -> &Conn {
        match self {
            Self::Enter(seed, _) => &seed.conn,
            Self::Miss((conn, _), _) => conn,
        }
    }

    /// Does it at `now_ns`; what comes of it is to be told. `ended` are sockets that ended since the listing began.
    pub(super) fn act(
        self,
        scope: &Filter,
        ended: &Ended,
        now_ns: u64,
        tracker: &mut Tracker,
    ) -> impl Iterator<Item = Event> + use<> {
        let (before, event) = match self {
            Self::Enter(seed, span) if !ended.has(&seed, span) => enter(&seed, span, scope, now_ns, tracker),
            Self::Miss(asked, span) if that_was_asked_after(asked, span, tracker).is_some() => {
                (Vec::new(), tracker.miss(&asked.0, now_ns))
            }
            Self::Enter(..) | Self::Miss(..) => (Vec::new(), None),
        };
        before.into_iter().chain(event)
    }
}

fn enter(
    seed: &Seed,
    span: Span,
    scope: &Filter,
    now_ns: u64,
    tracker: &mut Tracker,
) -> (Vec<Event>, Option<Event>) {
    // One that was born since the listing began has its place: the end of the one that was listed was not heard of.
    let is_younger = |live: Live| live.born_ns.is_some_and(|born_ns| born_ns >= span.began_ns);
    if tracker.list(seed) || tracker.socket(&seed.conn).is_some_and(is_younger) {
        return (Vec::new(), None);
    }
    if tracker.overflows() && !tracker.knows(&seed.conn) {
        return (Vec::new(), None);
    }
    let mut event = seed.event(now_ns);
    // With a filter on the owner nobody knows whether it is of interest.
    if !scope.passes(&event) {
        return (Vec::new(), None);
    }
    let applied = tracker.apply(&mut event);
    (applied.before, applied.is_new.then_some(event))
}

/// What is known of a socket that was asked after, unless another one took its place since.
pub(super) fn that_was_asked_after(
    (conn, cookie): SocketQuery,
    span: Span,
    tracker: &Tracker,
) -> Option<Live> {
    let live = tracker.socket(&conn)?;
    let is_it = live.cookie == cookie && live.born_ns.is_none_or(|born_ns| born_ns < span.began_ns);
    is_it.then_some(live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Kind, Role, Substate};

    /// A listing that took from 100 to 200.
    const SPAN: Span = Span { began_ns: 100, ended_ns: 200 };

    fn conn() -> Conn {
        let here = std::net::IpAddr::from([127, 0, 0, 1]);
        Conn { netns: 7, ifindex: 0, saddr: here, daddr: here, sport: 40_009, dport: 80 }
    }

    fn listed(cookie: u64) -> Todo {
        let (substate, role) = (Substate::TimeWait, Role::Unknown);
        Todo::Enter(Seed { conn: conn(), cookie: Some(cookie), substate, role, ends_ns: 60_000 }, SPAN)
    }

    fn told(todo: Todo, ended: &Ended, tracker: &mut Tracker) -> Vec<(Kind, Option<u64>)> {
        let told = todo.act(&Filter::default(), ended, 300, tracker);
        told.map(|event| (event.kind, event.cookie)).collect()
    }

    fn born(cookie: u64, mono_ns: u64, tracker: &mut Tracker) {
        let mut event = Event::new(Kind::Created, mono_ns, Some(conn()));
        (event.cookie, event.timeout_ms) = (Some(cookie), Some(60_000));
        let _ = tracker.apply(&mut event);
    }

    #[test]
    fn one_that_was_born_while_others_were_listed_stays() {
        for (born_ns, is_younger) in [(99, false), (100, true), (150, true), (250, true)] {
            let mut tracker = Tracker::new();
            born(13, born_ns, &mut tracker);
            let told = told(listed(11), &Ended::default(), &mut tracker);
            let before = [(Kind::Ended, Some(13)), (Kind::Listed, Some(11))];
            assert_eq!(told, if is_younger { &[][..] } else { &before[..] }, "{born_ns}");
        }
    }

    #[test]
    fn where_too_many_ended_meanwhile_none_is_told_to_be_there() {
        let mut ended = Ended::default();
        let here = |at: usize| Conn { ifindex: at as u32, ..conn() };
        (1..=MOST).for_each(|at| ended.add(here(at), None, 110));
        assert_eq!(told(listed(11), &ended, &mut Tracker::new()), [(Kind::Listed, Some(11))]);
        ended.add(here(MOST + 1), None, 110);
        assert!(told(listed(11), &ended, &mut Tracker::new()).is_empty());
        assert!(ended.clear() && !ended.clear());
        assert_eq!(told(listed(11), &ended, &mut Tracker::new()), [(Kind::Listed, Some(11))]);
    }

    #[test]
    fn one_that_ended_meanwhile_is_not_told_again_however_often_its_place_was_taken() {
        for turns in [0, 1, 7, 8] {
            let (mut tracker, mut ended) = (Tracker::new(), Ended::default());
            ended.add(conn(), Some(11), 110);
            (0..turns).for_each(|turn| ended.add(conn(), Some(13 + turn), 120 + turn));
            let want = if turns < TURNS as u64 { vec![] } else { vec![(Kind::Listed, Some(11))] };
            assert_eq!(told(listed(11), &ended, &mut tracker), want, "{turns}");
        }
        let mut ended = Ended::default();
        ended.add(conn(), Some(11), 99);
        assert_eq!(told(listed(11), &ended, &mut Tracker::new()), [(Kind::Listed, Some(11))]);
        ended.add(conn(), None, 100);
        assert!(told(listed(11), &ended, &mut Tracker::new()).is_empty());
    }
}
