//! Recordings that somebody made to be hard to read: by the very writer, so that nothing is wrong with them but what is in them.
//!
//! Owns: what is in them. Must not know: who reads them.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use twtrace::model::event::{Comm, Conn, Event, Kind, Process, Role, Substate, Via};
use twtrace::model::identity::{Identity, container_of};
use twtrace::recording::schema::{COLUMNS, Type};
use twtrace::recording::{Encoder, Head, Recording, Tail, exercise};

/// CLOCK_MONOTONIC at the start, in nanoseconds.
pub(crate) const START_NS: u64 = 1_000_000_000_000;
/// 390 years, in nanoseconds.
pub(crate) const JUMP_NS: u64 = 390 * 365 * 86_400 * 1_000_000_000;
const BATCH: usize = 32_768;
/// Columns that nobody knows.
const ADDED: usize = 9;

/// What is hard about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hostile {
    /// The clock jumps by 390 years in the middle.
    Clock,
    /// Each event is of another network namespace.
    Namespaces,
    /// Each event is of another process.
    Processes,
    /// In each event everything is different, and its texts are long.
    Everything,
    /// There are columns that nobody knows, with dictionaries that are large once they are unpacked. It has no end.
    Columns,
    /// The dictionaries of its own columns are. It has no end.
    Dictionaries,
}

/// How they are called.
const WORDS: &str = "clock, namespaces, processes, everything, columns, dictionaries";

impl std::str::FromStr for Hostile {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "clock" => Ok(Self::Clock),
            "namespaces" => Ok(Self::Namespaces),
            "processes" => Ok(Self::Processes),
            "everything" => Ok(Self::Everything),
            "columns" => Ok(Self::Columns),
            "dictionaries" => Ok(Self::Dictionaries),
            _ => Err(format!("'{word}' is not one of {WORDS}")),
        }
    }
}

impl Hostile {
    /// The event of this number: a birth, which is never followed by an end.
    pub(crate) fn event(self, n: u32, of: u32) -> Event {
        let is_all = self == Self::Everything;
        let pick = |differs: bool| if differs { n } else { 7 };
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | (n & 0x00ff_ffff)));
        let conn = Conn {
            netns: 4_026_531_840 + pick(is_all || self == Self::Namespaces),
            ifindex: 0,
            saddr: address(1),
            daddr: address(pick(is_all)),
            sport: 32_768 + (n % 28_232) as u16,
            dport: if is_all { (n % 60_000) as u16 } else { 443 },
        };
        let mut mono_ns = START_NS + u64::from(n) * 1_000;
        if self == Self::Clock && n >= of / 2 {
            mono_ns += JUMP_NS;
        }
        let mut event = Event::new(Kind::Created, mono_ns, Some(conn));
        (event.role, event.via) = (Role::Client, Some(Via::Close));
        (event.substate, event.timeout_ms) = (Some(Substate::TimeWait), Some(60_000));
        event.cookie = Some(u64::from(n) + 1);
        event.bytes_sent = Some(u64::from(n));
        let process = pick(is_all || self == Self::Processes);
        event.owner = Some(Process {
            pid: process + 1,
            tid: process + 1,
            uid: 33,
            cgroup_id: u64::from(process),
            start_ns: u64::from(process) + 1,
            comm: Comm::new(&if is_all { format!("p{process}") } else { "nginx".to_owned() }),
        });
        let cgroup = if is_all {
            format!("/system.slice/docker-{process:08x}{:056x}.scope", 0)
        } else {
            "/system.slice/nginx.service".to_owned()
        };
        let container = container_of(&cgroup);
        let exe =
            if is_all { format!("/opt/{process}/{}", "x".repeat(97)) } else { "/usr/sbin/nginx".to_owned() };
        event.identity = Some(Arc::new(Identity {
            exe: Some(exe),
            cgroup: Some(cgroup),
            container,
            ..Identity::default()
        }));
        event
    }

    /// Writes a recording of so many events.
    pub(crate) fn write(self, events: u32, out: &mut dyn Write) -> io::Result<()> {
        if !matches!(self, Self::Columns | Self::Dictionaries) {
            return self.write_plain(events, out);
        }
        let mut plain = Vec::new();
        self.write_plain(events, &mut plain)?;
        let columns: Vec<String> = match self {
            Self::Columns => (0..ADDED).map(|at| format!("x{at}")).collect(),
            _ => {
                let texts = COLUMNS.iter().filter(|(_, kind)| *kind == Type::Text);
                texts.map(|(name, _)| (*name).to_owned()).collect()
            }
        };
        let recording = Recording::read(io::Cursor::new(plain), "plain").map_err(io::Error::other)?;
        out.write_all(&exercise::swell(recording, &columns).map_err(io::Error::other)?)
    }

    fn write_plain(self, events: u32, out: &mut dyn Write) -> io::Result<()> {
        let head = Head { mono_ns: START_NS, wall_ns: 1_795_363_509_000_000_000, ..Head::default() };
        let mut encoder = Encoder::new(&head).map_err(io::Error::other)?;
        for n in 0..events {
            encoder.append(&self.event(n, events));
            if encoder.waiting() == BATCH {
                encoder.close_batch().map_err(io::Error::other)?;
                out.write_all(encoder.bytes())?;
                encoder.bytes().clear();
            }
        }
        let last = self.event(events.saturating_sub(1), events);
        let tail = Tail { mono_ns: last.mono_ns, ..Tail::default() };
        encoder.finish(&tail).map_err(io::Error::other)?;
        out.write_all(encoder.bytes())
    }
}
