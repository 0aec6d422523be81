//! Owns: what an answer comes to for one socket: to take it in, or to let go of it, if it is still so by then.
//! Must not know: when that is done, who is told.
//!
//! A listing shows tens of thousands of sockets, and who reads what is told of them takes time. So they are taken in one by one, and events
//! come in between.

use std::collections::HashMap;

use super::super::lister::{Asked, Span};
use crate::engine::{Hasher, Live, Seed, Tracker};
use crate::model::event::{Conn, Event};
use crate::model::filter::Filter;

/// Sockets that ended, each with its cookie and when.
pub(super) type Ended = HashMap<Conn, (Option<u64>, u64), Hasher>;

/// See the head of the file. The span is that of the answer.
#[derive(Debug)]
pub(super) enum Todo {
    /// It was there.
    Enter(Seed, Span),
    /// It was not.
    Miss(Asked, Span),
}

impl Todo {
    /// Does it at `now_ns`; what comes of it is to be told. `ended` are sockets that ended since the listing began.
    pub(super) fn act(
        self,
        scope: &Filter,
        ended: &Ended,
        now_ns: u64,
        tracker: &mut Tracker,
    ) -> impl Iterator<Item = Event> + use<> {
        let (before, event) = match self {
            Self::Enter(seed, span) if !has_ended(ended, &seed, span) => {
                enter(&seed, span, scope, now_ns, tracker)
            }
            Self::Miss(asked, span) if that_was_asked_after(asked, span, tracker).is_some() => {
                (None, tracker.miss(&asked.0, now_ns))
            }
            Self::Enter(..) | Self::Miss(..) => (None, None),
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
) -> (Option<Event>, Option<Event>) {
    // One that was born since has its place: the end of the one that was listed was not heard of.
    let is_younger = |live: Live| live.born_ns.is_some_and(|born_ns| born_ns >= span.ended_ns);
    if tracker.list(seed) || tracker.socket(&seed.conn).is_some_and(is_younger) {
        return (None, None);
    }
    let mut event = seed.event(now_ns);
    // With a filter on the owner nobody knows whether it is of interest.
    if !scope.passes(&event) {
        return (None, None);
    }
    let applied = tracker.apply(&mut event);
    (applied.before.map(|before| *before), applied.is_new.then_some(event))
}

/// What is known of a socket that was asked after, unless another one took its place since.
pub(super) fn that_was_asked_after((conn, cookie): Asked, span: Span, tracker: &Tracker) -> Option<Live> {
    let live = tracker.socket(&conn)?;
    let is_it = live.cookie == cookie && live.born_ns.is_none_or(|born_ns| born_ns < span.began_ns);
    is_it.then_some(live)
}

/// Whether a socket that was listed ended after the listing began.
fn has_ended(ended: &Ended, seed: &Seed, span: Span) -> bool {
    ended.get(&seed.conn).is_some_and(|(cookie, ended_ns)| {
        let same = cookie.zip(seed.cookie).is_none_or(|(one, other)| one == other);
        same && *ended_ns >= span.began_ns
    })
}
