//! Owns: the last events and the last failures, for the views that list them.
//! Must not know: how they are shown.

use std::collections::VecDeque;

use crate::model::event::{Event, Kind};

/// As many as one may want to scroll through.
const KEPT: usize = 1000;

/// One event, with a number that is its own.
pub(super) type Numbered = (u64, Event);

/// The last events, and apart from them the last failures, which must not be pushed out by what is usual.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    next: u64,
    pub(super) events: VecDeque<Numbered>,
    /// Overflows, failures of connect() and bind(), and what was lost.
    pub(super) failures: VecDeque<Numbered>,
}

impl Journal {
    /// The event with this number, while it is kept.
    pub(super) fn find(&self, number: u64) -> Option<&Event> {
        let mut all = self.events.iter().chain(&self.failures);
        all.find(|(known, _)| *known == number).map(|(_, event)| event)
    }

    pub(super) fn note(&mut self, event: &Event) {
        // What was there before did not happen now.
        if event.kind == Kind::Listed {
            return;
        }
        self.next += 1;
        let fails = !matches!(event.kind, Kind::Created | Kind::Ended);
        let lists = [Some(&mut self.events), fails.then_some(&mut self.failures)];
        for list in lists.into_iter().flatten() {
            if list.len() == KEPT {
                list.pop_front();
            }
            list.push_back((self.next, event.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
