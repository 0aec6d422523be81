//! Owns: what traces and recordings know of the sockets that a listing shows.
//! Must not know: how sockets are listed, where recordings come from.

use std::collections::{HashMap, HashSet};

use crate::engine::Live;
use crate::host::net::sockdiag::DiagSocket;
use crate::model::clock;
use crate::model::event::{Conn, Event, Kind, Substate};
use crate::recording::{Ended, Recording};

/// Times from a listing and from a trace differ by what the listing took.
const SLACK_NS: u64 = 2_000_000_000;

/// Something that the user should know of what was learned. It goes to stderr.
pub type Note = String;

/// What is known of live sockets.
#[derive(Debug, Default)]
pub struct Owners {
    known: HashMap<Conn, Live>,
    sources: usize,
}

impl Owners {
    /// Whether nobody was there to know anything.
    pub fn is_empty(&self) -> bool {
        self.sources == 0
    }

    /// How many sockets there is something known of.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes in the sockets that live at the end of a recording, as far as they are `wanted`: the machine bounds what is kept, however
    /// many the recording has. `name` is for what the user should know of it.
    pub fn learn(&mut self, name: &str, mut recording: Recording, wanted: &HashSet<Conn>) -> Option<Note> {
        self.sources += 1;
        // Numbers of sockets and times begin anew with each boot.
        let booted = clock::boot_id();
        let head = recording.head();
        if !head.boot_id.is_empty() && !booted.is_empty() && head.boot_id != booted {
            return Some(format!(
                "{name} is of another machine, or of another boot of this one: it owns no socket here"
            ));
        }
        let mut told = HashMap::new();
        for event in recording.events() {
            if let Some(conn) = event.conn.filter(|conn| wanted.contains(conn)) {
                take(&mut told, conn, event);
            }
        }
        self.known.extend(told.into_iter().filter(|(_, live)| live.owner.is_some() || live.opener.is_some()));
        match recording.end() {
            Ended::Complete(_) => None,
            Ended::Missing { why } => {
                Some(format!("{name} has no end ({why}): what came later is not known"))
            }
            Ended::Damaged { why, .. } => Some(format!("{name}: {why}")),
        }
    }

    /// What is known of a socket that was listed at `listed_ns` of CLOCK_MONOTONIC. A connection's ports may have been used
    /// again since: where the cookie cannot tell, the time left must agree, and nobody is named where it does not.
    pub(super) fn of(&self, conn: &Conn, socket: &DiagSocket, listed_ns: u64) -> Option<&Live> {
        let live = self.known.get(conn)?;
        let is_same = match (live.cookie, socket.cookie) {
            (Some(cookie), 1..) => cookie == socket.cookie,
            _ => {
                let ends_ns = listed_ns + u64::from(socket.expires_ms) * 1_000_000;
                live.ends_ns.abs_diff(ends_ns) <= SLACK_NS
            }
        };
        is_same.then_some(live)
    }
}

/// What an event says of a socket.
fn take(told: &mut HashMap<Conn, Live>, conn: Conn, event: Event) {
    match event.kind {
        Kind::Ended => {
            // Another connection may have its ports by now.
            let is_other = |live: &Live| live.cookie.zip(event.cookie).is_some_and(|(one, two)| one != two);
            if told.get(&conn).is_some_and(|live| !is_other(live)) {
                told.remove(&conn);
            }
        }
        // One that was there before may have an owner whom an earlier part of the recording knew.
        Kind::Created | Kind::Listed => {
            let timeout_ns = u64::from(event.timeout_ms.unwrap_or(0)) * 1_000_000;
            let live = Live {
                born_ns: Some(event.mono_ns),
                ends_ns: event.mono_ns.saturating_add(timeout_ns),
                owner: event.owner,
                via: event.via.unwrap_or_default(),
                identity: event.identity,
                opener: event.opener,
                role: event.role,
                substate: event.substate.unwrap_or(Substate::TimeWait),
                cookie: event.cookie,
            };
            told.insert(conn, live);
        }
        Kind::Overflow
        | Kind::Aborted
        | Kind::ConnectFailed
        | Kind::BindFailed
        | Kind::SynRefused
        | Kind::Lost => {}
    }
}
