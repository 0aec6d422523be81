//! Owns: the TIME_WAIT sockets of a recording that a filter hides, and which ports they hold.
//! Must not know: whose they are, what is shown.

use std::collections::{HashMap, HashSet};

use crate::engine::{Hasher, Tracker, TupleKey};
use crate::model::event::{Conn, Event, Kind};
use crate::model::ports::Ports;
use crate::model::settings::Settings;

/// How often the tracker is told, of recorded time.
const TELL_EVERY_NS: u64 = 1_000_000_000;

/// Sockets that are remembered, at most: as many as a tracker. Of more, pools are told to be at least as full as these make them.
const MOST: usize = 1 << 20;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    sockets: HashSet<Conn, Hasher>,
    told_ns: u64,
}

impl Hidden {
    /// An event that the filter hides.
    pub(super) fn note(&mut self, event: &Event) {
        let Some(conn) = event.conn else { return };
        if matches!(event.kind, Kind::Created | Kind::Listed) {
            if self.sockets.len() < MOST {
                self.sockets.insert(conn);
            }
        } else if event.kind == Kind::Ended {
            self.sockets.remove(&conn);
        }
    }

    /// An event that passes: whoever had its connection before is gone, though nobody may have told.
    pub(super) fn passes(&mut self, event: &Event) {
        if let Some(conn) = event.conn.filter(|_| !self.sockets.is_empty()) {
            self.sockets.remove(&conn);
        }
    }

    /// Tells the tracker which ports of its pools they hold: once a second of recorded time, and at the end. A pool that it hears of later is
    /// told with the next.
    pub(super) fn tell(&mut self, tracker: &mut Tracker, now_ns: u64, is_over: bool) {
        if !(is_over || now_ns >= self.told_ns.saturating_add(TELL_EVERY_NS)) {
            return;
        }
        self.told_ns = now_ns;
        let told = tracker.capacities();
        let known: HashMap<u32, Settings> =
            told.filter_map(|(netns, capacity)| Some((netns, capacity?.settings.clone()))).collect();
        let mut held: HashMap<u32, HashMap<TupleKey, Ports>> = HashMap::new();
        for conn in &self.sockets {
            if known.get(&conn.netns).is_some_and(|settings| settings.has(conn.sport)) {
                held.entry(conn.netns).or_default().entry(conn.into()).or_default().time_wait += 1;
            }
        }
        let all = known.into_keys().map(|netns| (netns, held.remove(&netns).unwrap_or_default()));
        tracker.set_other_ports(all);
    }
}
