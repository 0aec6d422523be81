//! Owns: which sockets are asked after one by one: those past their end, those that a listing did not show, and again those that could not be
//! asked.
//! Must not know: how they are asked, listings.

use std::collections::{HashSet, VecDeque};

use super::super::lister::{Request, SocketFate, SocketQuery, Span};
use super::SECOND_NS;
use super::todo::{Todo, that_was_asked_after};
use crate::engine::Tracker;

/// A timer of a minute may be this late (the wheel's coarse levels, kernel/time/timer.c, 5.10 to 7.3): before,
/// nobody asks.
const LATE_NS: u64 = 5 * SECOND_NS;
/// A socket that cannot be asked after is gone this long after its end.
const HOPELESS_NS: u64 = 10 * SECOND_NS;
/// How often sockets past their end are looked for, and those asked after again that could not be.
const AGAIN_EVERY_NS: u64 = SECOND_NS;
/// Sockets asked after at a time.
const ASKED_AT_ONCE: usize = 4096;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Asking {
    to_ask: VecDeque<SocketQuery>,
    /// Could not be asked, and are not past their end, so that nobody looks for them.
    unknown: Vec<SocketQuery>,
    is_asking: bool,
    again_at_ns: u64,
}

impl Asking {
    /// Is to be asked after.
    pub(super) fn add(&mut self, asked: SocketQuery) {
        self.to_ask.push_back(asked);
    }

    /// All of what lives in these namespaces was listed: what that did not show is asked after anew.
    pub(super) fn shown(&mut self, netns: &HashSet<u32>) {
        self.unknown.retain(|(conn, _)| !netns.contains(&conn.netns));
    }

    /// Whether nothing is to be asked after that is not being asked.
    pub(super) fn is_done(&self) -> bool {
        self.to_ask.is_empty() && self.unknown.is_empty()
    }

    /// What is to be asked now.
    pub(super) fn ask(&mut self, now_ns: u64, tracker: &mut Tracker) -> Option<Request> {
        if self.is_asking {
            return None;
        }
        if self.to_ask.is_empty() && now_ns >= self.again_at_ns {
            self.again_at_ns = now_ns + AGAIN_EVERY_NS;
            self.to_ask.extend(self.unknown.drain(..));
            self.to_ask.extend(tracker.overdue(now_ns.saturating_sub(LATE_NS), ASKED_AT_ONCE));
        }
        if self.to_ask.is_empty() {
            return None;
        }
        let count = self.to_ask.len().min(ASKED_AT_ONCE);
        self.is_asking = true;
        Some(Request::LookUp { sockets: self.to_ask.drain(..count).collect() })
    }

    /// What came of it; what is to be done about that is added to `todo`.
    pub(super) fn answered(
        &mut self,
        span: Span,
        found: Vec<(SocketQuery, SocketFate)>,
        now_ns: u64,
        tracker: &mut Tracker,
        todo: &mut VecDeque<Todo>,
    ) {
        self.is_asking = false;
        for (asked, found) in found {
            let Some(live) = that_was_asked_after(asked, span, tracker) else { continue };
            match found {
                SocketFate::There(seed) => drop(tracker.renew(&seed)),
                SocketFate::Unknown if live.ends_ns + LATE_NS > now_ns => self.unknown.push(asked),
                SocketFate::Unknown if live.ends_ns + HOPELESS_NS > now_ns => {}
                SocketFate::Gone | SocketFate::Unknown => todo.push_back(Todo::Miss(asked, span)),
            }
        }
    }
}
