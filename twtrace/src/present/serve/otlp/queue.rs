//! Owns: messages that the endpoint has not taken yet: in order, bounded; when the next attempt is due; what had to be let go.
//! Must not know: how a message is sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::present::serve::shared::{Count, Fate};

/// Messages that are kept, and their bytes.
const MOST: usize = 64;
const MOST_BYTES: usize = 4 << 20;
/// After a failure, and after as many more as double it up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An endpoint that says itself when is not asked before. What it says may be any number: this is the most.
const LONGEST_WISH: Duration = Duration::from_secs(600);

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Data points.
    Metrics,
    /// Findings.
    Logs,
}

impl Signal {
    /// In words for a user.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "findings",
        }
    }
}

/// A message, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) signal: Signal,
    pub(super) bytes: Bytes,
    /// Data points or records in it.
    pub(super) count: u64,
}

/// How an attempt came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken, all but so many of what was in it.
    Taken(u64),
    /// It may be taken later, after so long at the earliest.
    Later(Option<Duration>),
    /// It will never be.
    Never,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Message>,
    bytes: usize,
    due: Instant,
    /// The endpoint has said that it is not to be asked before.
    is_wish: bool,
    pause: Duration,
}

impl Queue {
    /// An empty one, with nothing due before `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, due: now, is_wish: false, pause: FIRST_PAUSE }
    }

    /// Adds a message; the oldest ones make room.
    pub(super) fn push(&mut self, message: Message, fate: &Fate) {
        self.bytes += message.bytes.len();
        self.waiting.push_back(message);
        while self.waiting.len() > MOST || (self.bytes > MOST_BYTES && self.waiting.len() > 1) {
            self.pop().into_iter().for_each(|oldest| lost(&oldest, oldest.count, fate));
        }
    }

    /// The next one to be sent, and when.
    pub(super) fn next(&self) -> Option<(Message, Instant)> {
        self.waiting.front().map(|message| (message.clone(), self.due))
    }

    /// Whether there is one that may be tried, if need be sooner than is due: the endpoint has not said that it wants to be left alone.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && (!self.is_wish || self.due <= now)
    }

    /// The next one was tried at `now`.
    pub(super) fn settle(&mut self, outcome: Outcome, now: Instant, fate: &Fate) {
        if let Outcome::Later(after) = outcome {
            self.is_wish = after.is_some();
            self.due = now + after.unwrap_or_default().min(LONGEST_WISH).max(self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            return;
        }
        (self.due, self.is_wish, self.pause) = (now, false, FIRST_PAUSE);
        let Some(message) = self.pop() else { return };
        let refused = match outcome {
            Outcome::Taken(refused) => refused.min(message.count),
            _ => message.count,
        };
        count_of(message.signal, fate).sent(message.count - refused);
        lost(&message, refused, fate);
    }

    /// Nothing will be sent any more.
    pub(super) fn give_up(&mut self, fate: &Fate) {
        while let Some(message) = self.pop() {
            lost(&message, message.count, fate);
        }
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.waiting.pop_front()?;
        self.bytes -= message.bytes.len();
        Some(message)
    }
}

fn count_of(signal: Signal, fate: &Fate) -> &Count {
    match signal {
        Signal::Metrics => &fate.points,
        Signal::Logs => &fate.findings,
    }
}

fn lost(message: &Message, count: u64, fate: &Fate) {
    count_of(message.signal, fate).lost(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(signal: Signal, count: u64, bytes: usize) -> Message {
        Message { signal, bytes: vec![0; bytes].into(), count }
    }

    #[test]
    fn pauses_grow_until_something_is_taken() {
        let (fate, mut now) = (Fate::default(), Instant::now());
        let mut queue = Queue::new(now);
        queue.push(message(Signal::Metrics, 17, 5), &fate);
        queue.push(message(Signal::Logs, 3, 5), &fate);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            queue.settle(Outcome::Later(None), now, &fate);
            assert_eq!(queue.next().unwrap().1, now + Duration::from_secs(pause));
            now += Duration::from_secs(pause);
        }
        queue.settle(Outcome::Taken(2), now, &fate);
        assert_eq!((queue.next().unwrap().1, fate.points.told()), (now, (15, 2)));
        // It says itself when, within reason.
        for (after, pause) in [(0, 1), (7, 7), (90, 90), (u64::MAX, 600)] {
            queue.settle(Outcome::Later(Some(Duration::from_secs(after))), now, &fate);
            assert_eq!(queue.next().unwrap().1, now + Duration::from_secs(pause));
        }
        queue.settle(Outcome::Never, now, &fate);
        assert_eq!((queue.next(), fate.findings.told()), (None, (0, 3)));
    }

    #[test]
    fn what_there_is_no_room_for_is_lost_and_counted() {
        let (fate, now) = (Fate::default(), Instant::now());
        let mut queue = Queue::new(now);
        (0..MOST as u64 + 5).for_each(|n| queue.push(message(Signal::Metrics, n, 1), &fate));
        assert_eq!((queue.next().unwrap().0.count, fate.points.told()), (5, (0, 1 + 2 + 3 + 4)));
        queue.push(message(Signal::Metrics, 1_000, MOST_BYTES + 1), &fate);
        let all: u64 = (0..MOST as u64 + 5).sum();
        assert_eq!((queue.next().unwrap().0.count, fate.points.told()), (1_000, (0, all)));
        queue.give_up(&fate);
        assert_eq!((queue.next(), fate.points.told()), (None, (0, all + 1_000)));
    }
}
