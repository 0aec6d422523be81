//! Owns: what happened in each of the last seconds.
//! Must not know: what second it is: that is handed in.
//!
//! Only seconds in which something happened take room: most of ten thousand processes are active in one or two.

use std::collections::VecDeque;

/// Full seconds that are remembered.
pub const HISTORY_S: usize = 120;

/// What is counted a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// TIME_WAIT sockets made.
    Created,
    /// TIME_WAIT sockets gone.
    Ended,
    /// Overflows, and failures of connect() and bind().
    Failed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Seconds since tracing began.
    at: u32,
    counts: [u32; 3],
}

/// The last [`HISTORY_S`] seconds and the one that is not over.
#[derive(Clone, Debug, Default)]
pub struct History {
    seconds: VecDeque<Second>,
}

/// Events a second, over windows of full seconds: the one that is not over yet is not in them. While tracing is younger than a
/// window, over the seconds there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Over the last full second.
    pub s1: f64,
    /// Over 10 s.
    pub s10: f64,
    /// Over 60 s.
    pub s60: f64,
}

impl History {
    /// Counts one event in second `at`, which may lie a little before the last one seen.
    pub(super) fn add(&mut self, at: u32, flow: Flow) {
        match self.seconds.back_mut() {
            Some(last) if last.at == at => last.counts[flow as usize] += 1,
            Some(last) if last.at > at => self.add_late(at, flow),
            _ => {
                let mut second = Second { at, ..Second::default() };
                second.counts[flow as usize] = 1;
                self.seconds.push_back(second);
                self.trim(at);
            }
        }
    }

    fn add_late(&mut self, at: u32, flow: Flow) {
        let place = self.seconds.partition_point(|second| second.at < at);
        let room = self.seconds.len() <= HISTORY_S;
        match self.seconds.get_mut(place) {
            Some(second) if second.at == at => second.counts[flow as usize] += 1,
            _ if room => {
                let mut second = Second { at, ..Second::default() };
                second.counts[flow as usize] = 1;
                self.seconds.insert(place, second);
            }
            // Older than anything that is remembered.
            _ => {}
        }
    }

    fn trim(&mut self, now: u32) {
        while self.seconds.front().is_some_and(|second| second.at as usize + HISTORY_S < now as usize) {
            self.seconds.pop_front();
        }
    }

    /// Gives memory back when all of it is older than what is remembered.
    pub(super) fn rest(&mut self, now: u32) {
        if self.seconds.back().is_none_or(|last| last.at as usize + HISTORY_S < now as usize) {
            self.seconds = VecDeque::new();
        }
    }

    fn sum(&self, flow: Flow, from: u32, to: u32) -> u64 {
        let recent = self.seconds.iter().rev().skip_while(|second| second.at >= to);
        recent
            .take_while(|second| second.at >= from)
            .map(|second| u64::from(second.counts[flow as usize]))
            .sum()
    }

    /// Events a second over the last `window` full seconds before second `now`.
    pub fn rate(&self, flow: Flow, now: u32, window: u32) -> f64 {
        let window = window.min(now);
        if window == 0 {
            // Nothing but the first second, which is not over.
            return self.sum(flow, 0, 1) as f64;
        }
        self.sum(flow, now - window, now) as f64 / f64::from(window)
    }

    /// All three windows.
    pub fn rates(&self, flow: Flow, now: u32) -> Rates {
        Rates { s1: self.rate(flow, now, 1), s10: self.rate(flow, now, 10), s60: self.rate(flow, now, 60) }
    }

    /// The last [`HISTORY_S`] full seconds before second `now`, oldest first.
    pub fn series(&self, flow: Flow, now: u32) -> Vec<u32> {
        let mut series = vec![0; HISTORY_S];
        for second in &self.seconds {
            if second.at < now
                && let Some(back) = HISTORY_S.checked_sub((now - second.at) as usize)
            {
                series[back] = second.counts[flow as usize];
            }
        }
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(events: &[(u32, u32)]) -> History {
        let mut history = History::default();
        for &(at, count) in events {
            (0..count).for_each(|_| history.add(at, Flow::Created));
        }
        history
    }

    #[test]
    fn rates_are_over_full_seconds() {
        let history = filled(&[(0, 7), (9, 11), (50, 13), (59, 17), (60, 19)]);
        assert_eq!(history.rates(Flow::Created, 60), Rates { s1: 17.0, s10: 3.0, s60: 0.8 });
        assert_eq!(history.rates(Flow::Created, 61), Rates { s1: 19.0, s10: 3.6, s60: 1.0 });
        assert_eq!(history.rates(Flow::Ended, 60), Rates::default());
        // Ten minutes on.
        assert_eq!(history.rates(Flow::Created, 660), Rates::default());
    }

    #[test]
    fn a_young_trace_divides_by_what_there_is() {
        let history = filled(&[(0, 7), (1, 13)]);
        assert_eq!(history.rates(Flow::Created, 0).s60, 7.0);
        assert_eq!(history.rates(Flow::Created, 1), Rates { s1: 7.0, s10: 7.0, s60: 7.0 });
        assert_eq!(history.rates(Flow::Created, 2), Rates { s1: 13.0, s10: 10.0, s60: 10.0 });
    }

    #[test]
    fn late_events_go_where_they_belong() {
        let history = filled(&[(5, 1), (9, 1), (7, 2), (5, 3), (2, 5)]);
        let series = history.series(Flow::Created, 10);
        assert_eq!(series.len(), HISTORY_S);
        assert_eq!(series[HISTORY_S - 9..], [0, 5, 0, 0, 4, 0, 2, 0, 1]);
    }

    #[test]
    fn two_minutes_are_kept_and_no_more() {
        let mut history = filled(&(0..307).map(|at| (at, at + 1)).collect::<Vec<_>>());
        assert_eq!(history.seconds.len(), HISTORY_S + 1);
        let series = history.series(Flow::Created, 306);
        assert_eq!((series[0], series[HISTORY_S - 1]), (187, 306));
        history.add(3, Flow::Created);
        assert_eq!(history.seconds.len(), HISTORY_S + 1);
        history.rest(306 + 120);
        assert_eq!(history.seconds.len(), HISTORY_S + 1);
        history.rest(306 + 121);
        assert_eq!(history.seconds.capacity(), 0);
    }
}
